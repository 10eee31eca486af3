"""How good the candidates of a split are, so that a gap between training and test videos is seen.

A captioner learns from the candidates of training videos how far candidates can be trusted. Where those of test videos
are better or worse, it trusts them too little or too much.
"""

from collections.abc import Sequence
from typing import Any

from pipeline.captioner.generation.consensus import Consensus
from pipeline.captioner.training.reward import CiderD
from pipeline.common.text import words
from pipeline.retrieval.sentences import sentence_key

_MOST = 1000    # videos of a split that are looked at, evenly spread


def score_candidates(candidates: Sequence[Sequence[str]], references: Sequence[Sequence[str]], consensus: Consensus,
                     used: int) -> dict[str, Any]:
    """`candidates` of every video, nearest first, against its references.

    Returns how many `videos` were looked at; the share of the `used` first candidates that are `equal_to_reference`;
    and the CIDEr of two captions that need no captioner: the `nearest` candidate, and the one that agrees most with all
    candidates (`consensus`). CIDEr is taken over the words as the captioner reads them, for a split by itself, so it
    is near, not equal, to that of the reports.
    """
    step = -(-len(candidates) // _MOST) if candidates else 1
    candidates, references = candidates[::step], references[::step]
    if not candidates:
        return {"videos": 0, "equal_to_reference": None, "nearest_cider": None, "consensus_cider": None}
    equal = total = 0
    for texts, own in zip(candidates, references, strict=True):
        keys = {sentence_key(text) for text in own}
        equal += sum(sentence_key(text) in keys for text in texts[:used])
        total += len(texts[:used])
    scorer = CiderD([[words(text) for text in own] for own in references])

    def cider(captions: Sequence[str]) -> float:
        return float(scorer.score(range(len(captions)), [words(text) for text in captions]).mean())

    return {"videos": len(candidates), "equal_to_reference": equal / total,
            "nearest_cider": cider([texts[0] for texts in candidates]),
            "consensus_cider": cider(consensus.choose(candidates))}
