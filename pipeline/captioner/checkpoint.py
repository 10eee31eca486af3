"""A trained captioner as a folder: `captioner.safetensors` (weights), `captioner.json` (all else it needs).

The JSON holds the SHA-256 of the weights and is published after them, so that a kill between the two is
seen. It also holds the recipe id of every store that the captioner was trained on: features of another
recipe are refused.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes

from pipeline import params
from pipeline.captioner.attributes import AttributeList
from pipeline.captioner.model.captioner import Captioner, Shape
from pipeline.captioner.trained import Epoch, TrainedCaptioner
from pipeline.captioner.vocabulary import Vocabulary
from pipeline.common.errors import SpectrumError
from pipeline.common.files import atomic_write, read_json, sha256, write_json
from pipeline.emotion.taxonomy import Taxonomy

SCHEMA = 2
WEIGHTS = "captioner.safetensors"
DESCRIPTION = "captioner.json"
CURVES = "curves.csv"


@dataclass(frozen=True)
class Checkpoint:
    folder: Path
    model: Captioner                # in evaluation mode
    vocabulary: Vocabulary
    attributes: AttributeList
    dataset: str
    taxonomy: str                   # name of the emotion words
    recipes: dict[str, str]         # source → recipe id
    seed: int
    best: Epoch                     # record of the epoch whose weights these are


def save(folder: Path, trained: TrainedCaptioner, *, training: params.Training, dataset: str, taxonomy: str,
         recipes: Mapping[str, str]) -> None:
    """Publish both files, after the curves; `recipes` gives the recipe id of every store, by the name of its source."""
    state = trained.model.state_dict()
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    with atomic_write(folder / WEIGHTS) as temporary:
        temporary.write_bytes(to_bytes(weights))      # its own writer tells a full disk in its own way
    attributes = trained.attributes
    write_json(folder / DESCRIPTION, {
        "schema": SCHEMA, "dataset": dataset, "seed": trained.seed, "recipes": dict(recipes), "best": trained.best,
        "weights_sha256": sha256(folder / WEIGHTS),
        "curves_sha256": sha256(folder / CURVES) if (folder / CURVES).is_file() else None,
        "captioner": trained.model.section.model_dump(mode="json"),
        "training": training.model_dump(mode="json"),
        "parameters": sum(parameter.numel() for parameter in trained.model.parameters()),
        "shape": trained.model.shape.as_json(),
        "vocabulary": trained.vocabulary.entries,
        "attributes": {"taxonomy": taxonomy, **asdict(attributes)},
    })


def load(folder: Path, device: torch.device | str = "cpu") -> Checkpoint:
    """The captioner in `folder`. Raises SpectrumError where a file is missing or does not fit the other."""
    described = read_json(folder / DESCRIPTION)
    if not isinstance(described, dict) or described.get("schema") != SCHEMA:
        raise SpectrumError(f"{folder / DESCRIPTION}: expected a captioner of schema {SCHEMA}; "
                            "train it again")
    _check_weights(folder, described.get("weights_sha256"))
    try:
        attributes = _attributes(described["attributes"])
        vocabulary = Vocabulary(tuple(described["vocabulary"]))
        shape = Shape(**described["shape"])
        model = Captioner(params.Captioner.model_validate(described["captioner"]), shape, attributes,
                          vocabulary)
        checkpoint = Checkpoint(folder, model, vocabulary, attributes, described["dataset"],
                           described["attributes"]["taxonomy"], dict(described["recipes"]), described["seed"],
                           described["best"])
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise SpectrumError(f"{folder / DESCRIPTION}: not a whole description of a captioner "
                            f"({type(error).__name__}: {error}); train it again") from None
    if shape.vocabulary != len(vocabulary):
        raise SpectrumError(f"{folder / DESCRIPTION}: expected {shape.vocabulary} words, "
                            f"found {len(vocabulary)}; train the captioner again")
    _fill(model, folder / WEIGHTS)
    model.to(device).eval()
    return checkpoint


def refuse_other_recipes(checkpoint: Checkpoint, recipes: Mapping[str, str]) -> None:
    """Raise SpectrumError where a source is of another recipe than the one that was trained on."""
    for source, trained in checkpoint.recipes.items():
        recipe = recipes.get(source)
        if recipe != trained:
            raise SpectrumError(f"{checkpoint.folder}: the captioner was trained on {source} of recipe "
                                f"{trained}, not {recipe}; train it again, or use what it was trained on")


def _check_weights(folder: Path, expected: Any) -> None:
    path = folder / WEIGHTS
    if not path.is_file():
        raise SpectrumError(f"{path}: no such file; train the captioner again")
    if sha256(path) != expected:
        raise SpectrumError(f"{path}: its SHA-256 is not the one in {DESCRIPTION}, so the two files are not "
                            "of one training; train the captioner again")


def _attributes(values: dict[str, Any]) -> AttributeList:
    words = Taxonomy.load(values["taxonomy"]).words
    if [words[number] for number in values["emotional_index"]] != values["emotional"]:
        raise ValueError(f"its emotional attributes are not those of the taxonomy {values['taxonomy']}")
    return AttributeList(tuple(values["universal"]), tuple(values["emotional"]), tuple(values["emotional_index"]),
                         tuple(values["categories"]),
                         tuple(tuple(numbers) for numbers in values["emotional_categories"]))


def _fill(model: Captioner, path: Path) -> None:
    try:
        weights = load_file(path)
    except SafetensorError as error:
        raise SpectrumError(f"{path}: not readable as safetensors ({error}); "
                            "train the captioner again") from None
    expected = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    actual = {name: list(tensor.shape) for name, tensor in weights.items()}
    if expected != actual:
        name = min(name for name in expected.keys() | actual.keys() if expected.get(name) != actual.get(name))
        raise SpectrumError(f"{path}: expected {name} of shape {expected.get(name, 'none')}, found "
                            f"{actual.get(name, 'none')}; train the captioner again")
    if bad := [name for name, tensor in weights.items() if not torch.isfinite(tensor).all()]:
        raise SpectrumError(f"{path}: {bad[0]} holds values that are not finite numbers; train the captioner again")
    model.load_state_dict(weights)
