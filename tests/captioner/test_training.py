"""Training on a synthetic world."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from captioner_world import (
    FACTORS,
    SECTION,
    TAXONOMY,
    TRAINING,
    as_split,
    captions_by,
    train_on,
    world,
    world_split,
)

from pipeline import params
from pipeline.captioner.inputs import Inputs, Modality
from pipeline.captioner.splits import Split
from pipeline.captioner.trained import Epoch, TrainedCaptioner
from pipeline.captioner.training import seeds, trainer
from pipeline.captioner.training import validation as validation_module
from pipeline.captioner.training.batches import CaptionSet
from pipeline.captioner.training.settings import Listeners
from pipeline.captioner.training.validation import cider_score
from pipeline.captioner.vocabulary import Vocabulary
from pipeline.common.errors import SpectrumError
from pipeline.common.text import clean
from pipeline.common.text import words as words_of


@pytest.fixture(scope="module")
def full() -> TrainedCaptioner:
    return train_on(world_split(150, seed=1, silent=10), world_split(40, seed=2, silent=3))


@pytest.fixture(scope="module")
def small() -> Split:
    return world_split(12, seed=1)


def test_it_learns_what_is_seen_and_heard(full: TrainedCaptioner) -> None:
    inputs, references = world(60, seed=3)
    captions = captions_by(full, inputs)
    truth = [references[video] for video in inputs.ids]
    common = Counter(text for texts in truth for text in texts).most_common(1)[0][0]
    assert cider_score([caption.text for caption in captions], truth) > 3 * cider_score([common] * len(truth), truth)
    right = Counter(
        number for caption, texts in zip(captions, truth, strict=True) for number, factor in enumerate(FACTORS)
        for word in factor if word in texts[0].split() and word in caption.text.split())
    assert min(right[0], right[1], right[3]) >= 48     # of 60: actor, action, mood; some captions name no place
    moods = sum(TAXONOMY.first_category(texts[2].split()[0]) == caption.emotions[0][0]
                for caption, texts in zip(captions, truth, strict=True))
    assert moods > 35      # of 60, with 4 moods and a prior that is wrong in a third


def test_history_and_best(full: TrainedCaptioner) -> None:
    assert [record["epoch"] for record in full.history] == list(range(1, 9))
    assert set(full.history[0]) == {"epoch", "loss", "caption_loss", "attribute_loss", "validation_cider",
                                    "validation_cfs", "learning_rate"}
    assert full.history[-1]["loss"] < 0.7 * full.history[0]["loss"]
    assert full.best == max(full.history, key=lambda record: record["validation_cfs"])
    assert full.history[-1]["learning_rate"] < 0.2 * full.history[1]["learning_rate"]


def test_the_same_seed_gives_the_same_weights_and_the_callers_random_numbers_are_untouched(small: Split) -> None:
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    records: list[Epoch] = []
    one = train_on(small, epochs=2, videos_per_batch=4, listeners=Listeners(on_epoch=records.append))
    assert torch.equal(torch.rand(3), expected) and records == one.history
    two, other = (train_on(small, epochs=2, videos_per_batch=4, seed=seed) for seed in (0, 1))
    a, b, c = (trained.model.state_dict() for trained in (one, two, other))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not all(torch.equal(a[name], c[name]) for name in a)


def test_the_kept_weights_are_the_best_epochs(small: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    def with_scores(*scores: float) -> TrainedCaptioner:
        coming = iter(scores)
        monkeypatch.setattr(validation_module, "compute_cfs", lambda cider, acc_sw, acc_c: cider)
        monkeypatch.setattr(validation_module, "cider_score", lambda captions, references: next(coming))
        return train_on(small, epochs=3)

    best = with_scores(0.1, 0.7, 0.7)
    assert best.best is best.history[1]                     # of equal ones the earlier
    last = with_scores(0.1, 0.7, 0.8)
    assert any(not torch.equal(x, y) for x, y in zip(
        best.model.parameters(), last.model.parameters(), strict=True))


@pytest.mark.parametrize("count", [0, 1])
def test_without_a_useful_validation_the_last_epoch_is_kept(small: Split, count: int) -> None:
    assert train_on(small, world_split(count, seed=2), epochs=2).best["epoch"] == 2


def test_the_baseline_trains(small: Split) -> None:
    section = SECTION.model_copy(update={"vtai": False, "cfb": False, "aeb": False,
                                         "modalities": ("appearance",)})
    trained = train_on(small, section=section, epochs=2)
    assert trained.history[-1]["attribute_loss"] == 0 and trained.model.detector is None


def test_captions_without_emotion_words_or_attributes(small: Split) -> None:
    inputs = small.inputs
    dull = as_split(inputs, {video: ["man runs", "man waves in the park"] for video in inputs.ids})
    trained = train_on(dull, epochs=1)
    assert trained.attributes.emotional == ()
    first = captions_by(trained, inputs)[0]
    assert sorted(p for _, p in first.emotions) == pytest.approx(sorted(inputs.prior_categories[0].tolist()))
    with pytest.raises(SpectrumError, match="vtai=false"):
        train_on(as_split(inputs, {video: ["is it this", "is it that"] for video in inputs.ids}))


def test_a_video_without_captions_is_an_error() -> None:
    inputs, captions = world(12, seed=1)
    captions[inputs.ids[5]] = ["!!"]
    with pytest.raises(SpectrumError, match=rf"{inputs.ids[5]}.*no validation caption.*\(1 such"):
        Split.of("validation", inputs, captions)
    del captions[inputs.ids[5]]
    with pytest.raises(SpectrumError, match=f"{inputs.ids[5]}.*no training caption"):
        Split.of("training", inputs, captions)
    captions[inputs.ids[5]] = ["?", "a man runs"]
    assert Split.of("training", inputs, captions).captions[5] == ("a man runs",)


def test_a_loss_that_is_no_number_is_an_error(small: Split) -> None:
    inputs = small.inputs
    rows = inputs.modalities["appearance"].rows.clone()
    rows[3, 0, 0] = float("nan")
    pictures = Modality(rows, inputs.modalities["appearance"].mask)
    broken = Inputs(inputs.ids, inputs.modalities | {"appearance": pictures}, inputs.prior_categories,
                    inputs.prior_words)
    with pytest.raises(SpectrumError, match="the loss of VTAI is nan"):
        train_on(Split(broken, small.captions), small)
    with pytest.raises(SpectrumError, match="epoch 1: the loss is nan"):
        train_on(Split(broken, small.captions), small, attribute_folds=0)


@pytest.mark.parametrize("settings", [
    {"captions_per_batch": 16}, {"lr_schedule": "decay", "lr_decay": 0.9, "warmup_ratio": 0.0, "optimizer": "adam"},
], ids=["mixed", "decay"])
def test_other_ways_to_learn(settings: dict[str, object]) -> None:
    training = params.Training.model_validate(TRAINING.model_dump() | {"epochs": 4} | settings)
    history = train_on(world_split(40, seed=1), world_split(20, seed=2), training).history
    assert history[-1]["caption_loss"] < 0.8 * history[0]["caption_loss"]
    assert history[-1]["validation_cider"] > 0.2
    if training.lr_schedule == "decay":
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


@pytest.mark.parametrize(("select_by", "best"), [("cider", 2), ("cfs", 3), ("mean", 1)])
def test_the_chosen_score_chooses_the_epoch(small: Split, select_by: str, best: int,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    coming = iter([(0.6, 0.6), (0.8, 0.1), (0.1, 0.9)])

    def scores(*_: object) -> Epoch:
        cider, cfs = next(coming)
        return {"validation_cider": cider, "validation_cfs": cfs}

    monkeypatch.setattr(trainer, "validation_scores", scores)
    assert train_on(small, epochs=3, select_by=select_by).best["epoch"] == best


def test_patience_ends_it(small: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    coming = iter([0.1, 0.5, 0.4, 0.5, 0.9])
    monkeypatch.setattr(validation_module, "cider_score", lambda captions, references: next(coming))
    progress: list[tuple[float, bool]] = []
    trained = train_on(small, epochs=5, patience=2, select_by="cider",
                       listeners=Listeners(on_progress=lambda *done: progress.append(done)))
    assert len(trained.history) == 4 and trained.best["epoch"] == 2
    assert progress == [(1.0, True)] * 4 + [(1, False)]     # a step an epoch; the fifth is spared


def test_seeds(full: TrainedCaptioner) -> None:
    other = replace(full, seed=4, best=full.best | {"validation_cfs": 9.0, "validation_cider": 0.0})
    assert seeds.best_of([full, other], "cfs") is other and seeds.best_of([full, other], "cider") is full
    assert seeds.best_of([full, full], "mean") is full
    assert seeds.spread([0.5]) == {"mean": 0.5, "deviation": None}
    assert seeds.format_spread(seeds.spread([0.1, 0.2, 0.3])) == "20.0 ± 10.0"
    assert seeds.format_spread(seeds.spread([0.5])) == "50.0"


def test_the_vocabulary_is_clean_whatever_the_captions_hold() -> None:
    inputs, captions = world(12, seed=1)
    trained = train_on(as_split(inputs, {
        video: [f"a\u2028{text}\r\x07now\x85\u2029" for text in texts] for video, texts in captions.items()}), epochs=1)
    assert "now" in trained.vocabulary.entries
    captions_made = captions_by(trained, inputs)
    for text in [*trained.vocabulary.entries, *(beam.text for caption in captions_made for beam in caption.beams)]:
        assert text == clean(text) and text.splitlines() == [text] and text.isprintable()
