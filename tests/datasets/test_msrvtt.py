"""MSR-VTT: its JSON, packed and unpacked, made small here; the official files where they are to be had."""

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.common.errors import SpectrumError
from pipeline.datasets import msrvtt
from pipeline.datasets.manifest import Manifest
from pipeline.params import Data

TRAINVAL, TEST = "train_val_videodatainfo.json", "test_videodatainfo.json"


def tree(videos: dict[int, str]) -> dict[str, Any]:
    return {"info": {"year": "2016"},
            "videos": [{"video_id": f"video{n}", "id": n, "split": split, "category": 3, "url": "x",
                        "start time": 1.0, "end time": 2.0} for n, split in videos.items()],
            "sentences": [{"sen_id": i, "video_id": f"video{n}", "caption": f"a cat runs {i}"}
                          for n in videos for i in range(20)]}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    root = tmp_path / "msrvtt"
    (root / "TrainValVideo").mkdir(parents=True)
    (root / "TestVideo").mkdir()
    (root / TRAINVAL).write_text(json.dumps(tree({0: "train", 1: "train", 6513: "validate"})))
    (root / TEST).write_text(json.dumps(tree({7010: "test"})))
    for n in (0, 1, 6513):
        (root / "TrainValVideo" / f"video{n}.mp4").write_bytes(b"x")
    (root / "TestVideo" / "video7010.mp4").write_bytes(b"x")
    return root


def section(root: Path, **changed: Any) -> Data:
    settings = {"kind": "msrvtt", "captions": str(root), "videos": str(root), "corpus": str(root),
                "published_counts": False}
    return Data.model_validate(settings | changed)


def test_videos_captions_splits(files: Path) -> None:
    manifest, findings = msrvtt.prepare(section(files))
    assert manifest.split_of == {"video0": "train", "video1": "train", "video6513": "validation", "video7010": "test"}
    assert [Path(video.path).parent.name for video in manifest.videos] == ["TrainValVideo"] * 3 + ["TestVideo"]
    assert [len(captions) for captions in manifest.captions_of.values()] == [20] * 4
    assert {caption.video_id for caption in manifest.corpus} == {"video0", "video1"}
    assert len(findings.not_as_published) == 3


def test_the_archives_are_read_as_they_are(files: Path) -> None:
    plain, _ = msrvtt.prepare(section(files))
    for name, archive, inside in ((TRAINVAL, "train_val_annotation.zip", f"a folder/{TRAINVAL}"),
                                  (TEST, "test_videodatainfo.json.zip", TEST)):
        with zipfile.ZipFile(files / archive, "w") as packed:
            packed.writestr("readme.txt", "x")
            packed.write(files / name, inside)
        (files / name).unlink()
    assert msrvtt.prepare(section(files))[0] == plain


def test_a_checklist_of_what_is_missing(files: Path) -> None:
    (files / TEST).unlink()
    (files / "TestVideo/video7010.mp4").unlink()
    with pytest.raises(SpectrumError, match=rf"(?s)✓ {TRAINVAL}.*✗ {TEST} or {TEST}\.zip .*: not below "
                                            r"data\.captions .*✗ videos: 3 of 10000 files below"):
        msrvtt.prepare(section(files))


def test_published_counts(files: Path) -> None:
    with pytest.raises(SpectrumError, match=r"(?s)✗ validation: 1 videos, published 497 \(missing: video6514"):
        msrvtt.prepare(section(files, published_counts=True))


