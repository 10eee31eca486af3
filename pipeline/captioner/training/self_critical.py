"""The self-critical phase: whole captions are sampled, and those that score above their fellows made likelier.

REINFORCE as in Rennie et al. (CVPR 2017), but a caption is measured against the mean reward of the *other* samples
of its video, which needs no greedy pass (Luo, 2020). The model samples and learns without dropout: what is rewarded
is what will be said. Sampling uses the decoder's cache; the gradient needs one packed pass over the samples.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline import params
from pipeline.captioner.generation.constraints import forbid_after
from pipeline.captioner.generation.random_sampling import Draw, sample
from pipeline.captioner.inputs import Inputs
from pipeline.captioner.model.captioner import Captioner
from pipeline.captioner.training.batches import Batch, Ids, packed
from pipeline.captioner.training.losses import attribute_loss
from pipeline.captioner.training.optimization import half_precision
from pipeline.captioner.training.reward import CiderD, EmotionReward
from pipeline.captioner.vocabulary import BOS, PAD, Vocabulary
from pipeline.common.text import words
from pipeline.emotion.taxonomy import Taxonomy

_END = "</s>"   # no word of a caption; it rewards ending where people end, or captions would stop at "in a"


class SelfCritical:
    """The goal of the phase: the mean reward of sampled captions."""

    def __init__(self, model: Captioner, training: params.Training, inputs: Inputs, captions: Sequence[Sequence[str]],
                 targets: Tensor, vocabulary: Vocabulary, taxonomy: Taxonomy, seed: int) -> None:
        self.model, self.training, self.inputs, self.targets = model, training, inputs, targets
        self.vocabulary = vocabulary
        self.epochs, self.learning_rate = training.self_critical_epochs, training.self_critical_learning_rate
        self.batches = math.ceil(len(inputs) / training.videos_per_batch)
        self.seed = [seed, 1]
        sentences = [[words(caption) for caption in own] for own in captions]
        self._cider = CiderD([[[*sentence, _END] for sentence in own] for own in sentences])
        self._emotion = EmotionReward(sentences, taxonomy)

    def order(self, chance: np.random.Generator) -> list[Ids]:
        order = chance.permutation(len(self.inputs))
        return [order[first:first + self.training.videos_per_batch] for first in range(0, len(order), self.training.videos_per_batch)]

    def losses(self, batch: Ids) -> tuple[Tensor, Tensor]:
        """Minus the mean reward (its gradient is the policy's), and the attribute loss."""
        self.model.eval()
        device = self.model.device
        with half_precision(device):
            encoded = self.model.encode(self.inputs.select(batch.tolist()))
            drawn, _ = sample(self.model, encoded, len(batch), Draw(self.training.self_critical_samples))
            reward = self.rewards(batch, drawn)                                         # [v, k]
            better = (reward - reward.mean(1, keepdims=True)) * (reward.shape[1] / (reward.shape[1] - 1))
            said = _batch(batch, drawn, better, device)
            logits = self.model.decode_packed(encoded, said.words, said.positions, said.video_of_word, said.packing)
        gain = said.weights * self._log_p(logits.float(), said)                         # [N]
        policy = -gain.sum() / better.size
        # In value minus the mean reward, in gradient the policy's.
        caption = policy - policy.detach() - float(reward.mean())
        if encoded.attribute_logits is None:
            return caption, torch.zeros((), device=device)
        return caption, attribute_loss(encoded.attribute_logits.float(), self.targets[batch.tolist()])

    def rewards(self, videos: Ids, drawn: Tensor) -> np.ndarray:
        """[v, k] of the captions [v, k, L]."""
        count = drawn.shape[1]
        sentences = [self.vocabulary.decode(text).split() for texts in drawn.tolist() for text in texts]
        of = np.repeat(videos, count).tolist()
        found = self._cider.score(of, [[*sentence, _END] for sentence in sentences])
        if self.training.emotion_reward:
            found = found + self.training.emotion_reward * self._emotion.score(of, sentences)
        return found.reshape(len(videos), count)

    def _log_p(self, logits: Tensor, said: Batch) -> Tensor:
        """[N] log p of every said word under the rules it was drawn by."""
        allowed = forbid_after(logits, said.words, said.positions == 0)
        return -F.cross_entropy(allowed, said.targets, reduction="none")


def _batch(videos: Ids, drawn: Tensor, better: np.ndarray, device: torch.device) -> Batch:
    """The captions [v, k, L] with what each was better than its fellows [v, k] as weights.

    Of a caption that was ended at the limit the <eos> is left out: it was no choice.
    """
    longest = drawn.shape[2]
    say = [np.array([token for token in text[:longest - 1] if token != PAD]) for texts in drawn.tolist()
           for text in texts]
    read = [np.concatenate([[BOS], ids[:-1]]) for ids in say]
    count = np.full(len(videos), drawn.shape[1])
    return packed(videos, count, read, say, better.astype(np.float32).flatten(), device)
