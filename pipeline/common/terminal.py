"""Text from outside (file names, reasons, ids) on its way to a terminal."""

import re

# Control characters but line feed and tab, separators that some terminals break lines at, marks that change the
# direction of writing, and halves of characters.
_NOT_SHOWN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """`text` with control characters as escapes (`\\x1b`): a file name must not move the cursor or change colours."""
    return _NOT_SHOWN.sub(lambda match: ascii(match[0])[1:-1], text)
