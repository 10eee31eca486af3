"""Re-ranking beams by what the candidates agree on."""

import math

import numpy as np
import pytest
from pycocoevalcap.cider.cider_scorer import CiderScorer

from pipeline.captioner.generation.captions import Caption, Hypothesis
from pipeline.captioner.generation.consensus import Consensus
from pipeline.captioner.generation.document_frequency import DocumentFrequency
from pipeline.retrieval.index import CaptionIndex

CORPUS = [["a dog runs", "the dog is running"], ["a cat sleeps"], ["a man cooks rice", "a man is cooking"], ["a car"]]


def caption(*beams: tuple[str, float]) -> Caption:
    hypotheses = tuple(Hypothesis(*beam) for beam in beams)
    return Caption("v", hypotheses[0].text, hypotheses[0].score, hypotheses, (), (), hypotheses[0].text)


def agreement(consensus: Consensus, sentences: list[str], candidates: list[str]) -> list[float]:
    """Of one video."""
    return consensus.agreements([sentences], [candidates])[0].tolist()


def test_agreement_is_cider_where_nothing_is_clipped() -> None:
    """One reference of the same words in another order: no n-gram occurs more often than in it, lengths are equal."""
    sentence, candidate = "a dog runs home", "home runs a dog"
    scorer = CiderScorer()
    for own in CORPUS:
        scorer += (own[0] + " </s>", [text + " </s>" for text in own])
    scorer.compute_doc_freq()
    scorer.ref_len = math.log(len(CORPUS))
    expected = 10 * _cosines(scorer, sentence + " </s>", candidate + " </s>").mean()
    assert agreement(Consensus(CORPUS), [sentence], [candidate])[0] == pytest.approx(expected)


def _cosines(scorer: CiderScorer, one: str, other: str) -> np.ndarray:
    """The four cosines by pycocoevalcap's document frequencies."""
    vectors = []
    for text in (one, other):
        tokens = text.split()
        orders = []
        for n in range(1, 5):
            grams = [tuple(tokens[i:i + n]) for i in range(len(tokens) - n + 1)]
            rarity = {gram: scorer.ref_len - math.log(max(1.0, scorer.document_frequency[gram])) for gram in grams}
            orders.append({gram: grams.count(gram) * rarity[gram] for gram in grams})
        vectors.append(orders)
    cosines = []
    for left, right in zip(*vectors, strict=True):
        norms = math.prod(math.sqrt(sum(x ** 2 for x in vector.values())) for vector in (left, right))
        cosines.append(sum(left[gram] * right.get(gram, 0.0) for gram in left) / norms)
    return np.array(cosines)


def test_agreement_is_a_mean_over_the_candidates_in_which_nearer_ones_count_more() -> None:
    consensus = Consensus(CORPUS)
    candidates = ["a dog runs", "a cat", "zebra"]
    each = [agreement(consensus, ["the dog runs fast"], [one])[0] for one in candidates]
    counts = [math.exp(-1.5 * rank / 3) for rank in range(3)]
    assert agreement(consensus, ["the dog runs fast"], candidates)[0] == pytest.approx(
        sum(count * agreement for count, agreement in zip(counts, each, strict=True)) / sum(counts))
    assert agreement(consensus, ["a dog runs"], ["A dog, runs!"])[0] == pytest.approx(10)
    assert agreement(consensus, ["a dog runs", "", "unheard"], []) == [0, 0, 0]


def test_the_weight_decides_between_likelihood_and_agreement() -> None:
    beams = caption(("a man", -0.2), ("a dog runs", -0.5), ("the dog is running", -0.6))
    consensus = Consensus(CORPUS)
    candidates = [["a dog runs fast", "one dog runs", "a cat sleeps"]]
    assert consensus.rerank([beams], candidates, 0.0) == [beams]
    reranked = consensus.rerank([beams], candidates, 1.0)[0]
    assert reranked.text == "a dog runs" and reranked.beams[0] == Hypothesis(reranked.text, reranked.score)
    agreed = agreement(consensus, ["a dog runs"], candidates[0])[0]
    assert reranked.score == pytest.approx(-0.5 + agreed)
    assert [beam.score for beam in reranked.beams] == sorted((beam.score for beam in reranked.beams), reverse=True)
    assert {beam.text for beam in reranked.beams} == {beam.text for beam in beams.beams}


def test_an_index_counts_videos() -> None:
    texts = [text for own in CORPUS for text in own]
    videos = [str(number) for number, own in enumerate(CORPUS) for _ in own]
    vectors = np.zeros((len(texts), 2), np.float32)
    index = CaptionIndex(tuple(texts), tuple((video,) for video in videos), vectors, "recipe", "digest", "corpus")
    sentences, candidates = ["a man runs"], ["a man cooks", "the dog runs"]
    assert agreement(Consensus.of(index), sentences, candidates) == agreement(
        Consensus(CORPUS), sentences, candidates)


def test_what_is_counted_in_parts_is_what_is_counted_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    corpus = [[" ".join(f"w{word}" for word in rng.integers(0, 9, rng.integers(0, 7))) for _ in range(3)]
              for _ in range(40)]
    candidates = [*corpus[3], "w1 w2 unheard", ""]
    whole = agreement(Consensus(corpus), corpus[0], candidates)
    monkeypatch.setattr("pipeline.captioner.generation.document_frequency._BLOCK", 20)
    assert agreement(Consensus(corpus), corpus[0], candidates) == whole


def test_an_n_gram_counts_once_a_video() -> None:
    frequency = DocumentFrequency([[["a", "b", "a"], ["a", "b"]], [["a", "c"]], [["d"]]], 2)
    ones, twos = frequency.vectors([["a", "d", "d", "new"], ["a", "b"], []])
    weights = np.log(3) - np.log([2, 1, 1]) * 1.0
    expected = np.array([weights[0], 2 * weights[1], np.log(3)])
    assert sorted(ones.weight[ones.sentence == 0]) == pytest.approx(sorted(expected / np.linalg.norm(expected)))
    assert twos.weight[twos.sentence == 1] == pytest.approx([1]) and 2 not in ones.sentence


def test_videos_are_compared_by_blocks_as_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    consensus = Consensus(CORPUS)
    sentences = [["a dog runs", "zebra one"], [], ["a man is cooking"], ["a car"]]
    candidates = [["the dog is running", "zebra two", "a dog runs"], ["a cat"], ["a man cooks rice", "a car"], []]
    alone = [agreement(consensus, *own) for own in zip(sentences, candidates, strict=True)]
    monkeypatch.setattr("pipeline.captioner.generation.consensus._BLOCK", 3)
    for found, expected in zip(consensus.agreements(sentences, candidates), alone, strict=True):
        assert found.tolist() == pytest.approx(expected)
    most = [own[int(np.argmax(agreement(consensus, own, own)))] for own in candidates[:3]]
    assert consensus.choose(candidates[:3]) == most
