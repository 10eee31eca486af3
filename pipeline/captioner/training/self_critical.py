"""The self-critical phase: whole captions are sampled, and those that score above their fellows made likelier.

REINFORCE as in Rennie et al. (CVPR 2017), but a caption is measured against the mean reward of the *other* samples
of its video, which needs no greedy pass (Luo, 2020). The model samples and learns without dropout: what is rewarded
is what will be spoken. Sampling uses the decoder's cache; the gradient needs one packed pass over the samples.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.captioner.generation.constraints import forbid_after
from pipeline.captioner.generation.random_sampling import SamplingSettings, sample
from pipeline.captioner.model.captioner import Captioner
from pipeline.captioner.packing import Batch, Ids, pack_captions
from pipeline.captioner.splits import Split
from pipeline.captioner.training.losses import attribute_loss
from pipeline.captioner.training.optimization import half_precision
from pipeline.captioner.training.reward import CiderD, EmotionReward
from pipeline.captioner.training.settings import TrainingSettings
from pipeline.captioner.vocabulary import BOS, PAD, Vocabulary
from pipeline.common.text import words

_END = "</s>"   # no word of a caption; it rewards ending where people end, or captions would stop at "in a"


class SelfCritical:
    """The objective of the phase: the mean reward of sampled captions."""

    def __init__(self, model: Captioner, settings: TrainingSettings, split: Split, targets: Tensor,
                 attribute_logits: Tensor | None, vocabulary: Vocabulary, seed: int) -> None:
        """split: with its inputs on the model's device; targets, attribute_logits: as of CrossEntropy."""
        training = settings.training
        self.model, self.training, self.inputs, self.targets = model, training, split.inputs, targets
        self.attribute_logits, self.vocabulary = attribute_logits, vocabulary
        self.epochs, self.learning_rate = training.self_critical_epochs, training.self_critical_learning_rate
        self.batches = math.ceil(len(split.inputs) / training.videos_per_batch)
        self.seed = [seed, 1]
        sentences = [[words(caption) for caption in own] for own in split.captions]
        self._cider = CiderD([[[*sentence, _END] for sentence in own] for own in sentences])
        self._emotion = EmotionReward(sentences, settings.taxonomy)

    def order(self, rng: np.random.Generator) -> list[Ids]:
        order, size = rng.permutation(len(self.inputs)), self.training.videos_per_batch
        return [order[first:first + size] for first in range(0, len(order), size)]

    def prepare(self, batch: Ids) -> None:
        self.inputs.prepare(batch)

    def losses(self, batch: Ids) -> tuple[Tensor, Tensor]:
        """Minus the mean reward (its gradient is the policy's), and the attribute loss."""
        self.model.eval()
        device = self.model.device
        with half_precision(device):
            known = None if self.attribute_logits is None else self.attribute_logits[batch.tolist()]
            encoded = self.model.encode(self.inputs.select(batch.tolist()), known)
            sampled, _ = sample(self.model, encoded, len(batch), SamplingSettings(self.training.self_critical_samples))
            reward = self.rewards(batch, sampled)                                         # [v, k]
            advantage = (reward - reward.mean(1, keepdims=True)) * (reward.shape[1] / (reward.shape[1] - 1))
            spoken = _batch(batch, sampled, advantage, device)
            logits = self.model.decode_packed(encoded, spoken.words, spoken.positions, spoken.video_of_word,
                                              spoken.packing)
        gain = spoken.weights * self._log_p(logits.float(), spoken)                         # [N]
        policy = -gain.sum() / advantage.size
        # In value minus the mean reward, in gradient the policy's.
        caption = policy - policy.detach() - float(reward.mean())
        if encoded.attribute_logits is None or known is not None:
            return caption, torch.zeros((), device=device)
        return caption, attribute_loss(encoded.attribute_logits.float(), self.targets[batch.tolist()])

    def rewards(self, videos: Ids, sampled: Tensor) -> np.ndarray:
        """[v, k] of the captions [v, k, L]."""
        count = sampled.shape[1]
        sentences = [self.vocabulary.decode(text).split() for texts in sampled.tolist() for text in texts]
        video_of = np.repeat(videos, count).tolist()
        reward = self._cider.score(video_of, [[*sentence, _END] for sentence in sentences])
        if self.training.emotion_reward:
            reward = reward + self.training.emotion_reward * self._emotion.score(video_of, sentences)
        return reward.reshape(len(videos), count)

    def _log_p(self, logits: Tensor, spoken: Batch) -> Tensor:
        """[N] log p of every sampled word under the constraints it was sampled by."""
        allowed = forbid_after(logits, spoken.words, spoken.positions == 0)
        return -F.cross_entropy(allowed, spoken.targets, reduction="none")


def _batch(videos: Ids, sampled: Tensor, advantage: np.ndarray, device: torch.device) -> Batch:
    """The captions [v, k, L] with their advantage over the other captions of the video [v, k] as weights.

    Of a caption that was ended at the limit the <eos> is left out: it was no choice.
    """
    longest = sampled.shape[2]
    outputs = [np.array([token for token in text[:longest - 1] if token != PAD]) for texts in sampled.tolist()
           for text in texts]
    words_in = [np.concatenate([[BOS], ids[:-1]]) for ids in outputs]
    count = np.full(len(videos), sampled.shape[1])
    return pack_captions(videos, count, words_in, outputs, advantage.astype(np.float32).flatten(), device)
