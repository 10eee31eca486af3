"""The report stage on files as the other stages leave them: the same page twice, and a sentence for what is wrong."""

import base64
import io
import json
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from media_factory import clip
from PIL import Image
from project import ROOT
from test_report import read_cards

from pipeline.common.errors import SpectrumError
from pipeline.common.files import read_jsonl
from pipeline.datasets.manifest import Caption, Manifest, Video
from pipeline.params import Params, load
from pipeline.params.paths import Paths
from pipeline.report.comparison import compare_runs
from pipeline.report.facts import describe_making
from pipeline.report.film_strips import choose_size
from pipeline.report.reading import _link
from pipeline.store.store_file import write_store_file
from stages import report

PARAMS = load([], ROOT / "params.yaml")
FILES = ("data/sample/videos.jsonl", "features/sample/sample-clip/store.json", "features/sample/logmel/store.json",
         "features/sample/motion/store.json", "indexes/sample/sample-clip/index.json",
         "models/sample/encoder/encoder.json", "models/sample/captioner/captioner.json",
         "models/sample/captioner/curves.csv", "reports/sample/metrics.json", "reports/sample/predictions.jsonl",
         "reports/sample/emotion.json")


def put(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    clip(folder / "a.mp4", 10)
    paths = [folder / path for path in FILES]
    videos = (Video("a", "a.mp4", "test"), Video("b", "gone.mp4", "test"), Video("c", "c.mp4", "train"))
    captions = tuple(Caption(video.id, f"a happy man {video.id}") for video in videos)
    Manifest(videos, captions, captions[2:]).write(paths[0].parent)
    for path, modality in zip(paths[1:4], ("appearance", "audio", "motion"), strict=True):
        path.parent.mkdir(parents=True)
        failures = [{"id": "c", "path": "c.mp4", "reason": "no picture in it"}] if modality == "appearance" else []
        write_store_file(path.parent, modality, {"kind": "none"}, 4, {}, 2, failures)
    put(paths[4], {"captions": 2394, "dim": 128, "recipe_id": "x"})
    put(paths[5], {"model": "spectrum-sample", "weights": "train"})
    put(paths[6], {"seed": 0, "best": {"epoch": 17, "seconds": 2.5}, "vocabulary": ["a", "man"], "parameters": 1732359})
    paths[7].write_text("epoch,loss,validation_cfs,seconds\n1,9.0,0.2,1.5\n2,8.0,0.3,1.5\n")
    paths[8].parent.mkdir(parents=True)
    put(paths[8], {"videos": 2, "emotion_table": [{"category": "joy", "videos": 2, "hits": 1, "predicted": 1}]})
    paths[9].write_text("".join(json.dumps({"video_id": video, "caption": "a happy man"}) + "\n" for video in "ab"))
    put(paths[10], {"lexicon": {"videos": 2, "hit1": 0.5, "temperature": None}})
    return folder


@pytest.fixture
def project(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(made, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def make_page(params: Params = PARAMS) -> str:
    report.run(params, Paths.of(params))
    return Path("reports/sample/index.html").read_text()


def test_the_same_files_give_the_same_page_whatever_the_stages_took(project: Path) -> None:
    page = make_page()
    put(project / "reports/sample/stages/prepare.json", {"seconds": {"all": 99.5}})
    assert make_page() == page
    assert "no picture in it" in page and "2,394 distinct captions" in page and "1,732,359" in page
    assert "<dt>captioner: epoch kept</dt><dd>17</dd>" in page
    # frames of the clip that is there, a caption for the one that is gone; both are linked
    there, gone = read_cards(page)
    assert [seconds for seconds, _ in there["frames"]] == sorted({seconds for seconds, _ in there["frames"]})
    assert len(there["frames"]) == 8 and gone["frames"] == []
    assert Image.open(io.BytesIO(base64.b64decode(there["frames"][0][1]))).format == "WEBP"
    assert (there["clip"], gone["clip"]) == ("./../../a.mp4", "./../../gone.mp4")


def test_parameters_of_the_machine_are_not_on_the_page(project: Path) -> None:
    params = load(["cluster.retries=7"], ROOT / "params.yaml")
    assert make_page(params) == make_page()


def test_parameters_that_changed_since_training_are_named(project: Path) -> None:
    path = project / "models/sample/captioner/captioner.json"
    put(path, {**json.loads(path.read_text()), "captioner": PARAMS.captioner.model_dump(mode="json"),
               "training": PARAMS.training.model_dump(mode="json")})
    assert "has changed since" not in make_page()
    was = PARAMS.captioner.hidden_size
    page = make_page(load([f"captioner.hidden_size={2 * was}"], ROOT / "params.yaml"))
    assert f"captioner.hidden_size was {was}, is {2 * was} now" in page and f"width {was} that" in page


def test_the_commit_is_named_and_changes_since(tmp_path: Path) -> None:
    def git(*command: str) -> str:
        return subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *command], cwd=tmp_path, check=True,
                              capture_output=True, text=True).stdout.strip()

    now = datetime(2026, 11, 27, 9, 5, tzinfo=UTC)
    assert describe_making(tmp_path, now)["commit"] == "none"
    git("init", "-q")
    (tmp_path / "file").write_text("a")
    git("add", "file")
    git("commit", "-qm", "one")
    made = describe_making(tmp_path, now)
    assert made["date"] == "2026-11-27 09:05 UTC" and made["commit"] == git("rev-parse", "--short=10", "HEAD")
    (tmp_path / "file").write_text("b")
    assert describe_making(tmp_path, now)["commit"] == f"{made['commit']}, with changes"


def put_predictions(path: Path, scores: dict[str, Any], captions: str = "a happy man") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"video_id": video, "caption": captions, **({"scores": own} if own else {})})
                            + "\n" for video, own in scores.items()))
    return path


