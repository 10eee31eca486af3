"""EmVidCap: files made here in the published formats, every trap included; its captions are no part of this project."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.common.errors import SpectrumError
from pipeline.datasets import emvidcap
from pipeline.datasets.manifest import Manifest
from pipeline.params import Data

TRAINVAL, TEST = "EmVideo_trainval_captions.csv", "EmVideo_test_captions.csv"
# as many ids as were published: trainval of L holds one that is in test, too
L_TRAINVAL = [f"vid{1 + n % 8}{n // 8:04d}" for n in range(1133)] + ["vid80703"]
L_TEST = ["vid80703"] + [f"vid{1 + n % 8}{9000 + n // 8}" for n in range(381)]


def write(folder: Path, name: str, rows: list[tuple[str, str]], *, separator: str, end: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"VideoID{separator}EmCaptions", *(f"{video}{separator}{caption}" for video, caption in rows)]
    (folder / name).write_bytes("".join(line + end for line in lines).encode())


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Both parts beside each other, and MSVD's map of S's clips."""
    root, small, large = tmp_path, tmp_path / "v1(EmVideo-S)", tmp_path / "v2_EmVideo-L"
    for name, numbers in ((TRAINVAL, range(1, 241)), (TEST, range(1301, 1435))):
        write(small, name, [(f"vid{n}", caption) for n in numbers
                            for caption in (f"a man happily plays {n}", f'"a man, happily, ""plays"" {n}"')],
              separator=",", end="\r\n")
    for name, videos in ((TRAINVAL, L_TRAINVAL), (TEST, L_TEST)):
        write(large, name, [(video, caption) for video in videos
                            for caption in ("A Boy is SAD, and cries.", "the café is “joyful”")],
              separator="\t", end="\n")
    (root / "youtube_mapping.txt").write_bytes(b"".join(b"a_%d_%d vid%d\r\n" % (n, n + 9, n) for n in range(1, 1971)))
    return root


def section(root: Path, kind: str = "emvidcap", **changed: Any) -> Data:
    settings = {"kind": kind, "captions": str(root), "videos": str(root / "videos"), "corpus": str(root),
                "missing_videos": "keep"}
    return Data.model_validate(settings | changed)


def test_small_is_comma_separated_with_crlf(files: Path) -> None:
    manifest, findings = emvidcap.prepare(section(files, "emvidcap-s"), seed=0)
    assert {split: counts["videos"] for split, counts in manifest.counts().items()} == \
        {"train": 216, "validation": 24, "test": 134}
    assert manifest.captions_of["vid7"] == ["a man happily plays 7", 'a man, happily, "plays" 7']
    assert manifest.videos[0].names == ("a_1_10", "video0")
    assert set(manifest.ids("test")) == {f"vid{n}" for n in range(1301, 1435)}
    assert findings.dropped_from_training == {}


def test_large_is_tab_separated_with_lf_mixed_case_and_accents(files: Path) -> None:
    manifest, findings = emvidcap.prepare(section(files, "emvidcap-l"), seed=0)
    assert {split: counts["videos"] for split, counts in manifest.counts().items()} == \
        {"train": 1020, "validation": 113, "test": 382}
    assert manifest.captions_of["vid10000"] == ["A Boy is SAD, and cries.", "the café is “joyful”"]   # as published
    assert manifest.caption_counts()["not_ascii"] == 1133 + 382
    assert findings.lines_not_utf8 == 0


def test_the_clip_of_both_splits_is_dropped_from_training_and_reported(files: Path) -> None:
    manifest, findings = emvidcap.prepare(section(files), seed=0)
    assert manifest.split_of["vid80703"] == "test"
    assert len(manifest.captions_of["vid80703"]) == 2
    assert "vid80703" not in {caption.video_id for caption in manifest.corpus}
    assert findings.as_json()["dropped_from_training"] == {"vid80703": "it is in the test file, too"}


