"""Emotion of captions by a sequence classifier of the transformers library, whatever labels it was trained on.

A map of labels says which categories a label stands for, and with which share: `goemotions` and `ekman` ship,
any other is a JSON file like those in labels/. Where the labels exclude each other (softmax) their shares add up;
where they do not (sigmoid) a category is the noisy-or of its labels.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.common.errors import SpectrumError
from pipeline.common.files import read_json
from pipeline.emotion.taxonomy import Taxonomy
from pipeline.encoders import transformers_model as transformer
from pipeline.encoders.precision import autocast
from pipeline.encoders.weights import CONFIG, TOKENIZER, WEIGHTS, folder_of, tensors_sha256
from pipeline.params import Emotion

SHIPPED = ("goemotions", "ekman")
_KEY = "emotion.classifier_model"
_LONGEST = 128          # tokens of a caption that are read


class Classifier:
    """p(category | caption). `recipe` says what decides it: weights, labels' shares, activation."""

    def __init__(self, section: Emotion, taxonomy: Taxonomy, device: str) -> None:
        folder = folder_of(section.classifier_model, _KEY, (CONFIG, WEIGHTS, TOKENIZER))
        self._tokenizer = transformer.read("AutoTokenizer", folder, _KEY)
        self._model = transformer.read_model("AutoModelForSequenceClassification", folder, _KEY, device)
        self._device, self._batch = device, section.classifier_batch_size
        config = self._model.config
        self._exclusive = _labels_exclude_each_other(config)
        names = [str(config.id2label[i]) for i in range(config.num_labels)]
        self._shares = read_label_shares(section.classifier_labels, names, taxonomy)       # [L, C]
        self.recipe: dict[str, Any] = {
            "weights": tensors_sha256(self._model), "labels": names, "shares": self._shares.tolist(),
            "activation": "softmax" if self._exclusive else "sigmoid"}

    def predict_categories(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """[n, C]. A caption that is too long for the model is cut."""
        labels = self.predict_labels(texts)                                             # [n, L]
        if self._exclusive:
            return np.asarray(np.minimum(labels @ self._shares, 1.0), np.float32)
        silent = np.log1p(-np.minimum(labels[:, :, None] * self._shares, 1 - 1e-6)).sum(1)
        return np.asarray(-np.expm1(silent), np.float32)

    def predict_labels(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Probabilities of the classifier's own labels [n, L]."""
        import torch

        probabilities = np.empty((len(texts), len(self._shares)), np.float32)
        by_length = sorted(range(len(texts)), key=lambda position: len(texts[position]))
        for first in range(0, len(texts), self._batch):
            positions = by_length[first:first + self._batch]
            tokens = self._tokenizer([texts[position] for position in positions], padding=True, truncation=True,
                                     max_length=self._longest(), return_tensors="pt").to(self._device)
            with torch.inference_mode(), autocast(self._device):
                logits = self._model(**tokens).logits.float()                   # [b, L]
            probabilities[positions] = (logits.softmax(-1) if self._exclusive else logits.sigmoid()).cpu().numpy()
        return probabilities

    def _longest(self) -> int:
        # RoBERTa's positions begin after the padding's, so that two of them are no use.
        positions = getattr(self._model.config, "max_position_embeddings", _LONGEST + 2)
        return min(_LONGEST, int(positions) - 2)


def read_label_shares(labels: str, names: Sequence[str], taxonomy: Taxonomy) -> NDArray[np.float32]:
    """[L, C]: the share with which each of a classifier's labels stands for each category.

    labels: a map that ships, or a file. Raises SpectrumError for a map that is not one, or that lacks a label.
    """
    path = Path(__file__).with_name("labels") / f"{labels}.json" if labels in SHIPPED else Path(labels).expanduser()
    if not path.is_file():
        raise SpectrumError(f"emotion.classifier_labels: {labels!r} is none of {', '.join(SHIPPED)}, and no "
                            "file; give a JSON file like those in pipeline/emotion/labels")
    tree = read_json(path)
    known = tree.get("labels") if isinstance(tree, dict) else None
    if not isinstance(known, dict) or not all(isinstance(value, dict) for value in known.values()):
        raise SpectrumError(f'{path}: expected {{"labels": {{label: {{category: share}}}}}}')
    by_name = {name.lower(): value for name, value in known.items()}
    label_shares = np.zeros((len(names), len(taxonomy.categories)), np.float32)
    for row, name in zip(label_shares, names, strict=True):
        if name.lower() not in by_name:
            raise SpectrumError(f"{path}: it lacks {name!r}, a label of the classifier, whose labels are "
                                f"{', '.join(names)}; give a map that has them all in emotion.classifier_labels")
        for category, share in by_name[name.lower()].items():
            if category not in taxonomy.categories or not isinstance(share, int | float) or not 0 < share <= 1:
                raise SpectrumError(f"{path}: label {name!r} has {category!r}: {share!r}; expected one of the "
                                    f"{len(taxonomy.categories)} categories and a share above 0, up to 1")
            row[taxonomy.categories.index(category)] = share
    return label_shares


def _labels_exclude_each_other(config: Any) -> bool:
    """Whether the labels exclude each other, as the library's own text classification decides it."""
    if config.problem_type == "regression":
        raise SpectrumError(f"{_KEY}: its problem_type is regression; expected a classifier")
    return bool(config.problem_type != "multi_label_classification" and config.num_labels > 1)
