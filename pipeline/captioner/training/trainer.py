"""Training: features stay on the device, and a video is encoded once for all its captions in the batch.

First the captions are learned word by word (cross entropy); then, where `training.self_critical_epochs` asks for
it, whole sampled captions by their reward.
"""

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pycocoevalcap.cider.cider import Cider
from torch import Tensor

from pipeline import params
from pipeline.captioner.attributes import AttributeList
from pipeline.captioner.generation import beam_search as beam
from pipeline.captioner.inputs import Inputs
from pipeline.captioner.model.captioner import Captioner, Shape
from pipeline.captioner.training.attribute_matching import Match
from pipeline.captioner.training.batches import CaptionSet, Ids
from pipeline.captioner.training.losses import attribute_loss, caption_loss
from pipeline.captioner.training.optimization import Goal, Phase, half_precision
from pipeline.captioner.training.self_critical import SelfCritical
from pipeline.captioner.training.state import (
    StateFile,
    Tensors,
    below,
    fingerprint_of,
    put_below,
    random_state,
    restore_random_state,
)
from pipeline.captioner.vocabulary import Vocabulary
from pipeline.common.errors import SpectrumError
from pipeline.common.text import words
from pipeline.emotion.taxonomy import Taxonomy
from pipeline.metrics.emotions import compute_cfs, score_emotions
from pipeline.metrics.protocols import prepare_evc_set

# epoch, loss, caption_loss, attribute_loss, validation_cider, validation_cfs, learning_rate, seconds
Epoch = dict[str, float]

Captions = Mapping[str, Sequence[str]]      # by video id
Tick = Callable[[float, bool], None]        # epochs that are done, parts of one included; whether by this run

_SAVE_EVERY = 300.0     # seconds within an epoch after which the state is saved


@dataclass(frozen=True)
class Trained:
    model: Captioner
    vocabulary: Vocabulary
    attributes: AttributeList
    history: list[Epoch]
    best: Epoch             # the epoch whose weights `model` has
    seed: int


def train(section: params.Captioner, training: params.Training, decoding: params.Decoding, inputs: Inputs,
          captions: Captions, validation: Inputs, references: Captions, taxonomy: Taxonomy, seed: int,
          device: torch.device | str, log: Callable[[Epoch], None] = lambda _: None, tick: Tick = lambda *_: None,
          state: Path | None = None, save_every: float = _SAVE_EVERY,
          match: Match = AttributeList.targets) -> Trained:
    """A captioner of `inputs` and their `captions` (by video id), the best epoch by the validation score `keep`.

    Every epoch captions `validation` greedily and scores it against `references`: CIDEr, and CFS, which counts
    the emotions too (0.8 CIDEr + 0.1 (Acc_sw + Acc_c)); `log` gets the epoch's record, `tick` every step's share of an
    epoch. In the self-critical phase the caption loss is minus the mean reward. Of equal epochs the earlier is kept.
    CIDEr knows no single video: then, or without any, the last epoch is kept. The same seed, inputs and machine give
    the same weights. `match` says which attributes the training videos have (matching.py).

    `state` is a file in which the training keeps its state, at every epoch and every `save_every` seconds: killed
    and called again in the same way, it goes on and ends with the same weights. The file is left there. Raises
    SpectrumError for videos without captions and for a loss that is no number.
    """
    place = torch.device(device)
    texts = _texts(inputs, captions, "training")
    told = _texts(validation, references, "validation")
    everything = [sentence for sentences in texts for sentence in sentences]
    vocabulary = Vocabulary.build(everything, section.word_count)
    attributes = AttributeList.build(everything, taxonomy, section.universal_words, section.attributes)
    if section.vtai and not len(attributes):
        raise SpectrumError("attributes: the training captions have none; train with captioner.vtai=false, "
                            "captioner.cfb=false and captioner.aeb=false")
    kept = None if state is None else StateFile(state, fingerprint(
        section, training, decoding, inputs, captions, validation, references, taxonomy, seed, place))
    with torch.random.fork_rng(devices=[place] if place.type == "cuda" else []):
        torch.manual_seed(seed)
        model = Captioner(section, Shape.of(section, inputs, len(vocabulary)), attributes)
        model.features.fit(inputs)
        targets = match(attributes, texts)
        if model.detector is not None:
            model.detector.start_from(targets.mean(0))
        model.to(place)
        resident, targets = inputs.to(place), targets.to(place)
        sentences = CaptionSet(texts, vocabulary, taxonomy, section.max_words, training.plain_weight)
        goals: list[Goal] = [CrossEntropy(model, training, resident, sentences, targets, seed)]
        if training.self_critical_epochs:
            goals.append(SelfCritical(model, training, resident, texts, targets, vocabulary, taxonomy, seed))
        greedy = decoding.model_copy(update={"method": "beam", "beam": 1, "batch": max(decoding.batch, 128)})
        unseen = validation.to(place)

        def scores() -> Epoch:
            said = beam.caption(model, vocabulary, attributes, unseen, greedy) if len(validation) > 1 else []
            return validation_scores([caption.text for caption in said], told, taxonomy)

        progress = _Progress(model, training, kept, save_every, useful=len(validation) > 1)
        progress.run(goals, scores, log, tick)
    assert progress.best is not None
    model.load_state_dict(progress.weights)
    model.eval()
    return Trained(model, vocabulary, attributes, progress.history, progress.best, seed)


