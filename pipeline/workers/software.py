"""What has to be the same in all processes that do parts of one task: code, versions, and the worker's own facts."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pipeline.common.code import PACKAGES, code_digest
from pipeline.common.files import fingerprint

# Whose versions may change a bit.
_PACKAGES = ("torch", "open_clip_torch", "transformers", "numpy", "h5py", "faiss-cpu", "faiss-gpu")


@dataclass(frozen=True)
class Software:
    """The digest of the project's code that `make`, and the callables that it holds, import; versions of packages."""

    code: str
    versions: Mapping[str, str]

    @classmethod
    def of(cls, make: Callable[..., Any]) -> "Software":
        modules = {module for module in _modules(make) if module.partition(".")[0] in PACKAGES}
        return cls(_code(tuple(sorted(modules))), dict(_versions()))

    def differences(self, other: "Software") -> list[str]:
        """How `self`, a worker's, differs from `other`."""
        code = ["its copy of this project has other code"] if self.code != other.code else []
        own, theirs = self.versions, other.versions
        return code + [f"{package} {own.get(package, 'is missing')}, not {theirs.get(package, 'none')}"
                       for package in _PACKAGES if own.get(package) != theirs.get(package)]


def different_facts(own: Mapping[str, Any], others: Mapping[str, Any]) -> list[str]:
    """How a worker's own facts differ from those of another."""
    return [f"its {name} is {_short(own.get(name))}, not {_short(others.get(name))}"
            for name in sorted({*own, *others}) if own.get(name) != others.get(name)]


@cache
def _code(modules: tuple[str, ...]) -> str:
    """Of the files as they were when this process first asked: it has imported them, and runs what they were."""
    return code_digest(*modules)


def _modules(value: Any) -> Iterator[str]:
    """The modules of a callable, and of the callables that it holds."""
    held: list[Any] = []
    if isinstance(value, partial):
        held = [value.func, *value.args, *value.keywords.values()]
    elif is_dataclass(value) and not isinstance(value, type):
        held = [type(value), *(getattr(value, field.name) for field in fields(value))]
    elif callable(value):
        yield value.__module__
    for part in held:
        yield from _modules(part)


def _versions() -> Iterator[tuple[str, str]]:
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            yield package, version(package)


def _short(fact: Any) -> str:
    return fingerprint(fact) if isinstance(fact, dict) else str(fact)
