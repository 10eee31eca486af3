"""What happens in the sample world and how its people would say it: scenes, cues of mood, captions.

A scene is an actor, an action, a place and an emotion. The emotion shows in four cues of three values. Each value
is shared by three or four emotions, so no single cue gives the emotion away. Together they form an error-correcting
code (the tetracode): nine of the emotions differ from each other in three cues, so that a cue that is overlooked
can be made up for by the others. The tenth, calm, differs from pride in sound alone and from the rest in two or more.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from pipeline.common.errors import SpectrumError
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

FACES = ("smile", "frown", "round")
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
    "proud": Mood("smile", "soft", "sway", "drums", ("proud",), ("proud",), ("proudly",)),
    "calm": Mood("smile", "soft", "sway", "flute", ("calm", "peaceful"), ("calm", "peaceful"),
                 ("calmly", "peacefully")),
    "shy": Mood("smile", "cold", "shake", "flute", ("shy", "bashful"), ("shy", "bashful"), ("shyly",)),
    "sadness": Mood("frown", "cold", "sway", "bells", ("sad", "sorrowful"), ("sad", "sorrowful"),
                    ("sadly", "sorrowfully")),
    "pensiveness": Mood("frown", "soft", "bounce", "flute", ("thoughtful", "pensive"),
                        ("thoughtful", "pensive"), ("pensively",)),
    "anger": Mood("frown", "warm", "shake", "drums", ("angry",), ("angry",), ("angrily",)),
    "surprise": Mood("round", "warm", "sway", "flute", ("surprised", "astonished"),
                     ("surprised", "astonished"), ("astonishedly", "surprisedly")),
    "fear": Mood("round", "cold", "bounce", "drums", ("fearful",), ("afraid", "fearful"), ("fearfully",)),
    "worry": Mood("round", "soft", "shake", "bells", ("anxious", "apprehensive"), ("anxious", "concerned"),
                  ("anxiously", "apprehensively")),
}

_MOODY = (
    "a {before} {actor} is {doing} {place}",
    "a {before} {actor} {does} {place}",
    "there is a {before} {actor} {doing} {place}",
    "the {actor} {does} {beside} {place}",
    "a {actor} is {beside} {doing} {place}",
    "{place} a {actor} {beside} {does}",
    "{place} a {before} {actor} is {doing}",
    "a {actor} looks {after} while {doing} {place}",
    "the {actor} who {does} {place} seems {after}",
    "the {actor} feels {after} and {does} {place}",
)
_NEUTRAL = (
    "a {actor} is {doing} {place}",
    "the {actor} {does} {place}",
    "there is a {actor} {doing} {place}",
    "{place} a {actor} is {doing}",
)
_NEUTRAL_SHARE = 1 / 6
_PLACELESS_SHARE = 1 / 8
_HELD_OUT_SHARE = 0.25      # of validation and test clips


@dataclass(frozen=True)
class Scene:
    actor: str
    action: str
    place: str
    emotion: str

    @property
    def mood(self) -> Mood:
        return EMOTIONS[self.emotion]


# Pairs of actor and action that no training clip shows.
HELD_OUT = frozenset(zip(ACTORS, ACTIONS, strict=True))


def plan(counts: Mapping[Split, int], rng: np.random.Generator) -> dict[Split, list[Scene]]:
    """Scenes of every split, no scene twice: what is tested was never trained on.

    Within a split every actor, action, place and emotion comes about equally often; pairs of `HELD_OUT` come
    in no training clip and in a quarter of the others. Raises SpectrumError where the world is too small.
    """
    possible = len(ACTORS) * len(ACTIONS) * len(PLACES) * len(EMOTIONS)
    if sum(counts.values()) > possible // 2:
        raise SpectrumError(f"sample: {sum(counts.values())} clips are more than the {possible // 2} that "
                            "the world has scenes for; lower sample.train, sample.validation or sample.test")
    used: set[Scene] = set()
    return {split: list(_draw(split, count, used, rng)) for split, count in counts.items()}


def _draw(split: str, count: int, used: set[Scene], rng: np.random.Generator) -> Iterator[Scene]:
    actors, actions, places, emotions = (_deck(list(values), count, rng)
                                         for values in (ACTORS, ACTIONS, PLACES, EMOTIONS))
    partner = {action: actor for actor, action in HELD_OUT}
    for actor, action, place, emotion in zip(actors, actions, places, emotions, strict=True):
        if split != "train" and rng.random() < _HELD_OUT_SHARE:
            actor = partner[action]
        scene = Scene(actor, action, place, emotion)
        while scene in used or (split == "train" and (scene.actor, scene.action) in HELD_OUT):
            scene = Scene(choose(tuple(ACTORS), rng), action, choose(tuple(PLACES), rng), emotion)
        used.add(scene)
        yield scene


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
        words = {*scene.mood.before, *scene.mood.after, *scene.mood.beside}
        if any(words & set(text.split()) for text in texts):
            return texts


def _caption(scene: Scene, rng: np.random.Generator) -> str:
    form = choose(_NEUTRAL if rng.random() < _NEUTRAL_SHARE else _MOODY, rng)
    place = "" if rng.random() < _PLACELESS_SHARE else choose(PLACES[scene.place], rng)
    does, doing = choose(ACTIONS[scene.action], rng)
    text = form.format(
        actor=choose(ACTORS[scene.actor], rng), does=does, doing=doing, place=place,
        before=choose(scene.mood.before, rng), after=choose(scene.mood.after, rng),
        beside=choose(scene.mood.beside, rng),
    )
    return _with_articles(text.split())


def _with_articles(words: list[str]) -> str:
    """The words as a sentence, `a` before a vowel as `an`."""
    following = words[1:] + [""]
    return " ".join("an" if word == "a" and after[:1] in tuple("aeio") else word
                    for word, after in zip(words, following, strict=True))


def choose(values: Sequence[T], rng: np.random.Generator) -> T:
    return values[int(rng.integers(len(values)))]
