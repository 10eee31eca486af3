"""The studio over HTTP: who is answered, what is kept (nothing), limits, odd files, and the command itself."""

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from media_factory import clip

pytest.importorskip("starlette", reason="starlette, of the extra [studio], is not installed")
pytest.importorskip("uvicorn", reason="uvicorn, of the extra [studio], is not installed")

from studio_server import LIMIT, TOKEN, Studio

from pipeline.common.files import read_jsonl
from pipeline.studio.app import _receive
from stages.command import run_command

HOSTILE = '"><img src=x onerror=alert(1)>\n../../etc/\u202epasswd.mp4'


def ask(studio: Studio, path: str, data: bytes | None = None, token: str = TOKEN, **headers: str) -> tuple[int, Any]:
    request = urllib.request.Request(studio.address + path, data, {"x-studio-token": token, **headers})
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            text, status = answer.read(), answer.status
    except urllib.error.HTTPError as error:
        text, status = error.read(), error.code
    return status, json.loads(text) if text[:1] == b"{" else text.decode()


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the studio puts what it receives."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_only_who_has_the_token_and_asks_this_host_is_answered(studio: Studio) -> None:
    assert ask(studio, "/")[0] == 403 and ask(studio, "/?token=wrong")[0] == 403
    status, page = ask(studio, f"/?token={TOKEN}")
    assert status == 200 and "<title>SPECTRUM studio" in page
    for path, data in (("/api/about", None), ("/api/video?id=v8", None), ("/api/caption?name=a.mp4", b"x")):
        assert ask(studio, path, data, token="wrong") == (403, {"error": "open the address that the terminal shows"})
    assert ask(studio, f"/?token={TOKEN}", Host="evil.example")[0] == 400
    assert ask(studio, "/files/app.py")[0] == ask(studio, "/files/..%2fapp.py")[0] == 404
    assert urlsplit(studio.address).hostname == "127.0.0.1"


def test_a_clip_is_captioned_by_every_chosen_model_and_not_kept(studio: Studio, temporary: Path) -> None:
    clip(temporary / "own.mp4", 10, sound=440.0, size=(64, 64))
    content = (temporary / "own.mp4").read_bytes()
    (temporary / "own.mp4").unlink()
    status, answer = ask(studio, f"/api/caption?name={quote(HOSTILE)}&model=0&model=1", content)
    assert status == 200 and answer["name"] == HOSTILE
    assert [model["name"] for model in answer["models"]] == ["captioner", "baseline"]
    assert len(answer["frames"]) == 8 and answer["frames"][0][1]
    first, second = answer["models"]
    assert first["card"]["caption"] and second["card"]["caption"] and not second["card"]["attributes"]
    assert first["card"]["candidates"] and first["card"]["id"] == HOSTILE
    looks = first["card"]["attention"]
    assert [name for name, _, _ in looks["parts"]][:2] == ["appearance", "audio"]
    assert {len(word) for word in looks["parts"][0][2]} == {2}      # weights of two frames for every word
    assert len(first["times"]) == 2 and first["times"][0] < first["times"][1]      # two frames, of the parameters
    assert all(len(course) == 2 and all(0 <= p <= 1 for p in course) for _, course in first["course"])
    assert [*temporary.iterdir()] == []
    status, answer = ask(studio, "/api/caption?name=own.mp4&model=1", content)
    assert [model["name"] for model in answer["models"]] == ["baseline"]


