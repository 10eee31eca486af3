"""Candidates as hypotheses: what the captioner thinks of the retrieved captions, beside those that it made itself.

A candidate is a whole sentence that somebody wrote of something alike; often all is right but its mood. So where VTAI
sees another mood, the candidate also counts with its emotion words exchanged for that mood's (retrieved sentences that
are corrected by what is seen: the idea of FACE-net, arXiv 2603.17455).
"""

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from pipeline import params
from pipeline.captioner.attributes import AttributeList, category_probabilities
from pipeline.captioner.generation.beam_search import Beams
from pipeline.captioner.model.captioner import Captioner, Encoded
from pipeline.captioner.packing import Ids, pack_captions
from pipeline.captioner.vocabulary import BOS, EOS, UNK, Vocabulary
from pipeline.common.text import words

_MOODS = 2      # the likeliest categories of a video, whose words are put into its candidates
_MOST_WORDS = 8192      # that are scored at once: their logits over the vocabulary take memory, some hundred MB


class CandidateHypotheses:
    def __init__(self, model: Captioner, vocabulary: Vocabulary, attributes: AttributeList) -> None:
        self.model, self.vocabulary, self.attributes = model, vocabulary, attributes
        self._category_of = {word: own[0] for word, own
                             in zip(attributes.emotional, attributes.emotional_categories, strict=True)}
        # The commonest word of a category in each form: the vocabulary begins with the commonest words.
        self._word_of: dict[tuple[int, bool], str] = {}
        for word in vocabulary.entries:
            if word in self._category_of:
                self._word_of.setdefault((self._category_of[word], _is_adverb(word)), word)

    @torch.inference_mode()
    def score(self, encoded: Encoded, candidates: Sequence[Sequence[str]], section: params.Generation) -> list[Beams]:
        """For every encoded video its candidates as (tokens with <eos>, score), scored as the beam search scores.

        A sentence that the captioner could not have said (a word outside its vocabulary, too many words) is left out.
        """
        sentences = [[ids for ids in map(self.vocabulary.encode, texts)
                      if ids and UNK not in ids and len(ids) <= self.model.section.max_words]
                     for texts in self._with_moods(candidates, encoded.attribute_logits)]
        results: list[Beams] = []
        for videos in _portions(sentences):
            results += self._score(encoded, videos, sentences[videos.start:videos.stop], section)
        return results

    def _score(self, encoded: Encoded, videos: range, sentences: Sequence[Sequence[list[int]]],
               section: params.Generation) -> list[Beams]:
        """The `sentences` of some of the encoded videos."""
        counts = np.array([len(own) for own in sentences], dtype=np.int64)
        having = np.flatnonzero(counts)
        results: list[Beams] = [[] for _ in sentences]
        if not len(having):
            return results
        spoken: list[Ids] = [np.array([*ids, EOS]) for own in sentences for ids in own]
        read: list[Ids] = [np.array([BOS, *ids]) for own in sentences for ids in own]
        device = self.model.device
        batch = pack_captions(having + videos.start, counts[having], read, spoken, np.ones(len(spoken), np.float32),
                              device)
        logits = self.model.decode_packed(encoded.select(batch.videos.to(device)), batch.words, batch.positions,
                                          batch.video_of_word, batch.packing).float()
        log_p = (logits.gather(1, batch.targets[:, None])[:, 0] - logits.logsumexp(-1)).double().cpu().numpy()
        lengths = np.array([len(ids) for ids in spoken])
        sums = np.add.reduceat(log_p, np.cumsum(lengths) - lengths)
        scored = zip(spoken, sums / lengths ** section.length_penalty, strict=True)
        for video in having:
            results[video] = [(ids.tolist(), float(score)) for ids, score in islice(scored, int(counts[video]))]
        return results

    def _with_moods(self, candidates: Sequence[Sequence[str]], logits: Tensor | None) -> list[list[tuple[str, ...]]]:
        """The words of every candidate, and of every one with another mood, each sentence once."""
        sentences = [[tuple(words(text)) for text in own] for own in candidates]
        if logits is None or not self.attributes.emotional:
            return [list(dict.fromkeys(own)) for own in sentences]
        emotional = logits[:, len(self.attributes.universal):].float().cpu()
        likely = category_probabilities(emotional, self.attributes.membership).topk(_MOODS, dim=1).indices.tolist()
        return [list(dict.fromkeys([*own, *(self._in_mood(sentence, mood) for mood in moods for sentence in own)]))
                for own, moods in zip(sentences, likely, strict=True)]

    def _in_mood(self, sentence: tuple[str, ...], mood: int) -> tuple[str, ...]:
        """The sentence with every emotion word of another category exchanged, where the mood has one of its form."""
        return tuple(self._word_of.get((mood, _is_adverb(word)), word)
                     if self._category_of.get(word, mood) != mood else word for word in sentence)


def _portions(sentences: Sequence[Sequence[list[int]]]) -> Iterator[range]:
    """Neighbouring videos whose sentences have about _MOST_WORDS words."""
    start = words_so_far = 0
    for video, own in enumerate(sentences):
        words_so_far += sum(map(len, own))
        if words_so_far >= _MOST_WORDS or video == len(sentences) - 1:
            yield range(start, video + 1)
            start, words_so_far = video + 1, 0


def _is_adverb(word: str) -> bool:
    return word.endswith("ly")
