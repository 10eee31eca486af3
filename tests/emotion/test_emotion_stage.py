"""The emotion stage on a small world: candidates whose emotion words are the videos' more or less often."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
from project import ROOT

from pipeline.datasets.manifest import Caption, Manifest, Video
from pipeline.emotion.emotion_file import Emotions
from pipeline.encoders import text_encoder
from pipeline.params import Params, load
from pipeline.params.paths import Paths
from pipeline.retrieval import index
from pipeline.retrieval.candidates import Candidates
from pipeline.retrieval.sentences import distinct_sentences
from stages import emotion

EMOTIONS = ("happy", "sad", "angry", "calm")
TRAIN, VALIDATION = 40, 12


class Encoder:
    """Unit vectors of a text's own; no emotion is near anything."""

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        rows = np.stack([np.random.default_rng(sum(map(ord, text))).normal(size=8) for text in texts])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Video v has emotion v mod 4; three of its four candidates have it and the last has another."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(text_encoder, "text_encoder", lambda *arguments: Encoder())
    videos = [Video(f"v{n:02}", "", "train" if n < TRAIN else "validation") for n in range(TRAIN + VALIDATION)]
    captions = [Caption(video.id, f"a {EMOTIONS[n % 4]} man {n}") for n, video in enumerate(videos)]
    paths = Paths.of(parameters())
    Manifest(tuple(videos), tuple(captions), tuple(captions[:TRAIN])).write(paths.data)
    texts = captions[:TRAIN]
    index.build_index(distinct_sentences(texts), Encoder().encode_texts([caption.text for caption in texts]), "model",
                      paths.index)
    of_emotion = [[row for row in range(TRAIN) if row % 4 == number] for number in range(4)]
    rows = np.array([[*of_emotion[n % 4][:3], of_emotion[(n + 1) % 4][0]] for n in range(len(videos))])
    Candidates(tuple(video.id for video in videos), rows, np.full(rows.shape, 0.5, np.float32), "model",
               index.open_index(paths.index, "model").digest).write(paths.candidates)
    return tmp_path


def parameters(*overrides: str) -> Params:
    return load(["retrieval.stored=4", "retrieval.used=4", "emotion.clip=0", "machine.device=cpu", *overrides],
                ROOT / "params.yaml")


def run(*overrides: str) -> tuple[dict[str, Any], Emotions, dict[str, Any]]:
    params = parameters(*overrides)
    paths = Paths.of(params)
    summary = emotion.run(params, paths)
    return json.loads((paths.reports / "emotion.json").read_text()), Emotions.read(paths.emotion), summary


def test_a_line_for_every_estimator_and_the_constant(world: Path) -> None:
    scores, made, summary = run()
    assert list(scores) == ["lexicon", "mixture", "constant"]
    assert summary["validation"] == scores
    lexicon = scores["lexicon"]
    assert (lexicon["videos"], lexicon["hit1"], lexicon["mean_ap"], lexicon["category_ap"]) == (12, 1, 1, 1)
    # A prior of 3/4 where it is right and 1/4 where it is wrong; calibrated it is surer of the one it is sure of.
    assert lexicon["log_loss"] == pytest.approx((-2 * np.log(0.75) - 32 * np.log(0.999)) / 34, abs=1e-3)
    assert lexicon["log_loss_calibrated"] <= lexicon["log_loss"]
    # The constant knows how many videos have each emotion and not which.
    assert scores["constant"]["log_loss"] > lexicon["log_loss"]
    assert scores["constant"]["category_ap"] == pytest.approx(1 / 4)
    assert made.temperatures == {}
    assert made.categories[0].max() == pytest.approx(0.75, abs=1e-3)


def test_calibration_is_stored_and_decides_the_recipe(world: Path) -> None:
    plain, as_it_is, _ = run()
    scores, made, _ = run("emotion.calibrate=true")
    assert set(made.temperatures) == {"lexicon", "mixture"}
    assert made.temperatures == {name: scores[name]["temperature"] for name in made.temperatures}
    assert made.recipe_id != as_it_is.recipe_id
    for name in made.temperatures:
        for key in ("log_loss", "log_loss_calibrated", "temperature"):
            assert scores[name][key] == plain[name][key]
    again, same, _ = run("emotion.calibrate=true")
    assert (again, same.recipe_id) == (scores, made.recipe_id)
    assert np.array_equal(same.words, made.words)


def test_calibration_tempers_an_estimator_that_is_too_sure(world: Path) -> None:
    """Training videos without emotions although their candidates have some: less is to be believed."""
    lines = (world / "data" / "sample" / "captions.jsonl").read_text().splitlines()
    plain = [line.replace("a happy", "a").replace("a sad", "a").replace("a angry", "a").replace("a calm", "a")
             if number % 8 < 4 else line for number, line in enumerate(lines)]
    (world / "data" / "sample" / "captions.jsonl").write_text("\n".join(plain) + "\n")
    scores, _, _ = run()
    assert scores["lexicon"]["temperature"] > 5
    assert scores["lexicon"]["log_loss_calibrated"] < scores["lexicon"]["log_loss"]


def test_a_classifier_takes_part(world: Path) -> None:
    folder = tiny_models.classifier(world / "model", ["joy", "sadness", "anger", "neutral"],
                                    ["a", "man", *EMOTIONS], "multi_label_classification")
    overrides = ("emotion.classifier=0.5", f"emotion.classifier_model={folder}", "emotion.classifier_labels=ekman")
    scores, made, _ = run(*overrides)
    assert list(scores) == ["lexicon", "classifier", "mixture", "constant"]
    assert made.caption_categories.shape == (12, 34)
    assert run(*overrides)[1].recipe_id == made.recipe_id
    assert run()[1].recipe_id != made.recipe_id
