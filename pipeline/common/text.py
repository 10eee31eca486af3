"""Caption text: what is stored, and the words that everything else counts."""

import re
import unicodedata

# Every character that some reader takes for the end of a line, and every control character: one of them
# inside a caption would shift all later captions of a line-based scorer.
_BREAKS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_SPACES = re.compile(r"\s+")
_APOSTROPHES = re.compile(r"['\u2018\u2019\u02bc]")
_NOT_A_WORD = re.compile(r"[^\w\s]|_")


def clean(text: str) -> str:
    """`text` on one line: NFC, no control characters or line separators, single spaces, none at the ends."""
    text = unicodedata.normalize("NFC", text)
    return _SPACES.sub(" ", _BREAKS.sub(" ", text)).strip()


def has_lone_surrogates(text: str) -> bool:
    """Whether it holds halves of characters (lone surrogates), as a file name does that is not UTF-8."""
    return not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text)


def words(text: str) -> list[str]:
    """The lower-case words of a caption without punctuation: "A dog's ball!" → a, dogs, ball."""
    text = _APOSTROPHES.sub("", clean(text).lower())
    return _NOT_A_WORD.sub(" ", text).split()