def test_each_frame_has_the_prior_of_a_clip_of_that_frame_and_the_sound_beside_it(
        studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.captioning.clips import EncodedClip
    from pipeline.emotion.clip_prior import ClipPrior
    from pipeline.studio.session import emotions_over_time

    moving = clip(tmp_path / "moving.mp4", 20, sound=440.0, size=(64, 64), first=3, hold=10)
    captioner = studio.session.models[0].captioner
    encoded = captioner.encode(moving, None, {})
    # The tiny prior is nearly the same for all rows, so what it is given is looked at, too.
    given: list[dict[str, Any]] = []
    estimate = ClipPrior.estimate
    monkeypatch.setattr(ClipPrior, "estimate", lambda self, texts, embeddings, scores, rows: (
        given.append(rows), estimate(self, texts, embeddings, scores, rows))[1])
    times, course = emotions_over_time(captioner, encoded)
    frames = given.copy()
    assert len(times) == len(encoded.times["audio"]) == 2 and encoded.times["audio"][0] < times[1]
    for number in range(2):
        alone = EncodedClip(moving, None, {name: rows[[number]] for name, rows in encoded.rows.items() if len(rows)},
                            {name: own[[number]] for name, own in encoded.times.items() if len(own)})
        for name, rows in encoded.rows.items():
            alone.rows.setdefault(name, rows)       # none
        assert all((frames[number][name] == rows).all() for name, rows in alone.rows.items())
        assert course.tolist()[number] == pytest.approx([*captioner.caption_encoded(alone).prior.values()], abs=2e-7)
    assert all(not (encoded.rows[name][0] == encoded.rows[name][1]).all() for name in ("appearance", "audio"))


def test_a_clip_is_encoded_once_for_all_captioners(studio: Studio, tmp_path: Path,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.captioning import clips

    asked = []
    encode_one = clips.encode_one
    monkeypatch.setattr(clips, "encode_one", lambda path, encoder, *others: (
        asked.append(encoder.name), encode_one(path, encoder, *others))[1])
    clip(tmp_path / "own.mp4", 10, sound=440.0, size=(64, 64))
    answer = studio.session.caption(tmp_path / "own.mp4", "own.mp4", [0, 1])
    assert len(answer["models"]) == 2 and sorted(asked) == sorted(set(asked)) and len(asked) >= 2


def test_what_is_too_large_or_no_video_ends_in_a_sentence(studio: Studio, temporary: Path) -> None:
    status, answer = ask(studio, "/api/caption?name=big.mp4", bytes((LIMIT << 20) + 1))
    assert status == 413 and answer["error"].startswith(f"big.mp4: more than {LIMIT} MB")
    status, answer = ask(studio, f"/api/caption?name={quote(HOSTILE)}", b"no video")
    assert status == 422 and answer["error"].startswith(HOSTILE) and str(temporary) not in answer["error"]
    status, answer = ask(studio, "/api/caption?name=empty.mp4", b"")
    assert status == 422 and answer["error"].startswith("empty.mp4")
    assert ask(studio, "/api/video?id=none") == (404, {"error": "none: no such video among the predictions"})
    assert [*temporary.iterdir()] == []


def test_no_more_than_the_limit_is_written(tmp_path: Path) -> None:
    class Sent:
        async def stream(self) -> AsyncIterator[bytes]:
            for _ in range(3):
                yield bytes(3)

    assert not asyncio.run(_receive(Sent(), tmp_path / "clip", 5))      # type: ignore[arg-type]
    assert (tmp_path / "clip").stat().st_size == 3
    assert asyncio.run(_receive(Sent(), tmp_path / "clip", 9))          # type: ignore[arg-type]
    assert (tmp_path / "clip").stat().st_size == 9


def test_predictions_are_those_of_the_file(studio: Studio, undisturbed: Path) -> None:
    _, about = ask(studio, "/api/about")
    rows = {row["video_id"]: row for _, row in read_jsonl(undisturbed / "reports/tiny/predictions.jsonl")}
    assert about["dataset"] == "tiny" and {video["id"]: video["caption"] for video in about["videos"]} == {
        video: row["caption"] for video, row in rows.items()}
    video = min(rows)
    _, card = ask(studio, f"/api/video?id={video}")
    assert card["split"] == "test" and len(card["frames"]) == 8 and len(card["references"]) == 2
    assert [text for text, _ in card["candidates"]] and card["baseline"] is not None


@pytest.mark.timeout(240)
def test_real_and_odd_files_give_a_caption_or_a_sentence(studio: Studio, real_data: Path, temporary: Path) -> None:
    real = [real_data / "clips" / name
            for name in ("single_face.mp4", "3qqEKTPxLNs_1_15.avi", "flipping_a_pancake.mkv")]
    odd = sorted((real_data / "odd").iterdir())
    answers = {}
    for path in [*real, *odd]:
        if path.stat().st_size <= LIMIT << 20:
            answers[path.name] = ask(studio, f"/api/caption?name={quote(path.name)}", path.read_bytes())
    assert len(answers) >= 8
    for name, (status, answer) in answers.items():
        assert status in (200, 422), (name, answer)
        assert answer["models"][0]["card"]["caption"] if status == 200 else answer["error"].startswith(name)
    assert all(answers[path.name][0] == 200 for path in real if path.name in answers)
    assert answers["moviepy_example.txt"][0] == 422
    assert [*temporary.iterdir()] == []


def test_the_command_shows_its_address_and_ends_with_ctrl_c(undisturbed: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(undisturbed, project)
    shutil.rmtree(project / "reports")      # a project without predictions has no list of them
    process = subprocess.Popen([sys.executable, "-m", "stages.studio", "--no-browser"], cwd=project,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
    assert process.stdout is not None and process.stderr is not None
    found = re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", process.stdout.readline())
    assert found, process.stderr.read()
    with urllib.request.urlopen(found[0], timeout=60) as page:
        assert b"SPECTRUM studio" in page.read()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0 and "Traceback" not in errors


def test_a_missing_library_is_one_sentence_with_the_command(monkeypatch: pytest.MonkeyPatch,
                                                            capsys: pytest.CaptureFixture[str]) -> None:
    from stages import studio as stage

    monkeypatch.setattr(stage, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["studio"])
    with pytest.raises(SystemExit) as ended:
        run_command(stage.main, stage.__doc__)
    errors = capsys.readouterr().err
    assert ended.value.code == 1 and errors.count("\n") == 1 and "pip install starlette uvicorn" in errors
