"""Training on a synthetic world, and the checkpoint that comes of it."""

import json
from collections import Counter
from pathlib import Path

import pytest
import torch
from captioner_world import FACTORS, TAXONOMY, world

from pipeline import params
from pipeline.captioner import checkpoint, training
from pipeline.captioner.beam import caption
from pipeline.captioner.inputs import Inputs, Modality
from pipeline.captioner.training import Trained, cider, train
from pipeline.errors import SpectrumError

SECTION = params.Captioner(width=32, heads=2, feedforward=64, dropout=0.1, word_count=2, universal_words=50,
                           embedded_attributes=6, max_words=12)
TRAINING = params.Training(epochs=8, videos=12, learning_rate=4e-3)
RECIPES = {"appearance": "a1", "audio": "b2"}


def learn(section: params.Captioner = SECTION, epochs: int = 8, seed: int = 0, videos: int = 150,
          ) -> tuple[Trained, list[training.Epoch]]:
    inputs, captions = world(videos, seed=1, silent=10)
    validation, references = world(40, seed=2, silent=3)
    records: list[training.Epoch] = []
    trained = train(section, TRAINING.model_copy(update={"epochs": epochs}), params.Decoding(), inputs,
                    captions, validation, references, TAXONOMY, seed, "cpu", records.append)
    return trained, records


@pytest.fixture(scope="module")
def full() -> Trained:
    return learn()[0]


@pytest.fixture
def saved(full: Trained, tmp_path: Path) -> Path:
    checkpoint.save(tmp_path, full, training=TRAINING, dataset="world", taxonomy=TAXONOMY.name,
                    recipes=RECIPES, seed=0)
    return tmp_path


def test_it_learns_what_is_seen_and_heard(full: Trained) -> None:
    inputs, references = world(60, seed=3)
    found = caption(full.model, full.vocabulary, full.attributes, inputs, params.Decoding())
    truth = [references[video] for video in inputs.ids]
    common = Counter(text for texts in truth for text in texts).most_common(1)[0][0]
    assert cider([c.text for c in found], truth) > 3 * cider([common] * len(truth), truth)
    right = Counter(
        number for c, texts in zip(found, truth, strict=True) for number, factor in enumerate(FACTORS)
        for word in factor if word in texts[0].split() and word in c.text.split())
    assert min(right[0], right[1], right[3]) > 50     # actor, action, mood; some captions name no place
    moods = sum(TAXONOMY.first_category(texts[2].split()[0]) == c.emotions[0][0]
                for c, texts in zip(found, truth, strict=True))
    assert moods > 35      # of 60, with 4 moods and a prior that is wrong in a third


def test_history_and_best(full: Trained) -> None:
    assert [record["epoch"] for record in full.history] == list(range(1, 9))
    assert set(full.history[0]) == {"epoch", "loss", "caption_loss", "attribute_loss", "validation_cider",
                                    "validation_cfs", "learning_rate", "seconds"}
    assert full.history[-1]["loss"] < 0.7 * full.history[0]["loss"]
    assert full.best == max(full.history, key=lambda record: record["validation_cfs"])
    assert full.history[-1]["learning_rate"] < 0.2 * full.history[1]["learning_rate"]


def test_the_same_seed_gives_the_same_weights_and_the_callers_chance_is_untouched() -> None:
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    one, records = learn(epochs=2, videos=40)
    assert torch.equal(torch.rand(3), expected) and records == one.history
    two, _ = learn(epochs=2, videos=40)
    other, _ = learn(epochs=2, videos=40, seed=1)
    a, b, c = (t.model.state_dict() for t in (one, two, other))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not all(torch.equal(a[name], c[name]) for name in a)


def test_the_kept_weights_are_the_best_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([0.1, 0.7, 0.7])
    monkeypatch.setattr(training, "cider", lambda said, references: next(scores))
    best, records = learn(epochs=3, videos=40)
    assert best.best is records[1]                          # of equal ones the earlier
    scores = iter([0.1, 0.7, 0.8])
    last, _ = learn(epochs=3, videos=40)
    assert any(not torch.equal(x, y) for x, y in zip(
        best.model.parameters(), last.model.parameters(), strict=True))


@pytest.mark.parametrize("count", [0, 1])
def test_without_a_useful_validation_the_last_epoch_is_kept(count: int) -> None:
    inputs, captions = world(20, seed=1)
    validation, references = world(count, seed=2)
    trained = train(SECTION, TRAINING.model_copy(update={"epochs": 2}), params.Decoding(), inputs, captions,
                    validation, references, TAXONOMY, 0, "cpu")
    assert trained.best["epoch"] == 2


def test_the_baseline_trains() -> None:
    section = SECTION.model_copy(update={"vtai": False, "cfb": False, "aeb": False,
                                         "modalities": ("appearance",)})
    trained, _ = learn(section, epochs=2, videos=40)
    assert trained.history[-1]["attribute_loss"] == 0 and trained.model.detector is None


def test_captions_without_emotion_words_or_attributes() -> None:
    inputs, captions = world(12, seed=1)
    dull = {video: ["man runs", "man waves in the park"] for video in captions}
    trained = train(SECTION, TRAINING.model_copy(update={"epochs": 1}), params.Decoding(), inputs, dull,
                    inputs, dull, TAXONOMY, 0, "cpu")
    assert trained.attributes.emotional == ()
    found = caption(trained.model, trained.vocabulary, trained.attributes, inputs, params.Decoding())
    assert all(p == 0 for _, p in found[0].emotions)
    nothing = {video: ["is it this", "is it that"] for video in captions}
    with pytest.raises(SpectrumError, match="vtai=false"):
        train(SECTION, TRAINING, params.Decoding(), inputs, nothing, inputs, nothing, TAXONOMY, 0, "cpu")


def test_a_video_without_captions_is_an_error() -> None:
    inputs, captions = world(12, seed=1)
    captions[inputs.ids[5]] = ["!!"]
    with pytest.raises(SpectrumError, match=f"{inputs.ids[5]}.*training"):
        train(SECTION, TRAINING, params.Decoding(), inputs, captions, inputs, captions, TAXONOMY, 0, "cpu")


def test_a_loss_that_is_no_number_is_an_error() -> None:
    inputs, captions = world(12, seed=1)
    rows = inputs.modalities["appearance"].rows.clone()
    rows[3, 0, 0] = float("nan")
    seen = Modality(rows, inputs.modalities["appearance"].mask)
    broken = Inputs(inputs.ids, inputs.modalities | {"appearance": seen}, inputs.prior_categories,
                    inputs.prior_words)
    with pytest.raises(SpectrumError, match="epoch 1: the loss is nan"):
        train(SECTION, TRAINING, params.Decoding(), broken, captions, inputs, captions, TAXONOMY, 0, "cpu")


def test_a_checkpoint_captions_as_its_model_did(full: Trained, saved: Path) -> None:
    inputs, _ = world(15, seed=6, silent=2)
    loaded = checkpoint.load(saved)
    assert caption(loaded.model, loaded.vocabulary, loaded.attributes, inputs, params.Decoding()) == caption(
        full.model, full.vocabulary, full.attributes, inputs, params.Decoding())
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
        ({"schema": 99}, "schema 1"),
        ({"vocabulary": described["vocabulary"][:-1]}, "words, found"),
        ({"captioner": described["captioner"] | {"width": 48}}, "of shape"),
        ({"captioner": described["captioner"] | {"widht": 48}}, "not a whole description"),
        ({"shape": {}}, "not a whole description"),
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
