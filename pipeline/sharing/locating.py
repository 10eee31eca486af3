"""Where a captioner and all that it needs is: in this project, in a model's folder, or on a hub."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.common.errors import SpectrumError
from pipeline.encoders.weights import MODEL_FILES, hub_folder
from pipeline.params import DEFAULT, Params, load, override, read, validate
from pipeline.params.paths import Paths

PARAMS = "params.yaml"
# Of a model's folder: what it is made of, never a pickle, never code; and what it cannot lack.
FILES = ("*.md", "*.yaml", "*.csv", "*.h5", "*.npy", *MODEL_FILES, "*.safetensors")
WANTED = ("README.md", PARAMS, "captioner.json", "captioner.safetensors", "encoder/encoder.json", "index/index.json",
          "emotion.h5")
HERE = "./"         # a parameter begins with it where its value lies in the model's folder
# Parameters that may name a folder or a file, and what that is called in the model's folder.
_NAMED = {"encoders.audio.model": "audio", "encoders.motion.model": "motion",
          "emotion.classifier_model": "classifier", "emotion.classifier_labels": "labels.json"}


def locate(name: str, overrides: Sequence[str] = (), params_file: Path = DEFAULT) -> tuple[Params, Paths]:
    """The parameters and paths for `name`: a checkpoint of this project, or what `locate_model` finds."""
    folder = Path(name).expanduser()
    if folder.is_dir() and not (folder / PARAMS).is_file() and params_file.is_file():
        params = load(overrides, params_file)
        return params, replace(Paths.of(params), captioner=folder)
    return locate_model(name, overrides)


def locate_model(name: str, overrides: Sequence[str] = ()) -> tuple[Params, Paths]:
    """The parameters and paths of a model's folder or a hub's repository (org/name, org/name@revision); the hub is not
    asked for what its cache has. Raises SpectrumError where a file is missing."""
    folder = Path(name).expanduser()
    if not folder.is_dir():
        folder = hub_folder(name, FILES, WANTED)
    if missing := [file for file in WANTED if not (folder / file).is_file()]:
        raise SpectrumError(f"{folder}: not the folder of a model, because it lacks {', '.join(missing)}; "
                            "`python -m stages.model export` makes one")
    params = validate(override(_located(read(folder / PARAMS), folder), overrides), str(folder / PARAMS))
    return params, replace(Paths.of(params), captioner=folder, encoder=folder / "encoder", index=folder / "index",
                           emotion=folder / "emotion.h5")


def _located(tree: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The parameters, with what lies in the model's folder named from here."""
    for section, key, _ in named_parameters(tree):
        value = section.get(key)
        if isinstance(value, str) and value.startswith(HERE):
            section[key] = str(folder / value.removeprefix(HERE))
    return tree


def named_parameters(tree: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str, str]]:
    """The section, the key and the place of every parameter of _NAMED whose section is there."""
    for name, place in _NAMED.items():
        *parents, key = name.split(".")
        section: Any = tree
        for parent in parents:
            section = section.get(parent) if isinstance(section, dict) else None
        if isinstance(section, dict):
            yield section, key, place
