"""Training a captioner: features stay on the device, and a video is encoded once for all its captions in the batch.

First the captions are learned word by word (cross entropy); then, where `training.self_critical_epochs` asks for
it, whole sampled captions by their reward.
"""

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from pipeline import params
from pipeline.captioner.attributes import AttributeList
from pipeline.captioner.generation.generator import CaptionGenerator
from pipeline.captioner.model.captioner import Captioner, Shape
from pipeline.captioner.splits import Split
from pipeline.captioner.trained import Epoch, TrainedCaptioner
from pipeline.captioner.training.batches import CaptionSet
from pipeline.captioner.training.cross_entropy import CrossEntropy
from pipeline.captioner.training.cross_fitting import cross_fit
from pipeline.captioner.training.optimization import Objective, Phase
from pipeline.captioner.training.self_critical import SelfCritical
from pipeline.captioner.training.settings import Listeners, TrainingSettings
from pipeline.captioner.training.state import (
    StateFile,
    Tensors,
    random_state,
    restore_random_state,
    with_prefix,
    without_prefix,
)
from pipeline.captioner.training.validation import selection_score, validation_scores
from pipeline.captioner.vocabulary import Vocabulary
from pipeline.common.errors import SpectrumError

_SAVE_INTERVAL = 300.0      # seconds within an epoch after which the state is saved


def train(train: Split, validation: Split, settings: TrainingSettings, seed: int, device: torch.device | str,
          state: Path | None = None, listeners: Listeners = Listeners()) -> TrainedCaptioner:
    """A captioner of the split `train`, with the weights of the best epoch by the validation score `select_by`.

    Every epoch captions `validation` as `settings.generation` says and scores it: CIDEr, and CFS, which counts the
    emotions too (0.8 CIDEr + 0.1 (Acc_sw + Acc_c)). In the self-critical phase the caption loss is minus the mean
    reward. Of equal epochs the earlier is kept. CIDEr knows no single video: then, or without any, the last epoch is
    kept. The same seed, splits, settings and machine give the same weights.

    `state` is a file in which the training keeps its state, at every epoch and every five minutes: killed and called
    again in the same way, it goes on and ends with the same weights. The file is left there. Raises SpectrumError for
    a loss that is no number.
    """
    device = torch.device(device)
    section, training, taxonomy = settings.captioner, settings.training, settings.taxonomy
    sentences = [sentence for captions in train.captions for sentence in captions]
    vocabulary = Vocabulary.build(sentences, section.min_word_count)
    attributes = AttributeList.build(sentences, taxonomy, section.universal_words, section.attributes)
    if section.vtai and not len(attributes):
        raise SpectrumError("the training captions have no word that can be an attribute; train with "
                            "captioner.vtai=false, captioner.cfb=false and captioner.aeb=false")
    file = None if state is None else StateFile(state, settings.fingerprint(train, validation, seed, device))
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        model = Captioner(section, Shape.of(section, train.inputs, len(vocabulary)), attributes, vocabulary)
        targets = settings.match_attributes(attributes, train.captions)
        model.fit(train.inputs, targets)
        model.to(device)
        inputs, targets = train.inputs.to(device), targets.to(device)
        logits = cross_fit(model, inputs, targets, training, seed)
        captions = CaptionSet(train.captions, vocabulary, taxonomy, section.max_words, training.neutral_caption_weight)
        objectives: list[Objective] = [CrossEntropy(model, training, inputs, captions, targets, logits, seed)]
        if training.self_critical_epochs:
            objectives.append(SelfCritical(model, settings, Split(inputs, train.captions), targets, logits,
                                           vocabulary, seed))
        can_select = len(validation.captions) > 1
        run = _Run(model, training, file, can_select)
        run.run(objectives, _validator(model, vocabulary, attributes, validation, settings), listeners)
    assert run.best is not None
    model.load_state_dict(run.weights)
    model.eval()
    return TrainedCaptioner(model, vocabulary, attributes, run.history, run.best, seed)


def _validator(model: Captioner, vocabulary: Vocabulary, attributes: AttributeList, validation: Split,
               settings: TrainingSettings) -> Callable[[], Epoch]:
    """Scores the model, as it is when called, on the validation split."""
    generator = CaptionGenerator(model, vocabulary, attributes, settings.generation, settings.consensus)
    inputs = validation.inputs.to(model.device)

    def validate() -> Epoch:
        captions = generator.generate(inputs, validation.candidates) if len(validation.captions) > 1 else []
        return validation_scores([caption.text for caption in captions], validation.captions, settings.taxonomy)

    return validate


@dataclass
class _Run:
    """The phases one after the other: what was reached, the best of it, and the file that remembers it."""

    model: Captioner
    training: params.Training
    file: StateFile | None
    can_select: bool                # whether validation can choose an epoch
    history: list[Epoch] = field(default_factory=list)
    best: Epoch | None = None
    weights: Tensors = field(default_factory=dict)      # of `best`
    idle: int = 0                   # epochs of this phase since the last gain

    def run(self, objectives: Sequence[Objective], validate: Callable[[], Epoch], listeners: Listeners) -> None:
        saved = None if self.file is None else self.file.load()
        first = 0 if saved is None else int(saved[1]["phase"])
        for number, objective in enumerate(objectives[first:], start=first):
            if self.best is not None:
                self.model.load_state_dict(self.weights)
            self.idle = 0
            phase = Phase(self.model, objective, self.training)
            if saved is not None:
                self._restore(phase, *saved)
                saved = None
                listeners.on_progress(len(self.history) + phase.step / objective.batches - phase.epochs, False)
                for record in self.history:
                    listeners.on_epoch(record)
            self._train_epochs(phase, number, validate, listeners)
        listeners.on_progress(self.training.all_epochs - len(self.history), False)      # those that patience spared

    def _train_epochs(self, phase: Phase, number: int, validate: Callable[[], Epoch], listeners: Listeners) -> None:
        saved = time.monotonic()

        def pause() -> None:
            nonlocal saved
            if self.file is not None and time.monotonic() - saved > _SAVE_INTERVAL:
                self._save(phase, number)
                saved = time.monotonic()

        patience = self.training.patience
        while phase.epochs < phase.objective.epochs and not (patience and self.idle >= patience):
            losses = phase.epoch(pause, lambda share: listeners.on_progress(share, True))
            record: Epoch = {"epoch": len(self.history) + 1, **losses}
            record |= validate()
            self._keep_if_better(record)
            if self.file is not None:
                self._save(phase, number)
                saved = time.monotonic()
            listeners.on_epoch(record)

    def _keep_if_better(self, record: Epoch) -> None:
        self.history.append(record)
        select_by = self.training.select_by
        self.idle += 1
        if self.best is None or not self.can_select or selection_score(record, select_by) > \
                selection_score(self.best, select_by):
            self.best, self.weights, self.idle = record, copy.deepcopy(self.model.state_dict()), 0

    def _save(self, phase: Phase, number: int) -> None:
        assert self.file is not None
        best = None if self.best is None else self.history.index(self.best)
        self.file.save(phase.state() | with_prefix("best", self.weights) | random_state(self.model.device),
                       {"phase": number, "step": phase.step, "history": self.history, "best": best,
                        "idle": self.idle})

    def _restore(self, phase: Phase, tensors: Tensors, saved: dict[str, Any]) -> None:
        self.history, self.idle = saved["history"], saved["idle"]
        self.best = None if saved["best"] is None else self.history[saved["best"]]
        self.weights = without_prefix("best", tensors)
        phase.restore(tensors, saved["step"])
        restore_random_state(tensors, self.model.device)
