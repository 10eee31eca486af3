"""The sample world: what it shows, what it says, and that it is the same every time."""

import re
from collections import Counter
from itertools import combinations
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.common import files, text
from pipeline.common.errors import SpectrumError
from pipeline.datasets import sample
from pipeline.datasets.manifest import Manifest
from pipeline.datasets.sample import clip, figures, grammar, scene, sound
from pipeline.emotion.taxonomy import Taxonomy
from pipeline.metrics.protocols import REFERENCE_WORDS, prepare_evc
from pipeline.params import Sample

TINY = Sample(pretrain=2, train=4, validation=1, test=2, seconds=1.0, size=112, captions=5)


def splits(pretrain: int = 400, seed: int = 0) -> dict[str, list[grammar.Scene]]:
    counts = {"pretrain": pretrain, "train": 400, "validation": 60, "test": 100}
    return grammar.plan(counts, np.random.default_rng(seed))


def all_captions(scenes: list[grammar.Scene]) -> list[tuple[grammar.Scene, str]]:
    rng = np.random.default_rng(0)
    return [(one, caption) for one in scenes for caption in grammar.captions(one, 6, rng)]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Manifest, Path]:
    folder = tmp_path_factory.mktemp("sample")
    return sample.build(TINY, 3, folder), folder


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(
        built: tuple[Manifest, Path], tmp_path: Path) -> None:
    manifest, folder = built
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "train-0007.mp4").write_bytes(b"of a larger build")
    (tmp_path / "clips" / "pretrain-0003.mp4").write_bytes(b"the same")
    (tmp_path / "clips" / "mine.mp4").write_bytes(b"not of the sample")
    again = sample.build(TINY, 3, tmp_path)
    names = sorted(path.name for path in (folder / "clips").iterdir())
    assert sorted(path.name for path in (tmp_path / "clips").iterdir()) == sorted([*names, "mine.mp4"])
    for name in names:
        assert files.sha256(folder / "clips" / name) == files.sha256(tmp_path / "clips" / name)
    assert again.captions == manifest.captions
    assert splits(seed=1) != splits(seed=0)


def test_a_build_has_the_clips_and_captions_it_was_asked_for(built: tuple[Manifest, Path]) -> None:
    manifest, folder = built
    assert manifest.counts() == {"pretrain": {"videos": 2, "captions": 10}, "train": {"videos": 4, "captions": 20},
                                 "validation": {"videos": 1, "captions": 5}, "test": {"videos": 2, "captions": 10}}
    assert {caption.video_id for caption in manifest.corpus} == set(manifest.ids("train"))
    assert len(manifest.corpus) == 20
    assert all(Path(video.path).parent == folder / "clips" for video in manifest.videos)
    texts = {word for caption in manifest.captions for word in text.words(caption.text)}
    assert not texts & {part for video in manifest.videos for part in video.id.split("-")}


def test_clips_are_h264_and_aac_of_the_size_and_length_asked_for(built: tuple[Manifest, Path]) -> None:
    manifest, _ = built
    for video in manifest.videos[:3]:
        with av.open(video.path) as opened:
            pictures, tones = opened.streams.video[0], opened.streams.audio[0]
            assert (pictures.codec_context.name, tones.codec_context.name) == ("h264", "aac")
            assert (pictures.width, pictures.height) == (112, 112)
            decoded = [frame.to_ndarray(format="rgb24") for frame in opened.decode(video=0)]
        assert len(decoded) == scene.FPS * TINY.seconds
        assert np.std(decoded[0]) > 10
        assert not np.array_equal(decoded[0], decoded[-1])


def test_no_scene_of_one_split_comes_in_another_whatever_its_mood_turns_into() -> None:
    scenes = [(one.actor, one.action, one.place, one.emotion) for of_split in splits().values() for one in of_split]
    assert len(set(scenes)) == len(scenes) == 960


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_value_is_trained_on_and_every_emotion_tested(seed: int) -> None:
    plan = splits(seed=seed)
    for field, values in (("actor", grammar.ACTORS), ("action", grammar.ACTIONS), ("place", grammar.PLACES),
                          ("emotion", grammar.EMOTIONS)):
        assert {getattr(one, field) for one in plan["train"]} == set(values)
        assert {getattr(one, field) for one in plan["test"]} == set(values)
    everything = Counter(one.emotion for of_split in plan.values() for one in of_split)
    assert set(everything.values()) == {96}


