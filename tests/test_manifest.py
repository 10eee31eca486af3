"""The manifest: what it holds, and the errors that name the line."""

import json
from pathlib import Path

import pytest

from pipeline.errors import SpectrumError
from pipeline.manifest import Manifest

VIDEOS = [{"id": "a", "path": "a.mp4", "split": "train"}, {"id": "b", "path": "b.mp4", "split": "test"},
          {"id": "c", "path": "c.mp4", "split": "predict"}]
CAPTIONS = [{"video_id": "a", "text": "a dog\u2028runs"}, {"video_id": "b", "text": "a cat"},
            {"video_id": "a", "text": "the dog"}]


def write(folder: Path, videos: list[dict[str, str]], captions: list[dict[str, str]]) -> Path:
    for name, rows in (("videos", videos), ("captions", captions), ("corpus", CAPTIONS[:1])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
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


@pytest.mark.parametrize(("videos", "captions", "said"), [
    ([*VIDEOS, {"id": "a", "path": "x", "split": "train"}], CAPTIONS, "videos.jsonl, line 4: video 'a' is there twice"),
    ([*VIDEOS, {"id": "a", "path": "x", "split": "test"}], CAPTIONS, "of two splits"),
    ([{**VIDEOS[0], "split": "training"}], [], "line 1: video 'a' has split 'training'"),
    ([{**VIDEOS[0], "id": "a\nb"}], [], "is no id"),
    ([{"id": "a", "path": "x"}], [], "expected an object of the strings"),
    ([{"id": "a", "path": 3, "split": "train"}], [], "expected an object of the strings"),
    (VIDEOS, [*CAPTIONS, {"video_id": "z", "text": "x"}], r"captions.jsonl, line 4: caption of the unknown video 'z'"),
    (VIDEOS, [*CAPTIONS, {"video_id": "c", "text": "x"}], "is of split predict"),
    (VIDEOS, [*CAPTIONS, {"video_id": "a", "text": " \u2028"}], "line 4: empty caption"),
    (VIDEOS, CAPTIONS[:1], "video 'b' of split test has no caption"),
    ([], [], "has no videos"),
])
def test_what_is_wrong_is_named(tmp_path: Path, videos: list[dict[str, str]], captions: list[dict[str, str]],
                                said: str) -> None:
    with pytest.raises(SpectrumError, match=said):
        Manifest.load(write(tmp_path, videos, captions))
