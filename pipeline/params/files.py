"""DecodeStream, changing and writing files of parameters."""

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from io import StringIO
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.common.errors import SpectrumError
from pipeline.common.files import write_text
from pipeline.params.sections import Params

DEFAULT = Path("params.yaml")


def load(overrides: Sequence[str] = (), path: Path = DEFAULT) -> Params:
    """Parameters of `path`, changed by `key=value` overrides; a value is read as YAML (`seed=1`, `a.b=[x, y]`).

    Raises SpectrumError for a missing or broken file, an unknown key or a value out of range.
    """
    return validate(override(read(path), overrides), source=str(path))


def read(path: Path) -> dict[str, Any]:
    """The tree of a YAML file, with what writing it back needs to keep its comments."""
    yaml = YAML()
    yaml.preserve_quotes = True
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SpectrumError(f"{path}: no such file; run from the project's root, where params.yaml is") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise SpectrumError(f"{path}: not readable as YAML: {error}") from None
    if not isinstance(tree, dict):
        raise SpectrumError(f"{path}: expected a mapping of parameters, found {type(tree).__name__}")
    return tree


def override(tree: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A copy of `tree` with `a.b=value` applied; keys are checked later, by `validate`."""
    tree = deepcopy(tree)
    for item in overrides:
        key, equals, text = item.partition("=")
        if not equals or not key:
            raise SpectrumError(f"{item!r}: expected key=value, for example seed=1 or captioner.hidden_size=128")
        *parents, leaf = key.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise SpectrumError(f"{item!r}: {parent} is a value, not a section of the parameters")
        try:
            node[leaf] = YAML(typ="safe").load(text)
        except YAMLError:
            raise SpectrumError(f"{item!r}: {text!r} is not readable as a YAML value") from None
    return tree


def lay_over(tree: dict[str, Any], preset: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `tree` in which the leaves of `preset` replace those of the same keys."""
    tree = deepcopy(tree)
    for key, value in preset.items():
        below = tree.get(key)
        tree[key] = lay_over(below, value) if isinstance(below, dict) and isinstance(value, Mapping) else value
    return tree


def afresh(tree: dict[str, Any]) -> dict[str, Any]:
    """A copy of `tree` in which what describes an experiment has its default, where it has one.

    What describes the machine (device, extraction, cluster, metrics) stays.
    """
    tree = deepcopy(tree)
    _reset(tree, Params, ("seed", "data", "encoders", "retrieval", "emotion", "captioner", "training", "decoding"))
    return tree


def _reset(node: Any, section: type[BaseModel], names: Iterable[str]) -> None:
    for name in names:
        if not isinstance(node, dict) or name not in node:
            continue
        field = section.model_fields[name]
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            _reset(node[name], field.annotation, field.annotation.model_fields)
        elif not field.is_required():
            default = list(field.default) if isinstance(field.default, tuple) else field.default
            if node[name] != default:       # what says the same keeps its spelling
                node[name] = default


def apply(preset: Path, overrides: Sequence[str], path: Path = DEFAULT) -> Params:
    """Lays `preset`, then `overrides`, over the file `path`, which stays as it was if the result is not valid.

    A preset that names a data set is laid over the defaults, see `afresh`.
    """
    tree, over = read(path), read(preset)
    tree = override(lay_over(afresh(tree) if "dataset" in over else tree, over), overrides)
    params = validate(tree, source=str(preset))
    text = StringIO()
    YAML().dump(tree, text)
    write_text(path, text.getvalue())
    return params


def validate(tree: dict[str, Any], source: str) -> Params:
    try:
        return Params.model_validate(tree)
    except ValidationError as error:
        found = "; ".join(f"{'.'.join(str(part) for part in e['loc']) or 'parameters'}: {_sentence(e)}"
                          for e in error.errors())
        raise SpectrumError(f"{source}: {found}") from None


def _sentence(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return "no such parameter (see pipeline/params/sections.py for those there are)"
    message = str(error["msg"]).removeprefix("Value error, ")
    return message[0].lower() + message[1:]