def test_more_clips_than_the_world_has_scenes_for_are_refused() -> None:
    with pytest.raises(SpectrumError, match="lower sample.pretrain"):
        splits(pretrain=2321)
    assert len(splits(pretrain=2320)["pretrain"]) == 2320


def test_no_cue_alone_gives_an_emotion_pictures_tell_some_and_all_cues_together_all() -> None:
    moods = grammar.EMOTIONS.values()
    for cue, values in (("face", grammar.FACES), ("light", grammar.LIGHTS), ("motion", grammar.MOTIONS),
                        ("sound", grammar.SOUNDS)):
        shared = Counter(getattr(mood, cue) for mood in moods)
        assert set(shared) == set(values)
        assert min(shared.values()) >= 2 and max(shared.values()) <= 5
    look = {name: (mood.face, mood.light, mood.motion) for name, mood in grammar.EMOTIONS.items()}
    alike = [{one, other} for one, other in combinations(look, 2) if look[one] == look[other]]
    assert alike == [{"calm", "shy"}, {"surprise", "fear"}]
    assert len({(mood.face, mood.sound) for mood in moods}) == len(moods)


def test_the_words_of_an_emotion_are_of_its_category_alone_and_nothing_else_is_an_emotion_word() -> None:
    taxonomy = Taxonomy.load("evc-179")
    for name, mood in grammar.EMOTIONS.items():
        words = {*mood.before, *mood.after, *mood.beside}
        assert len(words) >= 2
        assert {taxonomy.categories_of(word) for word in words} == {(name,)}
    neutral = [*grammar.ACTORS.values(), *grammar.PLACES.values(), *grammar._MOODY, *grammar._TURNING,
               *grammar._NEUTRAL,
               *(form for forms in grammar.ACTIONS.values() for form in forms)]
    for word in (word for phrase in neutral for word in text.words(" ".join(np.ravel(phrase)))):
        assert taxonomy.categories_of(word) == ()


def test_captions_vary_and_some_leave_out_the_emotion_or_the_place() -> None:
    taxonomy = Taxonomy.load("evc-179")
    said = all_captions(splits()["train"][:200])
    named = [{taxonomy.first_category(word) for word in text.words(caption)} - {None} for _, caption in said]
    assert all(found <= {one.emotion, one.then} for (one, _), found in zip(said, named, strict=True))
    for first in range(0, len(said), 6):
        assert len({caption for _, caption in said[first : first + 6]}) == 6 and any(named[first : first + 6])
    assert 0.12 < sum(not found for found in named) / len(said) < 0.22
    placed = sum(any(place in caption.lower() for place in grammar.PLACES[one.place]) for one, caption in said)
    assert 0.08 < 1 - placed / len(said) < 0.18
    assert {"a", "an", "the", "there", "in", "it's", "looking"} <= {caption.split()[0] for _, caption in said}
    assert all(caption == text.clean(caption) for _, caption in said)


def test_some_moods_turn_and_some_captions_tell_both() -> None:
    taxonomy = Taxonomy.load("evc-179")
    scenes = splits()["train"]
    turning = [one for one in scenes if one.then]
    assert 0.1 < len(turning) / len(scenes) < 0.25 and all(one.then != one.emotion for one in turning)
    both = [{one.emotion, one.then} <= {taxonomy.first_category(word) for word in text.words(caption)}
            for one, caption in all_captions(turning)]
    assert 0.4 < sum(both) / len(both) < 0.75


def test_the_protocols_differ_on_captions_by_punctuation_and_length() -> None:
    captions = [caption for _, caption in all_captions(splits()["train"][:200])]
    for mark, least, most in ((",", 0.1, 0.5), ("'", 0.03, 0.2), (".", 0.1, 0.3)):
        assert least < sum(mark in caption for caption in captions) / len(captions) < most, mark
    assert 0.05 < sum(len(prepare_evc(caption).split()) > REFERENCE_WORDS for caption in captions) / len(captions) < 0.2
    assert all(not re.search(r"^[ ,]| [,.]|,,", caption) for caption in captions)
    assert all(caption.endswith(".") == caption[0].isupper() for caption in captions)


