"""Training on a synthetic world."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from captioner_world import FACTORS, TAXONOMY, world

from pipeline import params
from pipeline.captioner.generation.beam_search import caption
from pipeline.captioner.inputs import Inputs, Modality
from pipeline.captioner.training import seeds
from pipeline.captioner.training import trainer as training
from pipeline.captioner.training.batches import CaptionSet
from pipeline.captioner.training.trainer import Trained, cider, train
from pipeline.captioner.vocabulary import Vocabulary
from pipeline.common.errors import SpectrumError
from pipeline.common.text import clean
from pipeline.common.text import words as words_of

SECTION = params.Captioner(width=32, heads=2, feedforward=64, dropout=0.1, word_count=2, universal_words=50,
                           embedded_attributes=6, max_words=12)
TRAINING = params.Training(epochs=8, videos=12, learning_rate=4e-3)


def learn(section: params.Captioner = SECTION, epochs: int = 8, seed: int = 0, videos: int = 150,
          ) -> tuple[Trained, list[training.Epoch]]:
    inputs, captions = world(videos, seed=1, silent=10)
    validation, references = world(40, seed=2, silent=3)
    records: list[training.Epoch] = []
    trained = train(section, TRAINING.model_copy(update={"epochs": epochs}), params.Generation(), inputs,
                    captions, validation, references, TAXONOMY, seed, "cpu", records.append)
    return trained, records


@pytest.fixture(scope="module")
def full() -> Trained:
    return learn()[0]


def test_it_learns_what_is_seen_and_heard(full: Trained) -> None:
    inputs, references = world(60, seed=3)
    found = caption(full.model, full.vocabulary, full.attributes, inputs, params.Generation())
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
    monkeypatch.setattr(training, "compute_cfs", lambda cider, acc_sw, acc_c: cider)
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
    trained = train(SECTION, TRAINING.model_copy(update={"epochs": 2}), params.Generation(), inputs, captions,
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
    trained = train(SECTION, TRAINING.model_copy(update={"epochs": 1}), params.Generation(), inputs, dull,
                    inputs, dull, TAXONOMY, 0, "cpu")
    assert trained.attributes.emotional == ()
    found = caption(trained.model, trained.vocabulary, trained.attributes, inputs, params.Generation())
    assert sorted(p for _, p in found[0].emotions) == pytest.approx(sorted(inputs.prior_categories[0].tolist()))
    nothing = {video: ["is it this", "is it that"] for video in captions}
    with pytest.raises(SpectrumError, match="vtai=false"):
        train(SECTION, TRAINING, params.Generation(), inputs, nothing, inputs, nothing, TAXONOMY, 0, "cpu")


def test_a_video_without_captions_is_an_error() -> None:
    inputs, captions = world(12, seed=1)
    captions[inputs.ids[5]] = ["!!"]
    with pytest.raises(SpectrumError, match=f"{inputs.ids[5]}.*training"):
        train(SECTION, TRAINING, params.Generation(), inputs, captions, inputs, captions, TAXONOMY, 0, "cpu")


def test_a_loss_that_is_no_number_is_an_error() -> None:
    inputs, captions = world(12, seed=1)
    rows = inputs.modalities["appearance"].rows.clone()
    rows[3, 0, 0] = float("nan")
    seen = Modality(rows, inputs.modalities["appearance"].mask)
    broken = Inputs(inputs.ids, inputs.modalities | {"appearance": seen}, inputs.prior_categories,
                    inputs.prior_words)
    with pytest.raises(SpectrumError, match="epoch 1: the loss is nan"):
        train(SECTION, TRAINING, params.Generation(), broken, captions, inputs, captions, TAXONOMY, 0, "cpu")


@pytest.mark.parametrize("settings", [
    {"captions": 16}, {"schedule": "decay", "decay": 0.9, "warmup": 0.0, "optimiser": "adam"},
], ids=["mixed", "decay"])
def test_other_ways_to_learn(settings: dict[str, object]) -> None:
    inputs, captions = world(40, seed=1)
    validation, references = world(20, seed=2)
    chosen = params.Training.model_validate(TRAINING.model_dump() | {"epochs": 4} | settings)
    history = train(SECTION, chosen, params.Generation(), inputs, captions, validation, references, TAXONOMY, 0,
                    "cpu").history
    assert history[-1]["caption_loss"] < 0.8 * history[0]["caption_loss"]
    assert history[-1]["validation_cider"] > 0.2
    if chosen.schedule == "decay":
        assert [record["learning_rate"] for record in history] == pytest.approx([4e-3, 3.6e-3, 3.24e-3, 2.916e-3])


def test_a_mixed_batch_is_the_same_captions_whatever_their_videos() -> None:
    _, captions = world(5, seed=1)
    texts = [captions[video] for video in captions]
    vocabulary = Vocabulary.build([text for own in texts for text in own], 1)
    sentences = CaptionSet(texts, vocabulary, TAXONOMY, 12, 1.0)
    assert len(sentences) == 15
    every = sentences.mixed(np.arange(15)[::-1], "cpu")
    whole = sentences.batch(range(5), "cpu")
    assert torch.equal(every.words, whole.words) and torch.equal(every.video_of_word, whole.video_of_word)
    some = sentences.mixed(np.array([14, 3, 4]), "cpu")
    assert some.videos.tolist() == [1, 4] and some.packing.rows == 3 and some.captions == 3
    assert vocabulary.decode(some.targets.tolist()) == " ".join(words_of(texts[1][0]))


@pytest.mark.parametrize(("keep", "best"), [("cider", 2), ("cfs", 3), ("mean", 1)])
def test_the_chosen_score_chooses_the_epoch(keep: str, best: int, monkeypatch: pytest.MonkeyPatch) -> None:
    told = iter([(0.6, 0.6), (0.8, 0.1), (0.1, 0.9)])

    def scores(*_: object) -> training.Epoch:
        cider, cfs = next(told)
        return {"validation_cider": cider, "validation_cfs": cfs}

    monkeypatch.setattr(training, "validation_scores", scores)
    inputs, captions = world(12, seed=1)
    found = train(SECTION, TRAINING.model_copy(update={"epochs": 3, "keep": keep}), params.Generation(), inputs,
                  captions, inputs, captions, TAXONOMY, 0, "cpu")
    assert found.best["epoch"] == best


def test_patience_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    told = iter([0.1, 0.5, 0.4, 0.5, 0.9])
    monkeypatch.setattr(training, "cider", lambda said, references: next(told))
    inputs, captions = world(12, seed=1)
    ticks: list[tuple[float, bool]] = []
    found = train(SECTION, TRAINING.model_copy(update={"epochs": 5, "patience": 2, "keep": "cider"}), params.Generation(),
                  inputs, captions, inputs, captions, TAXONOMY, 0, "cpu", tick=lambda *done: ticks.append(done))
    assert len(found.history) == 4 and found.best["epoch"] == 2
    assert ticks == [(1.0, True)] * 4 + [(1, False)]        # a step an epoch; the fifth is spared


def test_seeds(full: Trained) -> None:
    other = replace(full, seed=4, best=full.best | {"validation_cfs": 9.0, "validation_cider": 0.0})
    assert seeds.best_of([full, other], "cfs") is other and seeds.best_of([full, other], "cider") is full
    assert seeds.best_of([full, full], "mean") is full
    assert seeds.spread([0.5]) == {"mean": 0.5, "deviation": None}
    assert seeds.told(seeds.spread([0.1, 0.2, 0.3])) == "20.0 ± 10.0" and seeds.told(seeds.spread([0.5])) == "50.0"


def test_the_vocabulary_is_clean_whatever_the_captions_hold() -> None:
    inputs, captions = world(12, seed=1)
    dirty = {video: [f"a\u2028{text}\r\x07now\x85\u2029" for text in texts] for video, texts in captions.items()}
    found = train(SECTION, TRAINING.model_copy(update={"epochs": 1}), params.Generation(), inputs, dirty, inputs, dirty,
                  TAXONOMY, 0, "cpu")
    assert "now" in found.vocabulary.entries
    said = caption(found.model, found.vocabulary, found.attributes, inputs, params.Generation())
    for text in [*found.vocabulary.entries, *(beam.text for one in said for beam in one.beams)]:
        assert text == clean(text) and text.splitlines() == [text] and text.isprintable()
