"""Captions to vectors in the space of the frames: by an open_clip text tower, or from a file of embeddings.

    encoder = text_encoder(params.encoders.appearance, paths.encoder, "cpu")
    encoder.encode_texts(["a dog runs"])        # [1, dim], of length 1

No frame is read here, so no module that decodes videos is imported; torch only for a text tower.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.common.errors import SpectrumError
from pipeline.common.files import read_json
from pipeline.common.text import clean
from pipeline.encoders import imported, open_clip_model
from pipeline.encoders.base import Recipe
from pipeline.encoders.open_clip_model import METADATA_FILE, OpenClipModel
from pipeline.encoders.precision import autocast, precision
from pipeline.params import AppearanceEncoder

if TYPE_CHECKING:
    import torch


_BATCH, _GPU_BATCH = 32, 256     # texts that are encoded at once
_STEP = 8                        # columns of tokens by which batches differ


class TextEncoder(Protocol):
    """`recipe` names the model (`kind`, `model`, `weights`): frames of the same model can be compared with texts."""

    dim: int
    recipe: Recipe
    precision: str

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """[n, dim], each of length 1."""
        ...


def text_encoder(section: AppearanceEncoder, folder: Path, device: str) -> TextEncoder:
    """What encodes captions: imported embeddings, or the model of the folder that the encoder stage made.

    Raises SpectrumError where the folder is not of these parameters, or its files have changed.
    """
    if section.weights == "imported":
        recipe = imported.model_recipe(imported.checked_metadata(section, folder))
        return ImportedTextEncoder(Path(section.texts), recipe)
    loaded = open_clip_model.load(section, folder)
    if section.features:        # the frames' store is an import, which names the model as such
        return OpenClipTextEncoder(loaded, device, imported.model_recipe(read_json(folder / METADATA_FILE)))
    return OpenClipTextEncoder(loaded, device)


class OpenClipTextEncoder:
    """The text tower of an open_clip model."""

    def __init__(self, loaded: OpenClipModel, device: str, recipe: Recipe | None = None) -> None:
        self.device, self.model = device, loaded.model.to(device)
        self.precision = precision(device)
        self.dim: int = loaded.metadata["dim"]
        self.recipe: Recipe = recipe or {"kind": "open_clip", "model": loaded.name,
                                         "weights": loaded.metadata["sha256"]}
        self._name = loaded.name
        self._tokenizer: Any = None

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """[n, D], each of length 1, whatever the other texts. A text longer than the model's context is cut.

        A row's bits may depend on a batch's shape, but not on what else is in it. So all batches are of one size, and
        of texts that take as many columns; the last one is filled up by texts that it has already.
        """
        import torch

        if not texts:
            return np.empty((0, self.dim), np.float32)
        if self._tokenizer is None:
            self._tokenizer = open_clip_model.tokenizer(self._name)
        tokens = self._tokenizer(list(texts))       # [n, context]
        columns = self._columns(tokens)             # [n]
        size = _GPU_BATCH if self.device.startswith("cuda") else _BATCH
        rows = np.empty((len(texts), self.dim), np.float32)
        with torch.inference_mode():
            for length in np.unique(columns).tolist():
                own = np.flatnonzero(columns == length)
                for batch in (own[first:first + size] for first in range(0, len(own), size)):
                    full = tokens[np.resize(batch, size), :length].to(self.device)
                    with autocast(self.device):
                        encoded = self._encode_tokens(full).float()
                    rows[batch] = torch.nn.functional.normalize(encoded, dim=-1)[:len(batch)].cpu().numpy()
        return rows

    def _columns(self, tokens: "torch.Tensor") -> NDArray[np.int64]:
        """How many columns of each text the tower has to see, in steps of _STEP.

        A causal tower that is read at the end-of-text token never sees what stands behind it, so cutting the
        padding changes the time alone; captions of 10 words fill a sixth of CLIP's 77 columns.
        """
        context = tokens.shape[1]
        if not self._is_causal():
            return np.full(len(tokens), context, np.int64)
        ends: NDArray[np.int64] = tokens.argmax(-1).numpy() + 1
        return np.minimum(-(-ends // _STEP) * _STEP, context)

    def _is_causal(self) -> bool:
        import open_clip

        model = self.model
        return isinstance(model, open_clip.CLIP) and model.text_pool_type == "argmax" and model.attn_mask is not None

    def _encode_tokens(self, tokens: "torch.Tensor") -> "torch.Tensor":
        """The text tower on as many columns as there are."""
        import torch

        model, length = self.model, tokens.shape[1]
        if not self._is_causal():
            return model.encode_text(tokens)  # type: ignore[no-any-return]
        cut = {"positional_embedding": model.positional_embedding[:length],
               "attn_mask": model.attn_mask[:length, :length]}
        output = torch.func.functional_call(model, cut, kwargs={"text": tokens})
        return output["text_features"] if isinstance(output, dict) else output[1]  # type: ignore[no-any-return]


class ImportedTextEncoder:
    """Captions looked up in a file of embeddings."""

    precision = "float32"

    def __init__(self, path: Path, recipe: Recipe) -> None:
        self.path, self.recipe = path, recipe
        self._embeddings, texts = imported.read_texts(path)         # [N, D], of length 1
        self.dim = self._embeddings.shape[1]
        self._row_of: dict[str, int] = {}
        for row, text in enumerate(texts):
            self._row_of.setdefault(clean(text), row)

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """[n, dim], each of length 1. Raises SpectrumError for a text that the file does not have."""
        rows = [self._row_of.get(clean(text)) for text in texts]
        missing = [text for text, row in zip(texts, rows, strict=True) if row is None]
        if missing:
            raise SpectrumError(f"{self.path}: no embedding of the text {missing[0]!r:.200} ({len(missing)} such among "
                                f"{len(texts)}); encoders.appearance.texts has to hold every caption, word for word")
        embeddings: NDArray[np.float32] = self._embeddings[np.array(rows, np.int64)]
        return embeddings