def test_pooled_has_both_and_holds_out_the_same_videos(files: Path) -> None:
    pooled, _ = emvidcap.prepare(section(files), seed=3)
    small, _ = emvidcap.prepare(section(files, "emvidcap-s"), seed=3)
    large, _ = emvidcap.prepare(section(files, "emvidcap-l"), seed=3)
    assert len(pooled.ids("test")) == 516
    assert pooled.split_of == small.split_of | large.split_of
    assert pooled.ids() == small.ids() + large.ids()
    assert {caption.video_id for caption in pooled.corpus} == set(pooled.ids("train"))


def test_validation_is_held_out_by_seed_never_of_test(files: Path) -> None:
    held_out = [set(emvidcap.prepare(section(files, "emvidcap-s", validation=0.2), seed)[0].ids("validation"))
                for seed in (0, 0, 1)]
    assert held_out[0] == held_out[1] != held_out[2]
    assert len(held_out[0]) == 48
    assert all(int(video[3:]) <= 240 for video in held_out[0] | held_out[2])
    assert len(emvidcap.prepare(section(files, "emvidcap-s", validation=0.0), 0)[0].ids("validation")) == 1


def test_clips_of_small_are_those_of_msvd(files: Path) -> None:
    (files / "videos").mkdir()
    for n in [*range(1, 241), *range(1301, 1435), 500]:
        (files / "videos" / f"a_{n}_{n + 9}.avi").write_bytes(b"x")
    manifest, findings = emvidcap.prepare(section(files, "emvidcap-s", missing_videos="error"), seed=0)
    assert all(Path(video.path).is_file() for video in manifest.videos)
    assert findings.files_of_no_video == 1
    with pytest.raises(SpectrumError, match=r"✗ videos: 374 of 1889 .*missing: vid10000, vid20000, "):
        emvidcap.prepare(section(files, missing_videos="error"), seed=0)


def test_a_checklist_of_what_is_missing(files: Path, tmp_path: Path) -> None:
    (files / "v2_EmVideo-L" / TEST).unlink()
    (files / "youtube_mapping.txt").unlink()
    with pytest.raises(SpectrumError) as raised:
        emvidcap.prepare(section(files, missing_videos="error"), seed=0)
    lines = str(raised.value).splitlines()
    assert [line.strip()[0] for line in lines[1:-1]] == list("✓✓✓✗✗✗")
    assert f"{TEST} (of EmVidCap-L): not below" in lines[4] and "videos: 0 of 1890" in lines[6]
    assert len(emvidcap.prepare(section(files, "emvidcap-s"), 0)[0].videos) == 374     # needs none of them
    with pytest.raises(SpectrumError, match="EmVidCap-L is not complete"):
        emvidcap.prepare(section(files / "v1(EmVideo-S)", "emvidcap-l"), seed=0)


def test_other_counts_than_the_published(files: Path) -> None:
    small = files / "v1(EmVideo-S)"
    with (small / TRAINVAL).open("ab") as file:
        file.write(b"vid1301,a man\r\nvid900,a man\r\n")
    with pytest.raises(SpectrumError) as raised:
        emvidcap.prepare(section(files), seed=0)
    assert "trainval and test both, published 0 (not among the published: vid1301)" in str(raised.value)
    assert "EmVidCap-S trainval: 242 videos, published 240" in str(raised.value)
    manifest, findings = emvidcap.prepare(section(files, published_counts=False), seed=0)
    assert manifest.split_of["vid1301"] == "test"
    assert len(findings.not_as_published) == 2 and set(findings.dropped_from_training) == {"vid1301", "vid80703"}

    large = files / "v2_EmVideo-L"
    for name in (TRAINVAL, TEST):
        text = "".join((large / name).read_text().splitlines(keepends=True)[:-2])
        (large / name).write_text(text)
    differences = emvidcap.prepare(section(files, "emvidcap-l", published_counts=False), seed=0)[1].not_as_published
    assert differences[-1] == "EmVidCap-L test: 381 videos, published 382"
    assert any("trainval and test both" in line for line in differences)      # vid80703 was the last of trainval


