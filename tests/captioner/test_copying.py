"""Copying from candidates, against the sum over places written out."""

import math

import pytest
import torch

from pipeline.captioner.inputs import Modality, word_keys
from pipeline.captioner.model.copying import CONTEXT, Copying
from pipeline.captioner.vocabulary import BOS, EOS, PAD, Vocabulary

VOCABULARY = Vocabulary.build(["a man runs", "a dog runs happily", "the man sleeps"], 1)
TEXTS = [["a man runs", "a dog sleeps", "zebra man"], ["the dog", "", "a dog runs happily"]]
SCORES = torch.tensor([[0.5, 0.2, -0.1], [0.3, 0.0, 0.4]])


def copying() -> Copying:
    torch.manual_seed(0)
    module = Copying(VOCABULARY, candidates=3, width=8)
    with torch.no_grad():
        module.ranks.copy_(torch.tensor([0.3, -0.2, 0.1]))
        module.similarity.fill_(0.7)
        module.matches.copy_(torch.tensor([1.5, 0.5, 0.25]))
        module.support.copy_(torch.tensor([-0.5, 0.1, 0.2, 0.3]))
    return module


def text(texts: list[list[str]], mask: torch.Tensor | None = None) -> Modality:
    shape = (len(texts), len(texts[0]))
    return Modality(torch.zeros(*shape, 4), torch.ones(shape, dtype=torch.bool) if mask is None else mask,
                    word_keys(texts), SCORES[:shape[0], :shape[1]])


def written_out(module: Copying, texts: list[str], scores: list[float], said: list[int], state: torch.Tensor,
                logits: torch.Tensor) -> torch.Tensor:
    """p of every word, place by place."""
    masses: dict[int, float] = {}
    most = 0
    for candidate, sentence in enumerate(texts):
        words = VOCABULARY.encode(sentence.split())
        if not words:
            continue
        run = [BOS, *words, EOS]
        for place in range(1, len(run)):
            if run[place] == 3:                 # <unk> is never said
                continue
            matching = 0
            before, spoken = [PAD, PAD, *run[:place]], [PAD, PAD, *said]
            while matching < CONTEXT and before[-1 - matching] == spoken[-1 - matching]:
                matching += 1
            most = max(most, matching)
            weight = (module.ranks[candidate] + module.similarity * scores[candidate]
                      + module.matches[:matching].sum()).item()
            masses[run[place]] = masses.get(run[place], 0.0) + math.exp(weight)
    share = torch.sigmoid(module.gate(state) + module.support[most]).item()
    expected = logits.softmax(-1) * (1 - share)
    for word, mass in masses.items():
        expected[word] += share * mass / sum(masses.values())
    return expected


@pytest.mark.parametrize("said", ["", "a", "a dog", "the man", "a dog runs"])
@torch.no_grad()
def test_it_is_the_sum_over_the_places_of_the_candidates(said: str) -> None:
    module = copying()
    tokens = [BOS, *VOCABULARY.encode(said.split())]
    newest = [*reversed(tokens), *[PAD] * CONTEXT][:CONTEXT]
    states, logits = torch.randn(2, 8), torch.randn(2, len(VOCABULARY))
    given = text(TEXTS)
    places = module.places(given, given.scores)
    assert places is not None
    log_p = module(states, torch.tensor([newest] * 2), places, logits)
    assert torch.allclose(log_p.exp().sum(1), torch.ones(2), atol=1e-5)
    for video in range(2):
        expected = written_out(module, TEXTS[video], SCORES[video].tolist(), tokens, states[video], logits[video])
        assert torch.allclose(log_p[video].exp(), expected, atol=1e-5)


@torch.no_grad()
def test_a_video_without_candidates_copies_nothing() -> None:
    module = copying()
    masked = text(TEXTS, torch.tensor([[False] * 3, [True] * 3]))
    places = module.places(masked, masked.scores)
    assert places is not None
    logits = torch.randn(2, len(VOCABULARY))
    log_p = module(torch.randn(2, 8), torch.full((2, CONTEXT), BOS), places, logits)
    assert torch.allclose(log_p[0], logits[0].log_softmax(-1), atol=1e-5)
    assert not torch.allclose(log_p[1], logits[1].log_softmax(-1), atol=1e-2)
    without_words = Modality(torch.zeros(2, 3, 4), torch.ones(2, 3, dtype=torch.bool))
    assert module.places(without_words, None) is None
