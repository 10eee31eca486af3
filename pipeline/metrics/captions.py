"""BLEU, METEOR, ROUGE-L and CIDEr of captions, by pycocoevalcap in a process that cannot hang the run.

    scores = score_all({"model": (captions, references)}, timeout=600)
    scores.by_set["model"]["coco"]["CIDEr"]         # 0.777; None where absent, and scores.warnings says why

METEOR and the PTB tokenizer are Java programs: they hang, die or are not there. Then METEOR (or all of
`coco`) is None, never 0, and the other scores stay. At the time limit the whole process group is ended, Java
included; it also ends with the process that started it, however that ends.

An empty caption is allowed: it scores 0 for its video and shifts no other. A reference without a letter or
digit is left out and counted. CIDEr rests on how rare an n-gram is among the videos: with a single video it
is 0 by construction.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from pipeline.common import programs
from pipeline.common.errors import SpectrumError
from pipeline.common.text import clean
from pipeline.metrics.protocols import METRICS, PREPARATION, PROTOCOLS, Protocol, has_words

CaptionSet = tuple[Mapping[str, str], Mapping[str, Sequence[str]]]  # a caption a video, references a video

_TOKENIZER_SHARE = 0.25  # of the time limit; the rest is left for METEOR and the other scorers
_SHOWN = 5               # ids that an error names


@dataclass(frozen=True)
class Scores:
    """Scores by set, protocol and metric, as fractions (CIDEr 0.478, not 47.8), and what went wrong.

    `cider`: by set and protocol that of every video, in the order of their sorted ids; a protocol that is absent is
    not there.
    """

    by_set: dict[str, dict[str, dict[str, float | None]]]
    warnings: tuple[str, ...]
    cider: dict[str, dict[str, list[float]]]


def score(hypotheses: Mapping[str, str], references: Mapping[str, Sequence[str]], protocol: Protocol,
          timeout: float) -> dict[str, float | None]:
    """The metrics (`protocols.METRICS`) of one set under one protocol; see `score_all`."""
    return score_all({"captions": (hypotheses, references)}, timeout, (protocol,)).by_set["captions"][protocol]


def score_all(sets: Mapping[str, CaptionSet], timeout: float,
              protocols: Sequence[Protocol] = PROTOCOLS) -> Scores:
    """Scores of every named set of captions against its own references, in one process: Java starts once.

    `timeout` (seconds) is for all of it. Raises SpectrumError where a set's ids differ between captions and
    references, a video has no reference with words, or scores other than METEOR's are not there in time.
    """
    warnings: list[str] = []
    java = programs.java()
    job = {"java": None if java is None else str(java), "timeout": timeout,
           "tokenizer_limit": timeout * _TOKENIZER_SHARE, "protocols": list(protocols),
           "sets": {name: _prepare_set(name, *captions, warnings) for name, captions in sets.items()}}
    results, ended = _run(job, timeout)

    by_set: dict[str, dict[str, dict[str, float | None]]] = {
        name: {protocol: dict.fromkeys(METRICS) for protocol in protocols} for name in sets}
    cider: dict[str, dict[str, list[float]]] = {name: {} for name in sets}
    for result in results:
        if "warning" in result:
            warnings.append(result["warning"])
        else:
            by_set[result["set"]][result["protocol"]].update(result["scores"])
            if "cider" in result:
                cider[result["set"]][result["protocol"]] = result["cider"]
    if not ended:
        _allow_only_meteor_late(by_set, results, timeout)
        warnings.append(f"METEOR is absent: it did not end within {timeout:.0f} s (machine.scoring_timeout)")
    return Scores(by_set, tuple(warnings), cider)


def describe_protocols() -> dict[str, dict[str, str | None]]:
    """What stands beside the scores in metrics.json: how captions were prepared, by which versions scored."""
    java = programs.java()
    scorers = f"pycocoevalcap {metadata.version('pycocoevalcap')}"
    return {name: {"preparation": preparation, "scorers": scorers,
                   "java": None if java is None else programs.version(java)}
            for name, preparation in PREPARATION.items()}


def _prepare_set(name: str, hypotheses: Mapping[str, str], references: Mapping[str, Sequence[str]],
                 warnings: list[str]) -> dict[str, Any]:
    """The set as the scorers' process takes it: clean lines, the videos sorted by id."""
    for what, missing in (("captions", references.keys() - hypotheses.keys()),
                          ("references", hypotheses.keys() - references.keys())):
        if missing:
            raise SpectrumError(f"{name}: {len(missing)} videos have no {what}: {_list(missing)}; "
                                "score captions and references of the same videos")
    if not hypotheses:
        raise SpectrumError(f"{name}: there are no captions to score")
    ids = sorted(hypotheses)
    wrong = [id for id in ids if not isinstance(hypotheses[id], str) or isinstance(references[id], str)
             or not all(isinstance(reference, str) for reference in references[id])]
    if wrong:
        raise SpectrumError(f"{name}: expected a text as caption and a list of texts as references of {_list(wrong)}")
    kept = [[caption for caption in map(clean, references[id]) if has_words(caption)] for id in ids]
    if not all(kept):
        wordless = [id for id, own in zip(ids, kept, strict=True) if not own]
        raise SpectrumError(f"{name}: {len(wordless)} videos have no reference with words: {_list(wordless)}; "
                            "give them references or leave them out")
    left_out = sum(len(references[id]) for id in ids) - sum(map(len, kept))
    if left_out:
        warnings.append(f"{name}: {left_out} references have no words and were left out")
    if len(ids) == 1:
        warnings.append(f"{name}: CIDEr of a single video is 0 by construction")
    return {"captions": [clean(hypotheses[id]) for id in ids], "references": kept}


