"""An open_clip model in the folder that the encoder stage makes: creating, publishing and loading it.

The encoder stage makes the folder once: `prepare` for weights that exist, `save_trained` for weights trained here.
Every later stage loads the same folder: `load(section, folder)`. `encoder.json` has a hash over the tensors, so that
a replaced file is noticed. open_clip and torch take seconds to import and are imported when they are used.
"""

import json
import logging
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.common.commands import rerun
from pipeline.common.errors import SpectrumError
from pipeline.common.files import atomic_write, read_json, write_json
from pipeline.encoders import pretrained_tags as tags
from pipeline.encoders.base import imported_encoder_error
from pipeline.encoders.open_clip_import import complete, import_open_clip
from pipeline.encoders.weights import one_line, tensors_sha256
from pipeline.params import AppearanceEncoder

if TYPE_CHECKING:
    import torch

METADATA_FILE = "encoder.json"
_TRAINED_FILE = "model.safetensors"


@dataclass(frozen=True)
class OpenClipModel:
    """`model` is open_clip's, in evaluation mode; `metadata` is the content of encoder.json."""

    name: str
    model: Any
    metadata: dict[str, Any]


def load(section: AppearanceEncoder, folder: Path) -> OpenClipModel:
    """The model of the folder that the encoder stage made, on the CPU.

    Raises SpectrumError where its weights are missing, have changed, or are not those of the parameters.
    """
    if section.weights == "imported":
        raise imported_encoder_error("appearance")
    path = folder / METADATA_FILE
    metadata = read_json(path)
    if (metadata["model"], metadata["weights"]) != (section.model, section.weights):
        raise SpectrumError(f"{path}: it is of {metadata['model']} with weights {metadata['weights']}, but the "
                            f"parameters ask for {section.model} with {section.weights}; {rerun('encoder')}")
    if metadata["weights"] == "train":
        model = _create(section.model, str(folder / _TRAINED_FILE))
    else:
        model = _existing(section, metadata["seed"])
    digest = tensors_sha256(model)
    if digest != metadata["sha256"]:
        raise SpectrumError(f"{path}: its weights have changed since (SHA-256 {digest[:12]}…, expected "
                            f"{metadata['sha256'][:12]}…); {rerun('encoder')}")
    return OpenClipModel(section.model, model.eval(), metadata)


def prepare(section: AppearanceEncoder, folder: Path, seed: int) -> dict[str, Any]:
    """Makes `folder` point to weights: a pretrained tag, a file, the model's own, or random ones of `seed`.

    Returns the content of encoder.json. Raises SpectrumError where the weights cannot be had.
    """
    model = _existing(section, seed)
    return _publish(section.model, section.weights, model, folder, {"seed": seed})


def create(name: str, seed: int) -> tuple[Any, Any, int]:
    """An open_clip model with random weights of `seed`, to train; its tokenizer; its images' side in pixels."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        logging.disable(logging.WARNING)        # open_clip warns that there are no weights, which is intended here
        try:
            model = _create(name, None, untrained=True)
        finally:
            logging.disable(logging.NOTSET)
    size = _open_clip().get_model_preprocess_cfg(model)["size"]
    return model, tokenizer(name), size if isinstance(size, int) else size[0]


def save_trained(name: str, model: "torch.nn.Module", folder: Path, training: dict[str, Any]) -> dict[str, Any]:
    """Puts a model trained here into `folder`: `name` is its open_clip name, `training` how it was trained.

    open_clip loads the file like any other: `create_model(name, pretrained="…/model.safetensors")`.
    """
    import safetensors.torch

    tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in model.state_dict().items()}
    with atomic_write(folder / _TRAINED_FILE) as temporary:
        temporary.write_bytes(safetensors.torch.save(tensors))
    return _publish(name, "train", model, folder, {"training": training})


def preprocessing(model: Any) -> dict[str, Any]:
    """The parameters of open_clip's image transform, as JSON gives them back."""
    parameters: dict[str, Any] = json.loads(json.dumps(_open_clip().get_model_preprocess_cfg(model)))
    return parameters


def tokenizer(name: str) -> Any:
    """Texts → tokens [n, context]. Raises SpectrumError where it would have to be downloaded and cannot be."""
    try:
        return _open_clip().get_tokenizer(name)
    except (OSError, RuntimeError, ValueError) as error:
        raise SpectrumError(f"{name}: its tokenizer cannot be loaded ({one_line(error)}); download it elsewhere and "
                            "copy the hub's cache") from None


def names() -> list[str]:
    """The models that can be named in encoders.appearance.model."""
    models: list[str] = _open_clip().list_models()
    return models


@cache
def _open_clip() -> Any:
    """The library, with the models that this project defines."""
    open_clip = import_open_clip()
    open_clip.add_model_config(Path(__file__).with_name("models"))
    return open_clip


def _publish(name: str, weights: str, model: Any, folder: Path, more: dict[str, Any]) -> dict[str, Any]:
    import torch

    size = _open_clip().get_model_preprocess_cfg(model)["size"]
    height, width = (size, size) if isinstance(size, int) else size
    device = next(model.parameters()).device
    with torch.inference_mode():
        dim = model.eval().encode_image(torch.zeros(1, 3, height, width, device=device)).shape[1]
    metadata = {"model": name, "weights": weights, "untrained": weights == "random", "dim": dim,
                "sha256": tensors_sha256(model), "preprocess": preprocessing(model), **more}
    write_json(folder / METADATA_FILE, metadata)
    return metadata


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
    open_clip = _open_clip()
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
    if _has_foreign_tower(name):
        complete()
    try:
        return _open_clip().create_model(name, pretrained=weights, require_pretrained=not untrained,
                                         force_quick_gelu=quick_gelu, weights_only=True)
    except Exception as error:      # a file of anything can make a reader of weights fail in any way
        raise SpectrumError(f"{name} with weights {weights or 'of its own'}: they cannot be loaded "
                            f"({one_line(error)}); give a file of this model's weights in encoders.appearance.weights, "
                            ".safetensors or a .pt of tensors alone") from None


def _has_foreign_tower(name: str) -> bool:
    """Whether a tower of the model is of transformers or timm; of a hub's or a folder's model that is not known yet."""
    config = _open_clip().get_model_config(name) if not name.startswith(tags.OWN) else None
    return config is None or any("timm_model_name" in part or "hf_model_name" in part
                                 for part in config.values() if isinstance(part, dict))


def _check_name(name: str) -> None:
    if not name.startswith(tags.OWN) and name not in names():
        near = ", ".join(get_close_matches(name, names())) or "none"
        raise SpectrumError(f"encoders.appearance.model: open_clip has no model {name!r} (of a like name: {near}); "
                            "`python -c 'from pipeline.encoders.open_clip_model import names; print(*names())'` lists "
                            "them")
