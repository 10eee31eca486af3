"""Reading, changing and writing files of parameters."""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from difflib import get_close_matches
from io import StringIO
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.common.errors import SpectrumError
from pipeline.common.files import write_text
from pipeline.params.renamed import renamed_keys
from pipeline.params.sections import Params

DEFAULT = Path("params.yaml")


def load(overrides: Sequence[str] = (), path: Path = DEFAULT) -> Params:
    """Parameters of `path`, changed by `key=value` overrides; a value is read as YAML (`seed=1`, `a.b=[x, y]`).

    In an override `~` at the beginning is the home folder; in a file it is refused, for DVC does not know it.
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
    except IsADirectoryError:
        raise SpectrumError(f"{path}: it is a folder; name the file of parameters in it, such as "
                            f"{path / DEFAULT.name}") from None
    except OSError as error:
        raise SpectrumError(f"{path}: it cannot be read ({error.strerror}); mend its permissions") from None
    except (YAMLError, ValueError, RecursionError) as error:
        raise SpectrumError(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from None
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
            value = YAML(typ="safe").load(text)
        except (YAMLError, ValueError, RecursionError):
            raise SpectrumError(f"{item!r}: {text!r} is not readable as a YAML value") from None
        node[leaf] = _expanded(value) if isinstance(value, str) and value.startswith("~") else value
    return tree


def lay_over(tree: dict[str, Any], preset: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `tree` in which the leaves of `preset` replace those of the same keys."""
    tree = deepcopy(tree)
    for key, value in preset.items():
        below = tree.get(key)
        tree[key] = lay_over(below, value) if isinstance(below, dict) and isinstance(value, Mapping) else value
    return tree


def read_preset(path: Path) -> dict[str, Any]:
    """A preset laid over those that its `includes` names, files of the same folder; plain values, no comments."""
    preset = _plain(read(path))
    merged: dict[str, Any] = {}
    for name in preset.pop("includes", []):
        merged = lay_over(merged, read_preset(path.with_name(str(name))))
    return lay_over(merged, preset)


def _plain(value: Any) -> Any:
    """A tree without the places and comments of the file that it was read from."""
    if isinstance(value, Mapping):
        return {str(key): _plain(below) for key, below in value.items()}
    if isinstance(value, list):
        return [_plain(below) for below in value]
    return next((kind(value) for kind in (str, float) if isinstance(value, kind)), value)


def apply(preset: Path, overrides: Sequence[str], path: Path = DEFAULT) -> Params:
    """Lays `preset`, then `overrides`, over the file `path`, which stays as it was if the result is not valid.

    A preset that names a data set starts afresh: what describes an experiment takes its default first; what
    describes the machine stays.
    """
    tree, over = read(path), read_preset(preset)
    if "dataset" in over:
        _reset(tree, Params.model_validate({}).model_dump(mode="json", exclude=set(_KEPT)))
    tree = override(lay_over(tree, over), overrides)
    params = validate(tree, source=str(preset))
    text = StringIO()
    YAML().dump(tree, text)
    write_text(path, text.getvalue())
    return params


# No part of an experiment on a data set.
_KEPT = ("machine", "cluster", "sample", "encoder", "extraction")


def _reset(tree: Any, defaults: Mapping[str, Any]) -> None:
    """Gives every value of `tree` that has a default this default; one that says the same keeps its spelling."""
    for key, default in defaults.items():
        if not isinstance(tree, dict) or key not in tree:
            continue
        if isinstance(default, Mapping):
            _reset(tree[key], default)
        elif tree[key] != default:
            tree[key] = default


def differences(params: Params, others: Params) -> list[str]:
    """What decides a result and differs, such as `training.epochs (1, not 20)`; machine and cluster do not."""
    mine, theirs = (tree.model_dump(mode="json", exclude={"machine", "cluster"}) for tree in (params, others))
    return list(_differences(mine, theirs))


def _differences(mine: Mapping[str, Any], theirs: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in mine.items():
        if isinstance(value, Mapping):
            yield from _differences(value, theirs[key], f"{prefix}{key}.")
        elif value != theirs[key]:
            yield f"{prefix}{key} ({value}, not {theirs[key]})"


def validate(tree: dict[str, Any], source: str) -> Params:
    if renamed := "; ".join(renamed_keys(tree)):
        raise SpectrumError(f"{source}: {renamed}")
    if at_home := next(_at_home(tree), ""):
        raise SpectrumError(f"{source}: {at_home}")
    try:
        return Params.model_validate(tree)
    except ValidationError as error:
        problems = "; ".join(f"{key}: {_sentence(e, key)}" for e in error.errors()
                             for key in ['.'.join(str(part) for part in e['loc']) or 'parameters'])
        raise SpectrumError(f"{source}: {problems}") from None


def _at_home(tree: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """A sentence for every value that begins with `~`."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _at_home(value, f"{prefix}{key}.")
        elif isinstance(value, str) and value.startswith("~"):
            yield (f"{prefix}{key}: {value!r}: DVC does not know `~`; write the whole path, "
                   f"{_expanded(value)}")


def _nearest(key: str) -> str:
    """The parameter that an unknown key may stand for: of its name in another section, or of a like name in its own."""
    known = [other.rpartition(".") for other in _keys(Params.model_validate({}).model_dump(mode="json"))]
    section, dot, name = key.rpartition(".")
    same = [other for other in known if other[2] == name]
    if len(same) == 1:
        return "".join(same[0])
    like = get_close_matches(name, [own for other, _, own in known if other == section], 1, 0.7)
    return f"{section}{dot}{like[0]}" if like else ""


def _keys(tree: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in tree.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _keys(value, f"{prefix}{key}.")


def _expanded(path: str) -> str:
    """A path that begins with `~`, whole; as it is where there is no such user."""
    try:
        return str(Path(path).expanduser())
    except RuntimeError:
        return path


def _sentence(error: Any, key: str) -> str:
    if error["type"] == "extra_forbidden":
        near = _nearest(key)
        return "no such parameter" + (f"; did you mean {near}?" if near else " (params.yaml lists those there are)")
    message = str(error["msg"]).removeprefix("Value error, ")
    return message[0].lower() + message[1:]
