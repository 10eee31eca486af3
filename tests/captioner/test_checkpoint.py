"""The checkpoint that comes of a training, and the card beside it."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from captioner_world import SECTION, TAXONOMY, TRAINING, captions_by, train_on, world, world_split
from safetensors.torch import load_file, save_file

from pipeline import params
from pipeline.captioner import card, checkpoint
from pipeline.captioner.trained import TrainedCaptioner
from pipeline.common.errors import SpectrumError
from pipeline.common.files import fingerprint, read_json, sha256, write_json

RECIPES = {"appearance": "a1", "audio": "b2"}


@pytest.fixture(scope="module")
def full() -> TrainedCaptioner:
    return train_on(world_split(40, seed=1, silent=5), world_split(20, seed=2), epochs=4)


@pytest.fixture
def saved(full: TrainedCaptioner, tmp_path: Path) -> Path:
    checkpoint.save(tmp_path, full, training=TRAINING, dataset="world", taxonomy=TAXONOMY.name,
                    recipes=RECIPES)
    return tmp_path


def test_a_checkpoint_captions_as_its_model_did(full: TrainedCaptioner, saved: Path) -> None:
    inputs, _ = world(15, seed=6, silent=2)
    loaded = checkpoint.load(saved)
    assert captions_by(loaded, inputs) == captions_by(full, inputs)
    assert (loaded.dataset, loaded.taxonomy, loaded.seed) == ("world", TAXONOMY.name, 0)
    assert loaded.recipes == RECIPES
    assert loaded.best == full.best and loaded.model.section == SECTION
    assert sorted(path.name for path in saved.iterdir()) == ["captioner.json", "captioner.safetensors"]


def test_other_recipes_are_refused(saved: Path) -> None:
    loaded = checkpoint.load(saved)
    checkpoint.refuse_other_recipes(loaded, RECIPES | {"motion": "new"})
    with pytest.raises(SpectrumError, match=r"audio of recipe b2, not c3"):
        checkpoint.refuse_other_recipes(loaded, RECIPES | {"audio": "c3"})
    with pytest.raises(SpectrumError, match=r"audio of recipe b2, not None"):
        checkpoint.refuse_other_recipes(loaded, {"appearance": "a1"})


def edit(folder: Path, **changes: object) -> None:
    path = folder / checkpoint.DESCRIPTION
    write_json(path, read_json(path) | changes)


def test_broken_checkpoints_are_refused(saved: Path) -> None:
    described = json.loads((saved / checkpoint.DESCRIPTION).read_text())
    for changes, words in (
        ({"schema": 99}, "schema 2"),
        ({"vocabulary": described["vocabulary"][:-1]}, "words, found"),
        ({"captioner": described["captioner"] | {"hidden_size": 48}}, "of shape"),
        ({"captioner": described["captioner"] | {"widht": 48}}, "not a whole description"),
        ({"shape": {}}, "not a whole description"),
        ({"recipes": ["audio"]}, "not a whole description"),
        ({"attributes": [1]}, "not a whole description"),
        ({"attributes": described["attributes"] | {"emotional_index": [10 ** 6] * 4}}, "not a whole description"),
        ({"attributes": described["attributes"] | {"emotional": described["attributes"]["emotional"][::-1]}},
         "not those of the taxonomy"),
        ({"weights_sha256": "0"}, "SHA-256"),
    ):
        edit(saved, **(described | changes))
        with pytest.raises(SpectrumError, match=words):
            checkpoint.load(saved)
    edit(saved, **described)
    weights = saved / checkpoint.WEIGHTS
    weights.write_bytes(b"no weights")
    with pytest.raises(SpectrumError, match="SHA-256"):
        checkpoint.load(saved)
    edit(saved, weights_sha256=sha256(weights))
    with pytest.raises(SpectrumError, match="safetensors"):
        checkpoint.load(saved)
    weights.unlink()
    with pytest.raises(SpectrumError, match="no such file"):
        checkpoint.load(saved)
    with pytest.raises(SpectrumError, match="captioner.json: it cannot be read"):
        checkpoint.load(saved / checkpoint.DESCRIPTION)         # a file for a folder


def test_the_card_says_what_it_is(full: TrainedCaptioner, saved: Path) -> None:
    facts = card.TrainingFacts(150, 450, 40, {0: full.best}, False, 1234567)
    card.write(saved, facts)
    page = (saved / card.NAME).read_text()
    for expected in ("data set `world`", "150 videos of split train with 450 captions", "40 videos", "| audio | `b2` |",
                     f"| 0 | {full.best['epoch']} | {100 * full.best['validation_cider']:.1f} |",
                     "1,234,567 parameters",
                     "| training.epochs | `8` |", "| captioner.hidden_size | `32` |", "stages.caption --checkpoint",
                     "Limits"):
        assert expected in page, expected
    assert "random weights" not in page and "mean ±" not in page
    card.write(saved, replace(facts, untrained=True, seeds={0: full.best, 1: full.best}))
    page = (saved / card.NAME).read_text()
    assert "random weights" in page and "| 0 (kept) |" in page and " ± 0.0 |" in page


def test_weights_that_are_no_numbers_are_refused(saved: Path) -> None:
    path = saved / checkpoint.WEIGHTS
    weights = load_file(path)
    for value in (torch.nan, torch.inf):
        weights["decoder.output.weight"][5, 3] = value
        save_file(weights, path)
        edit(saved, weights_sha256=sha256(path))
        with pytest.raises(SpectrumError, match=r"decoder\.output\.weight holds values that are not finite"):
            checkpoint.load(saved)


def encoder(**facts: object) -> Any:
    return SimpleNamespace(recipe={"kind": "test", **facts})


def test_own_clips_refuse_what_the_captioner_was_not_trained_on(full: TrainedCaptioner, tmp_path: Path) -> None:
    from pipeline.captioning import clips
    from pipeline.extraction.recipe import recipe

    encoders = {name: encoder(name=name) for name in ("appearance", "audio", "motion")}
    index, emotions = SimpleNamespace(recipe_id="c3", digest="i1"), SimpleNamespace(recipe_id="d4")
    settings = params.Params()
    checkpoint.save(tmp_path, full, training=TRAINING, dataset="world", taxonomy=TAXONOMY.name,
                    recipes={"index": "i1", "candidates": "c3", "emotion": "d4"}
                    | {name: fingerprint(recipe(part, settings.extraction)) for name, part in encoders.items()})
    loaded = checkpoint.load(tmp_path)

    def make(**changes: Any) -> clips.ClipCaptioner:
        return clips.ClipCaptioner(**{"checkpoint": loaded, "domain": None, "encoders": encoders, "index": index,
                                      "emotions": emotions, "params": settings, "decoder": None, **changes})

    make()
    for changes, named in (
        ({"encoders": encoders | {"audio": encoder(name="other")}}, "audio of recipe"),
        ({"encoders": encoders | {"motion": encoder()}}, "motion of recipe"),
        ({"index": SimpleNamespace(recipe_id="c9", digest="i1")}, "candidates of recipe c3, not c9"),
        ({"index": SimpleNamespace(recipe_id="c3", digest="i2")}, "index of recipe i1, not i2"),
        ({"emotions": SimpleNamespace(recipe_id="d5")}, "emotion of recipe d4, not d5"),
    ):
        with pytest.raises(SpectrumError, match=named):
            make(**changes)
