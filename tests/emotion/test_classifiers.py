"""Emotion classifiers of the transformers library, against the library by hand, and the maps of their labels."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch
import transformers
from huggingface_hub import constants
from pydantic import ValidationError

from pipeline.common.errors import SpectrumError
from pipeline.emotion import probabilities
from pipeline.emotion.classifier import SHIPPED, Classifier, read_label_shares
from pipeline.emotion.estimators import Estimators
from pipeline.emotion.taxonomy import NAMES, Taxonomy
from pipeline.params import Emotion

TAXONOMY = Taxonomy.load("evc-179")
EKMAN = ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")
# GoEmotions (Demszky et al., 2020): 27 emotions and neutral.
GOEMOTIONS = (
    "admiration", "amusement", "anger", "annoyance", "approval", "caring", "confusion", "curiosity", "desire",
    "disappointment", "disapproval", "disgust", "embarrassment", "excitement", "fear", "gratitude", "grief", "joy",
    "love", "nervousness", "optimism", "pride", "realization", "relief", "remorse", "sadness", "surprise", "neutral")
TEXTS = ["a happy man", "a woman is sad and cries in the rain", "a dog", "", "a happy happy happy dog"]
WORDS = sorted({word for text in TEXTS for word in text.split()})


def section(model: Path | str, **changes: Any) -> Emotion:
    return Emotion(**{"estimators": ("classifier",), "classifier_model": str(model),
                      "classifier_labels": "ekman", "classifier_batch_size": 2, **changes})


def ekman(folder: Path, problem_type: str | None = None) -> Path:
    return tiny_models.classifier(folder, EKMAN, WORDS, problem_type)


@torch.inference_mode()
def logits_by_hand(folder: Path) -> torch.Tensor:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    return torch.cat([model(**tokenizer(text, return_tensors="pt")).logits for text in TEXTS])


@pytest.mark.parametrize("problem_type", [None, "single_label_classification", "multi_label_classification"])
def test_labels_equal_the_library_by_hand(tmp_path: Path, problem_type: str | None) -> None:
    folder = ekman(tmp_path / "model", problem_type)
    logits = logits_by_hand(folder)
    expected = logits.sigmoid() if problem_type == "multi_label_classification" else logits.softmax(-1)
    made = Classifier(section(folder), TAXONOMY, "cpu")
    predicted = made.predict_labels(TEXTS)
    assert predicted.shape == (5, 7) and predicted.dtype == np.float32
    assert np.abs(predicted - expected.numpy()).max() < 1e-4
    assert np.abs(predicted[0] - predicted[1]).max() > 1e-3
    pipe = transformers.pipeline("text-classification", model=str(folder), tokenizer=str(folder), top_k=None)
    by_label = {one["label"]: one["score"] for one in pipe([TEXTS[1]])[0]}
    assert [by_label[label] for label in EKMAN] == pytest.approx(predicted[1].tolist(), abs=1e-4)
    assert made.predict_labels([]).shape == (0, 7)


def test_a_hub_id_in_the_cache_is_the_same_classifier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    folder = ekman(tmp_path / "model")
    of_folder = Classifier(section(folder), TAXONOMY, "cpu")
    predicted = of_folder.predict_labels(TEXTS)
    with pytest.raises(SpectrumError, match=r"emotion\.classifier_model: org/tiny is no folder.*offline switch"):
        Classifier(section("org/tiny"), TAXONOMY, "cpu")
    tiny_models.in_cache(tmp_path / "hub", "org/tiny", folder)
    of_hub = Classifier(section("org/tiny"), TAXONOMY, "cpu")
    assert np.array_equal(of_hub.predict_labels(TEXTS), predicted)
    assert of_hub.recipe == of_folder.recipe
    assert str(tmp_path) not in json.dumps(of_hub.recipe)


def test_categories_of_exclusive_labels_add_up_and_of_others_are_a_noisy_or(tmp_path: Path) -> None:
    single = Classifier(section(ekman(tmp_path / "single")), TAXONOMY, "cpu")
    multi = Classifier(section(ekman(tmp_path / "multi", "multi_label_classification")), TAXONOMY, "cpu")
    table = read_label_shares("ekman", EKMAN, TAXONOMY)
    p = single.predict_labels(TEXTS)
    assert single.predict_categories(TEXTS) == pytest.approx(p @ table, abs=1e-5)
    q = multi.predict_labels(TEXTS)
    assert multi.predict_categories(TEXTS) == pytest.approx(1 - np.prod(1 - q[:, :, None] * table, 1), abs=1e-4)
    assert (single.recipe["activation"], multi.recipe["activation"]) == ("softmax", "sigmoid")


def test_a_caption_longer_than_the_model_is_cut(tmp_path: Path) -> None:
    made = Classifier(section(ekman(tmp_path / "model")), TAXONOMY, "cpu")
    long = "happy " * 500
    # 30 tokens with the two special ones
    assert np.array_equal(made.predict_labels([long]), made.predict_labels(["happy " * 28]))


@dataclass
class Corpus:
    texts: Sequence[str]
    embeddings: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    recipe_id: str = "text-model"


def test_the_estimator_gives_words_whose_categories_are_the_classifiers(tmp_path: Path) -> None:
    def never(texts: Sequence[str]) -> np.ndarray:
        raise AssertionError

    folder = ekman(tmp_path / "model")
    none = np.zeros((len(TEXTS), 4), np.float32)
    made = Estimators(section(folder), Corpus(TEXTS), never, "cpu")
    parts = made.predict_each(TEXTS, none)
    assert set(parts) == {"classifier"}
    expected = Classifier(section(folder), TAXONOMY, "cpu").predict_categories(TEXTS)
    assert probabilities.derive_categories(parts["classifier"], TAXONOMY) == pytest.approx(expected, abs=1e-4)
    joy = parts["classifier"][0, [TAXONOMY.words.index(word) for word in ("happy", "cheerful")]]
    assert joy[0] > joy[1] > 0                                                  # the corpus says happy
    both = Estimators(section(folder, estimators=("lexicon", "classifier")), Corpus(TEXTS), never, "cpu")
    lexicon, classifier = both.predict_each(TEXTS, none).values()
    joined = both.predict(TEXTS, none, {"lexicon": 1.0, "classifier": 1.0})
    assert joined == pytest.approx(1 - (1 - lexicon) * (1 - classifier), abs=1e-5)
    # The same weights of another name are the same recipe, another map is not.
    same = tmp_path / "renamed"
    folder.rename(same)
    (tmp_path / "own.json").write_text(json.dumps({"labels": {label: {} for label in EKMAN}}))
    again = Estimators(section(same), Corpus(TEXTS), never, "cpu")
    other = Estimators(section(same, classifier_labels=str(tmp_path / "own.json")), Corpus(TEXTS), never, "cpu")
    assert made.recipe_id("p") == again.recipe_id("p") != other.recipe_id("p")
    assert not other.predict_each(TEXTS, none)["classifier"].any()


@pytest.mark.parametrize("taxonomy", NAMES)
@pytest.mark.parametrize(("name", "labels"), [("goemotions", GOEMOTIONS), ("ekman", EKMAN)])
def test_the_maps_that_ship(name: str, labels: Sequence[str], taxonomy: str) -> None:
    assert name in SHIPPED
    known = Taxonomy.load(taxonomy)
    table = read_label_shares(name, [label.title() for label in labels], known)        # case does not count
    assert table.shape == (len(labels), 34)
    for label, row in zip(labels, table, strict=True):
        assert row.any() == (label != "neutral"), label
    for label in ("anger", "disgust", "fear", "joy", "sadness", "surprise"):
        assert table[labels.index(label), known.categories.index(label)] == 1
    unreached = {category for category, column in zip(known.categories, table.T, strict=True) if not column.any()}
    if name == "goemotions":
        assert unreached == {"beauty", "bore", "cleverness", "jealous"}     # as its file says


@pytest.mark.parametrize(("text", "sentence"), [
    ("[]", r'expected \{"labels"'), ('{"labels": {"joy": "joy"}}', r'expected \{"labels"'),
    ('{"labels": {"joy": {}}}', "lacks 'fear', a label of the classifier"),
    ('{"labels": {"joy": {"fun": 1}, "fear": {}}}', "label 'joy' has 'fun': 1; expected one of the 34"),
    ('{"labels": {"joy": {"joy": 1.5}, "fear": {}}}', "'joy': 1.5"),
    ('{"labels": {"joy": {"joy": "1"}, "fear": {}}}', "'joy': '1'"),
])
def test_a_map_that_is_none_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "own.json").write_text(text)
    with pytest.raises(SpectrumError, match=sentence):
        read_label_shares(str(tmp_path / "own.json"), ["joy", "fear"], TAXONOMY)


def test_models_that_are_no_such_classifier_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpectrumError, match="is none of goemotions, ekman, and no file"):
        read_label_shares("plutchik", EKMAN, TAXONOMY)
    with pytest.raises(SpectrumError, match="regression"):
        Classifier(section(ekman(tmp_path / "regression", "regression")), TAXONOMY, "cpu")
    with pytest.raises(SpectrumError, match="lacks 'LABEL_0'"):
        Classifier(section(tiny_models.classifier(tmp_path / "unnamed", ["LABEL_0", "LABEL_1"], WORDS, None)),
                   TAXONOMY, "cpu")
    headless = ekman(tmp_path / "headless")
    tiny_models.without_tensor(headless, "classifier.weight")
    with pytest.raises(SpectrumError, match=r"lacks 1 tensors .*classifier\.weight"):
        Classifier(section(headless), TAXONOMY, "cpu")
    with pytest.raises(ValidationError, match="classifier needs a classifier_model"):
        Emotion(estimators=("classifier",))
