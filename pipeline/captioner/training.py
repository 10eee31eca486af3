"""Training: features stay on the device, and a video is encoded once for all its captions in the batch."""

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pycocoevalcap.cider.cider import Cider
from torch import Tensor

from pipeline import params
from pipeline.captioner import beam
from pipeline.captioner.attributes import AttributeList
from pipeline.captioner.decoder import Packing
from pipeline.captioner.inputs import Inputs
from pipeline.captioner.losses import attribute_loss, caption_loss
from pipeline.captioner.model import Captioner, Shape
from pipeline.captioner.vocabulary import BOS, EOS, Vocabulary
from pipeline.emotion.taxonomy import Taxonomy
from pipeline.errors import SpectrumError
from pipeline.metrics.emotions import cfs, emotion_scores
from pipeline.metrics.protocols import evc_set
from pipeline.text import words

# epoch, loss, caption_loss, attribute_loss, validation_cider, learning_rate, seconds
Epoch = dict[str, float]


@dataclass(frozen=True)
class Trained:
    model: Captioner
    vocabulary: Vocabulary
    attributes: AttributeList
    history: list[Epoch]
    best: Epoch             # the epoch whose weights `model` has


@dataclass(frozen=True)
class Batch:
    """All captions of some videos, packed: no word is padding."""

    videos: Tensor          # [v] index among the training videos
    captions: Tensor        # sum of the captions' weights
    weights: Tensor         # [N] of each word's caption
    words: Tensor           # [N] what the decoder reads: <bos> and the words
    targets: Tensor         # [N] what it is to say: the words and <eos>
    positions: Tensor       # [N] place in the caption
    video_of_word: Tensor   # [N] index in `videos`
    packing: Packing


class CaptionSet:
    """The captions of the training videos as ids with their weights, and the batches made of them.

    A caption without an emotion word, of a video that others found emotional, has the weight `plain_weight`:
    each emotion has many words and places in a sentence, saying none has few, so that the likeliest single
    sentence would leave the emotion out long before most people do.
    """

    def __init__(self, captions: Sequence[Sequence[str]], vocabulary: Vocabulary, taxonomy: Taxonomy, max_words: int,
                 plain_weight: float) -> None:
        self._read: list[list[np.ndarray]] = []
        self._say: list[list[np.ndarray]] = []
        self._weights: list[np.ndarray] = []
        for sentences in captions:
            encoded = [vocabulary.encode(words(sentence)) for sentence in sentences]
            felt = np.array([any(taxonomy.categories_of(word) for word in words(sentence)) for sentence in sentences])
            self._weights.append(np.where(felt | ~felt.any(), 1.0, plain_weight).astype(np.float32))
            read = [[BOS, *ids][:max_words + 1] for ids in encoded]
            say = [[*ids, EOS][:max_words + 1] for ids in encoded]
            # A caption that is too long is cut where it does not end: its last target is the next word.
            self._read.append([np.array(ids) for ids in read])
            self._say.append([np.array(ids) for ids in say])

    def batch(self, videos: Sequence[int], device: torch.device | str) -> Batch:
        read = [ids for video in videos for ids in self._read[video]]
        lengths = np.array([len(ids) for ids in read])
        per_video = np.array([len(self._read[video]) for video in videos])
        row_of_word = np.repeat(np.arange(len(read)), lengths)                           # [N]
        positions = np.arange(lengths.sum()) - np.repeat(lengths.cumsum() - lengths, lengths)
        video_of_word = np.repeat(np.arange(len(videos)), per_video)[row_of_word]        # [N]
        queries = np.bincount(video_of_word, minlength=len(videos))                      # words a video
        rank = np.arange(len(row_of_word)) - (queries.cumsum() - queries)[video_of_word]

        def put(array: np.ndarray) -> Tensor:
            return torch.from_numpy(array.astype(np.int64)).to(device, non_blocking=True)

        length, most = int(lengths.max()), int(queries.max())
        packing = Packing(len(read), length, len(videos), most,
                          put(row_of_word * length + positions), put(video_of_word * most + rank))
        say = np.concatenate([ids for video in videos for ids in self._say[video]])
        weights = np.concatenate([self._weights[video] for video in videos])             # [captions]
        return Batch(put(np.array(videos)), torch.tensor(weights.sum(), device=device),
                     torch.from_numpy(weights[row_of_word]).to(device, non_blocking=True),
                     put(np.concatenate(read)), put(say), put(positions), put(video_of_word), packing)


