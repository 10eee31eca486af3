"""Lets torchvision be imported beside a torch of another build.

The wheels of torchvision on the package index are built for CUDA. Beside a torch for the CPU alone their
compiled operators cannot load, and `import torchvision` dies when it describes operators that nobody
declared, and takes open_clip and parts of transformers with it. With the two operators declared, all of
torchvision that is written in Python works, and no more of it is used here. On a matched pair this module
changes nothing.
"""

import importlib.util
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any

_OPERATORS = {
    "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_declared: list[Any] = []       # a declaration lives as long as its Library


class _BeforeTorchvision(MetaPathFinder):
    """Finds no module itself: it is called just before torchvision is imported."""

    def find_spec(self, fullname: str, path: object = None,  # noqa: ARG002
                  target: object = None) -> ModuleSpec | None:  # noqa: ARG002
        if fullname == "torchvision":
            sys.meta_path.remove(self)
            spec = importlib.util.find_spec("torchvision")
            for folder in (spec.submodule_search_locations or []) if spec else []:
                _declare(f"{folder}/_C.so")
        return None


def install() -> None:
    """Call before torchvision, open_clip or transformers are first imported; a second call has no effect."""
    waits = any(isinstance(finder, _BeforeTorchvision) for finder in sys.meta_path)
    # `_declared`: transformers looks for torchvision long before it imports it.
    if "torchvision" not in sys.modules and not waits and not _declared:
        sys.meta_path.insert(0, _BeforeTorchvision())


def _declare(extension: str) -> None:
    """Declares the operators where the compiled ones do not load."""
    import torch

    try:
        torch.ops.load_library(extension)  # type: ignore[no-untyped-call]
    except OSError:
        library: Any = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        for name, signature in _OPERATORS.items():
            library.define(name + signature)
        _declared.append(library)
