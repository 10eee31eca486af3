"""The reference lines that every report prints beside a model.

The emotion metrics are easily won by captions that have nothing to do with their video, so a model's scores are
read against these:

`constant_word`    every video is captioned with one and the same emotion word
`nearest_caption`  every video gets the caption that was retrieved first for it
`human`            every video gets one of its own references, scored against the others

Each is a set of captions with its references, as `captions.score_all` takes it.
"""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.common.errors import SpectrumError
from pipeline.emotion.taxonomy import Taxonomy
from pipeline.metrics.captions import CaptionSet
from pipeline.metrics.protocols import has_words, prepare_evc_reference


@dataclass(frozen=True)
class HumanLine:
    """One choice of left-out captions, and how many videos have a single caption and so none to leave out."""

    captions: dict[str, str]
    references: dict[str, list[str]]
    left_out: int


def choose_constant_word(training_captions: Mapping[str, Sequence[str]], taxonomy: Taxonomy) -> str:
    """The emotion word that, as the caption of every training video, has the highest Acc_sw there. Never chosen on
    test.

    Acc_sw of a constant word is the share of the videos that have its first category among their reference
    emotions. Among equals the word that the training captions use most is taken, then the first in
    alphabetical order. Raises SpectrumError where there are no training captions.
    """
    if not training_captions:
        raise SpectrumError("reference lines: expected training captions to choose the constant word from")
    videos: Counter[str] = Counter()
    uses: Counter[str] = Counter()
    for captions in training_captions.values():
        prepared = [prepare_evc_reference(caption) for caption in captions]
        videos.update(taxonomy.reference_categories(prepared))
        uses.update(token for caption in prepared for token in caption.split())
    return min(taxonomy.words,
               key=lambda word: (-videos[taxonomy.first_category(word) or ""], -uses[word], word))


def caption_with_word(word: str, references: Mapping[str, Sequence[str]]) -> CaptionSet:
    """Every video captioned `word`."""
    return dict.fromkeys(references, word), references


def leave_one_out(references: Mapping[str, Sequence[str]], seed: int) -> HumanLine:
    """One reference a video, chosen by `seed` and the video's id, against the video's other references.

    A video with a single caption is left out and counted.
    """
    captions: dict[str, str] = {}
    others: dict[str, list[str]] = {}
    for id, own in references.items():
        with_words = [caption for caption in own if has_words(caption)]
        if len(with_words) > 1:
            captions[id] = with_words.pop(random.Random(f"{seed} {id}").randrange(len(with_words)))
            others[id] = with_words
    return HumanLine(captions, others, left_out=len(references) - len(captions))
