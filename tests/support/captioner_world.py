"""A synthetic world for the captioner's tests: latent factors → features and captions, no files.

Every video has an actor, an action, a place and a mood. Pictures show actor, action and place; sound tells
the mood; text rows are like embedded captions; the emotional prior is right two times of three.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import torch

from pipeline import params
from pipeline.captioner.attributes import AttributeList
from pipeline.captioner.generation.captions import Caption
from pipeline.captioner.generation.generator import CaptionGenerator
from pipeline.captioner.inputs import Inputs, Modality
from pipeline.captioner.model.captioner import Captioner
from pipeline.captioner.splits import Split
from pipeline.captioner.trained import TrainedCaptioner
from pipeline.captioner.training.settings import Listeners, TrainingSettings
from pipeline.captioner.training.trainer import train
from pipeline.captioner.vocabulary import Vocabulary
from pipeline.emotion.taxonomy import Taxonomy

ACTORS = ("man", "woman", "dog", "robot")
ACTIONS = ("runs", "jumps", "sings", "sleeps", "waves")
PLACES = ("park", "kitchen", "street")
MOODS = ("happily", "sadly", "angrily", "calmly")
TAXONOMY = Taxonomy.load("evc-179")
FACTORS = (ACTORS, ACTIONS, PLACES, MOODS)

# A captioner that learns this world in seconds; its decoder attends to every modality.
SECTION = params.Captioner(decoder_modalities=(), hidden_size=32, num_heads=2, feedforward_size=64, dropout=0.1,
                           universal_words=50, embedded_attributes=6, max_words=12)
TRAINING = params.Training(epochs=8, videos_per_batch=12, learning_rate=4e-3, attribute_weight=1.0,
                           neutral_caption_weight=1.0)
# The likeliest caption, whatever else may rerank.
BEAM = params.Generation(attribute_odds=0.0, emotion_odds=0.0, consensus=0.0, candidates=0)


def world(videos: int, seed: int, dims: tuple[int, int, int] = (32, 16, 24),
          rows: tuple[int, int, int] = (4, 3, 5), silent: int = 0) -> tuple[Inputs, dict[str, list[str]]]:
    """Inputs and captions of `videos` videos; the first `silent` have no sound."""
    fixed = torch.Generator().manual_seed(99)       # the world's laws are the same for every split
    laws = [[torch.randn(len(factor), dim, generator=fixed) for factor in FACTORS] for dim in dims]
    chance = torch.Generator().manual_seed(seed)
    latent = torch.stack([torch.randint(len(factor), (videos,), generator=chance) for factor in FACTORS], 1)
    shown = ((0, 1, 2), (3,), (0, 1, 2, 3))         # which factors each modality tells
    modalities = {}
    names = ("appearance", "audio", "text")
    for name, law, dim, count, factors in zip(names, laws, dims, rows, shown, strict=True):
        mean = sum((law[i][latent[:, i]] for i in factors), torch.zeros(videos, dim))
        noise = torch.randn(videos, count, dim, generator=chance)
        mask = torch.ones(videos, count, dtype=torch.bool)
        if name == "audio":
            mask[:silent] = False
        modalities[name] = Modality((mean[:, None] + 0.5 * noise).masked_fill(~mask[..., None], 0), mask)
    words = torch.zeros(videos, len(TAXONOMY.words))
    categories = torch.zeros(videos, len(TAXONOMY.categories))
    captions: dict[str, list[str]] = {}
    ids = tuple(f"v{seed}-{i}" for i in range(videos))
    for i, (actor, action, place, mood) in enumerate(latent.tolist()):
        likely = MOODS[mood if torch.rand((), generator=chance) < 0.67 else (mood + 1) % len(MOODS)]
        words[i, TAXONOMY.words.index(likely)] = 0.8
        for category in TAXONOMY.categories_of(likely):
            categories[i, TAXONOMY.categories.index(category)] = 0.8
        a, b, c, d = ACTORS[actor], ACTIONS[action], PLACES[place], MOODS[mood]
        captions[ids[i]] = [f"a {a} {b} {d} in the {c}", f"In the {c}, a {a} {b} {d}.", f"{d} the {a} {b}"]
    return Inputs(ids, modalities, categories, words), captions


def world_split(videos: int, seed: int, silent: int = 0) -> Split:
    """`world` as a split."""
    return as_split(*world(videos, seed, silent=silent))


def as_split(inputs: Inputs, captions: Mapping[str, Sequence[str]]) -> Split:
    return Split.of("training", inputs, captions)


def train_on(train_split: Split, validation: Split | None = None, training: params.Training = TRAINING,
             section: params.Captioner = SECTION, seed: int = 0, state: Path | None = None,
             listeners: Listeners = Listeners(), **changes: object) -> TrainedCaptioner:
    """A captioner of `train_split`, on the CPU; `changes` are of `training`. Without `validation`: the same videos."""
    settings = TrainingSettings(section, training.model_copy(update=changes), BEAM, TAXONOMY)
    return train(train_split, validation or train_split, settings, seed, "cpu", state, listeners)


class Speaker(Protocol):
    """A trained captioner, a checkpoint, or the parts of one."""

    @property
    def model(self) -> Captioner: ...

    @property
    def vocabulary(self) -> Vocabulary: ...

    @property
    def attributes(self) -> AttributeList: ...


def captions_by(captioner: Speaker, inputs: Inputs, section: params.Generation = BEAM) -> list[Caption]:
    """Its captions of `inputs`."""
    return CaptionGenerator(captioner.model, captioner.vocabulary, captioner.attributes, section).generate(inputs)
