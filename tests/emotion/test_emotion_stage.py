"""The emotion stage on a small world: candidates whose emotion words are the videos' more or less often, and sound."""

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import tiny_models
from project import ROOT

from pipeline.common.files import fingerprint, read_json
from pipeline.datasets.manifest import Caption, Manifest, Video
from pipeline.emotion.caption_parts import CaptionEmotions, EmotionWork
from pipeline.emotion.clip_prior import ClipPrior
from pipeline.emotion.emotion_file import Emotions
from pipeline.emotion.estimators import Estimators
from pipeline.emotion.word_choice import WordChoice
from pipeline.encoders import text_encoder
from pipeline.params import Params, load
from pipeline.params.paths import Paths
from pipeline.retrieval import index
from pipeline.retrieval.candidates import Candidates
from pipeline.retrieval.sentences import distinct_sentences
from pipeline.store.feature_store import FeatureStore
from pipeline.store.shard import Shard, shard_name, shard_of, write_shard
from pipeline.store.store_file import write_store_file
from pipeline.workers.engine import Alone
from stages import emotion

EMOTIONS = ("happy", "sad", "angry", "calm")
TRAIN, VALIDATION = 40, 12
SILENT = 5      # every fifth video


class Encoder:
    """Unit vectors of a text's own; no emotion is near anything."""

    recipe: ClassVar[dict[str, str]] = {"kind": "test"}

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        rows = np.stack([np.random.default_rng(sum(map(ord, text))).normal(size=8) for text in texts])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def write_sound(folder: Path, ids: list[str]) -> None:
    """Two rows a video that tell its emotion without doubt; every fifth has none."""
    recipe = {"kind": "test", "model": "m", "weights": "w"}
    shards: dict[int, list[str]] = {}
    for video in ids:
        shards.setdefault(shard_of(video, 4), []).append(video)
    counts = {}
    for number, own in shards.items():
        rows = [np.eye(4, dtype=np.float16)[[int(video[1:]) % 4] * (0 if int(video[1:]) % SILENT == 0 else 2)]
                for video in sorted(own)]
        offsets = np.cumsum([0, *map(len, rows)])
        write_shard(folder / shard_name(number), Shard(
            tuple(sorted(own)), offsets, np.concatenate(rows), np.zeros(offsets[-1]), ("0" * 64,) * len(own),
            np.ones(len(own), np.float32)), fingerprint(recipe))
        counts[number] = (len(own), int(offsets[-1]))
    write_store_file(folder, "audio", recipe, 4, counts, 4, [])


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Video v has emotion v mod 4; three of its four candidates have it and the last has another."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(text_encoder, "text_encoder", lambda *arguments: Encoder())
    videos = [Video(f"v{n:02}", "", "train" if n < TRAIN else "validation") for n in range(TRAIN + VALIDATION)]
    captions = [Caption(video.id, f"a {EMOTIONS[n % 4]} man {n}") for n, video in enumerate(videos)]
    write_world(videos, captions)
    return tmp_path


def write_world(videos: list[Video], captions: list[Caption]) -> None:
    paths = Paths.of(parameters())
    Manifest(tuple(videos), tuple(captions), tuple(captions[:TRAIN])).write(paths.data)
    texts = captions[:TRAIN]
    index.build_index(distinct_sentences(texts), [Encoder().encode_texts([caption.text for caption in texts])], "model",
                      paths.index)
    of_emotion = [[row for row in range(TRAIN) if row % 4 == number] for number in range(4)]
    rows = np.array([[*of_emotion[n % 4][:3], of_emotion[(n + 1) % 4][0]] for n in range(len(videos))])
    Candidates(tuple(video.id for video in videos), rows, np.full(rows.shape, 0.5, np.float32), "model",
               index.open_index(paths.index, "model").digest).write(paths.candidates)
    write_sound(paths.audio, [video.id for video in videos])


def parameters(*overrides: str) -> Params:
    return load(["retrieval.stored=4", "retrieval.used=4", "emotion.estimators=[lexicon]", "emotion.modalities=[]",
                 "machine.device=cpu", *overrides], ROOT / "params.yaml")


def run(*overrides: str) -> tuple[dict[str, Any], Emotions, dict[str, Any]]:
    params = parameters(*overrides)
    paths = Paths.of(params)
    summary = emotion.run(params, paths)
    return read_json(paths.reports / "emotion.json"), Emotions.read(paths.emotion), summary


