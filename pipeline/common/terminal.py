"""What programs print: for people, quietly, or as JSON lines; and text from outside (file names, reasons, ids)."""

import json
import re
import sys
from typing import Any

# Control characters but line feed and tab, separators that some terminals break lines at, marks that change the
# direction of writing, and halves of characters.
_NOT_SHOWN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class Output:
    """How this process prints. quiet: warnings and errors alone; as_json: a JSON object a line."""

    quiet = False
    as_json = False


def printable(text: str) -> str:
    """`text` with control characters as escapes (`\\x1b`): a file name must not move the cursor or change colours."""
    return _NOT_SHOWN.sub(lambda match: ascii(match[0])[1:-1], text)


def say(text: str) -> None:
    """Tells what was done, on stdout."""
    if not Output.quiet:
        print(line("info", printable(text)), flush=True)


def warn(text: str) -> None:
    """Tells what a person has to know, on stderr."""
    print(line("warning", printable(text)), file=sys.stderr, flush=True)


def for_people() -> bool:
    """Whether tables and the like are printed."""
    return not (Output.quiet or Output.as_json)


def line(level: str, message: str, **facts: Any) -> str:
    """A line of the log; the facts are for JSON alone."""
    return json.dumps({"level": level, "message": message, **facts}) if Output.as_json else message
