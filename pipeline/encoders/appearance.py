"""Frames and texts through an open_clip model.

The encoder stage makes a folder once: `prepare` for weights that exist, `save_trained` for weights trained
here. Every later stage loads the same folder: `load(section, folder, device)`. `encoder.json` says which
weights they are, by a hash over the tensors, so that a replaced file is noticed.
"""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.common.errors import SpectrumError
from pipeline.common.files import atomic_write, read_json, write_json
from pipeline.encoders import pretrained_tags as tags
from pipeline.encoders import torchvision_compat as compat
from pipeline.encoders.base import Future, Recipe, imported_encoder_error
from pipeline.encoders.image_transform import Pictures
from pipeline.encoders.weights import one_line, tensors_sha256
from pipeline.media.decoder import DecodeStream, VideoDecoder, decoder_recipe
from pipeline.media.sampling import Rate, Sampling, Uniform
from pipeline.params import AppearanceEncoder

compat.install()

import open_clip  # noqa: E402
import safetensors.torch  # noqa: E402
import torch  # noqa: E402
from open_clip.transformer import QuickGELU  # noqa: E402

from pipeline.encoders.device_transfer import Transfers  # noqa: E402

open_clip.add_model_config(Path(__file__).with_name("models"))

_TRAINED_FILE = "model.safetensors"


class Appearance:
    """Rows of frames as the model's `encode_image` gives them, not normalised; rows of texts of length 1.

    On a GPU the model computes in bfloat16 where PyTorch's autocast does; on a CPU in float32.
    """

    modality = "appearance"

    def __init__(self, section: AppearanceEncoder, model: Any, facts: dict[str, Any], device: str) -> None:
        self.name, self.batch_size = section.name, section.batch_size
        self.device = device
        self.model = model.eval().to(device)
        self._sampling: Sampling = Rate(section.fps) if section.fps else Uniform(section.num_frames)
        self._tokenizer: Any = None
        self._model_name = section.model
        self._pictures = Pictures(_preprocess(model), device)
        self._transfers = Transfers(device)
        self.dim: int = facts["dim"]
        self.recipe: Recipe = {
            "kind": "open_clip", "model": section.model, "weights": facts["sha256"],
            "quick_gelu": any(isinstance(part, QuickGELU) for part in model.modules()),
            "untrained": facts["untrained"], "preprocess": facts["preprocess"], "normalised": False,
            "resized": "torchvision uint8", "sampling": self._sampling.recipe, "decoder": decoder_recipe(),
            "dtype": "float16",
        }

    def read(self, decoder: VideoDecoder, path: Path) -> DecodeStream:
        return decoder.frames(path, self._sampling)

    def prepare(self, item: NDArray[Any]) -> NDArray[Any]:
        """A frame, RGB uint8 [H, W, 3] → uint8 [3, S, S], resized and cropped as open_clip does."""
        return self._pictures.fitted(item)

    @torch.inference_mode()
    def submit(self, batch: NDArray[Any]) -> Future:
        return self._transfers.submit(batch, self._rows)

    def _rows(self, batch: torch.Tensor) -> torch.Tensor:
        pictures = self._pictures.normalised(batch)                                 # [B, 3, S, S]
        with self._precision():
            rows: torch.Tensor = self.model.encode_image(pictures)                  # [B, D]
        return rows

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str], batch: int = 256) -> NDArray[np.float32]:
        """[n, D], each of length 1. A text longer than the model's context is cut."""
        if self._tokenizer is None:
            self._tokenizer = _tokenizer(self._model_name)
        rows = np.empty((len(texts), self.dim), np.float32)
        by_length = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        for first in range(0, len(texts), batch):
            places = by_length[first:first + batch]
            tokens = self._tokenizer([texts[place] for place in places]).to(self.device)       # [b, context]
            with self._precision():
                encoded = self._encode_tokens(tokens).float()
            rows[places] = torch.nn.functional.normalize(encoded, dim=-1).cpu().numpy()
        return rows

    def _encode_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        """The text tower on no more columns than the longest text has.

        A causal tower that is read at the end-of-text token never sees what stands behind it, so cutting the
        padding changes nothing but the time; captions of 10 words fill a sixth of CLIP's 77 columns.
        """
        model = self.model
        if not isinstance(model, open_clip.CLIP) or model.text_pool_type != "argmax" or model.attn_mask is None:
            return model.encode_text(tokens)  # type: ignore[no-any-return]
        length = int(tokens.argmax(-1).max()) + 1
        cut = {"positional_embedding": model.positional_embedding[:length],
               "attn_mask": model.attn_mask[:length, :length]}
        found = torch.func.functional_call(model, cut, kwargs={"text": tokens[:, :length]})
        return found["text_features"] if isinstance(found, dict) else found[1]  # type: ignore[no-any-return]

    def _precision(self) -> torch.autocast:
        return torch.autocast("cuda" if self.device.startswith("cuda") else "cpu", torch.bfloat16,
                              enabled=self.device.startswith("cuda"))


