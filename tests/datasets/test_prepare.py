"""The prepare stage: what it writes, what it prints, and how it refuses."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from project import ROOT
from test_emvidcap import TRAINVAL, files, section  # noqa: F401  a fixture and a helper

from pipeline import params
from pipeline.common.errors import SpectrumError
from pipeline.datasets.encoder_inputs import read_training_videos
from pipeline.datasets.manifest import Manifest
from pipeline.params.paths import Paths
from stages import prepare


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_prints_counts_and_findings(project: Path, files: Path, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    with (files / "v1(EmVideo-S)" / TRAINVAL).open("ab") as file:
        file.write(b"vid900,a caf\xe9\r\nvid1,\r\n")
    settings = params.load(["dataset=e", "data.kind=emvidcap", f"data.captions={files}", f"data.videos={files}",
                            f"data.corpus={files}", "data.missing_videos=keep", "data.published_counts=false"],
                           ROOT / "params.yaml")
    summary = prepare.run(settings, Paths.of(settings))
    manifest = Manifest.load(project / "data/e")
    assert summary["splits"] == manifest.counts()
    assert summary["corpus"] == len(manifest.corpus)
    assert summary["captions"]["all"] == len(manifest.captions)
    assert json.loads(json.dumps(summary["findings"])) == {
        "empty_captions": 1, "lines_not_utf8": 1, "dropped_from_training": {"vid80703": "it is in the test file, too"},
        "videos_without_file": {"train": 1237, "validation": 137, "test": 516},
        "not_as_published": ["EmVidCap-S trainval: 241 videos, published 240 (not among the published: vid900)"]}
    printed = capsys.readouterr().out
    for line in ("e: 1,890 videos, ", "  test: 516 videos, 1,032 captions", "  empty captions: 1",
                 "  dropped from training: vid80703 (it is in the test file, too)",
                 "  videos without file: train 1,237, validation 137, test 516",
                 "  not the published data set: compare no result with a published one"):
        assert line in printed


def test_your_own_folder(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "clips").mkdir()
    rows = ["video,caption,split"]
    for n, split in enumerate(("train", "validation", "test")):
        (project / "clips" / f"{n}.mp4").write_bytes(b"x")
        rows.append(f"{n},a cat,{split}")
    (project / "captions.csv").write_text("\n".join(rows))
    settings = params.load(["dataset=mine", "data.kind=folder", "data.videos=clips", "data.captions=captions.csv",
                            "data.corpus=captions.csv"], ROOT / "params.yaml")
    assert prepare.run(settings, Paths.of(settings))["findings"] == {}
    assert f"than retrieval.stored ({settings.retrieval.stored}) asks for" in capsys.readouterr().out
    assert len(Manifest.load(project / "data/mine").videos) == 3


@pytest.mark.parametrize("set_apart", [True, False])
def test_an_encoder_learns_from_the_videos_set_apart_for_it_or_else_from_those_of_training(
        project: Path, set_apart: bool) -> None:
    (project / "clips").mkdir()
    rows = ["video,caption,split", "0,a cat,train", "1,a cat,validation", "2,a cat,test"]
    rows += ["3,a dog,pretrain", "3,a puppy,Pretrain"] if set_apart else []
    for n in range(len({row.split(",")[0] for row in rows[1:]})):
        (project / "clips" / f"{n}.mp4").write_bytes(b"x")
    (project / "captions.csv").write_text("\n".join(rows))
    (project / "more.csv").write_text("video,caption\n0,a cat\nelse,a bird" + ("\n3,a dog" if set_apart else ""))
    settings = params.load(["dataset=mine", "data.videos=clips", "data.captions=captions.csv", "data.corpus=more.csv"],
                           ROOT / "params.yaml")
    summary = prepare.run(settings, Paths.of(settings))
    manifest = Manifest.load(project / "data/mine")
    learnt = [(video.path.name, video.captions) for video in read_training_videos(project / "data/mine")]
    if set_apart:
        assert learnt == [("3.mp4", ("a dog", "a puppy"))]
        assert summary["splits"]["pretrain"] == {"videos": 1, "captions": 2}
        assert [video.id for video in manifest.extracted] == ["0", "1", "2"]
        assert [caption.text for caption in manifest.corpus] == ["a cat", "a bird"]
    else:
        assert learnt == [("0.mp4", ("a cat",))]


def test_a_few_captions_of_one_run_are_told(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "clips").mkdir()
    for n in range(3):
        (project / "clips" / f"{n}.mp4").write_bytes(b"x")
    rows = ["video,caption,split", "0,女孩唱歌,train", "1,女孩 唱歌,validation", "2,女孩 在 唱歌,test"]
    (project / "captions.csv").write_text("\n".join(rows))
    settings = params.load(["dataset=mine", "data.videos=clips", "data.captions=captions.csv",
                            "data.corpus=captions.csv"], ROOT / "params.yaml")
    prepare.run(settings, Paths.of(settings))
    assert "1 captions of a script without spaces are one word, such as '女孩唱歌'" in capsys.readouterr().out


@pytest.mark.parametrize(("rows", "message"), [
    (["0,a cat,train", "1,a cat,train", "2,a cat,test"], "no video of split validation has a caption"),
    (["0,a cat,train"], "no video of split validation and test has a caption"),
    (["0,a cat,train", "1,a cat,validation", "2,!?,test"], "video '2': none of its captions has a word"),
    (["0,a cat,train", "1,a cat,validation", "2,一个快乐的女孩在唱歌,test"],
     "written without spaces, separate the words"),
    (["0,女孩唱歌,train", "1,男孩跑步,validation", "2,a cat,test"],
     "video '0': its caption '女孩唱歌' is one word, as are 2 of 3 captions"),
])
def test_what_a_later_stage_needs_is_known_here(project: Path, rows: list[str], message: str) -> None:
    (project / "clips").mkdir()
    for n in range(3):
        (project / "clips" / f"{n}.mp4").write_bytes(b"x")
    (project / "captions.csv").write_text("\n".join(["video,caption,split", *rows]))
    settings = params.load(["dataset=mine", "data.kind=folder", "data.videos=clips", "data.captions=captions.csv",
                            "data.corpus=captions.csv"], ROOT / "params.yaml")
    with pytest.raises(SpectrumError, match=message):
        prepare.run(settings, Paths.of(settings))


@pytest.mark.parametrize("kind", ["msvd", "msrvtt", "emvidcap-s", "emvidcap-l", "emvidcap"])
def test_a_checklist_is_what_a_user_sees_who_has_no_files(project: Path, kind: str) -> None:
    (project / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    params.apply(ROOT / f"presets/{kind}.yaml", [], project / "params.yaml")
    ended = subprocess.run([sys.executable, "-m", "stages.prepare"], cwd=project, capture_output=True, text=True,
                          check=False, env={"PYTHONPATH": str(ROOT), "PATH": ""})
    assert ended.returncode == 1 and "Traceback" not in ended.stderr
    lines = ended.stderr.strip().splitlines()
    assert lines[0].endswith("is not complete:") and lines[-1].startswith("docs/datasets.md")
    assert all(line.startswith("  ✗ ") and "downloads/" in line for line in lines[1:-1])
    assert not (project / "data").exists()
