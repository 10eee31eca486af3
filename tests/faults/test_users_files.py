"""Files of the user: nothing of ours removes them, and their names do not write on the terminal what they like."""

import json
import shutil
from pathlib import Path

import fault_project
import pytest

from pipeline import params
from stages import command


def test_clean_removes_what_the_stages_made_for_this_data_set_and_nothing_else(undisturbed: Path,
                                                                              tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(undisturbed, project)
    others = [project / name for name in ("data/Retail/mine.txt", "data/tiny2/videos.jsonl", "features/tiny/mine/a.h5",
                                          "models/tiny/notes.txt", "clips/mine.txt")]
    for path in others:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    inputs = (project / "clips", project / "sample", project / "sample" / "clips")
    before = {path: path.read_bytes() for folder in inputs for path in folder.iterdir() if path.is_file()}
    ended = fault_project.run(project, "clean --yes")
    assert ended.status == 0, ended.errors
    assert {path: path.read_bytes() for folder in inputs for path in folder.iterdir() if path.is_file()} == before
    left = {path for path in project.rglob("*") if path.is_file() and path.parent not in inputs}
    assert {path.relative_to(project) for path in left if path.suffix != ".lock"} == {
        Path("params.yaml"), Path("captions.jsonl"), *(path.relative_to(project) for path in others[:4])}


@pytest.mark.parametrize("place", ["data/tiny/clips", "features/tiny/logmel", "models", "reports/tiny/stages"])
def test_inputs_inside_outs_are_refused_by_every_stage_and_by_clean(undisturbed: Path, tmp_path: Path,
                                                                    place: str) -> None:
    (tmp_path / place).mkdir(parents=True)
    shutil.copy(undisturbed / "clips" / "v0.mp4", tmp_path / place / "mine.mp4")
    text = (undisturbed / "params.yaml").read_text().replace("videos: clips", f"videos: {place}")
    (tmp_path / "params.yaml").write_text(text)
    for stage in ("prepare", "extract@audio", "report", "clean --yes"):
        ended = fault_project.run(tmp_path, stage)
        assert ended.status == 1 and ended.sentence.startswith(f"error: data.videos: {place} lies in ")
    assert (tmp_path / place / "mine.mp4").is_file()


def test_a_name_does_not_reach_the_terminal_as_it_is(undisturbed: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "clips").mkdir(parents=True)
    shutil.copy(undisturbed / "params.yaml", project / "params.yaml")
    rows = []
    for number, split in enumerate(["train", "train", "validation", "test"]):
        name = f"\x1b[31mred\x9b2J {number}"
        shutil.copy(undisturbed / "clips" / f"v{number}.mp4", project / "clips" / f"{name}.mp4")
        rows.append({"video": name, "caption": "a cat", "split": split})
    (project / "captions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    said = [fault_project.run(project, "prepare")]
    (project / "captions.jsonl").write_text(json.dumps({"video": "\x1b[2Jnone", "caption": "a cat"}))
    said.append(fault_project.run(project, "prepare"))
    assert "\\x1b[2Jnone" in said[1].sentence or "\\\\x1b[2Jnone" in said[1].sentence
    for ended in said:
        assert not {"\x1b", "\x9b"} & set(ended.printed + ended.errors)


def test_nor_does_a_name_in_what_a_stage_did(undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    command.run_stage(lambda *_: {"kept_videos": ["\x9b2Jred"]}, "extract", lambda summary: summary["kept_videos"][0],
                 params.load([], undisturbed / "params.yaml"))
    assert "\\x9b2Jred" in capsys.readouterr().out
