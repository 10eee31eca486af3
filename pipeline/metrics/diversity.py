"""How varied captions are: a captioner that repeats a few safe sentences scores well and is of little use."""

from collections.abc import Mapping, Sequence

from pipeline.common.text import words


def measure_diversity(captions: Mapping[str, str],
                      training_captions: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Counts over one caption a video: `distinct_captions`, `distinct_words`, `words` a caption, and the
    share of `novel_captions`, which no training video has word for word. Captions are compared by their
    words.
    """
    tokens = [tuple(words(caption)) for caption in captions.values()]
    known = {tuple(words(caption)) for own in training_captions.values() for caption in own}
    count = max(len(tokens), 1)
    return {
        "distinct_captions": len(set(tokens)),
        "distinct_words": len({word for caption in tokens for word in caption}),
        "words": sum(map(len, tokens)) / count,
        "novel_captions": sum(caption not in known for caption in tokens) / count,
    }
