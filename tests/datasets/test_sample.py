"""The sample world: what it shows, what it says, and that it is the same every time."""

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
from pipeline.params import Sample

TINY = Sample(train=6, validation=1, test=2, seconds=1.0, size=112, captions=5)


def splits(train: int = 400, seed: int = 0) -> dict[str, list[grammar.Scene]]:
    return grammar.plan({"train": train, "validation": 60, "test": 100}, np.random.default_rng(seed))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Manifest, Path]:
    folder = tmp_path_factory.mktemp("sample")
    return sample.build(TINY, 3, folder), folder


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(
        built: tuple[Manifest, Path], tmp_path: Path) -> None:
    manifest, folder = built
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "train-0007.mp4").write_bytes(b"of a larger build")
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
    assert manifest.counts() == {"train": {"videos": 6, "captions": 30}, "validation": {"videos": 1, "captions": 5},
                                 "test": {"videos": 2, "captions": 10}}
    assert {caption.video_id for caption in manifest.corpus} == set(manifest.ids("train"))
    assert len(manifest.corpus) == 30
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


def test_no_scene_of_one_split_comes_in_another_and_held_out_pairs_are_never_trained_on() -> None:
    plan = splits()
    scenes = [one for of_split in plan.values() for one in of_split]
    assert len(set(scenes)) == len(scenes) == 560
    assert not {(one.actor, one.action) for one in plan["train"]} & grammar.HELD_OUT
    for split in ("validation", "test"):
        held_out = sum((one.actor, one.action) in grammar.HELD_OUT for one in plan[split])
        assert 0.1 < held_out / len(plan[split]) < 0.6


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_value_is_trained_on_and_every_emotion_tested(seed: int) -> None:
    plan = splits(seed=seed)
    for field, values in (("actor", grammar.ACTORS), ("action", grammar.ACTIONS), ("place", grammar.PLACES),
                          ("emotion", grammar.EMOTIONS)):
        assert {getattr(one, field) for one in plan["train"]} == set(values)
        assert {getattr(one, field) for one in plan["test"]} == set(values)
    assert set(Counter(one.emotion for one in plan["test"]).values()) == {10}


def test_more_clips_than_the_world_has_scenes_for_are_refused() -> None:
    with pytest.raises(SpectrumError, match="lower sample.train"):
        splits(train=1900)


def test_no_cue_alone_gives_an_emotion_and_all_together_do() -> None:
    moods = grammar.EMOTIONS.values()
    for cue, values in (("face", grammar.FACES), ("light", grammar.LIGHTS), ("motion", grammar.MOTIONS),
                        ("sound", grammar.SOUNDS)):
        shared = Counter(getattr(mood, cue) for mood in moods)
        assert set(shared) == set(values)
        assert set(shared.values()) <= {3, 4}
    codes = {name: (mood.face, mood.light, mood.motion, mood.sound) for name, mood in grammar.EMOTIONS.items()}
    apart = {frozenset(pair): sum(a != b for a, b in zip(*(codes[name] for name in pair), strict=True))
             for pair in combinations(codes, 2)}
    assert apart.pop(frozenset({"calm", "proud"})) == 1 and codes["calm"][:3] == codes["proud"][:3]
    assert min(apart.values()) == 2
    assert min(number for pair, number in apart.items() if "calm" not in pair) == 3


def test_the_words_of_an_emotion_are_of_its_category_alone_and_nothing_else_is_an_emotion_word() -> None:
    taxonomy = Taxonomy.load("evc-179")
    for name, mood in grammar.EMOTIONS.items():
        words = {*mood.before, *mood.after, *mood.beside}
        assert len(words) >= 2
        assert {taxonomy.categories_of(word) for word in words} == {(name,)}
    neutral = [*grammar.ACTORS.values(), *grammar.PLACES.values(), *grammar._MOODY, *grammar._NEUTRAL,
               *(form for forms in grammar.ACTIONS.values() for form in forms)]
    for word in (word for phrase in neutral for word in text.words(" ".join(np.ravel(phrase)))):
        assert taxonomy.categories_of(word) == ()


def test_captions_vary_and_some_leave_out_the_emotion_or_the_place() -> None:
    rng = np.random.default_rng(0)
    taxonomy = Taxonomy.load("evc-179")
    moody = placed = total = 0
    forms = set()
    for one in splits()["train"][:200]:
        texts = grammar.captions(one, 6, rng)
        assert len(set(texts)) == 6
        emotions = [{taxonomy.first_category(word) for word in text.words(caption)} - {None} for caption in texts]
        assert {one.emotion} in emotions and all(found <= {one.emotion} for found in emotions)
        moody += sum(bool(found) for found in emotions)
        placed += sum(any(place in caption for place in grammar.PLACES[one.place]) for caption in texts)
        total += 6
        forms |= {caption.split()[0] for caption in texts}
        assert all(caption == text.clean(caption) for caption in texts)
    assert 0.12 < 1 - moody / total < 0.22
    assert 0.08 < 1 - placed / total < 0.18
    assert {"a", "an", "the", "there", "in"} <= forms


def test_an_article_before_a_vowel_is_an() -> None:
    assert grammar._with_articles(["a", "angry", "android", "is", "a", "dog"]) == "an angry android is a dog"


def test_every_actor_action_place_and_face_draws_something_of_its_own() -> None:
    def picture(**changed: str) -> bytes:
        one = {"actor": "dog", "action": "book", "place": "park", "emotion": "joy", **changed}
        return next(scene.frames(grammar.Scene(**one), 0.1, 112, np.random.default_rng(0))).tobytes()

    for field, values in (("actor", grammar.ACTORS), ("action", grammar.ACTIONS), ("place", grammar.PLACES)):
        assert len({picture(**{field: value}) for value in values}) == len(values)
    # Calm and pride differ in sound alone.
    assert picture(emotion="calm") == picture(emotion="proud") != picture(emotion="anger")


def test_clips_of_one_scene_differ() -> None:
    one = grammar.Scene("cat", "kite", "beach", "calm")
    pictures = [next(scene.frames(one, 0.1, 112, np.random.default_rng(seed))) for seed in range(2)]
    assert np.abs(pictures[0].astype(float) - pictures[1]).mean() > 5
    assert figures.look("man", np.random.default_rng(0)) != figures.look("man", np.random.default_rng(1))


def test_sounds_differ_in_their_spectrum() -> None:
    def centre(kind: str) -> float:
        samples = np.frombuffer(sound.synthesise(kind, 2.0, np.random.default_rng(0))[44:], "<i2") / 32768
        assert len(samples) == 2 * sound.RATE
        power = np.abs(np.fft.rfft(samples)) ** 2
        return float(np.argmax(power) / 2.0)            # Hz

    assert centre("drums") < 140 < 250 < centre("flute") < 1000
    assert centre("bells") > 490


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
