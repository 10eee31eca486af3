"""Your own videos: names, splits and corpora of a folder data set."""

import json
import os
from pathlib import Path

import pytest

from pipeline.common.errors import SpectrumError
from pipeline.datasets import folder
from pipeline.datasets.captions_file import read_captions
from pipeline.datasets.manifest import Manifest
from pipeline.params import Data


def section(root: Path, captions: str, corpus: str | None = None, **shares: float) -> Data:
    return Data(kind="folder", videos=str(root / "clips"), captions=str(root / captions),
                corpus=str(root / (corpus or captions)), **shares)


def build(section: Data, seed: int) -> Manifest:
    return folder.prepare(section, seed)[0]


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
    manifest = build(section(clips, "c.csv"), seed=0)
    assert manifest.split_of == {"-e": "predict", "a": "train", "b c": "validation", "deep/d": "test"}
    assert manifest.captions_of["a"] == ["a dog, running", "the dog"]
    assert [caption.text for caption in manifest.corpus] == ["a dog, running", "the dog"]
    assert all(Path(video.path).is_file() for video in manifest.videos)


def test_splits_are_dealt_by_seed_and_leave_none_empty(clips: Path) -> None:
    (clips / "c.jsonl").write_text("".join(f'{{"video": "{name}", "caption": "x y"}}\n'
                                           for name in ("a", "b c", "deep/d", "-e")))
    splits = [build(section(clips, "c.jsonl", validation=0.1, test=0.2), seed).split_of for seed in range(6)]
    assert all(set(split.values()) == {"test", "train", "validation"} for split in splits)
    assert splits[0] == build(section(clips, "c.jsonl", validation=0.1, test=0.2), 0).split_of
    assert len({tuple(split.items()) for split in splits}) > 1


def test_new_videos_move_no_other_to_another_split() -> None:
    videos = [f"clip {number}" for number in range(1100)]
    before, after = (folder.automatic_splits({video: video for video in videos[:count]}, 0, 0.1, 0.2)
                     for count in (1000, 1100))
    assert before.items() <= after.items()
    shares = [sum(split == name for split in after.values()) / len(after) for name in ("train", "validation", "test")]
    assert shares == pytest.approx([0.7, 0.1, 0.2], abs=0.03)


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_pieces_of_one_film_are_of_one_split(clips: Path, ending: str) -> None:
    films = {"a": "one", "b c": "one", "deep/d": "one", "-e": ""}
    for number in range(40):
        films[f"f{number}"] = f"film {number % 10}"
        (clips / "clips" / f"f{number}.mp4").write_bytes(b"x")
    if ending == "csv":
        text = "video,group,caption\n" + "".join(f"{video},{film},x y\n" for video, film in films.items())
    else:
        text = "".join(json.dumps({"video": video, "caption": "x y", **({"group": film} if film else {})}) + "\n"
                       for video, film in films.items())
    (clips / f"c.{ending}").write_text(text)
    for seed in range(5):
        splits = build(section(clips, f"c.{ending}", validation=0.2, test=0.2), seed).split_of
        assert set(splits.values()) == {"train", "validation", "test"}
        for film in set(films.values()) - {""}:
            assert len({splits[video] for video, own in films.items() if own == film}) == 1
        # by the group's hash, whatever other videos and groups there are
        assert folder.automatic_splits({"a": "one", "z": "film 3"} | films, seed, 0.2, 0.2)["b c"] == splits["a"]


@pytest.mark.parametrize(("rows", "message"), [
    (["a,x,,one", "a,y,,two"], "line 3: video 'a' is of group 'one' and of 'two'"),
    (["a,x,train,one", "b c,y,test,one"], "videos of group 'one' are of split train and of test"),
])
def test_groups_that_cannot_be_kept_together(clips: Path, rows: list[str], message: str) -> None:
    (clips / "c.csv").write_text("\n".join(["video,caption,split,group", *rows]))
    with pytest.raises(SpectrumError, match=message):
        build(section(clips, "c.csv"), seed=0)