def test_an_article_before_a_vowel_is_an_and_a_place_may_be_missing() -> None:
    assert grammar._sentence("a angry android is a dog", full_stop=False) == "an angry android is a dog"
    assert grammar._sentence(", a angry android is near", full_stop=True) == "An angry android is near."
    assert grammar._sentence("it's a dog , eating ", full_stop=False) == "it's a dog, eating"


def test_every_actor_action_place_and_face_draws_something_of_its_own() -> None:
    def picture(**changed: str) -> bytes:
        one = {"actor": "dog", "action": "book", "place": "park", "emotion": "joy", **changed}
        return next(scene.frames(grammar.Scene(**one), 0.1, 112, np.random.default_rng(0))).tobytes()

    for field, values in (("actor", grammar.ACTORS), ("action", grammar.ACTIONS), ("place", grammar.PLACES)):
        assert len({picture(**{field: value}) for value in values}) == len(values)
    assert len({picture(emotion=value) for value in grammar.EMOTIONS}) == len(grammar.EMOTIONS) - 2
    # Of the others, two differ in sound alone.
    assert picture(emotion="calm") == picture(emotion="shy") != picture(emotion="fear") == picture(emotion="surprise")


def test_a_turning_mood_shows_and_sounds_first_one_and_then_the_other() -> None:
    def halves(emotion: str, then: str = "") -> list[bytes]:
        one = grammar.Scene("dog", "book", "park", emotion, then)
        pictures = [frame.tobytes() for frame in scene.frames(one, 0.4, 112, np.random.default_rng(0))]
        return [b"".join(pictures[:2]), b"".join(pictures[2:])]

    joy, proud, turning = halves("joy"), halves("proud"), halves("joy", "proud")
    assert turning[0] == joy[0] and turning[1] not in (joy[1], proud[1])     # the trail of the first half stays a while
    assert pitch(["drums", "bells"], slice(0, 16_000)) < 140 < 490 < pitch(["drums", "bells"], slice(16_000, None))


def pitch(kinds: list[str], part: slice) -> float:
    """The loudest frequency, in Hz, of a part of two seconds."""
    samples = np.frombuffer(sound.synthesise(kinds, 2.0, np.random.default_rng(0))[44:], "<i2") / 32768
    assert len(samples) == 2 * sound.RATE
    heard = samples[part]
    return float(np.argmax(np.abs(np.fft.rfft(heard)))) * sound.RATE / len(heard)


def test_clips_of_one_scene_differ() -> None:
    one = grammar.Scene("cat", "kite", "beach", "calm")
    pictures = [next(scene.frames(one, 0.1, 112, np.random.default_rng(seed))) for seed in range(2)]
    assert np.abs(pictures[0].astype(float) - pictures[1]).mean() > 5
    assert figures.look("man", np.random.default_rng(0)) != figures.look("man", np.random.default_rng(1))


def test_sounds_differ_in_their_spectrum() -> None:
    whole = slice(None)
    assert pitch(["drums"], whole) < 140 < 250 < pitch(["flute"], whole) < 1000
    assert pitch(["bells"], whole) > 490


def test_a_failing_ffmpeg_is_reported_with_its_own_words(tmp_path: Path) -> None:
    broken = clip.Clip(grammar.Scene("cat", "kite", "beach", "calm"), tmp_path / "clip.mp4", (0, 0), 0.5, 113)
    with pytest.raises(SpectrumError, match=r"clip\.mp4: .*status \d+: .*divisible by 2"):
        clip.render(broken)
    assert list(tmp_path.iterdir()) == []


def test_an_ffmpeg_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\nexec sleep 30\n")
    program.chmod(0o755)
    monkeypatch.setattr(clip.programs, "ffmpeg", lambda: program)
    monkeypatch.setattr(clip, "_TIMEOUT", 0.2)
    with pytest.raises(SpectrumError, match="did not end within"):
        clip._run([], b"", tmp_path / "clip.mp4", 0)


def test_workers_that_end_while_others_start_are_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def submit(*_: object) -> None:
        raise OSError("handle is closed")

    monkeypatch.setattr(sample.ProcessPoolExecutor, "submit", submit)
    with pytest.raises(SpectrumError, match="a process that renders clips was ended from outside"):
        sample.build(TINY, 3, tmp_path)
