"""The self-critical phase: its reward against the published scorer, its gradient against the definition."""

import random

import numpy as np
import pytest
import torch
from captioner_world import BEAM, TAXONOMY, TRAINING, train_on, world_split
from captioner_world import SECTION as WORLD_SECTION
from pycocoevalcap.cider.cider import Cider

from pipeline.captioner.attributes import AttributeList
from pipeline.captioner.generation.random_sampling import SamplingSettings, sample
from pipeline.captioner.model.captioner import Captioner, Shape
from pipeline.captioner.training.reward import CiderD, EmotionReward
from pipeline.captioner.training.self_critical import SelfCritical
from pipeline.captioner.training.settings import TrainingSettings
from pipeline.captioner.vocabulary import BOS, EOS, PAD, UNK, Vocabulary

SECTION = WORLD_SECTION.model_copy(update={"max_words": 8})


def sentences(chance: random.Random, count: int, words: int) -> list[list[str]]:
    return [[f"w{chance.randrange(words)}" for _ in range(chance.randint(1, 9))] for _ in range(count)]


@pytest.mark.parametrize("words", [3, 12, 60])
def test_cider_is_the_published_one(words: int) -> None:
    chance = random.Random(words)
    references = [sentences(chance, chance.randint(1, 6), words) for _ in range(30)]
    captions = [sentences(chance, 1, words + 5)[0] for _ in references]       # some words that no reference has
    captions[0] = references[0][0]
    captions[1] = ["w0"] * 7
    scores = CiderD(references).score(range(30), captions)
    _, truth = Cider().compute_score(
        {i: [" ".join(one) for one in own] for i, own in enumerate(references)},
        {i: [" ".join(one)] for i, one in enumerate(captions)})
    assert scores == pytest.approx(truth, abs=1e-9)
    assert scores.max() > 0.5


def test_cider_of_several_captions_of_a_video_in_any_order() -> None:
    chance = random.Random(5)
    references = [sentences(chance, 4, 9) for _ in range(6)]
    cider = CiderD(references)
    videos, captions = [4, 0, 4, 5, 0], sentences(chance, 5, 9)
    together = cider.score(videos, captions)
    assert together == pytest.approx([cider.score([v], [s])[0] for v, s in zip(videos, captions, strict=True)])


def test_emotions_that_are_right_count_and_wrong_ones_cost() -> None:
    reward = EmotionReward([[["a", "man", "happily", "runs"], ["he", "sadly", "runs"]], [["a", "dog"]]], TAXONOMY)
    captions = [["happily"], ["angrily"], ["happily", "angrily"], ["man"], ["happily", "sadly"]]
    assert reward.score([0] * 5, captions).tolist() == [1, -1, 0, 0, 1]
    assert reward.score([1, 1], [["dog"], ["happily"]]).tolist() == [0, -1]


def objective_of(max_words: int, **changes: object) -> SelfCritical:
    split = world_split(6, seed=1, silent=2)
    everything = [text for own in split.captions for text in own]
    vocabulary = Vocabulary.build(everything, 1)
    section = SECTION.model_copy(update={"max_words": max_words})
    attributes = AttributeList.build(everything, TAXONOMY, 20)
    torch.manual_seed(0)
    model = Captioner(section, Shape.of(section, split.inputs, len(vocabulary)), attributes, vocabulary)
    training = TRAINING.model_copy(update={"self_critical_epochs": 1, "self_critical_samples": 3, **changes})
    return SelfCritical(model, TrainingSettings(section, training, BEAM, TAXONOMY), split,
                        attributes.targets(split.captions), None, vocabulary, 0)


def plain_log_p(objective: SelfCritical, video: int, tokens: list[int]) -> torch.Tensor:
    """Σ log p of the chosen words, one caption at a time, by the path without cache or packing."""
    encoded = objective.model.encode(objective.inputs.select([video]))
    logits = objective.model.decode(encoded, torch.tensor([[BOS, *tokens[:-1]]]), torch.zeros(1, dtype=torch.long))[0]
    total = torch.zeros(())
    for place, token in enumerate(tokens[:objective.model.section.max_words]):
        allowed = torch.ones(logits.shape[1], dtype=torch.bool)
        allowed[[PAD, BOS, UNK, *([EOS] if place == 0 else [tokens[place - 1]])]] = False
        total = total + logits[place].masked_fill(~allowed, -torch.inf).log_softmax(-1)[token]
    return total


@pytest.mark.parametrize("max_words", [3, 8])       # at 3 most captions are ended at the limit
def test_the_gradient_is_the_policys(max_words: int) -> None:
    objective, batch = objective_of(max_words), np.array([4, 0, 2])
    torch.manual_seed(7)
    caption, attribute = objective.losses(batch)
    caption.backward()  # type: ignore[no-untyped-call]
    gradients = {name: p.grad.clone() for name, p in objective.model.named_parameters() if p.grad is not None}
    objective.model.zero_grad()
    torch.manual_seed(7)
    encoded = objective.model.encode(objective.inputs.select(batch))
    drawn, sums = sample(objective.model, encoded, 3, SamplingSettings(3))
    reward = objective.rewards(batch, drawn)
    assert caption.item() == pytest.approx(-reward.mean(), abs=1e-5) and attribute > 0
    expected = torch.zeros(())
    for row, video in enumerate(batch.tolist()):
        for own, text in enumerate(drawn[row].tolist()):
            others = np.delete(reward[row], own).mean()
            log_p = plain_log_p(objective, video, [token for token in text if token != PAD])
            assert log_p.item() == pytest.approx(sums[row, own].item(), abs=1e-4)
            expected = expected - (reward[row, own] - others) * log_p / reward.size
    expected.backward()  # type: ignore[no-untyped-call]
    for name, p in objective.model.named_parameters():
        if p.grad is not None and name in gradients:
            assert torch.allclose(gradients[name], p.grad, atol=1e-5), name
    assert sum(gradient.abs().sum() for gradient in gradients.values()) > 0.1


def test_the_emotion_reward_has_its_weight() -> None:
    plain, moved = objective_of(8, emotion_reward=0.0), objective_of(8, emotion_reward=2.0)
    texts = torch.full((1, 3, 9), PAD)
    for row, sentence in enumerate((["a", "man"], ["happily"], ["angrily"])):
        texts[0, row, :len(sentence) + 1] = torch.tensor([*plain.vocabulary.encode(sentence), EOS])
    apart = moved.rewards(np.array([3]), texts) - plain.rewards(np.array([3]), texts)
    assert sorted(apart[0].tolist())[1:] in ([0, 2], [-2, 0]) and apart[0, 0] == 0


def test_the_phase_raises_the_reward_and_validation_chooses() -> None:
    trained = train_on(world_split(60, seed=1, silent=5), world_split(30, seed=2), section=SECTION, epochs=4,
                       self_critical_epochs=6, self_critical_learning_rate=1e-3, select_by="cider")
    first, last = trained.history[:4], trained.history[4:]
    assert [record["epoch"] for record in trained.history] == list(range(1, 11))
    assert last[-1]["caption_loss"] < last[0]["caption_loss"] < 0           # minus the reward
    assert max(r["validation_cider"] for r in last) > max(r["validation_cider"] for r in first)
    assert trained.best == max(trained.history, key=lambda record: record["validation_cider"])
