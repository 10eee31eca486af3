"""Caption text: what is stored, and the words that everything else counts."""

import re
import unicodedata

import regex

# Every character that some reader takes for the end of a line, and every control character: one of them
# inside a caption would shift all later captions of a line-based scorer.
_BREAKS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
# Characters that nobody sees: the mark of a file's beginning, hints for hyphens, joints and the direction of writing.
# A zero-width space (U+200B) separates words, as other spaces do.
_INVISIBLE = re.compile("[\u00ad\u061c\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
_SPACES = re.compile("[\\s\u200b]+")
_APOSTROPHES = re.compile(r"['\u2018\u2019\u02bc]")
_JOINERS = re.compile("[\u200c\u200d]")         # between letters of one word; in emoji
# A mark belongs to the letter before it: vowel signs, points, accents without a composed form.
_NOT_A_WORD = regex.compile(r"[^\p{L}\p{N}\p{M}\s]\p{M}*|(?<![\p{L}\p{N}\p{M}])\p{M}+")
_WITHOUT_SPACES = regex.compile(
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\u30fc\p{M}]+")
_CLEAN_ASCII = re.compile(r"[!-~]+(?: [!-~]+)*")
# Of ASCII, whose words need no look at Unicode's tables: letters and digits stay, an apostrophe joins, all else parts.
_WORDS_OF_ASCII = {code: None if chr(code) == "'" else " " for code in range(128) if not chr(code).isalnum()}
_LONGEST_WORD = 8       # letters, marks not counted, that a word of those scripts may have


def clean(text: str) -> str:
    """`text` on one line: NFC, no control, invisible or line-ending characters, single spaces, none at the ends."""
    if _CLEAN_ASCII.fullmatch(text):
        return text
    text = unicodedata.normalize("NFC", _INVISIBLE.sub("", text))
    return _SPACES.sub(" ", _BREAKS.sub(" ", text)).strip()


def has_lone_surrogates(text: str) -> bool:
    """Whether it holds halves of characters (lone surrogates), as a file name does that is not UTF-8."""
    return not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text)


def words(text: str) -> list[str]:
    """The lower-case words of a caption without punctuation: "A dog's ball!" → a, dogs, ball.

    Letters keep their marks, in every script. Languages that put no spaces between words need them put in before:
    see `run_without_spaces`.
    """
    if text.isascii():
        return text.lower().translate(_WORDS_OF_ASCII).split()
    text = _JOINERS.sub("", _APOSTROPHES.sub("", clean(text).lower()))
    separated: str = _NOT_A_WORD.sub(" ", text)
    return separated.split()


def is_one_run(text: str) -> bool:
    """Whether a caption is several letters of a script without spaces in a row, and nothing else: maybe one word,
    more likely a short sentence whose words are not separated."""
    own = words(text)
    return len(own) == 1 and len(own[0]) > 1 and _WITHOUT_SPACES.fullmatch(own[0]) is not None


def run_without_spaces(text: str) -> str:
    """The first part of `text` that looks like words with no space between them, as Chinese, Japanese, Thai, Lao,
    Khmer and Burmese are written; "" where there is none."""
    if text.isascii():
        return ""
    return next((run for run in _WITHOUT_SPACES.findall(text)
                 if sum(unicodedata.category(letter)[0] != "M" for letter in run) > _LONGEST_WORD), "")