def test_a_line_for_the_candidates_and_the_constant(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores, made, summary = run()
    assert list(scores) == ["candidates", "constant"]
    assert summary["validation"] == scores
    assert summary["fitted"]["slopes"].keys() == {"candidates", "mixture"}
    candidates, constant = scores["candidates"], scores["constant"]
    assert (candidates["videos"], candidates["hit1"], candidates["mean_ap"], candidates["category_ap"]) == (12, 1, 1, 1)
    # The constant knows how many videos have each emotion and not which.
    assert candidates["log_loss"] < constant["log_loss"] / 2
    assert constant["category_ap"] == pytest.approx(1 / 4)
    assert "is better than a constant on validation: log-loss" in capsys.readouterr().out
    assert made.caption_categories.shape == (12, 34)
    again, same, _ = run()
    assert (again, same.recipe_id) == (scores, made.recipe_id)
    assert np.array_equal(same.evidence, made.evidence)


def test_sound_is_a_source_and_a_set_of_its_own(world: Path) -> None:
    alone, without, _ = run()
    scores, made, _ = run("emotion.modalities=[audio]")
    assert list(scores) == ["candidates", "candidates + audio", "constant"]
    assert scores["candidates"] == alone["candidates"]
    assert scores["candidates + audio"]["log_loss"] < scores["candidates"]["log_loss"]
    assert made.recipe_id != without.recipe_id
    assert made.row_recipes == {"audio": FeatureStore.open(Paths.of(parameters()).audio).recipe_id}
    assert made.present[:, 0].tolist() == [n % SILENT > 0 for n in range(TRAIN + VALIDATION)]


def test_captions_and_videos_are_looked_at_in_parts(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overrides = ("emotion.modalities=[audio]", "emotion.estimators=[lexicon, expressions, clip]")
    _, whole, _ = run(*overrides)
    monkeypatch.setattr("pipeline.emotion.caption_parts._CAPTIONS", 5)
    monkeypatch.setattr("pipeline.emotion.video_emotions._CAPTIONS", 5)
    monkeypatch.setattr("pipeline.emotion.pooled_rows._VIDEOS", 7)
    _, made, _ = run(*overrides)
    for name in ("caption_categories", "word_shares", "counts", "evidence"):
        assert getattr(made, name) == pytest.approx(getattr(whole, name), abs=1e-5)
    assert made.prior.category_rates == pytest.approx(whole.prior.category_rates)


def test_what_is_learned_of_the_corpus_one_worker_learns_for_all(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others read it: on their processor it might have other last digits."""
    params = parameters("emotion.estimators=[lexicon, expressions, clip]")
    paths = Paths.of(params)
    work = EmotionWork(params.emotion, params.encoders.appearance, paths.encoder, paths.index, "model", "cpu")
    rows = np.arange(TRAIN)
    evidence = CaptionEmotions(Alone(), work, world / "parts", index.open_index(paths.index, "model")
                               ).measure_evidence(rows)
    monkeypatch.setattr("pipeline.emotion.estimators.fit_choice", lambda *_: WordChoice(9.0, 9.0))
    shutil.copytree(world / "parts", world / "other")
    (world / "other" / "evidence-000000000.h5").unlink()
    again = CaptionEmotions(Alone(), work, world / "other", index.open_index(paths.index, "model")
                            ).measure_evidence(rows)
    assert all(np.array_equal(again[name], own) for name, own in evidence.items()) and evidence["clip"].any()


def test_a_clip_outside_the_data_set_has_the_prior_of_a_video_like_it(world: Path) -> None:
    """By the file alone, from its candidates and rows: to the last digit what a test video of the data set has."""
    _, made, _ = run("emotion.modalities=[audio]", "emotion.estimators=[lexicon, expressions, clip]")
    params = parameters("emotion.modalities=[audio]", "emotion.estimators=[lexicon, expressions, clip]")
    paths = Paths.of(params)
    captions, candidates = index.open_index(paths.index, "model"), Candidates.read(paths.candidates)
    clip_prior = ClipPrior(Estimators(params.emotion, captions, Encoder().encode_texts, "cpu"),
                           Emotions.read(paths.emotion).prior)
    assert clip_prior.recipe_id == made.recipe_id
    sound = FeatureStore.open(paths.audio)
    for video in ("v41", "v45"):                # with sound and without
        own = candidates.select([video])
        rows = own.rows[0]
        estimated = clip_prior.estimate([captions.texts[row] for row in rows], captions.embeddings[rows], own.scores,
                                        {"audio": sound[video]})
        for theirs, expected in zip(estimated, made.select([video], ["audio"]), strict=True):
            assert theirs == pytest.approx(expected, abs=1e-5)


def test_a_prior_that_knows_nothing_is_warned_of(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Candidates and sound have nothing to do with the emotions that people see."""
    rng = np.random.default_rng(0)
    videos = [Video(f"v{n:02}", "", "train" if n < TRAIN else "validation") for n in range(TRAIN + VALIDATION)]
    captions = [Caption(video.id, f"a {EMOTIONS[rng.integers(4)]} man {n}") for n, video in enumerate(videos)]
    write_world(videos, captions)
    run("emotion.modalities=[audio]")
    printed = capsys.readouterr()
    assert printed.err.splitlines()[-1].startswith("warning: the emotional prior (candidates + audio) is ")
    assert "no better than a constant on validation" in printed.err and "better" not in printed.out


def test_an_estimator_that_is_too_sure_is_tempered(world: Path) -> None:
    """Training videos without emotions although their candidates have some: less is to be believed."""
    before = run()[1]
    manifest = Manifest.load(world / "data" / "sample")
    plain = [replace(caption, text=re.sub("a (happy|sad|angry|calm)", "a", caption.text)) if number % 8 < 4 else caption
             for number, caption in enumerate(manifest.captions)]
    replace(manifest, captions=tuple(plain)).write(world / "data" / "sample")
    scores, after, _ = run()
    assert after.select(["v41"], ())[0].max() < before.select(["v41"], ())[0].max() - 0.2
    assert scores["candidates"]["log_loss"] < scores["constant"]["log_loss"]


def test_a_classifier_takes_part(world: Path) -> None:
    folder = tiny_models.classifier(world / "model", ["joy", "sadness", "anger", "neutral"],
                                    ["a", "man", *EMOTIONS], "multi_label_classification")
    overrides = ("emotion.estimators=[lexicon, classifier]", f"emotion.classifier_model={folder}",
                 "emotion.classifier_labels=ekman")
    _, made, summary = run(*overrides)
    assert summary["fitted"]["weights"].keys() == {"lexicon", "classifier"}
    assert run(*overrides)[1].recipe_id == made.recipe_id
    assert run()[1].recipe_id != made.recipe_id
