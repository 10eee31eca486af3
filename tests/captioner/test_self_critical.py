"""The self-critical phase: its reward against the published scorer, its gradient against the definition."""

import random

import numpy as np
import pytest
import torch
from captioner_world import TAXONOMY, world
from pycocoevalcap.cider.cider import Cider

from pipeline import params
from pipeline.captioner.attributes import AttributeList
from pipeline.captioner.generation.random_sampling import Draw, sample
from pipeline.captioner.model.captioner import Captioner, Shape
from pipeline.captioner.training.reward import CiderD, EmotionReward
from pipeline.captioner.training.self_critical import SelfCritical
from pipeline.captioner.training.trainer import train
from pipeline.captioner.vocabulary import BOS, EOS, PAD, UNK, Vocabulary

SECTION = params.Captioner(width=32, heads=2, feedforward=64, dropout=0.1, word_count=2, universal_words=50,
                           embedded_attributes=6, max_words=8)


def sentences(chance: random.Random, count: int, words: int) -> list[list[str]]:
    return [[f"w{chance.randrange(words)}" for _ in range(chance.randint(1, 9))] for _ in range(count)]


@pytest.mark.parametrize("words", [3, 12, 60])
def test_cider_is_the_published_one(words: int) -> None:
    chance = random.Random(words)
    references = [sentences(chance, chance.randint(1, 6), words) for _ in range(30)]
    said = [sentences(chance, 1, words + 5)[0] for _ in references]       # some words that no reference has
    said[0] = references[0][0]
    said[1] = ["w0"] * 7
    found = CiderD(references).score(range(30), said)
    _, truth = Cider().compute_score(
        {i: [" ".join(one) for one in own] for i, own in enumerate(references)},
        {i: [" ".join(one)] for i, one in enumerate(said)})
    assert found == pytest.approx(truth, abs=1e-9)
    assert found.max() > 0.5


def test_cider_of_several_captions_of_a_video_in_any_order() -> None:
    chance = random.Random(5)
    references = [sentences(chance, 4, 9) for _ in range(6)]
    cider = CiderD(references)
    videos, said = [4, 0, 4, 5, 0], sentences(chance, 5, 9)
    together = cider.score(videos, said)
    assert together == pytest.approx([cider.score([v], [s])[0] for v, s in zip(videos, said, strict=True)])


def test_emotions_that_are_right_count_and_wrong_ones_cost() -> None:
    reward = EmotionReward([[["a", "man", "happily", "runs"], ["he", "sadly", "runs"]], [["a", "dog"]]], TAXONOMY)
    said = [["happily"], ["angrily"], ["happily", "angrily"], ["man"], ["happily", "sadly"]]
    assert reward.score([0] * 5, said).tolist() == [1, -1, 0, 0, 1]
    assert reward.score([1, 1], [["dog"], ["happily"]]).tolist() == [0, -1]


def goal_of(max_words: int, **settings: object) -> SelfCritical:
    inputs, captions = world(6, seed=1, silent=2)
    texts = [captions[video] for video in inputs.ids]
    everything = [text for own in texts for text in own]
    vocabulary = Vocabulary.build(everything, 1)
    section = SECTION.model_copy(update={"max_words": max_words})
    attributes = AttributeList.build(everything, TAXONOMY, 20)
    torch.manual_seed(0)
    model = Captioner(section, Shape.of(section, inputs, len(vocabulary)), attributes)
    training = params.Training(self_critical_epochs=1, self_critical_samples=3, **settings)
    return SelfCritical(model, training, inputs, texts, attributes.targets(texts), vocabulary, TAXONOMY, 0)


def plain_log_p(goal: SelfCritical, video: int, tokens: list[int]) -> torch.Tensor:
    """Σ log p of the chosen words, one caption at a time, by the path without cache or packing."""
    encoded = goal.model.encode(goal.inputs.select([video]))
    logits = goal.model.decode(encoded, torch.tensor([[BOS, *tokens[:-1]]]), torch.zeros(1, dtype=torch.long))[0]
    total = torch.zeros(())
    for place, token in enumerate(tokens[:goal.model.section.max_words]):
        allowed = torch.ones(logits.shape[1], dtype=torch.bool)
        allowed[[PAD, BOS, UNK, *([EOS] if place == 0 else [tokens[place - 1]])]] = False
        total = total + logits[place].masked_fill(~allowed, -torch.inf).log_softmax(-1)[token]
    return total


@pytest.mark.parametrize("max_words", [3, 8])       # at 3 most captions are ended at the limit
def test_the_gradient_is_the_policys(max_words: int) -> None:
    goal, batch = goal_of(max_words), np.array([4, 0, 2])
    torch.manual_seed(7)
    caption, attribute = goal.losses(batch)
    caption.backward()  # type: ignore[no-untyped-call]
    found = {name: p.grad.clone() for name, p in goal.model.named_parameters() if p.grad is not None}
    goal.model.zero_grad()
    torch.manual_seed(7)
    drawn, sums = sample(goal.model, goal.model.encode(goal.inputs.select(batch)), 3, Draw(3))
    reward = goal.rewards(batch, drawn)
    assert caption.item() == pytest.approx(-reward.mean(), abs=1e-5) and attribute > 0
    expected = torch.zeros(())
    for row, video in enumerate(batch.tolist()):
        for own, text in enumerate(drawn[row].tolist()):
            others = np.delete(reward[row], own).mean()
            log_p = plain_log_p(goal, video, [token for token in text if token != PAD])
            assert log_p.item() == pytest.approx(sums[row, own].item(), abs=1e-4)
            expected = expected - (reward[row, own] - others) * log_p / reward.size
    expected.backward()  # type: ignore[no-untyped-call]
    for name, p in goal.model.named_parameters():
        if p.grad is not None and name in found:
            assert torch.allclose(found[name], p.grad, atol=1e-5), name
    assert sum(gradient.abs().sum() for gradient in found.values()) > 0.1


def test_the_emotion_reward_has_its_weight() -> None:
    plain, moved = goal_of(8, emotion_reward=0.0), goal_of(8, emotion_reward=2.0)
    texts = torch.full((1, 3, 9), PAD)
    for row, sentence in enumerate((["a", "man"], ["happily"], ["angrily"])):
        texts[0, row, :len(sentence) + 1] = torch.tensor([*plain.vocabulary.encode(sentence), EOS])
    apart = moved.rewards(np.array([3]), texts) - plain.rewards(np.array([3]), texts)
    assert sorted(apart[0].tolist())[1:] in ([0, 2], [-2, 0]) and apart[0, 0] == 0


def test_the_phase_raises_the_reward_and_validation_chooses() -> None:
    inputs, captions = world(60, seed=1, silent=5)
    validation, references = world(30, seed=2)
    training = params.Training(epochs=4, videos=12, learning_rate=4e-3, self_critical_epochs=6,
                               self_critical_learning_rate=1e-3, keep="cider")
    trained = train(SECTION, training, params.Generation(), inputs, captions, validation, references, TAXONOMY, 0, "cpu")
    first, last = trained.history[:4], trained.history[4:]
    assert [record["epoch"] for record in trained.history] == list(range(1, 11))
    assert last[-1]["caption_loss"] < last[0]["caption_loss"] < 0           # minus the reward
    assert max(r["validation_cider"] for r in last) > max(r["validation_cider"] for r in first)
    assert trained.best == max(trained.history, key=lambda record: record["validation_cider"])
