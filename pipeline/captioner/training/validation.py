"""The scores on the validation split that choose an epoch."""

from collections.abc import Sequence

from pycocoevalcap.cider.cider import Cider

from pipeline.common.text import words
from pipeline.emotion.taxonomy import Taxonomy
from pipeline.metrics.emotions import compute_cfs, score_emotions
from pipeline.metrics.protocols import prepare_evc_set


def selection_score(record: dict[str, float], select_by: str) -> float:
    """The validation score that chooses the epoch: `cider`, `cfs` or their `mean`."""
    if select_by == "mean":
        return (record["validation_cider"] + record["validation_cfs"]) / 2
    return record[f"validation_{select_by}"]


def validation_scores(captions: Sequence[str], references: Sequence[Sequence[str]],
                      taxonomy: Taxonomy) -> dict[str, float]:
    """CIDEr and CFS of captions; zeros where there are none."""
    if not captions:
        return {"validation_cider": 0.0, "validation_cfs": 0.0}
    cider = cider_score(captions, references)
    videos = [str(number) for number in range(len(captions))]
    prepared = prepare_evc_set(dict(zip(videos, captions, strict=True)), dict(zip(videos, references, strict=True)))
    emotion = score_emotions(*prepared, taxonomy)
    return {"validation_cider": cider, "validation_cfs": compute_cfs(cider, emotion.acc_sw, emotion.acc_c) or 0.0}


def cider_score(captions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """CIDEr, words by pipeline.common.text.words: comparable between epochs, not with PTB-tokenised scores."""
    truth = {i: [" ".join(words(text)) for text in texts] for i, texts in enumerate(references)}
    score, _ = Cider().compute_score(truth, {i: [" ".join(words(text))] for i, text in enumerate(captions)})
    return float(score)