def load(section: AppearanceEncoder, folder: Path, device: str) -> Appearance:
    """The encoder of the folder that the encoder stage made.

    Raises SpectrumError where its weights are missing, have changed, or are not those of the parameters.
    """
    if section.weights == "imported":
        raise imported_encoder_error("appearance")
    path = folder / "encoder.json"
    facts = read_json(path)
    if (facts["model"], facts["weights"]) != (section.model, section.weights):
        raise SpectrumError(f"{path}: it is of {facts['model']} with weights {facts['weights']}, but asked "
                            f"for is {section.model} with {section.weights}; run the encoder stage again")
    if facts["weights"] == "train":
        model = _create(section.model, str(folder / _TRAINED_FILE))
    else:
        model = _existing(section, facts["seed"])
    found = tensors_sha256(model)
    if found != facts["sha256"]:
        raise SpectrumError(f"{path}: its weights have changed since (SHA-256 {found[:12]}…, expected "
                            f"{facts['sha256'][:12]}…); run the encoder stage again")
    return Appearance(section, model, facts, device)


def prepare(section: AppearanceEncoder, folder: Path, seed: int) -> dict[str, Any]:
    """Makes `folder` point to weights: a pretrained tag, a file, the model's own, or random ones of `seed`.

    Returns what encoder.json says. Raises SpectrumError where the weights cannot be had.
    """
    model = _existing(section, seed)
    return _publish(section.model, section.weights, model, folder, {"seed": seed})


def create(name: str, seed: int) -> tuple[Any, Any, int]:
    """An open_clip model with random weights of `seed`, to train; its tokenizer; the side of its pictures."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        logging.disable(logging.WARNING)        # open_clip warns that there are no weights, which is what was asked for
        try:
            model = _create(name, None, untrained=True)
        finally:
            logging.disable(logging.NOTSET)
    size = open_clip.get_model_preprocess_cfg(model)["size"]
    return model, _tokenizer(name), size if isinstance(size, int) else size[0]


def save_trained(name: str, model: torch.nn.Module, folder: Path, training: dict[str, Any]) -> dict[str, Any]:
    """Puts a model trained here into `folder`: `name` is its open_clip name, `training` how it was trained.

    open_clip loads the file like any other: `create_model(name, pretrained="…/model.safetensors")`.
    """
    tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in model.state_dict().items()}
    with atomic_write(folder / _TRAINED_FILE) as temporary:
        safetensors.torch.save_file(tensors, temporary)
    return _publish(name, "train", model, folder, {"training": training})


def _publish(name: str, weights: str, model: Any, folder: Path, more: dict[str, Any]) -> dict[str, Any]:
    size = open_clip.get_model_preprocess_cfg(model)["size"]
    height, width = (size, size) if isinstance(size, int) else size
    device = next(model.parameters()).device
    with torch.inference_mode():
        dim = model.eval().encode_image(torch.zeros(1, 3, height, width, device=device)).shape[1]
    facts = {"model": name, "weights": weights, "untrained": weights == "random", "dim": dim,
             "sha256": tensors_sha256(model), "preprocess": _preprocess(model), **more}
    write_json(folder / "encoder.json", facts)
    return facts


def _preprocess(model: Any) -> dict[str, Any]:
    """The parameters of open_clip's transform, as JSON gives them back."""
    parameters: dict[str, Any] = json.loads(json.dumps(open_clip.get_model_preprocess_cfg(model)))
    return parameters


def _existing(section: AppearanceEncoder, seed: int) -> Any:
    """The model with the weights that the parameters name."""
    own = section.model.startswith(tags.OWN)
    if own != (section.weights == "own"):
        raise SpectrumError(f"encoders.appearance: weights {section.weights!r} do not go with model "
                            f"{section.model!r}; `own` is for hf-hub:… and local-dir:…, and for them alone")
    if section.weights == "random":
        return create(section.model, seed)[0]
    if own:
        tags.check_own(section)
        return _create(section.model, None)
    tag = open_clip.get_pretrained_cfg(section.model, section.weights)
    if tag:
        tags.check_tag(section, tag)
    elif not Path(section.weights).is_file():
        _check_name(section.model)
        known = ", ".join(open_clip.list_pretrained_tags_by_model(section.model)) or "none"
        raise SpectrumError(f"encoders.appearance.weights: {section.weights!r} is no file and no pretrained "
                            f"tag of {section.model} (there are: {known})")
    # Weights that were made with QuickGELU, as OpenAI's, are computed with it: open_clip would only warn.
    return _create(section.model, section.weights, quick_gelu=bool(tag.get("quick_gelu")))


def _create(name: str, weights: str | None, *, untrained: bool = False, quick_gelu: bool = False) -> Any:
    """open_clip's model with `weights` (tag or file); every way it can fail becomes one sentence."""
    _check_name(name)
    try:
        return open_clip.create_model(name, pretrained=weights, require_pretrained=not untrained,
                                      force_quick_gelu=quick_gelu, weights_only=True)
    except Exception as error:      # a file of anything can make a reader of weights fail in any way
        raise SpectrumError(f"{name} with weights {weights or 'of its own'}: they cannot be loaded "
                            f"({one_line(error)}); give a file of this model's weights in encoders.appearance.weights, "
                            ".safetensors or a .pt of tensors alone") from None


def _check_name(name: str) -> None:
    if not name.startswith(tags.OWN) and name not in open_clip.list_models():
        raise SpectrumError(f"encoders.appearance.model: open_clip has no model {name!r}; "
                            "`python -c 'import open_clip; print(open_clip.list_models())'` lists them")


def _tokenizer(name: str) -> Any:
    try:
        return open_clip.get_tokenizer(name)
    except (OSError, RuntimeError, ValueError) as error:
        raise SpectrumError(f"{name}: its tokenizer cannot be loaded ({one_line(error)}); download it elsewhere and "
                            "copy the hub's cache") from None
