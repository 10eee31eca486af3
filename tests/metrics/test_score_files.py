"""`stages.score` as others use it: from any folder, with their files."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from project import ROOT
from rich.console import Console

from pipeline.common import programs
from pipeline.emotion.taxonomy import Taxonomy
from pipeline.metrics.protocols import METRICS
from pipeline.metrics.score_files import ScoredFiles, rows_by_video, score_files
from pipeline.metrics.score_table import file_table

REFERENCES = """\
video,caption,split
a.mp4,A man is happily playing with his dog.,test
a.mp4,"The man plays with a dog, in the park",test
b.mp4,a woman slices an onion sadly,test
b.mp4,Someone is cutting an onion with a knife!,test
c.mp4,two cats sleep quietly on a red sofa,test
c.mp4,cats are sleeping <script>alert(1)</script>,test
d.mp4,a boy happily rides a bicycle,train
"""
OURS = "a\ta happy man is playing with a dog\nb\ta woman is cutting an onion\nc.mp4\ttwo cats <b>sleep</b> on a sofa\n"
THEIRS = [{"image_id": "a", "caption": "a dog"}, {"image_id": "b", "caption": "a sad, happy woman is cutting"},
          {"image_id": "c", "caption": "cats"}]


def score(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", "stages.score", *arguments], cwd=folder, capture_output=True,
                          text=True, check=False, env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "140"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outside")
    (folder / "references.csv").write_text(REFERENCES)
    (folder / "ours.txt").write_text(OURS)
    (folder / "theirs.json").write_text(json.dumps(THEIRS))
    return folder


@pytest.fixture(scope="module")
def scored(folder: Path) -> "subprocess.CompletedProcess[str]":
    ended = score(folder, "ours.txt", "--references", "references.csv", "--split", "test", "--against", "theirs.json",
                  "--json", "scores.json", "--html", "scores.html", "--per-video", "videos.csv")
    assert ended.returncode == 0, ended.stderr
    return ended


@pytest.fixture(scope="module")
def metrics(scored: "subprocess.CompletedProcess[str]", folder: Path) -> dict[str, Any]:
    return json.loads((folder / "scores.json").read_text())     # type: ignore[no-any-return]


def test_both_protocols_emotions_and_lines_of_both_files(metrics: dict[str, Any]) -> None:
    assert set(metrics["systems"]) == {"ours.txt", "theirs.json"}
    for block in [*metrics["systems"].values(), *metrics["reference_lines"].values()]:
        assert all(block[protocol][metric] is not None for protocol in ("coco", "evc") for metric in METRICS)
    ours, theirs = metrics["systems"].values()
    # a: joy, rightly; b and c: none. The references: joy, sadness, calm (quietly).
    assert ours["emotion"]["acc_sw"] == pytest.approx(1 / 3)
    assert ours["emotion"]["macro_f1"] == pytest.approx((1 + 0 + 0) / 3)
    # b: sadness rightly, joy wrongly; a and c none.
    assert theirs["emotion"]["acc_sw"] == pytest.approx(1 / 4)
    assert (metrics["videos"], metrics["captions"], metrics["references"]) == (3, 6, "references.csv")
    assert metrics["reference_lines"]["constant_word"]["word"] == "happily"     # of the training split
    assert metrics["reference_lines"]["human"]["videos"] == 3


def test_two_files_are_compared_in_pairs_with_intervals(metrics: dict[str, Any]) -> None:
    ours, theirs = metrics["systems"].values()
    ahead = metrics["ahead_of"]["theirs.json"]
    assert ahead["cider"]["difference"] == pytest.approx(ours["coco"]["CIDEr"] - theirs["coco"]["CIDEr"])
    assert ahead["cfs"]["difference"] == pytest.approx(ours["emotion"]["cfs"] - theirs["emotion"]["cfs"])
    assert 0 < ahead["cider"]["low"] < ahead["cider"]["difference"] < ahead["cider"]["high"]
    assert not ahead["cider"]["tie"]


def test_the_terminal_has_one_table_and_what_was_written(
        scored: "subprocess.CompletedProcess[str]", metrics: dict[str, Any]) -> None:
    for row in ("CIDEr (coco)", "CIDEr (evc)", "macro F1", "the word 'happily'", "a human caption"):
        assert row in scored.stdout
    cider = next(line for line in scored.stdout.splitlines() if "CIDEr (coco)" in line)
    assert f"{100 * metrics['systems']['ours.txt']['coco']['CIDEr']:.1f}" in cider and " to +" in cider
    assert scored.stdout.endswith("scored 3 videos by 6 references of references.csv; "
                                  "wrote videos.csv, scores.json, scores.html\n")
    assert scored.stderr == ""


def test_a_row_a_video(scored: object, folder: Path, metrics: dict[str, Any]) -> None:
    with (folder / "videos.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["video"] for row in rows] == ["a.mp4", "b.mp4", "c.mp4"]
    for protocol in ("coco", "evc"):
        for prefix, name in (("", "ours.txt"), ("theirs.json: ", "theirs.json")):
            mean = sum(float(row[f"{prefix}CIDEr ({protocol})"]) for row in rows) / 3
            assert mean == pytest.approx(metrics["systems"][name][protocol]["CIDEr"], abs=1e-4)
    assert (rows[0]["emotions"], rows[0]["reference_emotions"], rows[0]["right_emotions"]) == ("joy", "joy", "1")
    assert (rows[1]["theirs.json: emotions"], rows[1]["theirs.json: wrong_emotions"]) == ("joy sadness", "1")


def test_the_page_loads_nothing_and_hostile_captions_stay_text(scored: object, folder: Path) -> None:
    page = (folder / "scores.html").read_text()
    assert "<script" not in page and "<b>sleep" not in page and "two cats &lt;b&gt;sleep" in page
    assert "http://" not in page and "https://" not in page and "--paper" in page
    assert "How far ours.txt is ahead" in page and "macro F1" in page


def test_without_java_it_is_said_once_and_evc_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "java", lambda: None)
    files = ScoredFiles({"x.txt": {"a": "a happy dog", "b": "a cat"}, "y.txt": {"a": "a dog", "b": "a sad cat"}},
                        {"a": ["a glad dog"], "b": ["the cat", "..."]}, {"z": ["he is happy"]})
    taxonomy = Taxonomy.load("evc-179")
    evaluation = score_files(files, taxonomy, seed=0, timeout=120)
    assert evaluation.metrics["warnings"] == [
        f"coco and METEOR are absent: {programs.NO_JAVA}", "x.txt: 1 references have no words and were left out",
        "no human line: every video has a single reference, so none can be left out"]
    console = Console(width=120, file=io.StringIO())
    with console.capture() as capture:
        console.print(file_table(evaluation.metrics))
    shown = capture.get()
    assert "BLEU-1 (evc)" in shown and "(coco)" not in shown and "macro F1" in shown
    assert "CIDEr (evc)" in rows_by_video(files, evaluation, taxonomy)[0]


def test_captions_written_without_spaces_are_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "java", lambda: None)     # a start less
    files = ScoredFiles({"x.txt": {"a": "女人正在厨房里切洋葱", "b": "狗"}}, {"a": ["女人"], "b": ["狗"]}, {},
                        with_lines=False)
    metrics = score_files(files, Taxonomy.load("evc-179"), seed=0, timeout=120).metrics
    assert [warning for warning in metrics["warnings"] if "without spaces" in warning]
    assert metrics["reference_lines"] == {} and metrics["ahead_of"] == {}


@pytest.mark.parametrize(("arguments", "status", "message"), [
    (["ours.txt"], 2, "give one of the two"),
    (["ours.txt", "--references", "references.csv", "--dataset", "x"], 2, "give one of the two"),
    (["ours.txt", "--references", "references.csv", "--per-video", "v.txt"], 2, "expected a .csv or .jsonl file"),
    (["ours.txt", "--references", "references.csv"], 1, "--split chooses one of test, train"),
    (["ours.txt", "--dataset", "x"], 1, "no prepared data set there"),
    (["ours.txt", "--references", "references.csv", "--html", "./ours.txt"], 1, "give every output a name of its own"),
])
def test_wrong_uses_end_with_a_sentence(
        arguments: list[str], status: int, message: str, folder: Path) -> None:
    ended = score(folder, *arguments)
    assert (ended.returncode, ended.stdout) == (status, "")
    assert message in " ".join(ended.stderr.replace("│", " ").split()) and "Traceback" not in ended.stderr
    assert (folder / "ours.txt").read_text() == OURS


def test_the_printed_digits_of_a_published_system_from_a_plain_file(real_data: Path, tmp_path: Path) -> None:
    ended = score(tmp_path, str(real_data / "metric_gold/msvd_test_predictions.txt"), "--references",
                  str(real_data / "msvd/sents_test_lc_nopunc.txt"), "--json", "scores.json", "--no-lines")
    assert ended.returncode == 0, ended.stderr
    assert "line 1 was taken for vid1301, line 670 for vid1970" in ended.stderr
    (system,) = json.loads((tmp_path / "scores.json").read_text())["systems"].values()
    gold = json.loads((real_data / "metric_gold/msvd_test_scores.json").read_text())
    for digits, name in ((3, "published"), (4, "recomputed")):
        assert {metric: round(value, digits) for metric, value in system["coco"].items()} == gold[name]
    printed = {name.strip(): value.strip() for name, value in (
        line.strip("│").split("│")[:2] for line in ended.stdout.splitlines() if line.startswith("│"))}
    assert [printed[f"{name} (coco)"] for name in ("BLEU-1", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr")] == [
        "81.0", "51.1", "33.5", "70.6", "77.7"]
