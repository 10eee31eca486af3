"""A synthetic world for the captioner's tests: latent factors → features and captions, no files.

Every video has an actor, an action, a place and a mood. Pictures show actor, action and place; sound tells
the mood; text rows are like embedded captions; the emotional prior is right two times of three.
"""

import torch

from pipeline.captioner.inputs import Inputs, Modality
from pipeline.emotion.taxonomy import Taxonomy

ACTORS = ("man", "woman", "dog", "robot")
ACTIONS = ("runs", "jumps", "sings", "sleeps", "waves")
PLACES = ("park", "kitchen", "street")
MOODS = ("happily", "sadly", "angrily", "calmly")
TAXONOMY = Taxonomy.load("evc-179")
FACTORS = (ACTORS, ACTIONS, PLACES, MOODS)


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
        said = MOODS[mood if torch.rand((), generator=chance) < 0.67 else (mood + 1) % len(MOODS)]
        words[i, TAXONOMY.words.index(said)] = 0.8
        for category in TAXONOMY.categories_of(said):
            categories[i, TAXONOMY.categories.index(category)] = 0.8
        a, b, c, d = ACTORS[actor], ACTIONS[action], PLACES[place], MOODS[mood]
        captions[ids[i]] = [f"a {a} {b} {d} in the {c}", f"In the {c}, a {a} {b} {d}.", f"{d} the {a} {b}"]
    return Inputs(ids, modalities, categories, words), captions