def fingerprint(section: params.Captioner, training: params.Training, decoding: params.Decoding, inputs: Inputs,
                captions: Captions, validation: Inputs, references: Captions, taxonomy: Taxonomy, seed: int,
                device: torch.device) -> str:
    """Stands for everything that decides what `train` of the same arguments returns."""
    settings = {
        "captioner": section.model_dump(mode="json"), "training": training.model_dump(mode="json", exclude={"seeds"}),
        "decoding": decoding.model_dump(mode="json"), "taxonomy": taxonomy.name, "seed": seed, "device": device.type,
        "captions": [list(captions.get(video, ())) for video in inputs.ids],
        "references": [list(references.get(video, ())) for video in validation.ids],
    }
    return fingerprint_of(settings, (inputs, validation))


def kept_score(record: Epoch, keep: str) -> float:
    """The validation score that chooses the epoch: `cider`, `cfs` or their `mean`."""
    if keep == "mean":
        return (record["validation_cider"] + record["validation_cfs"]) / 2
    return record[f"validation_{keep}"]


def validation_scores(said: Sequence[str], references: Sequence[Sequence[str]], taxonomy: Taxonomy) -> Epoch:
    """CIDEr and CFS of sentences; zeros where there are none."""
    if not said:
        return {"validation_cider": 0.0, "validation_cfs": 0.0}
    score = cider(said, references)
    videos = [str(number) for number in range(len(said))]
    told = prepare_evc_set(dict(zip(videos, said, strict=True)), dict(zip(videos, references, strict=True)))
    emotion = score_emotions(*told, taxonomy)
    return {"validation_cider": score, "validation_cfs": compute_cfs(score, emotion.acc_sw, emotion.acc_c) or 0.0}


