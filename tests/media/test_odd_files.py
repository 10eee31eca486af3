"""What becomes of files that are broken, hostile or merely unusual: the table in docs/decoding.md, row by row."""

import os
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import av
import pytest
from colours import ALONE, MACHINE, SECTION, Colours
from media_factory import clip, damaged, sound_only
from project import ROOT

from pipeline.common.files import fingerprint
from pipeline.datasets.manifest import Caption, Manifest, Video, check
from pipeline.extraction.run import extract
from pipeline.media import BACKENDS, Backend
from pipeline.media.decoder import MediaError, VideoDecoder
from pipeline.media.sampling import Uniform
from pipeline.store.feature_store import FeatureStore

DOCUMENT = ROOT / "docs" / "decoding.md"
ROW = re.compile(r"^\| (?P<name>[^|]+?) +\| (?P<frames>(?:whole|partial|failed)[^|]*?) +\| (?P<sound>[^|]+?) +\|$",
                 re.MULTILINE)
TABLE = {row["name"]: (row["frames"], row["sound"]) for row in ROW.finditer(DOCUMENT.read_text(encoding="utf-8"))}
REAL = sorted(name.strip("`") for name in TABLE if name.startswith("`"))
MADE: dict[str, Callable[[Path], Path]] = {}


def made(name: str) -> Callable[[Callable[[Path], Path]], Callable[[Path], Path]]:
    """Declares a function that makes the file of a row in a folder."""
    def keep(function: Callable[[Path], Path]) -> Callable[[Path], Path]:
        MADE[name] = function
        return function
    return keep


def named(name: str) -> Callable[[Path], Path]:
    return lambda folder: Path(shutil.move(clip(folder / "plain.mp4", 10, sound=440.0), folder / name))


