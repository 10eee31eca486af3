"""MSVD: the files as the field shares them, made small here; the real ones where they are to be had."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.common.errors import SpectrumError
from pipeline.datasets import msvd
from pipeline.datasets.manifest import Manifest, Video
from pipeline.params import Data

SPLITS = {"train": range(1, 4), "val": range(1201, 1203), "test": range(1301, 1303)}


def name(number: int) -> str:
    return f"-a_B{number}x_{number}_{number + 9}"


def make(root: Path) -> Path:
    """Seven videos, two captions each, the last line of the map without an end, and a file that is no video."""
    (root / "clips" / "more").mkdir(parents=True)
    numbers = [number for split in SPLITS.values() for number in split]
    for split, of_split in SPLITS.items():
        (root / f"sents_{split}_lc_nopunc.txt").write_text(
            "".join(f"vid{n}\ta man plays {n}\nvid{n}\ta man plays {n}\n" for n in of_split))
    (root / "youtube_mapping.txt").write_bytes("\r\n".join(f"{name(n)} vid{n}" for n in numbers).encode())
    for n in numbers:
        (root / "clips" / ("more" if n % 2 else "") / f"{name(n)}.{'avi' if n < 1300 else 'MP4'}").write_bytes(b"x")
    (root / "clips" / "cat.mp4").write_bytes(b"x")
    (root / "clips" / "notes.txt").write_bytes(b"x")
    return root


def section(root: Path, **changed: Any) -> Data:
    settings = {"kind": "msvd", "captions": str(root), "videos": str(root), "corpus": str(root),
                "published_counts": False}
    return Data.model_validate(settings | changed)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return make(tmp_path / "a folder")


def test_videos_captions_splits_names(files: Path, tmp_path: Path) -> None:
    manifest, findings = msvd.prepare(section(files))
    path = str(files / "clips/more" / f"{name(1)}.avi")
    assert manifest.videos[0] == Video("vid1", path, "train", (name(1), "video0"))
    assert manifest.ids("validation") == ["vid1201", "vid1202"]
    assert manifest.ids("test") == ["vid1301", "vid1302"]
    assert all(Path(video.path).is_file() for video in manifest.videos)
    assert manifest.captions_of["vid2"] == ["a man plays 2", "a man plays 2"]     # as published: repeated ones stay
    assert manifest.caption_counts() == {"all": 14, "repeated": 7, "not_ascii": 0}
    assert {caption.video_id for caption in manifest.corpus} == {"vid1", "vid2", "vid3"}
    assert manifest.id_of[name(1301)] == manifest.id_of["video1300"] == "vid1301"
    assert findings.files_of_no_video == 1
    manifest.write(tmp_path / "made")
    assert Manifest.load(tmp_path / "made") == manifest


def test_linked_folders_are_followed_and_a_ring_of_links_ends(files: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (files / "clips" / "back").symlink_to(files)
    (here / "videos").symlink_to(files / "clips")
    manifest, _ = msvd.prepare(section(files, videos=str(here)))
    assert all(Path(video.path).is_file() and video.path.startswith(str(here)) for video in manifest.videos)


def test_a_file_named_by_the_id_will_do(files: Path) -> None:
    (files / "clips/more" / f"{name(1)}.avi").rename(files / "vid1.mkv")
    assert msvd.prepare(section(files))[0].videos[0].path == str(files / "vid1.mkv")


def test_a_checklist_of_what_is_missing(files: Path) -> None:
    (files / "sents_val_lc_nopunc.txt").unlink()
    (files / "youtube_mapping.txt").unlink()
    (files / "clips/sents_test_lc_nopunc.txt").write_text("vid1301\tx\n")
    with pytest.raises(SpectrumError) as raised:
        msvd.prepare(section(files))
    lines = str(raised.value).splitlines()
    assert lines[0] == "MSVD is not complete:" and "docs/datasets.md" in lines[-1]
    assert [line.strip()[0] for line in lines[1:-1]] == ["✓", "✗", "✗", "✗", "✗"]
    assert f"sents_val*.txt (captions of validation): not below data.captions ({files})" in lines[2]
    assert "2 of them" in lines[3] and "youtube_mapping.txt" in lines[4] and "videos: 8 of 1970" in lines[5]


def test_nothing_is_there_at_all(tmp_path: Path) -> None:
    with pytest.raises(SpectrumError, match="(?s)✗ sents_train.*✗ youtube_mapping.*✗ videos: 0 of 1970"):
        msvd.prepare(section(tmp_path / "nowhere"))


def test_videos_without_files(files: Path) -> None:
    (files / "clips/more" / f"{name(3)}.avi").unlink()
    (files / "clips" / f"{name(1302)}.MP4").unlink()
    with pytest.raises(SpectrumError) as raised:
        msvd.prepare(section(files))
    assert f"✗ videos: 5 of 7 below data.videos ({files}); missing: vid3 or {name(3)}, vid1302 or" in str(raised.value)
    assert "✓ youtube_mapping.txt" in str(raised.value)

    manifest, findings = msvd.prepare(section(files, missing_videos="leave_out"))
    assert manifest.ids() == ["vid1", "vid2", "vid1201", "vid1202", "vid1301"]
    assert findings.as_json()["left_out_videos"] == {"train": 1, "test": 1}
    assert {caption.video_id for caption in manifest.captions} == set(manifest.ids())
    assert len(manifest.corpus) == 6            # retrieval does not depend on which videos could be had

    manifest, findings = msvd.prepare(section(files, missing_videos="keep"))
    assert [video.id for video in manifest.videos if not video.path] == ["vid3", "vid1302"]
    assert findings.as_json()["videos_without_file"] == {"train": 1, "test": 1}


def test_leaving_a_split_without_videos_is_refused(files: Path) -> None:
    for n in SPLITS["val"]:
        next(files.rglob(f"{name(n)}.avi")).unlink()
    with pytest.raises(SpectrumError, match=r"leaves no video of validation \(0 of 2\)"):
        msvd.prepare(section(files, missing_videos="leave_out"))


def test_imported_features_need_neither_videos_nor_map(files: Path) -> None:
    (files / "youtube_mapping.txt").unlink()
    manifest, _ = msvd.prepare(section(files, missing_videos="keep", videos=str(files / "features")))
    assert {video.path for video in manifest.videos} == {""}
    assert manifest.id_of == {name: f"vid{n}" for split in SPLITS.values() for n in split
                              for name in (f"vid{n}", f"video{n - 1}")}


def test_files_of_msr_vtt_are_not_taken_for_those_of_msvd(files: Path) -> None:
    next(files.rglob(f"{name(1)}.avi")).rename(files / "video0.mp4")
    with pytest.raises(SpectrumError, match="missing: vid1 or"):
        msvd.prepare(section(files))


def test_two_files_of_one_video(files: Path) -> None:
    (files / f"{name(2)}.mp4").write_bytes(b"x")
    with pytest.raises(SpectrumError, match="video 'vid2' has 2 files"):
        msvd.prepare(section(files))


def test_a_corpus_of_its_own(files: Path) -> None:
    (files / "other.txt").write_text("x1\ta whale sings\n")
    manifest, _ = msvd.prepare(section(files, corpus=str(files / "other.txt")))
    assert [caption.text for caption in manifest.corpus] == ["a whale sings"]


def test_what_differs_from_the_published_set_is_reported(files: Path) -> None:
    with pytest.raises(SpectrumError) as raised:
        msvd.prepare(section(files, published_counts=True))
    assert ("✗ train: 3 videos, published 1200 (missing: vid4, vid5, vid6, vid7, vid8 and 1192 more)"
            in str(raised.value))
    assert "data.published_counts=false" in str(raised.value)
    assert len(msvd.prepare(section(files))[1].not_as_published) == 3


def test_as_many_captions_as_published(tmp_path: Path) -> None:
    counts = {"train": (1, 1200, 48774), "val": (1201, 1300, 4290), "test": (1301, 1970, 27763)}
    for split, (first, last, captions) in counts.items():
        numbers = [first + i % (last - first + 1) for i in range(captions)]
        (tmp_path / f"sents_{split}.txt").write_text("".join(f"vid{n}\ta cat\n" for n in numbers))
    whole = section(tmp_path, published_counts=True, missing_videos="keep")
    assert msvd.prepare(whole)[0].counts()["test"] == {"videos": 670, "captions": 27763}
    with (tmp_path / "sents_test.txt").open("a") as file:
        file.write("vid1400\ta dog\nvid1400\t \n")
    with pytest.raises(SpectrumError, match="test: 27764 captions, published 27763"):
        msvd.prepare(whole)


@pytest.mark.parametrize(("file", "line", "message"), [
    ("sents_train_lc_nopunc.txt", b"vid1 a man", "line 7: expected vid<number><TAB>caption"),
    ("sents_train_lc_nopunc.txt", b"vid1\ta man\tmore", "line 7: expected vid<number><TAB>caption"),
    ("sents_train_lc_nopunc.txt", b"vid1 \ta man", "line 7: expected vid<number><TAB>caption"),
    ("sents_train_lc_nopunc.txt", b"video1\ta man", "line 7: expected vid<number><TAB>caption"),
    ("sents_test_lc_nopunc.txt", b"vid1\ta man", "line 5: video 'vid1' is of split test, but of train"),
    ("sents_test_lc_nopunc.txt", b"vid1303\ta man", "youtube_mapping.txt: no line for vid1303"),
    ("sents_test_lc_nopunc.txt", b"vid1303\t\x01", "youtube_mapping.txt: no line for vid1303"),
    ("youtube_mapping.txt", b"\r\nvid1 a_1_2", "line 8: expected `youtubeid_start_end vid1`"),
    ("youtube_mapping.txt", b"\r\na_1_2", "line 8: expected `youtubeid_start_end vid1`"),
    ("youtube_mapping.txt", b"\r\na_1_2 vid1", "line 8: vid1 is called -a_B1x_1_10 and a_1_2"),
    ("youtube_mapping.txt", b"\r\n-a_B1x_1_10 vid9\r\n", None),      # a video of no caption
])
def test_a_line_that_is_wrong_is_named(files: Path, file: str, line: bytes, message: str | None) -> None:
    with (files / file).open("ab") as opened:
        opened.write(line + b"\n")
    if message is None:
        assert msvd.prepare(section(files))[0].id_of[name(1)] == "vid1"
        return
    with pytest.raises(SpectrumError, match=re.escape(message if "no line" in message else f"{file}, {message}")):
        msvd.prepare(section(files))


def test_a_mark_and_the_endings_of_windows_change_nothing(files: Path) -> None:
    before, _ = msvd.prepare(section(files))
    for name in ("sents_train_lc_nopunc.txt", "youtube_mapping.txt"):
        path = files / name
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    assert msvd.prepare(section(files))[0] == before


@pytest.mark.parametrize("name", ["sents_train_lc_nopunc.txt", "youtube_mapping.txt", "corpus.txt"])
def test_a_file_that_cannot_be_read_is_reported(files: Path, name: str) -> None:
    path = files / name
    path.unlink(missing_ok=True)
    path.symlink_to("/proc/self/mem")       # reading it fails, even for root
    with pytest.raises(SpectrumError, match=f"{name}: (it|the captions) cannot be read"):
        msvd.prepare(section(files, corpus=str(files / "corpus.txt")))
    path.unlink()
    path.symlink_to("nowhere")
    with pytest.raises(SpectrumError, match=f"{name}: (it cannot be read|no such file)"):
        msvd.prepare(section(files, corpus=str(files / "corpus.txt")))


def test_a_name_of_two_videos_is_refused(files: Path) -> None:
    text = (files / "youtube_mapping.txt").read_text().replace(name(2), name(1))
    (files / "youtube_mapping.txt").write_text(text)
    with pytest.raises(SpectrumError, match=f"'vid2' is also called '{name(1)}', as is video 'vid1'"):
        msvd.prepare(section(files, missing_videos="keep"))


def test_empty_captions_are_counted_and_odd_bytes_read(files: Path) -> None:
    with (files / "sents_val_lc_nopunc.txt").open("ab") as file:
        file.write("vid1201\t\r\nvid1201\t \u2028\nvid1202\tun café\r\n\n".encode() + b"vid1202\tun caf\xe9\n")
    manifest, findings = msvd.prepare(section(files))
    assert (findings.empty_captions, findings.lines_not_utf8) == (2, 1)
    assert manifest.captions_of["vid1202"][2:] == ["un café", "un café"]
    assert manifest.caption_counts()["not_ascii"] == 2


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(line=st.binary(max_size=40) | st.text(max_size=20).map(lambda text: f"vid1\t{text}".encode(errors="replace")))
def test_any_line_is_read_or_named(files: Path, line: bytes) -> None:
    path = files / "sents_train_lc_nopunc.txt"
    before = path.read_bytes()
    path.write_bytes(before + line)
    try:
        manifest, _ = msvd.prepare(section(files))
        manifest.write(files / "made")
        assert Manifest.load(files / "made") == manifest
    except SpectrumError as error:
        assert str(path) in str(error) or "no line for vid" in str(error)
    finally:
        path.write_bytes(before)


def test_the_real_annotations(real_data: Path) -> None:
    captions = real_data / "msvd"
    manifest, findings = msvd.prepare(section(captions, videos=str(real_data / "clips"), published_counts=True,
                                              missing_videos="keep"))
    assert manifest.counts() == {"train": {"videos": 1200, "captions": 48774},
                                 "validation": {"videos": 100, "captions": 4290},
                                 "test": {"videos": 670, "captions": 27763}}
    assert findings.empty_captions == findings.lines_not_utf8 == 0
    assert len(manifest.corpus) == 48774
    split_of_file = {Path(video.path).name: (video.id, video.split) for video in manifest.videos if video.path}
    assert split_of_file == {
        "3qqEKTPxLNs_1_15.avi": ("vid184", "train"), "UXs3eq68ZjE_250_255.avi": ("vid950", "train"),
        "WTf5EgVY5uU_124_128.avi": ("vid1025", "train"), "j2Dhf-xFUxU_13_20.avi": ("vid1429", "test"),
        "klteYv1Uv9A_27_33.avi": ("vid1509", "test")}
    with pytest.raises(SpectrumError, match=r"no video of validation \(0 of 100\)"):
        msvd.prepare(section(captions, videos=str(real_data / "clips"), missing_videos="leave_out"))