def cider(said: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """CIDEr, words by pipeline.common.text.words: comparable between epochs, not with PTB-tokenised scores."""
    truth = {i: [" ".join(words(text)) for text in texts] for i, texts in enumerate(references)}
    score, _ = Cider().compute_score(truth, {i: [" ".join(words(text))] for i, text in enumerate(said)})
    return float(score)


@dataclass
class CrossEntropy:
    """The goal of the first phase: the training captions, word by word."""

    model: Captioner
    training: params.Training
    inputs: Inputs
    captions: CaptionSet
    targets: Tensor             # [V, N] attributes
    number: int                 # the seed

    def __post_init__(self) -> None:
        self.epochs, self.learning_rate = self.training.epochs, self.training.learning_rate
        self.size = self.training.captions or self.training.videos
        self.items = len(self.captions) if self.training.captions else len(self.inputs)
        self.batches = math.ceil(self.items / self.size)
        self.seed = [self.number]

    def order(self, chance: np.random.Generator) -> list[Ids]:
        order = chance.permutation(self.items)
        return [order[first:first + self.size] for first in range(0, self.items, self.size)]

    def losses(self, batch: Ids) -> tuple[Tensor, Tensor]:
        self.model.train()
        device = self.model.device
        chosen = (self.captions.mixed(batch, device) if self.training.captions
                  else self.captions.batch(batch.tolist(), device))
        with half_precision(device):
            encoded = self.model.encode(self.inputs.select(chosen.videos))
            logits = self.model.decode_packed(encoded, chosen.words, chosen.positions, chosen.video_of_word,
                                              chosen.packing)
        caption = caption_loss(logits.float(), chosen.targets, chosen.weights, chosen.captions,
                               self.training.label_smoothing)
        if encoded.attribute_logits is None:
            return caption, torch.zeros((), device=device)
        return caption, attribute_loss(encoded.attribute_logits.float(), self.targets[chosen.videos])


@dataclass
class _Progress:
    """The phases one after the other: what was reached, the best of it, and the file that remembers it."""

    model: Captioner
    training: params.Training
    file: StateFile | None
    save_every: float
    useful: bool                    # whether validation can choose an epoch
    history: list[Epoch] = field(default_factory=list)
    best: Epoch | None = None
    weights: Tensors = field(default_factory=dict)      # of `best`
    idle: int = 0                   # epochs of this phase since the last gain

    def run(self, goals: Sequence[Goal], scores: Callable[[], Epoch], log: Callable[[Epoch], None],
            tick: Tick) -> None:
        found = None if self.file is None else self.file.load()
        first = 0 if found is None else int(found[1]["phase"])
        for number, goal in enumerate(goals[first:], start=first):
            if self.best is not None:
                self.model.load_state_dict(self.weights)
            self.idle = 0
            phase = Phase(self.model, goal, self.training)
            if found is not None:
                self._restore(phase, *found)
                found = None
                tick(len(self.history) + phase.step / goal.batches - phase.epochs, False)
                for record in self.history:
                    log(record)
            self._epochs(phase, number, scores, log, tick)
        tick(self.training.all_epochs - len(self.history), False)      # those that patience spared

    def _epochs(self, phase: Phase, number: int, scores: Callable[[], Epoch], log: Callable[[Epoch], None],
                tick: Tick) -> None:
        saved = time.monotonic()

        def pause() -> None:
            nonlocal saved
            if self.file is not None and time.monotonic() - saved > self.save_every:
                self._save(phase, number)
                saved = time.monotonic()

        patience = self.training.patience
        while phase.epochs < phase.goal.epochs and not (patience and self.idle >= patience):
            started = time.perf_counter()
            record: Epoch = {"epoch": len(self.history) + 1, **phase.epoch(pause, lambda share: tick(share, True))}
            record |= scores()
            record["seconds"] = time.perf_counter() - started
            self._judge(record)
            if self.file is not None:
                self._save(phase, number)
                saved = time.monotonic()
            log(record)

    def _judge(self, record: Epoch) -> None:
        self.history.append(record)
        keep = self.training.keep
        self.idle += 1
        if self.best is None or not self.useful or kept_score(record, keep) > kept_score(self.best, keep):
            self.best, self.weights, self.idle = record, copy.deepcopy(self.model.state_dict()), 0

    def _save(self, phase: Phase, number: int) -> None:
        assert self.file is not None
        best = None if self.best is None else self.history.index(self.best)
        self.file.save(phase.state() | put_below("best", self.weights) | random_state(self.model.device),
                       {"phase": number, "step": phase.step, "history": self.history, "best": best,
                        "idle": self.idle})

    def _restore(self, phase: Phase, tensors: Tensors, told: dict[str, Any]) -> None:
        self.history, self.idle = told["history"], told["idle"]
        self.best = None if told["best"] is None else self.history[told["best"]]
        self.weights = below("best", tensors)
        phase.restore(tensors, told["step"])
        restore_random_state(tensors, self.model.device)


def _texts(inputs: Inputs, captions: Mapping[str, Any], split: str) -> list[list[str]]:
    """Every video's captions that have a word, in the order of `inputs`."""
    texts = [[sentence for sentence in captions.get(video, ()) if words(sentence)] for video in inputs.ids]
    mute = [video for video, sentences in zip(inputs.ids, texts, strict=True) if not sentences]
    if mute:
        raise SpectrumError(f"video {mute[0]!r}: no {split} caption with a word in it ({len(mute)} such "
                            "videos); give it one or leave it out")
    return texts