def listing(name: str, text: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        clip(folder / "secret.mp4", 10)
        (folder / name).write_text(text.replace("FOLDER", str(folder)))
        return folder / name
    return make


def halved(path: Path) -> Path:
    os.truncate(path, path.stat().st_size // 2)
    return path


PLAYLIST = "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{}\n#EXT-X-ENDLIST\n"
MADE |= {
    "a name with spaces and quotes": named("a b 'c' \"d\".mp4"),
    "a name with a newline": named("a\nb.mp4"),
    "a name that begins with a dash": named("-i.mp4"),
    "a name outside ASCII": named("ünïcode 视频 🎬.mp4"),
    "a name that is not UTF-8": named(os.fsdecode(b"caf\xe9.mp4")),
    "a name like a pattern, `%03d`": named("%03d.mp4"),
    "a name like an address": named("http:x.mp4"),
    "a name like ffmpeg's own messages": named("n:   0 pts:      5 pts_time:5 s:1x1 i:P.mp4"),
    "a playlist that points elsewhere (m3u8)": listing("list.m3u8", PLAYLIST.format("FOLDER/secret.mp4")),
    "the same, called .mp4": listing("list.mp4", PLAYLIST.format("secret.mp4")),
    "a playlist of an address": listing("list.m3u8", PLAYLIST.format("http://127.0.0.1:9/secret.ts")),
    "a list of files (ffconcat)": listing("list.ffconcat", "ffconcat version 1.0\nfile secret.mp4\n"),
    "the same list, called .mp4": listing("list.mp4", "ffconcat version 1.0\nfile secret.mp4\n"),
    "a missing file": lambda folder: folder / "no.mp4",
    "a folder": lambda folder: folder,
    "a still picture": lambda folder: _still(folder / "a.png"),
    "sound alone": lambda folder: sound_only(folder / "a.m4a"),
    "one frame": lambda folder: clip(folder / "a.mp4", 1),
}


@made("a pipe (fifo)")
def _(folder: Path) -> Path:
    os.mkfifo(folder / "pipe.mp4")
    return folder / "pipe.mp4"


@made("an empty file")
def _(folder: Path) -> Path:
    (folder / "empty.mp4").touch()
    return folder / "empty.mp4"


@made("a header that claims 65535x65535 pixels")
def _(folder: Path) -> Path:
    screen = struct.pack("<HHBBB", 65535, 65535, 0, 0, 0)
    frame = b"," + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0x80) + bytes(6) + b"\x02\x02\x4c\x01\x00"
    (folder / "giant.gif").write_bytes(b"GIF89a" + screen + frame + b";")
    return folder / "giant.gif"


@made("cut in half, mkv")
def _(folder: Path) -> Path:
    return halved(clip(folder / "a.mkv", 60, sound=440.0))


@made("cut in half, avi")
def _(folder: Path) -> Path:
    return halved(clip(folder / "a.avi", 60, codec="mpeg4", sound=440.0))


@made("cut in half, mp4 with its index first")
def _(folder: Path) -> Path:
    return halved(clip(folder / "a.mp4", 60, sound=440.0, options={"movflags": "faststart"}))


@made("cut in half, mp4 with its index last")
def _(folder: Path) -> Path:
    return halved(clip(folder / "a.mp4", 60, sound=440.0))


@made("its second half never written (zeros), mp4")
def _(folder: Path) -> Path:
    path = clip(folder / "a.mp4", 60, sound=440.0, options={"movflags": "faststart"})
    size = path.stat().st_size
    os.truncate(halved(path), size)
    return path


@made("bytes of its pictures flipped")
def _(folder: Path) -> Path:
    return damaged(clip(folder / "a.mkv", 60, sound=440.0), "video")


@made("bytes of its sound flipped")
def _(folder: Path) -> Path:
    return damaged(clip(folder / "a.mkv", 60, sound=440.0), "audio")


def _still(path: Path) -> Path:
    with av.open(str(clip(path.with_suffix(".mp4"), 1))) as container:
        next(container.decode(video=0)).save(str(path))
    return path


def test_the_table_and_the_files_are_the_same(real_data: Path) -> None:
    assert {name for name in TABLE if not name.startswith("`")} == set(MADE)
    assert set(REAL) == {path.name for path in (real_data / "odd").iterdir()}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", [name for name in TABLE if not name.startswith("`")])
def test_files_made_here(name: str, backend: Backend, tmp_path: Path, decoders: dict[Backend, VideoDecoder]) -> None:
    agrees(decoders[backend], MADE[name](tmp_path), *TABLE[name])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", REAL)
def test_real_files(name: str, backend: Backend, real_data: Path, decoders: dict[Backend, VideoDecoder]) -> None:
    agrees(decoders[backend], real_data / "odd" / name, *TABLE[f"`{name}`"])


@pytest.fixture(scope="module")
def decoders() -> dict[Backend, VideoDecoder]:
    return {backend: VideoDecoder(30, backend) for backend in BACKENDS}


def agrees(decoder: VideoDecoder, path: Path, frames: str, sound: str) -> None:
    for wanted, read in ((frames, lambda: decoder.frames(path, Uniform(8))),
                         (sound, lambda: decoder.sound(path, 4, 0.5, 16_000))):
        kind, _, reason = wanted.partition(": ")
        reading = read()
        try:
            count = len(list(reading))
        except MediaError as error:
            assert kind == "failed", error
            assert reason in error.reason
            continue
        assert count == (0 if kind == "none" else 8 if wanted is frames else 4)
        assert kind == ("none" if count == 0 else "whole" if reading.share == 1 else "partial"), reading.reason
        assert reason in reading.reason
        assert 0 < reading.share <= 1


def test_ids_are_data_and_two_of_them_may_share_a_file(tmp_path: Path) -> None:
    """An id like a path names nothing outside of the store; each id of a file has its own rows."""
    path = clip(tmp_path / "a.mp4", 10)
    ids = ["../x", "/etc/passwd", "a/../../b", "%03d", "-i", "..", "x"]
    videos = [(f"row {i}", Video(video_id, str(path), "train")) for i, video_id in enumerate(ids)]
    manifest = check(videos, [("row", Caption(video_id, "a word")) for video_id in ids], [])
    folder = tmp_path / "work" / "data"
    manifest.write(folder)
    assert Manifest.load(folder) == manifest
    before = sorted(tmp_path.iterdir())
    store = tmp_path / "work" / "store"
    extract([(video.id, Path(video.path)) for video in manifest.videos], Colours, store, SECTION, MACHINE, ALONE)
    assert sorted(tmp_path.iterdir()) == before
    rows = FeatureStore.open(store)
    assert {fingerprint({"rows": rows[video_id].tolist()}) for video_id in ids} == {
        fingerprint({"rows": rows["x"].tolist()})}
