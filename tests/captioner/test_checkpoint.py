"""The checkpoint that comes of a training, and the card beside it."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from captioner_world import TAXONOMY, world

from pipeline import params
from pipeline.captioner import card, checkpoint
from pipeline.captioner.clips import OwnClips
from pipeline.captioner.generation.beam_search import caption
from pipeline.captioner.training.trainer import Trained, train
from pipeline.common.errors import SpectrumError
from pipeline.common.files import fingerprint

SECTION = params.Captioner(width=32, heads=2, feedforward=64, dropout=0.1, word_count=2, universal_words=50,
                           embedded_attributes=6, max_words=12)
TRAINING = params.Training(epochs=8, videos=12, learning_rate=4e-3)
RECIPES = {"appearance": "a1", "audio": "b2"}


@pytest.fixture(scope="module")
def full() -> Trained:
    inputs, captions = world(40, seed=1, silent=5)
    validation, references = world(20, seed=2)
    return train(SECTION, TRAINING, params.Generation(), inputs, captions, validation, references, TAXONOMY, 0, "cpu")


@pytest.fixture
def saved(full: Trained, tmp_path: Path) -> Path:
    checkpoint.save(tmp_path, full, training=TRAINING, dataset="world", taxonomy=TAXONOMY.name,
                    recipes=RECIPES)
    return tmp_path


def test_a_checkpoint_captions_as_its_model_did(full: Trained, saved: Path) -> None:
    inputs, _ = world(15, seed=6, silent=2)
    loaded = checkpoint.load(saved)
    assert caption(loaded.model, loaded.vocabulary, loaded.attributes, inputs, params.Generation()) == caption(
        full.model, full.vocabulary, full.attributes, inputs, params.Generation())
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
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_broken_checkpoints_are_refused(saved: Path) -> None:
    described = json.loads((saved / checkpoint.DESCRIPTION).read_text())
    for changes, words in (
        ({"schema": 99}, "schema 2"),
        ({"vocabulary": described["vocabulary"][:-1]}, "words, found"),
        ({"captioner": described["captioner"] | {"width": 48}}, "of shape"),
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
    edit(saved, weights_sha256=checkpoint.sha256(weights))
    with pytest.raises(SpectrumError, match="safetensors"):
        checkpoint.load(saved)
    weights.unlink()
    with pytest.raises(SpectrumError, match="no such file"):
        checkpoint.load(saved)
    with pytest.raises(SpectrumError, match="captioner.json: it cannot be read"):
        checkpoint.load(saved / checkpoint.DESCRIPTION)         # a file for a folder


def test_the_card_says_what_it_is(full: Trained, saved: Path) -> None:
    seen = card.Seen(150, 450, 40, {0: full.best}, False, 1234567)
    card.write(saved, seen)
    page = (saved / card.NAME).read_text()
    for expected in ("data set `world`", "150 videos of split train with 450 captions", "40 videos", "| audio | `b2` |",
                     f"| 0 | {full.best['epoch']} | {100 * full.best['validation_cider']:.1f} |",
                     "1,234,567 parameters",
                     "| training.epochs | `8` |", "| captioner.hidden_size | `32` |", "stages.caption --checkpoint",
                     "Limits"):
        assert expected in page, expected
    assert "random weights" not in page and "mean ±" not in page
    card.write(saved, replace(seen, untrained=True, seeds={0: full.best, 1: full.best}))
    page = (saved / card.NAME).read_text()
    assert "random weights" in page and "| 0 (kept) |" in page and " ± 0.0 |" in page


def encoder(**facts: object) -> Any:
    return SimpleNamespace(recipe={"kind": "test", **facts})


def test_own_clips_refuse_what_the_captioner_was_not_trained_on(full: Trained, tmp_path: Path) -> None:
    parts = {name: encoder(name=name) for name in ("appearance", "audio", "motion")}
    captions, emotions = SimpleNamespace(recipe_id="c3"), SimpleNamespace(recipe_id=lambda used: f"d{used}")
    settings = SimpleNamespace(extraction=params.Extraction(), retrieval=params.Retrieval(used=4))
    checkpoint.save(tmp_path, full, training=TRAINING, dataset="world", taxonomy=TAXONOMY.name,
                    recipes={"candidates": "c3", "emotion": "d4"}
                    | {name: fingerprint(part.recipe) for name, part in parts.items()})
    loaded = checkpoint.load(tmp_path)

    def opened(**changes: Any) -> OwnClips:
        return OwnClips(**{"checkpoint": loaded, **parts, "captions": captions, "emotions": emotions,
                           "params": settings, **changes})

    opened()
    for changes, named in (({"audio": encoder(name="other")}, "audio of recipe"),
                           ({"motion": encoder()}, "motion of recipe"),
                           ({"captions": SimpleNamespace(recipe_id="c9")}, "candidates of recipe c3, not c9"),
                           ({"params": SimpleNamespace(extraction=params.Extraction(),
                                                       retrieval=params.Retrieval(used=5))}, "emotion of recipe d4")):
        with pytest.raises(SpectrumError, match=named):
            opened(**changes)