@pytest.mark.parametrize(("content", "message"), [
    (b"", "line 1: expected the header VideoID,EmCaptions"),
    (b"vid1,a man\n", "line 1: expected the header VideoID,EmCaptions"),
    (b"VideoID,EmCaptions,Emotion\nvid1,a man,joy\n", "line 1: expected the header VideoID,EmCaptions"),
    (b"VideoID;EmCaptions\nvid1;a man\n", "line 1: expected the header VideoID,EmCaptions"),
    (b"VideoID,EmCaptions\r\nvid1,a man\r\n\r\nvid2\r\n", "line 4: expected vid<number>','caption of EmVidCap-S"),
    (b"VideoID,EmCaptions\r\nvid1,a man\r\nvid20001,a boy\r\n", "line 3: expected vid<number>"),
    (b"VideoID,EmCaptions\r\nvid1,a man\r\n,a boy\r\n", "line 3: expected vid<number>"),
    (b"VideoID,EmCaptions\r\nvid1,\"a\r\nman\"\r\n", "line 3: expected vid<number>"),
])
def test_a_line_that_is_wrong_is_named(files: Path, content: bytes, message: str) -> None:
    path = files / "v1(EmVideo-S)" / TRAINVAL
    path.write_bytes(content)
    with pytest.raises(SpectrumError, match=re.escape(f"{TRAINVAL}, {message}")):
        emvidcap.prepare(section(files, "emvidcap-s"), seed=0)


def test_odd_rows_that_are_read(files: Path) -> None:
    path = files / "v1(EmVideo-S)" / TRAINVAL
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes()
                     + b"\"vid2\",\"he says \"\"no\"\"\"\r\nvid2,a sad, lonely man\r\nvid2,\"no\" he \"says\"\r\n"
                     + b"vid2,\r\nvid2, \r\nvid2 ,a caf\xe9\r\n")
    manifest, findings = emvidcap.prepare(section(files, "emvidcap-s"), seed=0)
    assert manifest.captions_of["vid2"][2:] == ['he says "no"', "a sad, lonely man", '"no" he "says"', "a café"]
    assert (findings.empty_captions, findings.lines_not_utf8) == (2, 1)


@pytest.mark.parametrize("header", [b"videoid,emcaptions", b"VideoID,EmCaptions  ", b'"VideoID","EmCaptions"'])
def test_another_spelling_of_the_header_is_the_same_header(files: Path, header: bytes) -> None:
    before = emvidcap.prepare(section(files), seed=0)[0]
    path = files / "v1(EmVideo-S)" / TRAINVAL
    path.write_bytes(path.read_bytes().replace(b"VideoID,EmCaptions", header))
    assert emvidcap.prepare(section(files), seed=0)[0] == before


def test_a_file_that_cannot_be_read_is_reported(files: Path) -> None:
    path = files / "v1(EmVideo-S)" / TRAINVAL
    path.unlink()
    for target in ("nowhere", "/proc/self/mem"):
        path.symlink_to(target)
        with pytest.raises(SpectrumError, match=f"{TRAINVAL}: it cannot be read"):
            emvidcap.prepare(section(files), seed=0)
        path.unlink()


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(line=st.binary(max_size=30) | st.binary(max_size=20).map(lambda caption: b"vid9," + caption))
def test_any_line_is_read_or_named(files: Path, line: bytes) -> None:
    path = files / "v1(EmVideo-S)" / TEST
    path.write_bytes(b"VideoID,EmCaptions\r\nvid1301,a cat\r\n" + line)
    small = section(files, "emvidcap-s", published_counts=False)
    try:
        manifest, _ = emvidcap.prepare(small, seed=0)
        manifest.write(files / "made")
        assert Manifest.load(files / "made") == manifest
    except SpectrumError as error:
        assert f"{TEST}, line " in str(error) or "no line for vid" in str(error)
