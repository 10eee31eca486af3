"""Attribute matching: which attributes a video has, by its captions.

`lexical`: the attribute stands in one of them. `semantic`: the text encoder puts it near one of them, so that "a
puppy sprints" has dog and runs. `both`: either. All captions of an encoder lie close together, and so do all single
words: their means are taken off before the cosine, or a threshold would say little.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline import params
from pipeline.captioner.attributes import AttributeList, chance_of_some
from pipeline.common.errors import SpectrumError
from pipeline.retrieval.index import CaptionIndex, unit_vectors
from pipeline.retrieval.sentences import sentence_key

Floats = NDArray[np.float32]
EncodeTexts = Callable[[Sequence[str]], Floats]                         # texts → unit vectors [n, D]
# Captions of V videos → [V, N] of 0 to 1.
MatchAttributes = Callable[[AttributeList, Sequence[Sequence[str]]], Tensor]


def attribute_matching(section: params.Captioner, index: CaptionIndex,
                       encode_texts: Callable[[], EncodeTexts]) -> MatchAttributes:
    """The matching that `section.matching` names; only a semantic one asks for the encoder of texts."""
    if section.matching == "lexical":
        return AttributeList.targets
    encode = encode_texts()

    def match(attributes: AttributeList, captions: Sequence[Sequence[str]]) -> Tensor:
        near = semantic_targets(attributes, captions, index, encode, section.matching_threshold)
        return near if section.matching == "semantic" else torch.maximum(near, attributes.targets(captions))

    return match


def semantic_targets(attributes: AttributeList, captions: Sequence[Sequence[str]], index: CaptionIndex,
                     encode: EncodeTexts, threshold: float) -> Tensor:
    """[V, N]: `chance_of_some` of the captions whose centred cosine with the attribute reaches `threshold`.

    Captions that the index holds are not encoded again.
    """
    row_of = {sentence_key(text): row for row, text in enumerate(index.texts)}
    others = sorted({text for own in captions for text in own if sentence_key(text) not in row_of})
    vectors = index.embeddings if not others else np.concatenate([index.embeddings, encode(others)])
    row_of |= {sentence_key(text): len(index.texts) + number for number, text in enumerate(others)}
    words = _encoded(attributes.words, encode)
    words = unit_vectors(words - words.mean(0), "attributes")                   # [N, D]
    centre = index.embeddings.mean(0)
    counts = torch.zeros(len(captions), len(attributes))
    for video, own in enumerate(captions):
        own_vectors = unit_vectors(vectors[[row_of[sentence_key(text)] for text in own]] - centre, "captions")
        counts[video] = torch.from_numpy((own_vectors @ words.T >= threshold).sum(0).astype(np.float32))
    return chance_of_some(counts, captions)


def _encoded(attributes: Sequence[str], encode: EncodeTexts) -> Floats:
    try:
        return encode(attributes)
    except SpectrumError as error:      # imported texts are captions: nobody can encode a single word
        raise SpectrumError(f"captioner.matching: the attributes cannot be encoded ({error}); "
                            "use captioner.matching=lexical") from None
