"""Captions and references in the files that people have: what is read, and what is refused in a sentence."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.common.errors import SpectrumError
from pipeline.datasets.manifest import Caption, Manifest, Video
from pipeline.metrics.predictions_file import References, read_dataset, read_predictions, read_references

CAPTIONS = {"7": "a dog runs", "9": "a cat sleeps"}
REFERENCES = {"7": ["A dog is running.", "a dog runs happily"], "9": ["the cat sleeps", "a cat is asleep"]}
PAIRS = [(video, caption) for video, own in REFERENCES.items() for caption in own]


def written(folder: Path, name: str, content: Any) -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def rows(pairs: Any, video: str, caption: str) -> list[dict[str, Any]]:
    return [{video: int(own) if video == "image_id" else own, caption: text} for own, text in pairs]


PREDICTIONS = {
    "coco.json": rows(CAPTIONS.items(), "image_id", "caption"),
    "list.json": rows(CAPTIONS.items(), "video_id", "caption"),
    "msrvtt.json": {"sentences": rows(CAPTIONS.items(), "video_id", "caption")},
    "predictions.json": {"predictions": rows(CAPTIONS.items(), "video_id", "caption")},
    "scores_beside.json": {"scores": {"CIDEr": 1}, "predictions": {
        video: [{"image_id": video, "caption": caption}] for video, caption in CAPTIONS.items()}},
    "map.json": CAPTIONS,
    "map_of_lists.json": {video: [caption] for video, caption in CAPTIONS.items()},
    "own.jsonl": "".join(json.dumps({"video_id": video, "caption": caption, "score": -1.5, "beams": []}) + "\n"
                         for video, caption in CAPTIONS.items()),
    "image.jsonl": "".join(json.dumps(row) + "\n" for row in rows(CAPTIONS.items(), "image_id", "caption")),
    "pairs.txt": "9\ta cat sleeps\n7\ta dog runs\n",
    "pairs.tsv": "video\tcaption\n7\ta dog runs\n9\ta cat sleeps\n",
    "table.csv": "\ufeffvideo;caption\r\n7;a dog runs\r\n9;a cat sleeps\r\n",
    "endings.csv": "video,caption\n7.mp4,a dog runs\n9.MKV,a cat sleeps\n",
    "lines.txt": "a dog runs\na cat sleeps\n",
}


@pytest.mark.parametrize("name", PREDICTIONS)
def test_every_format_gives_the_same_predictions(name: str, tmp_path: Path) -> None:
    found = read_predictions(written(tmp_path, name, PREDICTIONS[name]), References("here", REFERENCES))
    assert found.captions == CAPTIONS and list(found.captions) == list(REFERENCES)
    assert len(found.notes) == (name == "lines.txt")


@pytest.mark.parametrize(("name", "content"), [
    ("coco.json", {"images": [{"id": 7, "file_name": "dogs/7.jpg"}, {"id": 9, "file_name": "cat.jpg"}],
                   "annotations": [{"id": number, **row} for number, row in enumerate(
                       rows(PAIRS, "image_id", "caption"))]}),
    ("msrvtt.json", {"videos": [{"video_id": "7", "split": "test"}, {"video_id": "9", "split": "validate"}],
                     "sentences": [{"sen_id": number, **row} for number, row in enumerate(
                         rows(PAIRS, "video_id", "caption"))]}),
    ("map.json", REFERENCES),
    ("lists.json", {video: [{"caption": caption} for caption in own] for video, own in REFERENCES.items()}),
    ("rows.jsonl", "".join(json.dumps({"video_id": video, "text": text}) + "\n" for video, text in PAIRS)),
    ("pairs.txt", "".join(f"{video}\t{caption}\n" for video, caption in PAIRS)),
    ("table.csv", "video,caption,split\n" + "".join(f"{video},{caption},test\n" for video, caption in PAIRS)),
])
def test_every_format_gives_the_same_references(name: str, content: Any, tmp_path: Path) -> None:
    assert read_references(written(tmp_path, name, content)).captions == REFERENCES


def test_names_of_cocos_files_mean_its_images(tmp_path: Path) -> None:
    references = read_references(written(tmp_path, "coco.json", {
        "images": [{"id": 7, "file_name": "dogs/7a.jpg"}, {"id": 9, "file_name": "cat.jpg"}],
        "annotations": rows(PAIRS, "image_id", "caption")}))
    named = written(tmp_path, "p.csv", "video,caption\ndogs/7a.jpg,a dog runs\ncat,a cat sleeps\n")
    assert read_predictions(named, references).captions == CAPTIONS


def test_a_split_is_chosen_and_captions_of_others_are_counted(tmp_path: Path) -> None:
    references = read_references(written(tmp_path, "r.csv", "video,caption,split\nx.mp4,a dog,test\ny.mp4,a cat,val\n"))
    path = written(tmp_path, "p.txt", "x\ta dog runs\ny\ta cat\n")
    chosen = read_predictions(path, references.select("test"))
    assert chosen.captions == {"x.mp4": "a dog runs"}
    assert chosen.notes == (f"{path}: 1 captions of videos of other splits were left out",)
    assert list(references.select("valid").captions) == ["y.mp4"]
    with pytest.raises(SpectrumError, match="no video of split 'train'.*: test, validation"):
        references.select("train")


def test_a_prepared_data_set(tmp_path: Path) -> None:
    videos = (Video("a", "a.mp4", "test", names=("vid1",)), Video("b", "b.mp4", "train"),
              Video("c", "c.mp4", "predict"))
    Manifest(videos, (Caption("a", "a dog"), Caption("b", "a cat")), ()).write(tmp_path)
    references = read_dataset(tmp_path)
    own = written(tmp_path, "p.jsonl", '{"video_id": "vid1", "caption": "a dog"}\n{"video_id": "c", "caption": "x"}\n')
    found = read_predictions(own, references.select("test"))
    assert found.captions == {"a": "a dog"} and "1 captions" in found.notes[0]
    assert references.select("train").captions == {"b": ["a cat"]}
    with pytest.raises(SpectrumError, match="no prepared data set there"):
        read_dataset(tmp_path / "none")


@pytest.mark.parametrize(("name", "content", "message"), [
    ("p.txt", "7\tx\n", r"no caption of 1 of their 2 videos \(9\)"),
    ("p.txt", "7\tx\n9\ty\n8\tz\n", r"captions of 1 video that the references do not have \(8\)"),
    ("p.txt", "7\tx\n8\ty\n", r"1 video that the references do not have \(8\) and no caption of 1 of .*\(9\)"),
    ("p.txt", "7\tx\n9\ty\n7\tz\n", r"p\.txt, line 3: a second caption of video '7' \(first in .*line 1\)"),
    ("p.csv", "video,caption\n7,x\n7.mp4,y\n9,z\n", "line 3: a second caption of video '7'"),
    ("p.json", {"7": ["x", "y"], "9": "z"}, "a second caption of video '7'"),
    ("p.txt", "7\t\n9\t ...\n", r"2 captions without a word, of 7, 9; .*--allow-empty"),
    ("p.txt", "one\ntwo\nthree\n", "3 lines without ids where here has 2 videos"),
    ("p.txt", "one\n\n", "1 caption without a word, of 9"),
    ("p.json", {"info": {}, "images": []}, "an unknown format"),
    ("p.json", "3", "an unknown format"),
    ("p.json", [{"image_id": True, "caption": "x"}], r"p\.json, \[0\]: expected `video`"),
    ("p.json", [{"image_id": 7, "video_id": 9, "caption": "x"}], r"p\.json, \[0\]: expected `video`"),
    ("p.json", {"predictions": [3]}, r"predictions\[0\]: expected `video`"),
    ("p.json", '{"7": "x"}\n{"9": "y"}', "not readable as JSON .* from .jsonl"),
    ("p.jsonl", '{"video_id": "7"}\n', "line 1: expected `video`"),
    ("p.jsonl", "", "no caption of 2 of their 2 videos"),
    ("p.xml", "<a/>", "an unknown format; captions are read from .jsonl"),
])
def test_what_is_wrong_is_named(name: str, content: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(SpectrumError, match=message):
        read_predictions(written(tmp_path, name, content), References("here", REFERENCES))


def test_an_empty_caption_may_be_allowed(tmp_path: Path) -> None:
    path = written(tmp_path, "p.txt", "7\t\n9\ta cat\n")
    assert read_predictions(path, References("here", REFERENCES), allow_empty=True).captions == {"7": "", "9": "a cat"}


def test_references_that_are_wrong(tmp_path: Path) -> None:
    with pytest.raises(SpectrumError, match="no such file of captions"):
        read_references(tmp_path / "none.csv")
    with pytest.raises(SpectrumError, match="no captions there"):
        read_references(written(tmp_path, "r.json", []))
    with pytest.raises(SpectrumError, match="line 3: video 'x' is of split train, and of test before"):
        read_references(written(tmp_path, "r.csv", "video,caption,split\nx,a,test\nx,b,train\n"))
