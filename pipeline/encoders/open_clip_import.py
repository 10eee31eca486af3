"""Imports open_clip without what most of its models do not need: transformers, timm and torch's compiler.

Each takes a second or so. open_clip does without the first two where they are not installed, and is told so unless a
model needs them (`complete`). torchvision imports the compiler to be asked whether it compiles, and to be told what it
should not compile; here nothing is compiled.
"""

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from pipeline.encoders import torchvision_compat as compat

_OPTIONAL = {"transformers": "open_clip.hf_model", "timm": "open_clip.timm_model"}
_COMPILER = "torch._dynamo"
_FUNCTIONS = f"{_COMPILER}.utils"


def import_open_clip() -> Any:
    """The library; the first call decides how it is imported."""
    compat.install()
    if "open_clip" in sys.modules:
        return sys.modules["open_clip"]
    import torch  # noqa: F401  (before its compiler is hidden)

    hidden: dict[str, Any] = dict.fromkeys(name for name in _OPTIONAL if name not in sys.modules)   # None: no import
    if _COMPILER not in sys.modules:
        package = ModuleType(_COMPILER)
        package.__path__ = []
        package.disable = _leave     # type: ignore[attr-defined]
        hidden |= {_COMPILER: package, _FUNCTIONS: _Functions(_FUNCTIONS)}
    with _hidden(hidden):
        importlib.import_module("torchvision.transforms.v2")
        return importlib.import_module("open_clip")


def complete() -> None:
    """Gives open_clip what it was told is not there, for models that need it; what is not installed stays away."""
    for library, adapter in _OPTIONAL.items():
        module = importlib.import_module(adapter)
        if getattr(module, library) is None:
            importlib.reload(module)    # in place: what was imported from it sees the library from now on


@contextmanager
def _hidden(modules: dict[str, Any]) -> Iterator[None]:
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in modules:
            del sys.modules[name]


def _leave(function: Any = None, *_: Any, **__: Any) -> Any:
    """The decorator that keeps a function from being compiled."""
    return function if function is not None else _leave


class _Functions(ModuleType):
    """A module of functions that is imported when one of them is called."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*arguments: Any, **named: Any) -> Any:
            return getattr(importlib.import_module(self.__name__), name)(*arguments, **named)

        return call