def _run(job: dict[str, Any], timeout: float) -> tuple[list[dict[str, Any]], bool]:
    """The lines that the scorers' process wrote, and whether it ended by itself."""
    root = str(Path(__file__).resolve().parents[2])
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    # A pipe into which nobody writes: however this process ends, its end closes, and the scorers' process ends itself.
    watched, held = os.pipe()
    # Its own session, so that one signal ends it with every Java below it.
    process = subprocess.Popen([sys.executable, "-m", "pipeline.metrics.scorer_process", str(watched)],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               start_new_session=True, pass_fds=(watched,), env={**os.environ, "PYTHONPATH": paths})
    os.close(watched)
    ended = True
    try:
        output, errors = process.communicate(json.dumps(job).encode(), timeout)
    except subprocess.TimeoutExpired:
        ended = False
        _end(process)
        output, errors = process.communicate()
    finally:
        os.close(held)
        _end(process)
    if ended and process.returncode != 0:
        last = errors.decode(errors="replace").strip().splitlines()[-1:]
        raise SpectrumError(f"the scorers' process ended with status {process.returncode}: "
                            f"{' '.join(last) or 'no message'}")
    whole = output.decode("utf-8").split("\n")[:-1]   # what follows the last line break was cut off
    return [json.loads(line) for line in whole], ended


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):   # nothing of it is left
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _allow_only_meteor_late(by_set: Mapping[str, Mapping[str, Mapping[str, float | None]]],
                            results: Sequence[dict[str, Any]], timeout: float) -> None:
    absent = {result["warning"].split()[0] for result in results if "warning" in result}
    for name, protocols in by_set.items():
        for protocol, scores in protocols.items():
            if protocol not in absent and scores["CIDEr"] is None:
                raise SpectrumError(f"{name}, {protocol}: the scorers did not end within {timeout:.0f} s; "
                                    "raise machine.scoring_timeout")


def _list(ids: Any) -> str:
    shown = sorted(ids)
    return ", ".join(shown[:_SHOWN]) + (", …" if len(shown) > _SHOWN else "")
