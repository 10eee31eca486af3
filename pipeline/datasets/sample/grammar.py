"""What happens in the sample world and how its people would say it: scenes, cues of mood, captions.

A scene is an actor, an action, a place and an emotion; in one of six the mood turns into another half way. An emotion
shows in face, light, motion and sound, and no cue alone gives it away. Pictures tell it in part: two emotions share
each face, and two pairs of them (calm and shy, fear and surprise) look the same in light and motion, too. Those that
share a face never share a sound, so whoever sees and hears can tell all.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeVar

import numpy as np

from pipeline.common.errors import SpectrumError
from pipeline.common.text import words
from pipeline.datasets.manifest import Split

T = TypeVar("T")

ACTORS: dict[str, tuple[str, ...]] = {
    "man": ("man", "guy", "gentleman"),
    "woman": ("woman", "lady"),
    "boy": ("boy", "young boy", "lad"),
    "girl": ("girl", "young girl"),
    "dog": ("dog", "puppy", "brown dog"),
    "cat": ("cat", "kitten", "kitty"),
    "robot": ("robot", "machine", "android"),
    "bear": ("bear", "big bear", "furry bear"),
}

# "the dog …" and "the dog is …"
ACTIONS: dict[str, tuple[tuple[str, str], ...]] = {
    "guitar": (("plays the guitar", "playing the guitar"), ("strums a guitar", "strumming a guitar")),
    "bicycle": (("rides a bicycle", "riding a bicycle"), ("rides a bike", "riding a bike")),
    "book": (("reads a book", "reading a book"), ("looks into a book", "looking into a book")),
    "ball": (("kicks a ball", "kicking a ball"), ("plays with a ball", "playing with a ball")),
    "pizza": (("eats a pizza", "eating a pizza"), ("has a slice of pizza", "having a slice of pizza")),
    "kite": (("flies a kite", "flying a kite"), ("holds a kite on a string", "holding a kite on a string")),
    "flower": (("waters a flower", "watering a flower"), ("gives a plant water", "giving a plant water")),
    "picture": (("paints a picture", "painting a picture"), ("paints on a canvas", "painting on a canvas")),
}

PLACES: dict[str, tuple[str, ...]] = {
    "park": ("in the park", "in a green park", "under the trees"),
    "beach": ("on the beach", "by the sea", "at the seaside"),
    "street": ("on the street", "in the city", "in front of some houses"),
    "kitchen": ("in the kitchen", "in a kitchen", "inside the house"),
    "snow": ("in the snow", "in the mountains", "on a snowy day"),
    "desert": ("in the desert", "on the sand near a cactus", "between the dunes"),
}

FACES = ("smile", "content", "frown", "sad", "round")
LIGHTS = ("warm", "cold", "soft")
MOTIONS = ("bounce", "shake", "sway")
SOUNDS = ("bells", "drums", "flute")


@dataclass(frozen=True)
class Mood:
    """How an emotion shows, and its words: before a noun, after a verb such as `looks`, beside an action."""

    face: str
    light: str
    motion: str
    sound: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    beside: tuple[str, ...]


EMOTIONS: dict[str, Mood] = {
    "joy": Mood("smile", "warm", "bounce", "bells", ("happy", "cheerful", "joyful"),
                ("happy", "cheerful", "glad"), ("happily", "cheerfully", "joyfully")),
    "proud": Mood("smile", "warm", "sway", "drums", ("proud",), ("proud",), ("proudly",)),
    "calm": Mood("content", "soft", "sway", "flute", ("calm", "peaceful"), ("calm", "peaceful"),
                 ("calmly", "peacefully")),
    "shy": Mood("content", "soft", "sway", "bells", ("shy", "bashful"), ("shy", "bashful"), ("shyly",)),
    "sadness": Mood("sad", "cold", "sway", "flute", ("sad", "sorrowful"), ("sad", "sorrowful"),
                    ("sadly", "sorrowfully")),
    "pensiveness": Mood("sad", "soft", "sway", "bells", ("thoughtful", "pensive"),
                        ("thoughtful", "pensive"), ("pensively",)),
    "anger": Mood("frown", "warm", "shake", "drums", ("angry",), ("angry",), ("angrily",)),
    "worry": Mood("frown", "cold", "shake", "flute", ("anxious", "apprehensive"), ("anxious", "concerned"),
                  ("anxiously", "apprehensively")),
    "surprise": Mood("round", "cold", "bounce", "bells", ("surprised", "astonished"),
                     ("surprised", "astonished"), ("astonishedly", "surprisedly")),
    "fear": Mood("round", "cold", "bounce", "drums", ("fearful",), ("afraid", "fearful"), ("fearfully",)),
}

_MOODY = (
    "a {before} {actor} is {doing} {place}",
    "a {before} {actor} {does} {place}",
    "there is a {before} {actor} {doing} {place}",
    "the {actor} {does} {beside} {place}",
    "a {actor} is {beside} {doing} {place}",
    "{place} a {actor} {beside} {does}",
    "{place}, a {before} {actor} is {doing}",
    "a {actor} looks {after} while {doing} {place}",
    "the {actor} who {does} {place} seems {after}",
    "the {actor} feels {after} and {does} {place}",
    "looking {after}, the {actor} {does} {place}",
    "it's a {before} {actor}, {doing} {place}",
    "the video shows a {before} {actor} that is {doing} {place}, and there is nobody else around",
)
# Of a scene whose mood turns: `first` before it, `then` after it.
_TURNING = (
    "a {first.before} {actor} {does} {then.beside} {place}",
    "the {first.before} {actor} is {then.beside} {doing} {place}",
    "a {first.before} {actor} {does} {place}, then looks {then.after}",
    "the {actor} looks {first.after}, but then {then.after}, while {doing} {place}",
    "{place}, a {actor} that was {first.after} at first is now {then.beside} {doing}",
    "at first the {actor} that is {doing} {place} looks {first.after}, but {then.after} in the end",
)
_NEUTRAL = (
    "a {actor} is {doing} {place}",
    "the {actor} {does} {place}",
    "there is a {actor} {doing} {place}",
    "{place}, a {actor} is {doing}",
)
_NEUTRAL_SHARE = 1 / 6
_PLACELESS_SHARE = 1 / 8
_FULL_STOP_SHARE = 1 / 5
_TURN_SHARE = 1 / 6         # of scenes
_WHOLE_TURN_SHARE = 2 / 3   # of moody captions of such a scene: the others tell one of its moods


@dataclass(frozen=True)
class Scene:
    actor: str
    action: str
    place: str
    emotion: str
    then: str = ""      # the emotion of the second half, where it is another

    @property
    def moods(self) -> tuple[Mood, ...]:
        """One, or two that follow each other."""
        return tuple(EMOTIONS[emotion] for emotion in (self.emotion, self.then) if emotion)


def plan(counts: Mapping[Split, int], rng: np.random.Generator) -> dict[Split, list[Scene]]:
    """Scenes of every split: no two have the same actor, action, place and emotion, so what is tested was never
    trained on.

    All are drawn together and dealt out, so that the splits differ by chance alone, and every actor, action, place and
    emotion comes about equally often. Raises SpectrumError where the world is too small.
    """
    possible = len(ACTORS) * len(ACTIONS) * len(PLACES) * len(EMOTIONS)
    if sum(counts.values()) > possible * 3 // 4:
        raise SpectrumError(f"sample: {sum(counts.values())} clips are more than the {possible * 3 // 4} that the "
                            "world has scenes for; lower sample.pretrain, sample.train, sample.validation or "
                            "sample.test")
    scenes = _draw(sum(counts.values()), rng)
    return {split: list(islice(scenes, count)) for split, count in counts.items()}


def _draw(count: int, rng: np.random.Generator) -> Iterator[Scene]:
    used: set[Scene] = set()
    decks = [_deck(list(values), count, rng) for values in (ACTORS, ACTIONS, PLACES, EMOTIONS)]
    for actor, action, place, emotion in zip(*decks, strict=True):
        scene = Scene(actor, action, place, emotion)
        while scene in used:
            actor, action, place = (choose(tuple(values), rng) for values in (ACTORS, ACTIONS, PLACES))
            scene = Scene(actor, action, place, emotion)
        used.add(scene)
        turns = rng.random() < _TURN_SHARE
        yield replace(scene, then=choose([other for other in EMOTIONS if other != emotion], rng)) if turns else scene


def _deck(keys: Sequence[str], count: int, rng: np.random.Generator) -> list[str]:
    """`count` keys in random order, each as often as any other (or once more)."""
    deck = [keys[n % len(keys)] for n in range(count)]
    return [deck[n] for n in rng.permutation(count)]


def captions(scene: Scene, count: int, rng: np.random.Generator) -> list[str]:
    """`count` different captions of a scene. About one in six leaves the emotion out, never all of them."""
    while True:
        texts: list[str] = []
        while len(texts) < count:
            text = _caption(scene, rng)
            if text not in texts:
                texts.append(text)
        moody = {word for mood in scene.moods for word in (*mood.before, *mood.after, *mood.beside)}
        if any(moody & set(words(text)) for text in texts):
            return texts


def _caption(scene: Scene, rng: np.random.Generator) -> str:
    neutral = rng.random() < _NEUTRAL_SHARE
    turning = len(scene.moods) > 1 and not neutral and rng.random() < _WHOLE_TURN_SHARE
    form = choose(_NEUTRAL if neutral else _TURNING if turning else _MOODY, rng)
    place = "" if rng.random() < _PLACELESS_SHARE else choose(PLACES[scene.place], rng)
    does, doing = choose(ACTIONS[scene.action], rng)
    moods = [_MoodWords.of(mood, rng) for mood in scene.moods]
    mood = choose(moods, rng)
    text = form.format(actor=choose(ACTORS[scene.actor], rng), does=does, doing=doing, place=place, before=mood.before,
                       after=mood.after, beside=mood.beside, first=moods[0], then=moods[-1])
    return _sentence(text, full_stop=rng.random() < _FULL_STOP_SHARE)


@dataclass(frozen=True)
class _MoodWords:
    """What one person says for a mood."""

    before: str
    after: str
    beside: str

    @classmethod
    def of(cls, mood: Mood, rng: np.random.Generator) -> "_MoodWords":
        return cls(choose(mood.before, rng), choose(mood.after, rng), choose(mood.beside, rng))


def _sentence(text: str, full_stop: bool) -> str:
    """`text` with single spaces, none before a comma, and `a` before a vowel as `an`; as some write it, with a capital
    and a full stop."""
    parts = text.replace(" ,", ",").lstrip(" ,").split()
    following = [*parts[1:], ""]
    joined = " ".join("an" if part == "a" and after[:1] in tuple("aeio") else part
                      for part, after in zip(parts, following, strict=True))
    return f"{joined[0].upper()}{joined[1:]}." if full_stop else joined


def choose(values: Sequence[T], rng: np.random.Generator) -> T:
    return values[int(rng.integers(len(values)))]
