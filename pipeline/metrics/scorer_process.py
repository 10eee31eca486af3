"""The scorers' process, `python -m pipeline.metrics.scorer_process PIPE`: `captions.py` starts it and ends it in time.

Reads one job from standard input and writes a JSON line for every result as soon as there is one, so that
what hangs later (METEOR, at worst) loses nothing that came before:

    {"set": "model", "protocol": "evc", "scores": {"Bleu_1": 0.81, …}, "cider": [0.93, …]}      # a number a video
    {"warning": "METEOR ended with …"}

The job: {"java": path | null, "timeout": seconds, "tokenizer_limit": seconds, "protocols": […], "sets":
{name: {"captions": [one a video], "references": [[…] a video]}}}. Its captions are clean, and both lists have
the videos in one order. PIPE is the number of an open pipe into which nobody writes: when it closes, the caller has
ended, and this process ends with all that it started.
"""

import contextlib
import importlib
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from pipeline.common.programs import NO_JAVA
from pipeline.metrics.java_scorers import JarFailed, Meteor, tokenize
from pipeline.metrics.protocols import prepare_evc, prepare_evc_reference


@dataclass(frozen=True)
class Prepared:
    """A set under one protocol: tokens with single spaces between, the videos in the job's order."""

    name: str
    protocol: str
    captions: list[str]
    references: list[list[str]]


class Results:
    """Writes results as lines; two threads share it."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._lock = threading.Lock()

    def add_scores(self, prepared: Prepared, scores: dict[str, float], **of_videos: list[float]) -> None:
        self._write({"set": prepared.name, "protocol": prepared.protocol, "scores": scores, **of_videos})

    def add_warning(self, text: str) -> None:
        self._write({"warning": text})

    def _write(self, value: dict[str, Any]) -> None:
        with self._lock:
            print(json.dumps(value, allow_nan=False), file=self._file, flush=True)


def run(job: dict[str, Any], results: Results) -> None:
    """All scores of `job`. METEOR mostly waits for Java, so it runs beside the scorers in Python."""
    prepared = list(_prepare(job, results))
    meteor = threading.Thread(target=_score_with_meteor, args=(job["java"], prepared, results), daemon=True)
    meteor.start()
    for captions in prepared:
        scores, cider = _score_in_python(captions)
        results.add_scores(captions, scores, cider=cider)
    # The caller ends a METEOR that hangs before this does.
    meteor.join(job["timeout"])


def _prepare(job: dict[str, Any], results: Results) -> Iterator[Prepared]:
    for protocol in job["protocols"]:
        captions_of = {name: captions["captions"] for name, captions in job["sets"].items()}
        references_of = {name: captions["references"] for name, captions in job["sets"].items()}
        if protocol == "evc":
            for name in captions_of:
                yield Prepared(
                    name, protocol, [prepare_evc(caption) for caption in captions_of[name]],
                    [[prepare_evc_reference(caption) for caption in own] for own in references_of[name]])
            continue
        if job["java"] is None:
            results.add_warning(f"coco is absent: {NO_JAVA}")
            continue
        # One call of the tokenizer for all sets, every different caption once: sets share most references.
        different = {caption for captions in captions_of.values() for caption in captions}
        different.update(caption for lists in references_of.values() for own in lists for caption in own)
        lines = sorted(different)
        try:
            tokens = dict(zip(lines, tokenize(job["java"], lines, job["tokenizer_limit"]), strict=True))
        except JarFailed as failure:
            results.add_warning(f"coco is absent: {failure}")
            continue
        for name in captions_of:
            yield Prepared(name, protocol, [tokens[caption] for caption in captions_of[name]],
                           [[tokens[caption] for caption in own] for own in references_of[name]])


def _score_in_python(prepared: Prepared) -> tuple[dict[str, float], list[float]]:
    """The scores of the set, and CIDEr of every video."""
    captions = {number: [caption] for number, caption in enumerate(prepared.captions)}
    references = dict(enumerate(prepared.references))
    bleu, _ = _load_scorer("bleu", "Bleu")(4).compute_score(references, captions, verbose=0)
    rouge, _ = _load_scorer("rouge", "Rouge")().compute_score(references, captions)
    cider, of_videos = _load_scorer("cider", "Cider")().compute_score(references, captions)
    return {**{f"Bleu_{n}": float(score) for n, score in enumerate(bleu, start=1)},
            "ROUGE_L": float(rouge), "CIDEr": float(cider)}, [float(score) for score in of_videos]


def _load_scorer(module: str, name: str) -> Any:
    return getattr(importlib.import_module(f"pycocoevalcap.{module}.{module}"), name)


def _score_with_meteor(java: str | None, prepared: Sequence[Prepared], results: Results) -> None:
    if java is None:
        results.add_warning(f"METEOR is absent: {NO_JAVA}")
        return
    try:
        with Meteor(java) as meteor:
            for each in prepared:
                results.add_scores(each, {"METEOR": meteor.score(each.captions, each.references)})
    except JarFailed as failure:
        results.add_warning(f"METEOR is absent: {failure}")


def _end_with_caller(pipe: int) -> None:
    os.read(pipe, 1)    # which returns when the pipe closes
    os.killpg(os.getpid(), signal.SIGKILL)      # this process leads its group


def main() -> None:
    threading.Thread(target=_end_with_caller, args=(int(sys.argv[1]),), daemon=True).start()
    results = Results(sys.stdout)
    with contextlib.redirect_stdout(sys.stderr):    # the scorers print
        run(json.load(sys.stdin), results)


if __name__ == "__main__":
    main()
