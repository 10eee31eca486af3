"""The two Java programs inside pycocoevalcap: the PTB tokenizer and METEOR.

pycocoevalcap's own wrappers write temporary files beside the jars, decode with the machine's locale and lose
count when a line is missing. The jars are driven here directly: they are only read, so the package may be
read-only and any number of processes may score at once. Runs in the scorers' process, whose caller ends
everything in time.
"""

import importlib
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO

_UTF8 = ("-Dfile.encoding=UTF-8", "-Dstdout.encoding=UTF-8")


class JarFailed(Exception):
    """One of the programs died, hung or answered nonsense: its scores are absent, the others stay."""


def tokenize(java: str, captions: Sequence[str], limit: float) -> list[str]:
    """Every caption's PTB tokens with spaces between, lower-case, without punctuation.

    A caption is one line; an empty one stays empty and in its place. Raises JarFailed, after `limit` seconds
    too.
    """
    module = importlib.import_module("pycocoevalcap.tokenizer.ptbtokenizer")
    jar = Path(module.__file__ or "").with_name(module.STANFORD_CORENLP_3_4_1_JAR)
    punctuation = frozenset(module.PUNCTUATIONS)
    command = [java, *_UTF8, "-cp", str(jar), "edu.stanford.nlp.process.PTBTokenizer", "-preserveLines",
               "-lowerCase", "-encoding", "utf-8"]
    # Files, not pipes: a pipe that a grandchild of a killed Java still holds would never end.
    with TemporaryFile() as given, TemporaryFile() as output, TemporaryFile() as errors:
        given.write(_encode("".join(caption + "\n" for caption in captions)))
        given.seek(0)
        try:
            program = subprocess.Popen(command, stdin=given, stdout=output, stderr=errors)
        except OSError as error:
            raise JarFailed(f"the PTB tokenizer did not start: {error}") from None
        try:
            status = program.wait(limit)
        except subprocess.TimeoutExpired:
            program.kill()
            raise JarFailed(f"the PTB tokenizer did not end within {limit:.0f} s and was ended") from None
        output.seek(0)
        lines = output.read().decode("utf-8", "replace").split("\n")
        if status != 0:
            raise JarFailed(f"the PTB tokenizer ended with status {status}: {_read_last_line(errors)}")
    if len(lines) != len(captions) + 1 or lines[-1]:
        raise JarFailed(f"the PTB tokenizer gave {len(lines) - 1} lines for {len(captions)} captions")
    return [" ".join(token for token in line.split() if token not in punctuation) for line in lines[:-1]]


class Meteor:
    """METEOR 1.5 for English, in one Java process: `with Meteor(java) as meteor: meteor.score(…)`."""

    def __init__(self, java: str) -> None:
        module = importlib.import_module("pycocoevalcap.meteor.meteor")
        folder = Path(module.__file__ or "").parent
        command = [java, *_UTF8, "-Xmx2G", "-jar", str(folder / module.METEOR_JAR), "-", "-", "-stdio",
                   "-l", "en", "-norm"]
        self._errors = TemporaryFile()  # noqa: SIM115 - closed with the program
        try:
            self._program = subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE,
                                             stdout=subprocess.PIPE, stderr=self._errors)
        except OSError as error:
            self._errors.close()
            raise JarFailed(f"METEOR did not start: {error}") from None

    def __enter__(self) -> "Meteor":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._program.kill()
        self._program.wait()
        self._errors.close()

    def score(self, captions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
        """METEOR of prepared captions, one a video, with their references: of all together, not a mean."""
        statistics = [self._ask(["SCORE", *map(_escape, own), _escape(caption)])
                      for caption, own in zip(captions, references, strict=True)]
        self._send(["EVAL", *statistics])
        for _ in captions:
            self._receive()    # the captions' own scores
        answer = self._receive()
        try:
            return float(answer)
        except ValueError:
            raise JarFailed(f"METEOR answered {answer[:80]!r}, not a score") from None

    def _ask(self, fields: list[str]) -> str:
        self._send(fields)
        return self._receive()

    def _send(self, fields: list[str]) -> None:
        assert self._program.stdin is not None
        try:
            self._program.stdin.write(_encode(" ||| ".join(fields) + "\n"))
            self._program.stdin.flush()
        except BrokenPipeError:
            raise self._explain_end() from None

    def _receive(self) -> str:
        assert self._program.stdout is not None
        line = self._program.stdout.readline()
        if not line:
            raise self._explain_end()
        return line.decode("utf-8", "replace").strip()

    def _explain_end(self) -> JarFailed:
        self._program.kill()
        return JarFailed(f"METEOR ended with status {self._program.wait()}: {_read_last_line(self._errors)}")


def _escape(caption: str) -> str:
    """`caption` without METEOR's own separator."""
    return " ".join(caption.replace("|||", " ").split())


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "replace")  # a lone surrogate has no UTF-8 form


def _read_last_line(file: IO[bytes]) -> str:
    file.seek(0)
    lines = file.read().decode("utf-8", "replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "no message")[:200]
