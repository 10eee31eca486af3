"""Published files are whole or not there; caption text is one line."""

import json
import math
import os
import re
import signal
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.captioner.vocabulary import Vocabulary
from pipeline.common import files, text
from pipeline.common.errors import SpectrumError


def test_a_failure_while_writing_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    files.write_text(target, "old")
    with pytest.raises(RuntimeError), files.atomic_write(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_publishing_gives_a_fresh_inode_so_a_cache_link_is_not_written_through(tmp_path: Path) -> None:
    target, cached = tmp_path / "a.txt", tmp_path / "cache"
    files.write_text(target, "first")
    os.link(target, cached)
    files.write_text(target, "second")
    assert (target.read_text(), cached.read_text()) == ("second", "first")


def test_a_kill_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    code = ("import os, signal, sys; from pathlib import Path; from pipeline.common.files import atomic_write\n"
            "with atomic_write(Path(sys.argv[1])) as t:\n"
            "    t.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)")
    ended = subprocess.run([sys.executable, "-c", code, str(target)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert target.read_text() == "old"


HALF_WRITTEN = ("import os, signal, sys; from pathlib import Path; from pipeline.common.files import atomic_write\n"
                "with atomic_write(Path(sys.argv[1])) as t:\n"
                "    t.write_text('half'); print(t.name, flush=True); ")


def test_what_a_killed_process_left_goes_with_the_next_writing(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    subprocess.run([sys.executable, "-c", HALF_WRITTEN + "os.kill(os.getpid(), signal.SIGKILL)", target], check=False)
    (left,) = tmp_path.iterdir()
    others = [tmp_path / name for name in (
        ".b.txt.0123456789ab.tmp", ".a.txt.tmp", "a.txt.0123456789ab.tmp", ".a.txt.0123456789xy.tmp", ".a.txt.bak")]
    for other in others:
        other.write_text("somebody's")
    files.write_text(target, "new")
    assert not left.exists()
    assert sorted(tmp_path.iterdir()) == sorted([target, *others])


def test_what_another_process_is_writing_stays(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    with subprocess.Popen([sys.executable, "-c", HALF_WRITTEN + "sys.stdin.read()", target], text=True,
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        temporary = tmp_path / other.stdout.readline().strip()
        files.write_text(target, "mine")
        files.remove_temporary_files(tmp_path)
        assert temporary.read_text() == "half" and target.read_text() == "mine"
        other.communicate("")
    assert target.read_text() == "half" and other.returncode == 0      # whole, and last


def test_a_changed_json_file_is_noticed(tmp_path: Path) -> None:
    path, value = tmp_path / "a.json", {"scores": [0.25, 1], "name": "é", "none": None}
    files.write_json(path, value)
    assert files.read_json(path) == value
    data = path.read_bytes()
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1
        path.write_bytes(changed)
        try:
            read = files.read_json(path)
        except SpectrumError as error:
            assert "a.json: " in str(error)
        else:       # a bit of the checksum's own name
            assert {**read, **value} == read
    for value in ([1, 2], {}, "text", 3):
        files.write_json(path, value)
        assert files.read_json(path) == value
    path.write_text('{"by": "hand"}')
    assert files.read_json(path) == {"by": "hand"}


def test_json_refuses_what_other_readers_do_not_take(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "a.json", {"x": math.nan})


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    (tmp_path / "b.jsonl").write_text('{"a": 1}\n\n{oops}\n')
    (tmp_path / "c.jsonl").write_bytes(b'"\xff"')
    for call, message in ((lambda: files.read_json(tmp_path / "a.json"), "a.json: not readable"),
                       (lambda: files.read_json(tmp_path / "n.json"), "n.json: no such file"),
                       (lambda: files.read_json(tmp_path), "expected a file, but it is a folder"),
                       (lambda: list(files.read_jsonl(tmp_path / "n.jsonl")), "n.jsonl: no such file"),
                       (lambda: list(files.read_jsonl(tmp_path / "b.jsonl")), "b.jsonl, line 3"),
                       (lambda: list(files.read_jsonl(tmp_path / "c.jsonl")), "c.jsonl: not UTF-8")):
        with pytest.raises(SpectrumError, match=message):
            call()


@given(st.lists(st.text()))
def test_json_lines_come_back_whatever_is_in_them(tmp_path_factory: pytest.TempPathFactory, rows: list[str]) -> None:
    path = tmp_path_factory.mktemp("jsonl") / "rows.jsonl"
    rows = [row.encode("utf-8", "ignore").decode() for row in rows]
    files.write_jsonl(path, rows)
    assert [row for _, row in files.read_jsonl(path)] == rows


def test_a_fingerprint_does_not_depend_on_the_order_of_keys() -> None:
    assert files.fingerprint({"a": 1, "b": [2]}) == files.fingerprint(json.loads('{"b": [2], "a": 1}'))
    assert files.fingerprint({"a": 1}) != files.fingerprint({"a": 2})


@given(st.text())
def test_a_clean_caption_is_one_line_for_every_reader(caption: str) -> None:
    cleaned = text.clean(caption)
    assert len(cleaned.splitlines()) <= 1
    assert text.clean(cleaned) == cleaned


def reference_clean(caption: str) -> str:
    """The first version's text, which stored data sets and vocabularies have."""
    return re.sub(r"\s+", " ", re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ",
                                     unicodedata.normalize("NFC", caption))).strip()


def reference_words(caption: str) -> list[str]:
    return re.sub(r"[^\w\s]|_", " ", re.sub(r"['\u2018\u2019\u02bc]", "", reference_clean(caption).lower())).split()


@given(st.text(st.characters(max_codepoint=0x17F, blacklist_characters="\xad\u0130")))
def test_latin_text_is_what_it_always_was(caption: str) -> None:
    assert text.clean(caption) == reference_clean(caption)
    assert text.words(caption) == reference_words(caption)


def test_captions_of_msvd_are_what_they_always_were(real_data: Path) -> None:
    captions = [line.partition("\t")[2] for path in sorted((real_data / "msvd").glob("sents_*.txt"))
                for line in path.read_text(encoding="utf-8").split("\n")]
    assert len(captions) > 80_000
    for caption in captions:
        assert text.clean(caption) == reference_clean(caption)
        assert text.words(caption) == reference_words(caption)


@pytest.mark.parametrize(("caption", "wanted"), [
    ("A happy man.", ["a", "happy", "man"]),
    ("वह ख़ुशी से नाचती है।", ["वह", "ख़ुशी", "से", "नाचती", "है"]),
    ("เด็ก ผู้หญิง ร้องเพลง", ["เด็ก", "ผู้หญิง", "ร้องเพลง"]),
    ("كَلْبٌ سَعِيدٌ يَجْرِي", ["كَلْبٌ", "سَعِيدٌ", "يَجْرِي"]),
    ("İstanbul'da mutlu", ["i̇stanbulda", "mutlu"]),
    ("הַיֶּלֶד שָׂמֵחַ", ["הַיֶּלֶד", "שָׂמֵחַ"]),
    ("ஒரு பெண் சிரிக்கிறாள்", ["ஒரு", "பெண்", "சிரிக்கிறாள்"]),
    ("Весёлая собака бежит", ["весёлая", "собака", "бежит"]),
    ("한 소녀가 노래한다", ["한", "소녀가", "노래한다"]),
    ("女孩 快乐 地 唱歌", ["女孩", "快乐", "地", "唱歌"]),
    ("می\u200cروم خانه", ["میروم", "خانه"]),
    ("a dog \u2764\ufe0f \U0001f468\u200d\U0001f469 runs", ["a", "dog", "runs"]),
])
def test_words_keep_their_marks_in_every_script(caption: str, wanted: list[str]) -> None:
    assert text.words(caption) == [unicodedata.normalize("NFC", word) for word in wanted]
    assert not text.run_without_spaces(caption)


@pytest.mark.parametrize(("caption", "seen"), [
    ("女孩唱歌", True), ("女孩 唱歌", False), ("猫", False), ("เด็กร้องเพลง", True), ("happy girl", False),
    ("happy", False), ("소녀가노래한다", False), ("女孩唱歌。", True), ("", False)])
def test_a_caption_of_one_run_is_seen(caption: str, seen: bool) -> None:
    assert text.is_one_run(caption) == seen


@pytest.mark.parametrize("caption", ["一个快乐的女孩在唱歌", "猫が嬉しそうに走っている", "เด็กผู้หญิงร้องเพลงอย่างมีความสุข",
                                     "ក្មេងស្រីច្រៀងដោយរីករាយ"])
def test_text_without_spaces_is_seen(caption: str) -> None:
    assert text.run_without_spaces(f"a {caption} b") == caption


def test_characters_that_nobody_sees_are_taken_out() -> None:
    assert text.clean("\ufeffa hap\u00adpy\u200b \u2060dog\u200e") == "a happy dog"
    assert text.words("a\u200bhappy\ufeff dog") == ["a", "happy", "dog"]


def test_words() -> None:
    assert text.words("A man\u2028is\rsad,\x00 it's  The dog\u2019s ball!") == \
        ["a", "man", "is", "sad", "its", "the", "dogs", "ball"]
    assert text.words("well-known  naïve_thing") == ["well", "known", "naïve", "thing"]
    assert text.words(" ?! ") == []


def test_a_vocabulary_of_ten_scripts_gives_captions_back() -> None:
    captions = ["a happy girl", "весёлая девочка поёт", "एक ख़ुश लड़की", "فَتَاةٌ سَعِيدَةٌ", "הַיַּלְדָּה שְׂמֵחָה", "ஒரு பெண்",
                "행복한 소녀", "χαρούμενο κορίτσι", "快乐 的 女孩", "เด็ก ผู้หญิง ยิ้ม"]
    captions = [unicodedata.normalize("NFC", caption) for caption in captions]
    vocabulary = Vocabulary.build(captions, 1)
    for caption in captions:
        assert vocabulary.decode(vocabulary.encode(text.words(caption))) == caption


def test_ascii_takes_no_other_way_to_other_words() -> None:
    """ASCII has a way of its own; with a letter of another alphabet behind it the same text takes the general one."""
    characters = [chr(code) for code in range(128)]
    for own in [f"A{one}b {other}c'{one}" for one in characters for other in "a'_ \n\x1f-"]:
        assert text.words(own) == text.words(f"{own} \u00e9")[:-1]
        assert text.clean(f"{own} e") == text.clean(f"{own} \u00e9")[:-1] + "e"