def test_as_many_captions_as_published(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(msrvtt, "_IDS", {"train": range(2), "validation": [6513], "test": [7010]})
    whole = section(files, published_counts=True)
    test = tree({7010: "test"})
    test["sentences"][0]["caption"] = "\u2028"
    (files / TEST).write_text(json.dumps(test))
    with pytest.raises(SpectrumError, match="1 videos have not 20 captions, such as video7010: 19"):
        msrvtt.prepare(whole)
    test["sentences"][0]["caption"] = "a cat\u2028runs"
    (files / TEST).write_text(json.dumps(test))
    assert msrvtt.prepare(whole)[0].captions_of["video7010"][0] == "a cat runs"


@pytest.mark.parametrize(("change", "message"), [
    ({"videos": 3}, "expected an object with the lists `videos` and `sentences`"),
    ({"videos": [{"video_id": "video7010"}]}, "videos[0]: expected the strings video_id and split"),
    ({"videos": ["video7010"]}, "videos[0]: expected the strings video_id and split"),
    ({"videos": [{"video_id": "video7010", "split": "val"}]}, "videos[0]: expected video<number> of split"),
    ({"videos": [{"video_id": "../x", "split": "test"}]}, "videos[0]: expected video<number> of split"),
    ({"videos": [{"video_id": "video0", "split": "test"}]}, "videos[0]: video 'video0' is there twice"),
    ({"sentences": [{"video_id": "video7010", "caption": None}]}, "sentences[0]: expected the strings"),
    ({"sentences": [{"video_id": "video9", "caption": "x"}]}, "sentences[0]: caption of the unknown video 'video9'"),
    ({"sentences": [{"video_id": "video7010", "caption": "\ud800"}]}, "half a character"),
    ({"sentences": []}, "video 'video7010' of split test has no caption"),
])
def test_a_row_that_is_wrong_is_named(files: Path, change: dict[str, Any], message: str) -> None:
    (files / TEST).write_text(json.dumps(tree({7010: "test"}) | change))
    with pytest.raises(SpectrumError, match=re.escape(message)) as raised:
        msrvtt.prepare(section(files))
    assert TEST in str(raised.value)


@pytest.mark.parametrize(("name", "content", "message"), [
    (TEST, b"{", r"not readable as JSON \(.*line 1 column 2"),
    (TEST, b'{"videos": "\xff"}', "not readable as JSON"),
    (TEST, b"[1]", "expected an object with the lists"),
    (TEST, b'[{"videos": [], "sentences": []}]', "expected an object with the lists"),
    (TEST, b"[" * 100_000, "not readable as JSON"),
    (TEST, b'{"videos": ' + b"9" * 5000 + b"}", "not readable as JSON"),
    (f"{TEST}.zip", b"PK", "not readable as a zip archive"),
])
def test_a_broken_file_is_named(files: Path, name: str, content: bytes, message: str) -> None:
    (files / TEST).unlink()
    (files / name).write_bytes(content)
    with pytest.raises(SpectrumError, match=f"{name}: .*{message}"):
        msrvtt.prepare(section(files))


def test_an_archive_without_the_file_or_damaged(files: Path) -> None:
    (files / TEST).unlink()
    archive = files / f"{TEST}.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("other.json", "{}")
    with pytest.raises(SpectrumError, match=f"no {TEST} inside"):
        msrvtt.prepare(section(files))
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        with zipfile.ZipFile(archive, "w", compression) as packed:
            packed.writestr(TEST, json.dumps(tree({7010: "test"})))
        damaged = bytearray(archive.read_bytes())
        damaged[75] ^= 255
        archive.write_bytes(damaged)
        with pytest.raises(SpectrumError, match="not readable as a zip archive"):
            msrvtt.prepare(section(files))


def test_what_an_archive_calls_its_file_leads_nowhere_else(files: Path) -> None:
    """Nothing is unpacked to a disk: a name that climbs is only a name."""
    before = msrvtt.prepare(section(files))[0]
    with zipfile.ZipFile(files / f"{TEST}.zip", "w") as packed:
        packed.write(files / TEST, f"../../{TEST}")
    (files / TEST).unlink()
    assert msrvtt.prepare(section(files))[0] == before
    assert not (files.parent / TEST).exists() and not (files.parent.parent / TEST).exists()


def test_an_annotation_that_cannot_be_read_is_reported(files: Path) -> None:
    (files / TEST).unlink()
    (files / TEST).symlink_to("/proc/self/mem")
    with pytest.raises(SpectrumError, match=f"{TEST}: it cannot be read"):
        msrvtt.prepare(section(files))


json_values = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5),
                           lambda inner: st.lists(inner, max_size=3)
                           | st.dictionaries(st.sampled_from(["video_id", "split", "caption"]), inner), max_leaves=5)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(video=json_values, sentence=json_values | st.fixed_dictionaries({
    "video_id": st.just("video7010"), "caption": st.text(alphabet=st.characters(), max_size=9)}))
def test_any_row_is_read_or_named(files: Path, video: Any, sentence: Any) -> None:
    test = tree({7010: "test"})
    if video is not None:
        test["videos"].append(video)
    test["sentences"].append(sentence)
    (files / TEST).write_text(json.dumps(test))
    try:
        manifest, _ = msrvtt.prepare(section(files))
        manifest.write(files / "made")
        assert Manifest.load(files / "made") == manifest
    except SpectrumError as error:
        assert TEST in str(error)


def test_the_official_files(real_data: Path) -> None:
    manifest, findings = msrvtt.prepare(section(real_data / "msrvtt", videos=str(real_data / "clips"),
                                                published_counts=True, missing_videos="keep"))
    assert manifest.counts() == {"train": {"videos": 6513, "captions": 130260},
                                 "validation": {"videos": 497, "captions": 9940},
                                 "test": {"videos": 2990, "captions": 59800}}
    assert {len(captions) for captions in manifest.captions_of.values()} == {20}
    assert findings.as_json() == {"videos_without_file": {"train": 6513, "validation": 497, "test": 2990},
                                  "files_of_no_video": 15}
    assert manifest.caption_counts()["not_ascii"] == 10
