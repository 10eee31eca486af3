"""Typed parameters: the only reader of params.yaml.

    params = load(["seed=1", "captioner.width=128"])

An unknown key, a wrong type or an impossible value is an error that names the key. As a program it lays a
preset (a part of such a file) over params.yaml, comments kept, so that `dvc repro` runs it:

    python -m pipeline.params presets/folder.yaml dataset=mine data.videos=~/clips
"""

import os
from collections.abc import Mapping, Sequence
from copy import deepcopy
from io import StringIO
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.errors import SpectrumError, readable_errors
from pipeline.files import write_text

DEFAULT = Path("params.yaml")

Slug = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0.0)]

CaptionerModality = Literal["appearance", "audio", "text"]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Data(Section):
    """Where a data set comes from. Paths are relative to the project's root, or absolute."""

    kind: Literal["sample", "folder"]
    videos: str
    captions: str
    corpus: str
    validation: Share = 0.1
    test: Share = 0.2


class Sample(Section):
    """The rendered sample world: clips a split, their length in seconds, side in pixels, captions a clip."""

    train: Positive
    validation: Positive
    test: Positive
    seconds: Rate
    size: Annotated[int, Field(ge=112, multiple_of=2)]
    captions: Annotated[int, Field(ge=5)]


class EncoderTraining(Section):
    """How the encoder stage trains a CLIP of its own where `encoders.appearance.weights` is `train`."""

    epochs: Positive
    batch: Annotated[int, Field(ge=2)]
    learning_rate: Rate


class AppearanceEncoder(Section):
    """An open_clip model: pictures, and the texts they are compared with."""

    name: Slug
    model: str
    weights: str
    frames: Positive
    batch: Positive = 32


class AudioEncoder(Section):
    name: Slug
    kind: Literal["logmel", "none"]
    windows: Positive
    window_seconds: Annotated[float, Field(ge=0.025)]


class Encoders(Section):
    appearance: AppearanceEncoder
    audio: AudioEncoder

    @model_validator(mode="after")
    def _names_differ(self) -> "Encoders":
        if self.appearance.name == self.audio.name:
            raise ValueError("encoders.appearance.name and encoders.audio.name name one folder")
        return self


class Extraction(Section):
    decoders: Annotated[int, Field(ge=0)] = 0
    timeout: Rate = 120.0
    shards: Annotated[int, Field(ge=1, le=9999)] = 16
    allowed_failures: Share = 0.0


class Retrieval(Section):
    """Candidates a video: how many are stored, how many of those the later stages use."""

    stored: Positive = 100
    used: Positive = 20
    batch: Positive = 1024

    @model_validator(mode="after")
    def _used_are_stored(self) -> "Retrieval":
        if self.used > self.stored:
            raise ValueError(f"used ({self.used}) is more than stored ({self.stored})")
        return self


class Emotion(Section):
    """Back ends of a caption's emotion probabilities (their weights), and the softmax temperatures."""

    words: Literal["evc-179", "ft-161"] = "evc-179"
    lexicon: Share = 0.5
    clip: Share = 0.5
    clip_temperature: Rate = 0.02
    retrieval_temperature: Rate = 0.05

    @model_validator(mode="after")
    def _some_weight(self) -> "Emotion":
        if self.lexicon + self.clip <= 0:
            raise ValueError("lexicon and clip are both 0: at least one back end needs a weight")
        return self


class Captioner(Section):
    """The model. `vtai`, `cfb` and `aeb` switch the parts of the paper; both off is the baseline."""

    modalities: tuple[CaptionerModality, ...] = ("appearance", "audio", "text")
    vtai: bool = True
    cfb: bool = True
    aeb: bool = True
    width: Positive = 512
    heads: Positive = 8
    layers: Positive = 1
    feedforward: Positive = 2048
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    attention_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    universal_words: Positive = 500
    embedded_attributes: Positive = 30
    word_count: Positive = 3
    max_words: Positive = 30

    @model_validator(mode="after")
    def _parts_fit(self) -> "Captioner":
        if self.width % self.heads:
            raise ValueError(f"width ({self.width}) is not a multiple of heads ({self.heads})")
        if (self.cfb or self.aeb) and not self.vtai:
            raise ValueError("cfb and aeb read the attributes that vtai predicts: they need vtai=true")
        if "appearance" not in self.modalities:
            raise ValueError("modalities must hold appearance")
        return self


class Training(Section):
    epochs: Positive = 50
    videos: Positive = 16
    learning_rate: Rate = 5e-4
    weight_decay: Annotated[float, Field(ge=0)] = 1e-3
    warmup: Share = 0.05
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    attribute_weight: Annotated[float, Field(ge=0)] = 1.0
    plain_weight: Annotated[float, Field(gt=0, le=1)] = 1.0
    clip_norm: Rate = 5.0


class Decoding(Section):
    beam: Positive = 5
    batch: Positive = 64
    length_power: Annotated[float, Field(ge=0)] = 1.0


class Metrics(Section):
    """`timeout`: seconds for the process that scores captions, for all sets together, METEOR included."""

    timeout: Rate = 600.0


class Params(Section):
    dataset: Slug
    seed: Annotated[int, Field(ge=0)] = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    data: Data
    sample: Sample
    encoder: EncoderTraining
    encoders: Encoders
    extraction: Extraction = Extraction()
    retrieval: Retrieval = Retrieval()
    emotion: Emotion = Emotion()
    captioner: Captioner = Captioner()
    training: Training = Training()
    decoding: Decoding = Decoding()
    metrics: Metrics = Metrics()


def load(overrides: Sequence[str] = (), path: Path = DEFAULT) -> Params:
    """Parameters of `path`, changed by `key=value` overrides; a value is read as YAML (`seed=1`, `a.b=[x, y]`).

    Raises SpectrumError for a missing or broken file, an unknown key or a value out of range.
    """
    return validate(override(read(path), overrides), source=str(path))


def read(path: Path) -> dict[str, Any]:
    """The tree of a YAML file, with what writing it back needs to keep its comments."""
    try:
        tree = YAML().load(path.read_text(encoding="utf-8"))
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
            raise SpectrumError(f"{item!r}: expected key=value, for example seed=1 or captioner.width=128")
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


def apply(preset: Path, overrides: Sequence[str], path: Path = DEFAULT) -> Params:
    """Lays `preset`, then `overrides`, over the file `path`, which stays as it was if the result is not valid."""
    tree = override(lay_over(read(path), read(preset)), overrides)
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
        return "no such parameter (see pipeline/params.py for those there are)"
    message = str(error["msg"]).removeprefix("Value error, ")
    return message[0].lower() + message[1:]


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def main(
    preset: Annotated[Path, typer.Argument(help="a preset, such as presets/folder.yaml")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...")] = None,
    params_file: Annotated[Path, typer.Option("--params", help="the file it is laid over")] = DEFAULT,
) -> None:
    """Lay a preset over params.yaml; `git diff params.yaml` shows what changed, `git restore params.yaml` undoes it."""
    with readable_errors():
        params = apply(preset, overrides or [], params_file)
        print(f"{params_file}: now data set {params.dataset!r}; run it with `dvc repro`")


if __name__ == "__main__":
    typer.run(main)