def train(section: params.Captioner, training: params.Training, decoding: params.Decoding, inputs: Inputs,
          captions: Mapping[str, Sequence[str]], validation: Inputs, references: Mapping[str, Sequence[str]],
          taxonomy: Taxonomy, seed: int, device: torch.device | str,
          log: Callable[[Epoch], None] = lambda _: None) -> Trained:
    """A captioner of `inputs` and their `captions` (by video id), the best epoch by validation CFS.

    Every epoch captions `validation` greedily and scores it against `references`: CIDEr, and CFS, which counts
    the emotions too (0.8 CIDEr + 0.1 (Acc_sw + Acc_c)); `log` gets the epoch's record. Of equal epochs the
    earlier is kept. CIDEr knows no single video: then, or without any, the last epoch is kept. The same seed,
    inputs and machine give the same weights. Raises SpectrumError for videos without captions and for a loss that
    is no number.
    """
    texts = _texts(inputs, captions, "training")
    told = _texts(validation, references, "validation")
    everything = [sentence for sentences in texts for sentence in sentences]
    vocabulary = Vocabulary.build(everything, section.word_count)
    attributes = AttributeList.build(everything, taxonomy, section.universal_words)
    if section.vtai and not len(attributes):
        raise SpectrumError("attributes: the training captions have none; train with captioner.vtai=false, "
                            "captioner.cfb=false and captioner.aeb=false")
    cuda = [torch.device(device)] if torch.device(device).type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.manual_seed(seed)
        model = Captioner(section, Shape.of(section, inputs, len(vocabulary)), attributes)
        model.features.fit(inputs)
        targets = attributes.targets(texts)
        if model.detector is not None:
            model.detector.start_from(targets.mean(0))
        model.to(device)
        sentences = CaptionSet(texts, vocabulary, taxonomy, section.max_words, training.plain_weight)
        run = _Run(model, training, inputs.to(device), sentences, targets.to(device), seed)
        greedy = decoding.model_copy(update={"beam": 1, "batch": max(decoding.batch, 128)})
        resident = validation.to(device)
        history: list[Epoch] = []
        best, weights = None, None
        for number in range(1, training.epochs + 1):
            started = time.perf_counter()
            record: Epoch = {"epoch": number, **run.epoch(number)}
            said = beam.sentences(model, vocabulary, resident, greedy) if len(validation) > 1 else []
            record |= validation_scores(said, told, taxonomy)
            record["seconds"] = time.perf_counter() - started
            history.append(record)
            log(record)
            if best is None or not said or record["validation_cfs"] > best["validation_cfs"]:
                best, weights = record, copy.deepcopy(model.state_dict())
    assert best is not None and weights is not None
    model.load_state_dict(weights)
    model.eval()
    return Trained(model, vocabulary, attributes, history, best)


def validation_scores(said: Sequence[str], references: Sequence[Sequence[str]], taxonomy: Taxonomy) -> Epoch:
    """CIDEr and CFS of sentences; zeros where there are none."""
    if not said:
        return {"validation_cider": 0.0, "validation_cfs": 0.0}
    score = cider(said, references)
    videos = [str(number) for number in range(len(said))]
    told = evc_set(dict(zip(videos, said, strict=True)), dict(zip(videos, references, strict=True)))
    emotion = emotion_scores(*told, taxonomy)
    return {"validation_cider": score, "validation_cfs": cfs(score, emotion.acc_sw, emotion.acc_c) or 0.0}


