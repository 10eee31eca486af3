"""The two ways in which captions are prepared before they are scored. They give different numbers.

`coco`  the PTB tokenizer on both sides (lower case, its list of punctuation removed), references whole. `evc`
EmVidCap's: lower case, punctuation deleted, split at spaces; references cut at 15 words. No Java needed.

The emotion metrics compare tokens of the `evc` preparation.
"""

import string
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

from pipeline.common.text import clean

Protocol = Literal["coco", "evc"]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)
METRICS = ("Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4", "METEOR", "ROUGE_L", "CIDEr")
REFERENCE_WORDS = 15  # of `evc`

# What metrics.json says about every protocol.
PREPARATION = {
    "coco": "PTB tokenizer on captions and references, full references",
    "evc": f"lower case, punctuation deleted, no PTB tokenizer, references cut at {REFERENCE_WORDS} words",
    "emotion": "tokens, BLEU and CIDEr of evc",
}


def prepare_evc(caption: str) -> str:
    """A caption's tokens under `evc`, with single spaces between: "A dog's Ball!" → a dogs ball."""
    kept = (letter for letter in clean(caption).lower() if not _is_punctuation(letter))
    return " ".join("".join(kept).split())


def prepare_evc_reference(caption: str) -> str:
    """A reference's tokens under `evc`: as `evc`, then the first 15 words."""
    return " ".join(prepare_evc(caption).split()[:REFERENCE_WORDS])


def prepare_evc_set(captions: Mapping[str, str],
                    references: Mapping[str, Sequence[str]]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Captions and references by video, both prepared under `evc`: what the emotion metrics compare."""
    return ({id: prepare_evc(caption) for id, caption in captions.items()},
            {id: [prepare_evc_reference(caption) for caption in own] for id, own in references.items()})


def has_words(caption: str) -> bool:
    """Whether some protocol could make a token of `caption`: it has a letter or a digit."""
    return any(letter.isalnum() for letter in caption)


def _is_punctuation(letter: str) -> bool:
    return letter in string.punctuation or unicodedata.category(letter).startswith("P")
