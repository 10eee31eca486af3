"""The manifest: what it holds, and the errors that name the line."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.common.errors import SpectrumError
from pipeline.common.files import sha256
from pipeline.datasets.manifest import Manifest, Video

VIDEOS = [{"id": "a", "path": "a.mp4", "split": "train"}, {"id": "b", "path": "b.mp4", "split": "test"},
          {"id": "c", "path": "c.mp4", "split": "predict"}]
CAPTIONS = [{"video_id": "a", "text": "a dog\u2028runs"}, {"video_id": "b", "text": "a cat"},
            {"video_id": "a", "text": "the dog"}]


def write(folder: Path, videos: list[dict[str, Any]], captions: list[dict[str, str]]) -> Path:
    for name, rows in (("videos", videos), ("captions", captions), ("corpus", CAPTIONS[:1])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    digests = {path.stem: sha256(path) for path in folder.glob("*.jsonl")}
    (folder / "manifest.json").write_text(json.dumps({"sha256": digests}))
    return folder


def test_round_trip(tmp_path: Path) -> None:
    manifest = Manifest.load(write(tmp_path, VIDEOS, CAPTIONS))
    assert manifest.ids() == ["a", "b", "c"]
    assert manifest.ids("test", "predict") == ["b", "c"]
    assert manifest.captions_of == {"a": ["a dog runs", "the dog"], "b": ["a cat"], "c": []}
    assert manifest.counts() == {"train": {"videos": 1, "captions": 2}, "test": {"videos": 1, "captions": 1},
                                 "predict": {"videos": 1, "captions": 0}}
    manifest.write(tmp_path / "copy")
    assert Manifest.load(tmp_path / "copy") == manifest


def test_other_names_and_videos_without_a_file(tmp_path: Path) -> None:
    videos = [{**VIDEOS[0], "path": "", "names": ["youtube_1_2"]}, *VIDEOS[1:]]
    manifest = Manifest.load(write(tmp_path, videos, CAPTIONS))
    assert manifest.videos[0] == Video("a", "", "train", ("youtube_1_2",))
    assert manifest.id_of == {"a": "a", "youtube_1_2": "a", "b": "b", "c": "c"}
    manifest.write(tmp_path / "copy")
    assert Manifest.load(tmp_path / "copy") == manifest
    assert [json.loads(line) for line in (tmp_path / "copy/videos.jsonl").read_text().splitlines()] == videos


def test_captions_are_counted(tmp_path: Path) -> None:
    captions = [*CAPTIONS, {"video_id": "b", "text": "the dog"}, {"video_id": "a", "text": " the dog"},
                {"video_id": "a", "text": "un été"}]
    assert Manifest.load(write(tmp_path, VIDEOS, captions)).caption_counts() == \
        {"all": 6, "repeated": 1, "not_ascii": 1}


@pytest.mark.parametrize(("videos", "captions", "message"), [
    ([*VIDEOS, {"id": "a", "path": "x", "split": "train"}], CAPTIONS, "videos.jsonl, line 4: video 'a' is there twice"),
    ([*VIDEOS, {"id": "a", "path": "x", "split": "test"}], CAPTIONS, "of two splits"),
    ([{**VIDEOS[0], "split": "training"}], [], "line 1: video 'a' has split 'training'"),
    ([{**VIDEOS[0], "id": "a\nb"}], [], "is no id"),
    ([{"id": "a", "path": "x"}], [], "expected an object of the strings"),
    ([{"id": "a", "path": 3, "split": "train"}], [], "expected an object of the strings"),
    ([{**VIDEOS[0], "names": "x"}], [], "line 1: expected a list of strings as names"),
    ([{**VIDEOS[0], "names": [1]}], [], "line 1: expected a list of strings as names"),
    ([{**VIDEOS[0], "names": [" x"]}], [], "line 1: ' x' is no name"),
    ([VIDEOS[0], {**VIDEOS[1], "names": ["a"]}], [], "line 2: video 'b' is also called 'a', as is video 'a'"),
    ([{**VIDEOS[0], "names": ["x"]}, {**VIDEOS[1], "names": ["x"]}], [], "line 2: video 'b' is also called 'x'"),
    (VIDEOS, [*CAPTIONS, {"video_id": "z", "text": "x"}], r"captions.jsonl, line 4: caption of the unknown video 'z'"),
    (VIDEOS, [*CAPTIONS, {"video_id": "c", "text": "x"}], "is of split predict"),
    (VIDEOS, [*CAPTIONS, {"video_id": "a", "text": " \u2028"}], "line 4: empty caption"),
    (VIDEOS, [*CAPTIONS, {"video_id": "a", "text": "a \ud800"}], "line 4: .* half a character"),
    (VIDEOS, CAPTIONS[:1], "video 'b' of split test has no caption"),
    ([], [], "has no videos"),
])
def test_what_is_wrong_is_named(tmp_path: Path, videos: list[dict[str, Any]], captions: list[dict[str, str]],
                                message: str) -> None:
    with pytest.raises(SpectrumError, match=message):
        Manifest.load(write(tmp_path, videos, captions))


@pytest.mark.parametrize("name", ["videos", "captions", "corpus"])
def test_a_changed_file_is_noticed(tmp_path: Path, name: str) -> None:
    Manifest.load(write(tmp_path, VIDEOS, CAPTIONS)).write(tmp_path)
    text = (tmp_path / f"{name}.jsonl").read_text()
    (tmp_path / f"{name}.jsonl").write_text(text.replace("dog", "hog").replace("b.mp4", "c.mp4"))
    with pytest.raises(SpectrumError, match=rf"{name}\.jsonl: it was changed or damaged .*stages\.prepare"):
        Manifest.load(tmp_path)
    (tmp_path / f"{name}.jsonl").unlink()
    with pytest.raises(SpectrumError, match=rf"{name}\.jsonl: no such file"):
        Manifest.load(tmp_path)