def cider(said: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """CIDEr, words by pipeline.text.words: comparable between epochs, not with PTB-tokenised scores."""
    truth = {i: [" ".join(words(text)) for text in texts] for i, texts in enumerate(references)}
    score, _ = Cider().compute_score(truth, {i: [" ".join(words(text))] for i, text in enumerate(said)})
    return float(score)


class _Run:
    """Optimiser, schedule and order of the videos."""

    def __init__(self, model: Captioner, training: params.Training, inputs: Inputs, captions: CaptionSet,
                 targets: Tensor, seed: int) -> None:
        self.model, self.training, self.inputs = model, training, inputs
        self.captions, self.targets = captions, targets
        self.order = np.random.default_rng(seed)
        decayed = [p for p in model.parameters() if p.dim() > 1]
        others = [p for p in model.parameters() if p.dim() <= 1]
        self.optimiser = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": training.weight_decay},
             {"params": others, "weight_decay": 0.0}],
            lr=training.learning_rate, betas=(0.9, 0.98), fused=True)
        steps = training.epochs * math.ceil(len(inputs) / training.videos)
        warm = max(1, round(training.warmup * steps))
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimiser,
                                                          lambda step: _rate(step, warm, steps))

    def epoch(self, number: int) -> dict[str, float]:
        """One pass over the training videos; means of the losses over its steps."""
        self.model.train()
        order = self.order.permutation(len(self.inputs))
        rate = float(self.optimiser.param_groups[0]["lr"])
        losses = [self._step(order[first:first + self.training.videos].tolist())
                  for first in range(0, len(order), self.training.videos)]
        caption, attribute = torch.stack(losses).mean(0).tolist()
        if not math.isfinite(caption + attribute):
            raise SpectrumError(f"epoch {number}: the loss is {caption + attribute}; lower "
                                "training.learning_rate, and look for values in the feature stores that are "
                                "no numbers")
        return {"loss": caption + self.training.attribute_weight * attribute, "caption_loss": caption,
                "attribute_loss": attribute, "learning_rate": rate}

    def _step(self, videos: list[int]) -> Tensor:
        """Caption and attribute loss [2], detached: no wait for the device."""
        batch = self.captions.batch(videos, self.model.device)
        encoded = self.model.encode(self.inputs.select(videos))
        logits = self.model.decode_packed(encoded, batch.words, batch.positions, batch.video_of_word,
                                          batch.packing)
        caption = caption_loss(logits, batch.targets, batch.weights, batch.captions, self.training.label_smoothing)
        attribute = torch.zeros((), device=caption.device)
        if encoded.attribute_logits is not None:
            attribute = attribute_loss(encoded.attribute_logits, self.targets[batch.videos])
        self.optimiser.zero_grad()
        (caption + self.training.attribute_weight * attribute).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.training.clip_norm)
        self.optimiser.step()
        self.schedule.step()
        return torch.stack([caption.detach(), attribute.detach()])


def _rate(step: int, warm: int, steps: int) -> float:
    """Linear warm-up, then half a cosine down to a hundredth (ours; CARE multiplies by 0.9 an epoch)."""
    if step < warm:
        return (step + 1) / warm
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def _texts(inputs: Inputs, captions: Mapping[str, Any], split: str) -> list[list[str]]:
    """Every video's captions that have a word, in the order of `inputs`."""
    texts = [[sentence for sentence in captions.get(video, ()) if words(sentence)] for video in inputs.ids]
    mute = [video for video, sentences in zip(inputs.ids, texts, strict=True) if not sentences]
    if mute:
        raise SpectrumError(f"video {mute[0]!r}: no {split} caption with a word in it ({len(mute)} such "
                            "videos); give it one or leave it out")
    return texts
