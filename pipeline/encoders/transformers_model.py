"""What the encoders of the transformers library share: loading from a folder, precision, rows.

The library takes seconds to import, so it is imported when a model is loaded and not before.
"""

import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.common.errors import SpectrumError
from pipeline.encoders import torchvision_compat as compat
from pipeline.encoders.base import Future
from pipeline.encoders.precision import autocast, precision
from pipeline.encoders.weights import CONFIG, PREPROCESSING, WEIGHTS, folder_of, one_line, tensors_sha256

if TYPE_CHECKING:
    import torch

    from pipeline.encoders.device_transfer import Transfers


@dataclass(frozen=True)
class ModelFamily:
    """How one architecture is used: `rows(model, prepared items [B, …]) → [B, dim]`."""

    loader: str                         # of transformers, for the model
    pooled: str                         # what a row is, for the recipe
    dim: Callable[[Any], int]           # from the model's configuration
    rows: Callable[[Any, "torch.Tensor"], "torch.Tensor"]


@dataclass(frozen=True)
class LoadedModel:
    """A model with the preprocessing that its files define."""

    family: ModelFamily
    model: Any
    preprocess: Any
    device: str
    recipe: dict[str, Any]      # what of it decides the rows

    @property
    def dim(self) -> int:
        return self.family.dim(self.model.config)

    def submit(self, batch: NDArray[np.float32]) -> Future:
        """Prepared items [B, …] → rows [B, dim]; bfloat16 on a GPU, float32 on a CPU."""
        import torch

        with torch.inference_mode(), autocast(self.device):
            return self._transfers.submit(batch, partial(self.family.rows, self.model))

    @cached_property
    def _transfers(self) -> "Transfers":
        from pipeline.encoders.device_transfer import Transfers

        return Transfers(self.device)


def load(model: str, key: str, families: Mapping[str, ModelFamily], preprocessor: str, device: str) -> LoadedModel:
    """The encoder that hub id or folder `model` holds, of one of `families` (by the configuration's model_type).

    preprocessor: the class of transformers that loads its preprocessing; key: the parameter that names the model.
    Raises SpectrumError.
    """
    folder = folder_of(model, key, (CONFIG, WEIGHTS, PREPROCESSING))
    kind = read("AutoConfig", folder, key).model_type
    if kind not in families:
        raise SpectrumError(f"{key}: {model} is a model of type {kind!r}, expected one of "
                            f"{', '.join(sorted(families))}; give such a model")
    preprocess = read(preprocessor, folder, key)
    network = read_model(families[kind].loader, folder, key, device)
    recipe = {"kind": "transformers", "type": kind, "weights": tensors_sha256(network), "pooled": families[kind].pooled,
              "precision": precision(device),
              "preprocess": {"class": type(preprocess).__name__, **json.loads(preprocess.to_json_string())}}
    return LoadedModel(families[kind], network, preprocess, device, recipe)


def read(loader: str, folder: Path, key: str, **more: Any) -> Any:
    """What the class `loader` of transformers makes of a folder; every way it can fail becomes one sentence."""
    compat.install()
    import transformers

    try:
        with _quiet(transformers.utils.logging):
            return getattr(transformers, loader).from_pretrained(folder, local_files_only=True,
                                                                 trust_remote_code=False, **more)
    except Exception as error:      # a folder of anything can make a reader fail in any way
        raise SpectrumError(f"{key}: {folder} cannot be loaded as {loader} ({one_line(error)}); save it with "
                            "transformers' save_pretrained, or give another model") from None


def read_model(loader: str, folder: Path, key: str, device: str) -> Any:
    """A model in float32, for inference. Raises SpectrumError where a tensor it computes with is not in the file."""
    import torch

    model, info = read(loader, folder, key, dtype=torch.float32, use_safetensors=True, output_loading_info=True)
    missing = sorted(info["missing_keys"]) + sorted(str(key[0]) for key in info["mismatched_keys"])
    if missing:     # the library fills them with random numbers
        raise SpectrumError(f"{key}: {folder} lacks {len(missing)} tensors of {loader}, or has them in another shape, "
                            f"such as {missing[0]}; give a model that was trained as {loader}")
    return model.eval().to(device)


@contextmanager
def _quiet(logging: Any) -> Iterator[None]:
    """No reports and bars of the library's own while it loads: what matters of them is checked here."""
    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()