def score(cider: float, right: int) -> dict[str, float]:
    return {"CIDEr (coco)": cider, "CIDEr (evc)": cider, "right_emotions": right, "wrong_emotions": 1 - right}


def test_another_run_is_compared_on_a_page_of_its_own(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_page()
    before = (project / "reports/sample/index.html").read_bytes()
    put_predictions(project / FILES[9], {"a": score(1.0, 1), "b": score(0.5, 1)})
    other = put_predictions(project / "other/predictions.jsonl", {"a": score(0.5, 1), "b": score(0.5, 0)}, "a sad man")
    report.main(compare=other, params_file=ROOT / "params.yaml")
    assert (project / "reports/sample/index.html").read_bytes() == before
    page = (project / "reports/sample/compared.html").read_text()
    assert "compared.html: the page of 2 videos" in capsys.readouterr().out
    assert "other/predictions.jsonl" in page
    cards = read_cards(page)
    assert [card["other"]["change"] for card in cards] == [0.5, 0.0]
    assert ["".join(piece if isinstance(piece, str) else piece[0] for piece in card["other"]["caption"])
            for card in cards] == ["a sad man"] * 2
    # 2 of 2 emotions right against 1 of 2: 0.8 of the CIDEr, and Acc_sw and Acc_c a half each ahead
    run = compare_runs(other, *([row for _, row in read_jsonl(path)] for path in (project / FILES[9], other)), seed=0)
    assert run.ahead["cider"]["difference"] == pytest.approx(0.25)
    assert run.ahead["cfs"]["difference"] == pytest.approx(0.8 * 0.25 + 0.1 * (0.5 + 0.5))
    assert (run.ahead["cider"]["low"], run.ahead["cider"]["high"]) == pytest.approx((0, 0.5))
    assert run.ahead["cider"]["tie"]


@pytest.mark.parametrize(("scores", "message"), [
    ({"a": score(1, 1)}, "it scored 1 videos and this run 2; only one of them scored 'b'"),
    ({"a": {}, "b": {}}, "predictions.jsonl: no line has scores, so that there is nothing to compare"),
    ({"a": score(1, 1), "z": score(1, 1)}, "line 2: video 'z' is not in the data set"),
])
def test_a_run_that_cannot_be_compared_is_a_sentence(project: Path, scores: dict[str, Any], message: str) -> None:
    put_predictions(project / FILES[9], {"a": score(1.0, 1), "b": score(0.5, 1)})
    with pytest.raises(SpectrumError, match=re.escape(message)):
        report.run_compared(PARAMS, put_predictions(project / "other/predictions.jsonl", scores))
    assert not (project / "reports/sample/compared.html").exists()


@pytest.mark.parametrize(("change", "message"), [
    ({"words": ["a", "man"]}, "appearance: expected weights of 2 words"),
    ({"parts": {"audio": {"seconds": [1.0, 2.0], "weights": [[0.5]] * 3}}}, "audio: expected as many seconds"),
    ({"parts": {"audio": {"seconds": [], "weights": [[1.5]] * 3}}}, "less than or equal to 1"),
])
def test_attention_of_another_shape_is_a_sentence(project: Path, change: dict[str, Any], message: str) -> None:
    attention = {"words": ["a", "happy", "man"], "parts": {"appearance": {"seconds": [0.5], "weights": [[0.1]] * 3}}}
    row = {"video_id": "a", "caption": "a happy man", "attention": attention}
    put(project / FILES[9], row)
    assert read_cards(make_page())[0]["attention"]["parts"][0][:2] == ["appearance", [0.5]]
    put(project / FILES[9], row | {"attention": attention | change})
    with pytest.raises(SpectrumError, match=message):
        make_page()


def test_many_videos_get_fewer_and_smaller_frames() -> None:
    sizes = [choose_size(videos) for videos in (1, 200, 201, 1000, 1001, 100_000)]
    assert [size.frames for size in sizes] == [8, 8, 4, 4, 2, 2]
    assert sizes[0].height > sizes[2].height > sizes[4].height


@pytest.mark.parametrize("path", ["javascript:alert(1)", "data/a b?#.mp4", "/elsewhere/a.mp4"])
def test_a_link_to_a_clip_is_an_address_of_a_file(path: str) -> None:
    link = _link(Path(path), Path("reports/sample"))
    assert link.startswith("./../") and ":" not in link and "?" not in link and "#" not in link


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_a_sentence(project: Path, name: str) -> None:
    (project / name).unlink()
    with pytest.raises(SpectrumError, match=f"{name}: no such file"):
        make_page()


@pytest.mark.parametrize(("name", "content"), [
    (name, content) for name in FILES for content in ("", "[" * 3, "[1]", '{"a": 1}', "3", '"text"', "\x00", "null")
    if not name.endswith("curves.csv") and (Path(name).name, content) not in {
        ("encoder.json", '{"a": 1}'), ("metrics.json", '{"a": 1}'), ("predictions.jsonl", "")}])      # which are fine
def test_a_file_of_anything_else_is_a_sentence(project: Path, name: str, content: str) -> None:
    (project / name).write_text(content)
    with pytest.raises(SpectrumError, match=Path(name).name.partition(".")[0]):
        make_page()


@pytest.mark.parametrize(("name", "content", "message"), [
    ("predictions.jsonl", '{"video_id": "z", "caption": "a"}', "line 1: video 'z' is not in the data set"),
    ("predictions.jsonl", '{"video_id": "a", "caption": 3}', "line 1: caption: Input should be a valid string"),
    ("predictions.jsonl", '{"video_id": "a", "caption": "", "beams": [{"caption": ""}]}', "beams.0.score: Field"),
    ("metrics.json", '{"coco": {"CIDEr": "high"}}', "coco.CIDEr: Input should be a valid number"),
])
def test_a_wrong_entry_is_named(project: Path, name: str, content: str, message: str) -> None:
    (project / "reports/sample" / name).write_text(content)
    with pytest.raises(SpectrumError, match=message):
        make_page()


@pytest.mark.parametrize(("content", "message"), [("epoch,loss\n1,high\n", "could not convert"),
                                                  ("loss\n1\n", "no column epoch"), ("epoch,loss\n1\n", "not a table")])
def test_curves_that_are_none(project: Path, content: str, message: str) -> None:
    (project / "models/sample/captioner/curves.csv").write_text(content)
    with pytest.raises(SpectrumError, match=rf"curves\.csv: .*{message}"):
        make_page()


@pytest.mark.parametrize(("module", "heavy"), [
    ("stages.report", ("torch", "h5py", "matplotlib", "av", "rich.table")),
    ("stages.emotion", ("torch", "h5py", "transformers", "av", "faiss")),
    ("pipeline.emotion.probabilities", ("torch", "h5py", "av", "pipeline.media")),
    ("pipeline.emotion.taxonomy", ("torch", "h5py", "pydantic")),
    ("pipeline.emotion.emotion_file", ("torch", "h5py", "av", "pipeline.media")),
    ("pipeline.report.reading", ("torch", "transformers", "h5py", "matplotlib")),
])
def test_a_module_imports_only_what_it_needs(module: str, heavy: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print([name for name in {heavy!r} if name in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"
