"""Your own videos: names, splits and corpora of a folder data set."""

from pathlib import Path

import pytest

from pipeline.common.errors import SpectrumError
from pipeline.datasets import folder
from pipeline.params import Data


def section(root: Path, captions: str, corpus: str | None = None, **shares: float) -> Data:
    return Data(kind="folder", videos=str(root / "clips"), captions=str(root / captions),
                corpus=str(root / (corpus or captions)), **shares)


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    for name in ("a.mp4", "b c.avi", "deep/d.mkv", "-e.webm", "notes.txt"):
        path = tmp_path / "clips" / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(b"x")
    return tmp_path


def test_csv_with_splits(clips: Path) -> None:
    (clips / "c.csv").write_bytes("\ufeffvideo,caption,split\r\na,\"a dog, running\",train\r\n"
                                  "b c.avi,a cat,validation\r\ndeep/d,été,test\r\na.mp4,the dog,train\r\n".encode())
    manifest = folder.build(section(clips, "c.csv"), seed=0)
    assert manifest.split_of == {"-e": "predict", "a": "train", "b c": "validation", "deep/d": "test"}
    assert manifest.captions_of["a"] == ["a dog, running", "the dog"]
    assert [caption.text for caption in manifest.corpus] == ["a dog, running", "the dog"]
    assert all(Path(video.path).is_file() for video in manifest.videos)


def test_splits_are_dealt_by_seed_and_leave_none_empty(clips: Path) -> None:
    (clips / "c.jsonl").write_text("".join(f'{{"video": "{name}", "caption": "x y"}}\n'
                                           for name in ("a", "b c", "deep/d", "-e")))
    dealt = [folder.build(section(clips, "c.jsonl", validation=0.1, test=0.2), seed).split_of for seed in range(6)]
    assert all(sorted(split.values()) == ["test", "train", "train", "validation"] for split in dealt)
    assert dealt[0] == folder.build(section(clips, "c.jsonl", validation=0.1, test=0.2), 0).split_of
    assert len({tuple(split.items()) for split in dealt}) > 1


def test_a_corpus_of_its_own_in_tab_separated_lines(clips: Path) -> None:
    (clips / "c.jsonl").write_text('{"video": "a", "caption": "a dog", "split": "train"}\n')
    (clips / "corpus.txt").write_text("vid1\ta squirrel eats\r\nvid1\ta chipmunk\n\n")
    corpus = folder.build(section(clips, "c.jsonl", "corpus.txt"), 0).corpus
    assert [(caption.video_id, caption.text) for caption in corpus] == \
        [("vid1", "a squirrel eats"), ("vid1", "a chipmunk")]


def test_files_of_one_stem_keep_their_endings(clips: Path) -> None:
    (clips / "clips/a.mov").write_bytes(b"x")
    (clips / "c.csv").write_text("video,caption,split\na.mp4,one,train\na.mov,two,train\n")
    assert folder.build(section(clips, "c.csv"), 0).captions_of["a.mov"] == ["two"]
    (clips / "c.csv").write_text("video,caption,split\na,one,train\n")
    with pytest.raises(SpectrumError, match=r"c.csv, line 2: video 'a' .* fits 2 files"):
        folder.build(section(clips, "c.csv"), 0)


@pytest.mark.parametrize(("name", "text", "said"), [
    ("c.csv", "video,caption,split\nzz,one,train\n", "video 'zz' .* no such file there"),
    ("c.csv", "video,caption,split\na,one,training\n", "line 2: split 'training'"),
    ("c.csv", "video,caption,split\na,one,train\na,two,test\n", "of split train and of test"),
    ("c.csv", "video,caption,split\na,one,train\nb c,two,\n", "'b c' has no split but others do"),
    ("c.csv", "file,text\na,one\n", "expected `video` and `caption`"),
    ("c.jsonl", "[1]\n", "line 1: expected `video` and `caption`"),
    ("c.txt", "a one\n", "line 1: expected video<TAB>caption"),
    ("c.xlsx", "", "captions are read from"),
])
def test_what_is_wrong_is_named(clips: Path, name: str, text: str, said: str) -> None:
    (clips / name).write_text(text)
    with pytest.raises(SpectrumError, match=said):
        folder.build(section(clips, name), 0)


def test_missing_files(clips: Path, tmp_path: Path) -> None:
    with pytest.raises(SpectrumError, match="no such file of captions"):
        folder.build(section(clips, "none.csv"), 0)
    (clips / "latin.csv").write_bytes(b"video,caption\na,\xe9t\xe9\n")
    with pytest.raises(SpectrumError, match="not UTF-8"):
        folder.build(section(clips, "latin.csv"), 0)
    with pytest.raises(SpectrumError, match="no videos there"):
        folder.build(Data(kind="folder", videos=str(tmp_path / "nowhere"), captions="c", corpus="c"), 0)
