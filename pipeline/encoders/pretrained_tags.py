"""Whether weights that open_clip would download can be had, checked before open_clip is imported.

open_clip and what it imports take seconds, and a machine without a network should report that soon. Its table of
pretrained tags lies in a module that needs none of that.
"""

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any

from pipeline.encoders.weights import check_server
from pipeline.params import AppearanceEncoder

OWN = ("hf-hub:", "local-dir:")     # a model of such a name brings its weights


def check(section: AppearanceEncoder) -> None:
    """Raises SpectrumError where the weights have to be downloaded and cannot be; other mistakes are not noticed."""
    if section.model.startswith(OWN):
        check_own(section)
    elif tag := _tag(section.model, section.weights):
        check_tag(section, tag)


def check_own(section: AppearanceEncoder) -> None:
    """Of a model that brings its weights."""
    check_server(section.model.removeprefix("hf-hub:"), section.model, "give its file in encoders.appearance.weights")


def check_tag(section: AppearanceEncoder, tag: dict[str, Any]) -> None:
    """Of a pretrained tag: `tag` is open_clip's entry for it."""
    # A file does not say that its weights were made with QuickGELU, a model's name does.
    named = f"{section.model}-quickgelu with " if tag.get("quick_gelu") and "quickgelu" not in section.model else ""
    check_server(tag.get("hf_hub") or tag["url"], f"{section.model} with weights {section.weights}",
                 f"give {named}its file in encoders.appearance.weights")


def _tag(model: str, tag: str) -> dict[str, Any]:
    """open_clip's entry for the tag; {} where there is none, or the installed open_clip keeps its table elsewhere."""
    if "open_clip" in sys.modules:
        return _entry(model, tag)
    spec = importlib.util.find_spec("open_clip")
    package = ModuleType("open_clip")
    package.__path__ = list(spec.submodule_search_locations or []) if spec else []
    # A package of that name without its contents; and no safetensors.torch, which its module does without.
    hidden = {"open_clip": package, "safetensors.torch": None}
    before = {name: sys.modules[name] for name in hidden if name in sys.modules}
    sys.modules.update(hidden)  # type: ignore[arg-type]  # None: importing it fails
    try:
        return _entry(model, tag)
    except (ImportError, AttributeError):
        return {}
    finally:
        for name in [*hidden, *(name for name in sys.modules if name.startswith("open_clip."))]:
            del sys.modules[name]
        sys.modules.update(before)


def _entry(model: str, tag: str) -> dict[str, Any]:
    entry: dict[str, Any] = importlib.import_module("open_clip.pretrained").get_pretrained_cfg(model, tag)
    return entry
