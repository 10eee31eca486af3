"""Caption scores: as published, and whole whatever is in a caption or wrong with Java."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pycocoevalcap.meteor.meteor as meteor_module
import pytest
from project import ROOT

from pipeline.common import programs
from pipeline.common.errors import SpectrumError
from pipeline.metrics import captions as module
from pipeline.metrics.captions import Scores, describe_protocols, score, score_all
from pipeline.metrics.java_scorers import JarFailed, Meteor, tokenize
from pipeline.metrics.protocols import METRICS, prepare_evc, prepare_evc_reference

REFERENCES = {
    "a": ["A man is playing with his dog.", "The man plays with a dog in the park", "a man and a dog"],
    "b": ["a woman slices an onion", "Someone is cutting an onion with a knife!"],
    "c": ["two cats sleep quietly on a red sofa", "cats are sleeping on the couch"],
    "d": ["a boy rides a bicycle down the street", "A child happily rides his bike"],
}
CAPTIONS = {"a": "a man is playing with a dog", "b": "a woman is cutting an onion",
            "c": "two cats sleep on a sofa", "d": "a boy rides a bike"}
PERFECT = {id: own[0] for id, own in REFERENCES.items()}
TIMEOUT = 120.0

# One process for all sets: Java starts once.
SETS = {
    "model": (CAPTIONS, REFERENCES),
    "perfect": (PERFECT, REFERENCES),
    "perfect but one empty": ({**PERFECT, "b": ""}, REFERENCES),
    "all empty": (dict.fromkeys(REFERENCES, " "), REFERENCES),
    "line separators": (
        {"a": "a man is\u2028playing with\r\na dog", "b": "a woman\u2029is\x85cutting an onion\n",
         "c": "two\x0bcats sleep\x0con a sofa", "d": "\ra boy\trides a\x1ebike\x00"},
        {**REFERENCES, "a": ["A man is playing\u2028with his dog.", *REFERENCES["a"][1:]]}),
    "another order": (dict(reversed(CAPTIONS.items())), REFERENCES),
    "bars": ({**CAPTIONS, "a": "a man ||| is playing ||| with a dog"}, REFERENCES),
    "references without words": (CAPTIONS, {**REFERENCES, "a": ["...", *REFERENCES["a"], " "]}),
    "one video": ({"a": PERFECT["a"]}, {"a": REFERENCES["a"]}),
    "no ASCII": ({"a": "ein Mann spielt – mit 😀 \ud800 einem Hund", "b": "女人 在 切 洋葱"},
                 {"a": ["ein Mann spielt mit Hündchen"], "b": ["女人 在 切 洋葱"]}),
}


def installed() -> dict[Path, tuple[int, int]]:
    """Every file of the installed scorers with its size and time, but for Python's own caches."""
    root = Path(meteor_module.__file__).parents[1]
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in root.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def package_before() -> dict[Path, tuple[int, int]]:
    return installed()


@pytest.fixture(scope="module")
def scores(package_before: dict[Path, tuple[int, int]]) -> Scores:
    return score_all(SETS, TIMEOUT)


def test_every_metric_of_every_set_is_there(scores: Scores) -> None:
    assert set(scores.by_set) == set(SETS)
    for by_protocol in scores.by_set.values():
        assert set(by_protocol) == {"coco", "evc"}
        for metrics in by_protocol.values():
            assert set(metrics) == set(METRICS)
            assert all(value is not None and 0 <= value <= 10.0001 for value in metrics.values())


def test_better_captions_score_higher(scores: Scores) -> None:
    for protocol in ("coco", "evc"):
        model, perfect = scores.by_set["model"][protocol], scores.by_set["perfect"][protocol]
        assert perfect["Bleu_4"] == pytest.approx(1) and perfect["ROUGE_L"] == pytest.approx(1)
        assert all((model[metric] or 0) < (perfect[metric] or 0) for metric in METRICS)
        assert all(value and value > 0 for value in model.values())


def test_line_separators_shift_nothing(scores: Scores) -> None:
    assert scores.by_set["line separators"] == scores.by_set["model"]


def test_an_empty_caption_costs_its_own_video_alone(scores: Scores) -> None:
    for protocol in ("coco", "evc"):
        whole, lacking = scores.by_set["perfect"][protocol], scores.by_set["perfect but one empty"][protocol]
        assert lacking["ROUGE_L"] == pytest.approx(3 / 4)
        assert lacking["Bleu_1"] != 0 and lacking["CIDEr"] != 0
        assert 0.6 * (whole["METEOR"] or 0) < (lacking["METEOR"] or 0) < (whole["METEOR"] or 0)
        # BLEU's precision stays whole; only the brevity penalty counts the missing words.
        assert 0.5 < (lacking["Bleu_4"] or 0) < 1


def test_empty_captions_alone_score_nothing(scores: Scores) -> None:
    for metrics in scores.by_set["all empty"].values():
        assert all(value == pytest.approx(0, abs=1e-6) for value in metrics.values())