@pytest.mark.parametrize("name", ["absolute", "link", "copy"])
def test_the_captions_by_another_name_are_no_other_corpus(clips: Path, name: str,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    """Or validation and test references would be retrieved for their own videos."""
    rows = [("a.mp4", "a dog", "train"), ("b c", "a cat", "validation"), ("deep/d.mkv", "a cow", "test")]
    (clips / "c.csv").write_text("video,caption,split\n" + "".join(f"{','.join(row)}\n" for row in rows))
    monkeypatch.chdir(clips)
    (clips / "link.csv").symlink_to("c.csv")
    (clips / "copy.csv").write_bytes((clips / "c.csv").read_bytes())
    corpus = {"absolute": str(clips / "c.csv"), "link": "link.csv", "copy": "copy.csv"}[name]
    manifest, findings = folder.prepare(Data(kind="folder", videos="clips", captions="c.csv", corpus=corpus), 0)
    assert [caption.text for caption in manifest.corpus] == ["a dog"]
    assert findings.corpus_left_out == (2 if name == "copy" else 0)


def test_a_corpus_of_its_own_in_tab_separated_lines(clips: Path) -> None:
    (clips / "c.jsonl").write_text('{"video": "a", "caption": "a dog", "split": "train"}\n')
    (clips / "corpus.txt").write_text("vid1\ta squirrel eats\r\nvid1\ta chipmunk\n\n")
    corpus = build(section(clips, "c.jsonl", "corpus.txt"), 0).corpus
    assert [(caption.video_id, caption.text) for caption in corpus] == \
        [("vid1", "a squirrel eats"), ("vid1", "a chipmunk")]


def test_files_of_one_stem_keep_their_endings(clips: Path) -> None:
    (clips / "clips/a.mov").write_bytes(b"x")
    (clips / "c.csv").write_text("video,caption,split\na.mp4,one,train\na.mov,two,train\n")
    assert build(section(clips, "c.csv"), 0).captions_of["a.mov"] == ["two"]
    (clips / "c.csv").write_text("video,caption,split\na,one,train\n")
    with pytest.raises(SpectrumError, match=r"c.csv, line 2: video 'a' .* fits 2 files"):
        build(section(clips, "c.csv"), 0)


@pytest.mark.parametrize(("name", "text", "message"), [
    ("c.csv", "video,caption,split\nzz,one,train\n", "video 'zz' .* no such file there"),
    ("c.csv", "video,caption,split\na,one,training\n", "line 2: split 'training'"),
    ("c.csv", "video,caption,split\na,one,train\na,two,test\n", "of split train and of test"),
    ("c.csv", "video,caption,split\na,one,train\nb c,two,\n", "'b c' has no split but others do"),
    ("c.csv", "file,text\na,one\n", "expected `video` and `caption`"),
    ("c.jsonl", "[1]\n", "line 1: expected `video` and `caption`"),
    ("c.jsonl", '{"video": "a", "caption": null}\n', "line 1: expected `video` and `caption`"),
    ("c.jsonl", '{"video": "a", "caption": ["x"]}\n', "line 1: expected `video` and `caption`"),
    ("c.jsonl", '{"video": "a", "caption": "x", "group": [1]}\n', "line 1: expected a text or a number as `group`"),
    ("c.txt", "a one\n", "line 1: expected video<TAB>caption"),
    ("c.xlsx", "", "captions are read from"),
])
def test_what_is_wrong_is_named(clips: Path, name: str, text: str, message: str) -> None:
    (clips / name).write_text(text)
    with pytest.raises(SpectrumError, match=message):
        build(section(clips, name), 0)


def test_missing_files(clips: Path, tmp_path: Path) -> None:
    with pytest.raises(SpectrumError, match="no such file of captions"):
        build(section(clips, "none.csv"), 0)
    (clips / "latin.csv").write_bytes(b"video,caption\na,\xe9t\xe9\n")
    with pytest.raises(SpectrumError, match="not UTF-8"):
        build(section(clips, "latin.csv"), 0)
    with pytest.raises(SpectrumError, match="no videos there"):
        build(Data(kind="folder", videos=str(tmp_path / "nowhere"), captions="c", corpus="c"), 0)


REPORTED = {
    "a comma outside quotes": ("c.csv", "video,caption\na,a girl smiles\nb c,a man walks, alone\n",
                               r"c.csv, line 3: 3 fields where the header names 2"),
    "a quote that is never closed": ("c.csv", 'video,caption,split\na,"a girl smiles,train\nb c,a man,train\n'
                                     'deep/d,"a cat",test\n', r"c.csv, line 2: a quotation mark opens a field"),
    "a missing column": ("c.csv", "video,caption,split\na,a girl\n", "line 2: 2 fields where the header names 3"),
    "a field without end": ("c.csv", f"video,caption\na,{'x' * 140_000}\n", "line 2: 140,002 characters"),
    "an empty file": ("c.csv", "", "line 1: expected a header"),
    "a header alone": ("c.csv", "video,caption\n", "no captions there"),
    "three columns without names": ("c.txt", "a\ta girl\ttrain\n", "line 1: expected video<TAB>caption"),
    "no lists in JSON": ("c.json", "{}", "expected a list of objects"),
    "broken JSON": ("c.json", "[", "not readable as JSON"),
    "a truth as an id": ("c.jsonl", '{"video": true, "caption": "x"}\n', "expected `video` and `caption`"),
}


@pytest.mark.parametrize("case", REPORTED)
def test_no_row_is_cut_or_swallowed(clips: Path, case: str) -> None:
    name, text, message = REPORTED[case]
    (clips / name).write_text(text)
    with pytest.raises(SpectrumError, match=message):
        build(section(clips, name), 0)


@pytest.mark.parametrize(("name", "line"), [("captions_unquoted_comma.csv", 2), ("captions_stray_quote.csv", 2)])
def test_reported_captions(tmp_path: Path, name: str, line: int) -> None:
    with pytest.raises(SpectrumError, match=f"{name}, line {line}: "):
        list(read_captions(Path(__file__).parent / "reported" / name))


@pytest.mark.parametrize(("name", "text"), [
    ("c.csv", "Video;Caption;Split\na;a girl, smiling;Train\nb c;a man;val\ndeep/d;a cat;TEST\n"),
    ("c.csv", "video\tcaption\tsplit\r\na\ta girl, smiling\ttrain\r\nb c\ta man\tvalid\r\ndeep/d\ta cat\ttest\r\n"),
    ("c.csv", '\ufeffvideo_id,caption,split,,\na,"a girl, smiling",train,,\nb c,a man,validation,,\n,,,,\n'
              'deep/d,a cat,test\n'),
    ("c.tsv", "video\tsentence\tsplit\na\ta girl, smiling\ttrain\nb c\ta man\tval\ndeep/d\ta cat\ttest\n"),
    ("c.jsonl", '{"video_id": "a", "caption": "a girl, smiling", "split": "train"}\n'
                '{"Video": "b c", "sentence": "a man", "split": "val"}\n'
                '{"video": "deep/d", "caption": "a cat", "split": "test"}\n'),
    ("c.json", '{"videos": [{"video_id": "a", "split": "train"}, {"video_id": "b c", "split": "validate"}, '
               '{"video_id": "deep/d", "split": "test"}], "sentences": [{"video_id": "a", '
               '"caption": "a girl, smiling"}, '
               '{"video_id": "b c", "caption": "a man"}, {"video_id": "deep/d", "caption": "a cat"}]}'),
])
def test_what_people_have_is_read(clips: Path, name: str, text: str) -> None:
    (clips / name).write_bytes(text.encode())
    found = build(section(clips, name), 0)
    assert found.split_of == {"-e": "predict", "a": "train", "b c": "validation", "deep/d": "test"}
    assert found.captions_of["a"] == ["a girl, smiling"]


def test_coco_and_numbers_as_ids(clips: Path) -> None:
    for number in (1, 2):
        (clips / "clips" / f"{number}.mp4").write_bytes(b"x")
    (clips / "c.jsonl").write_text('{"video_id": 1, "caption": "one"}\n{"video": 2, "caption": "two"}\n')
    assert build(section(clips, "c.jsonl"), 0).captions_of["2"] == ["two"]
    (clips / "c.json").write_text('{"images": [{"id": 7, "file_name": "1.mp4"}], '
                                  '"annotations": [{"image_id": 7, "id": 3, "caption": "one"}]}')
    assert build(section(clips, "c.json"), 0).captions_of["1"] == ["one"]


def test_names_are_found_in_whatever_form_they_are_written(clips: Path) -> None:
    for name in ("cafe\u0301.mp4", "no\u00a0break.mp4", "two  spaces.mp4"):
        (clips / "clips" / name).write_bytes(b"x")
    (clips / "c.csv").write_text("video,caption,split\ncaf\u00e9,one,train\nno break.mp4,two,train\n"
                                 "two spaces,three,train\ntwo  spaces,four,train\n")
    found = build(section(clips, "c.csv"), 0)
    assert found.captions_of["caf\u00e9"] == ["one"]
    assert found.captions_of["no break"] == ["two"]
    assert found.captions_of["two spaces"] == ["three", "four"]
    assert all(Path(video.path).is_file() for video in found.videos)


def test_a_name_that_can_be_no_id_costs_its_file_alone(clips: Path) -> None:
    (clips / "clips" / os.fsdecode(b"caf\xe9.mp4")).write_bytes(b"x")
    (clips / "clips" / "\u00a0.mp4").write_bytes(b"x")
    (clips / "c.csv").write_text("video,caption,split\na,one,train\n")
    found, findings = folder.prepare(section(clips, "c.csv"), 0)
    assert set(found.ids()) == {"a", "b c", "deep/d", "-e"}
    assert len(findings.no_id_in_name) == 2


def test_two_spellings_of_one_name_are_refused(clips: Path) -> None:
    for name in ("cafe\u0301.mp4", "caf\u00e9.mp4"):
        (clips / "clips" / name).write_bytes(b"x")
    (clips / "c.csv").write_text("video,caption,split\na,one,train\n")
    with pytest.raises(SpectrumError, match="have the same id; rename all but one"):
        build(section(clips, "c.csv"), 0)


def test_hidden_files_are_passed_over_and_links_followed(clips: Path) -> None:
    for name in ("._a.mp4", ".ipynb_checkpoints/a.mp4"):
        path = clips / "clips" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    (clips / "elsewhere").mkdir()
    for name in ("m.mts", "n.m2ts", "o.vob", "p.asf", "q.MPG"):
        (clips / "elsewhere" / name).write_bytes(b"x")
    (clips / "clips" / "linked").symlink_to(clips / "elsewhere")
    (clips / "c.csv").write_text("video,caption,split\na,one,train\nlinked/q,two,train\n")
    found, findings = folder.prepare(section(clips, "c.csv"), 0)
    assert {f"linked/{name}" for name in "mnopq"} < set(found.ids())
    assert findings.files_passed_over == 2
    (clips / "c.csv").write_text("video,caption,split\nnotes.txt,one,train\n")
    with pytest.raises(SpectrumError, match="it is there, but it is no video that is read"):
        build(section(clips, "c.csv"), 0)