def test_order_of_videos_does_not_matter(scores: Scores) -> None:
    assert scores.by_set["another order"] == scores.by_set["model"]


def test_meteors_separator_in_a_caption(scores: Scores) -> None:
    assert scores.by_set["bars"]["evc"] == scores.by_set["model"]["evc"]        # the bars are punctuation
    assert 0 < (scores.by_set["bars"]["coco"]["METEOR"] or 0) <= (scores.by_set["model"]["coco"]["METEOR"] or 0)


def test_references_without_words_are_left_out_and_counted(scores: Scores) -> None:
    assert scores.by_set["references without words"] == scores.by_set["model"]
    assert "references without words: 2 references have no words and were left out" in scores.warnings


def test_a_single_videos_cider_is_zero_and_says_so(scores: Scores) -> None:
    assert scores.by_set["one video"]["evc"]["CIDEr"] == 0
    assert "one video: CIDEr of a single video is 0 by construction" in scores.warnings


def test_nothing_is_written_into_the_installed_package(
        scores: Scores, package_before: dict[Path, tuple[int, int]]) -> None:
    assert scores.by_set and installed() == package_before


def test_processes_do_not_disturb_each_other(scores: Scores) -> None:
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda name: score_all({name: SETS[name]}, TIMEOUT), ["model", "perfect"]))
    assert [result.by_set for result in results] == [{name: scores.by_set[name]} for name in ("model", "perfect")]


def test_as_published_for_msvd(real_data: Path) -> None:
    references: dict[str, list[str]] = {}
    for line in (real_data / "msvd/sents_test_lc_nopunc.txt").read_text().splitlines():
        id, caption = line.split("\t")
        references.setdefault(id, []).append(caption)
    lines = (real_data / "metric_gold/msvd_test_predictions.txt").read_text().splitlines()
    captions = {f"vid{1301 + number}": line for number, line in enumerate(lines)}
    published = json.loads((real_data / "metric_gold/msvd_test_scores.json").read_text())["published"]
    result = score(captions, references, "coco", TIMEOUT)
    assert {metric: round(value or 0, 3) for metric, value in result.items()} == published


@pytest.mark.parametrize(("captions", "references", "message"), [
    ({"a": "x"}, {"a": ["x"], "b7": ["y"]}, "1 videos have no captions: b7"),
    ({"a": "x", "b8": "y"}, {"a": ["x"]}, "1 videos have no references: b8"),
    ({f"v{n}": "x" for n in range(9)}, {}, "9 videos have no references: v0, v1, v2, v3, v4, …"),
    ({}, {}, "no captions to score"),
    ({"a": "x", "b9": "y"}, {"a": ["x"], "b9": ["...", ""]}, "no reference with words: b9"),
    ({"a": "x", "b9": None}, {"a": ["x"], "b9": ["y"]}, "expected a text as caption and a list of texts as ref"),
    ({"a": "x"}, {"a": "a dog"}, "a list of texts as references of a"),
    ({"a": "x"}, {"a": ["a dog", None]}, "a list of texts as references of a"),
])
def test_what_cannot_be_scored_names_the_videos(
        captions: Any, references: Any, message: str) -> None:
    with pytest.raises(SpectrumError, match=message.replace(".", r"\.")):
        score_all({"model": (captions, references)}, TIMEOUT)


# Java that is missing, dies, hangs or talks nonsense ------------------------------------------------------

def fake_java(folder: Path, monkeypatch: pytest.MonkeyPatch, meteor: str, tokenizer: str = "") -> None:
    """A `java` that runs the shell line `meteor` for METEOR, and `tokenizer` (or the real one) for PTB."""
    real = programs.java()
    path = folder / "java"
    path.write_text(f"""#!/bin/sh
case "$*" in
-version) echo 'java version "0"'; exit ;;
*PTBTokenizer*)
    {tokenizer or f'exec "{real}" "$@"'}
    ;;
*)
    {meteor}
    ;;
esac
""")
    path.chmod(0o755)
    monkeypatch.setattr(programs, "java", lambda: path)


def whole_but_meteor(metrics: dict[str, float | None], scores: dict[str, float | None]) -> bool:
    return metrics["METEOR"] is None and {**metrics, "METEOR": scores["METEOR"]} == scores


def gone(pid: int) -> bool:
    """Whether the process has ended (a zombie that nobody reaped has)."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.parametrize(("meteor", "message"), [
    ("echo out of memory >&2; exit 3", "METEOR is absent: METEOR ended with status 3: out of memory"),
    ("exec yes nonsense", "METEOR is absent: METEOR answered 'nonsense', not a score"),
    ("exec /no/such/java 2>/dev/null", "METEOR is absent: METEOR ended with status 127"),
])
def test_a_meteor_that_fails_is_none_and_loses_nothing_else(
        meteor: str, message: str, scores: Scores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_java(tmp_path, monkeypatch, meteor)
    result = score_all({"model": SETS["model"]}, TIMEOUT)
    for protocol, metrics in result.by_set["model"].items():
        assert whole_but_meteor(metrics, scores.by_set["model"][protocol])
    assert len(result.warnings) == 1 and result.warnings[0].startswith(message)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for the process in /proc")
def test_a_meteor_that_hangs_is_ended_with_all_below_it(
        scores: Scores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pid = tmp_path / "pid"
    fake_java(tmp_path, monkeypatch, f"sleep 600 & echo $! > '{pid}'; wait")
    started = time.monotonic()
    result = score_all({"model": SETS["model"]}, timeout=10)
    assert time.monotonic() - started < 20
    for protocol, metrics in result.by_set["model"].items():
        assert whole_but_meteor(metrics, scores.by_set["model"][protocol])
    assert result.warnings == ("METEOR is absent: it did not end within 10 s (machine.scoring_timeout)",)
    assert wait_for(lambda: gone(int(pid.read_text())), 5)


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for the process in /proc")
@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("program", ["tokenizer", "METEOR"])
def test_the_scorers_end_with_the_process_that_started_them(
        ending: signal.Signals, program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pid = tmp_path / "pid"
    hang = f"sleep 600 & echo $! > '{pid}.new'; mv '{pid}.new' '{pid}'; wait"
    fake_java(tmp_path, monkeypatch, hang, hang if program == "tokenizer" else "exit 5")
    caller = subprocess.Popen([sys.executable, "-c", "from pipeline.metrics.captions import score_all;"
                               "score_all({'model': ({'a': 'a dog'}, {'a': ['a cat']})}, timeout=300)"],
                              cwd=ROOT, env=os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"})
    try:
        assert wait_for(pid.exists, 60)
        caller.send_signal(ending)
        caller.wait(30)
    finally:
        caller.kill()
    assert wait_for(lambda: gone(int(pid.read_text())), 10)


@pytest.mark.parametrize(("tokenizer", "message"), [
    ("exec sleep 600", "coco is absent: the PTB tokenizer did not end within 3 s"),
    ("exit 5", "coco is absent: the PTB tokenizer ended with status 5"),
    ("echo one line", "coco is absent: the PTB tokenizer gave 1 lines for"),
])
def test_a_tokenizer_that_fails_leaves_evc(tokenizer: str, message: str, scores: Scores, tmp_path: Path,
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    fake_java(tmp_path, monkeypatch, "exit 3", tokenizer)
    result = score_all({"model": SETS["model"]}, timeout=12)
    assert result.by_set["model"]["coco"] == dict.fromkeys(METRICS)
    assert whole_but_meteor(result.by_set["model"]["evc"], scores.by_set["model"]["evc"])
    assert result.warnings[0].startswith(message)


def test_without_java(scores: Scores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "java", lambda: None)
    result = score_all({"model": SETS["model"]}, TIMEOUT)
    assert result.by_set["model"]["coco"] == dict.fromkeys(METRICS)
    assert whole_but_meteor(result.by_set["model"]["evc"], scores.by_set["model"]["evc"])
    assert result.warnings == (f"coco is absent: {programs.NO_JAVA}", f"METEOR is absent: {programs.NO_JAVA}")
    assert describe_protocols()["coco"]["java"] is None


def test_too_short_a_time_for_the_other_scorers_is_an_error() -> None:
    with pytest.raises(SpectrumError, match=r"raise machine\.scoring_timeout"):
        score_all({"model": SETS["model"]}, timeout=0.05)


def test_a_scorers_process_that_dies_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho no room left >&2\nexit 9\n")
    python.chmod(0o755)
    monkeypatch.setattr(module.sys, "executable", str(python))
    with pytest.raises(SpectrumError, match="status 9: no room left"):
        score_all({"model": SETS["model"]}, TIMEOUT)


def test_a_java_that_is_no_program() -> None:
    with pytest.raises(JarFailed, match="did not start"):
        tokenize("/no/such/java", ["a"], 1)
    with pytest.raises(JarFailed, match="did not start"):
        Meteor("/no/such/java")


# Preparation ----------------------------------------------------------------------------------------------

def test_tokenizer_keeps_every_caption_in_its_place() -> None:
    java = str(programs.java())
    assert tokenize(java, ["A dog, runs!", "", "the café isn't (open)", "...", "last"], 60) == [
        "a dog runs", "", "the café is n't -lrb- open -rrb-", "", "last"]


def test_evc_preparation() -> None:
    assert prepare_evc("  A dog's\u2028Ball — is RED, well-known!\x00 ") == "a dogs ball is red wellknown"
    assert prepare_evc("...") == ""
    assert prepare_evc_reference(" ".join(f"Word{n}," for n in range(20))) == " ".join(f"word{n}" for n in range(15))


def test_protocols_are_described_with_versions() -> None:
    described = describe_protocols()
    assert set(described) == {"coco", "evc", "emotion"}
    for protocol in described.values():
        assert str(protocol["scorers"]).startswith("pycocoevalcap 1.")
        assert "version" in (protocol["java"] or "")
