"""What the prior is made of: readers of rows, calibration, and the two as they are fitted on training videos."""

from collections.abc import Mapping

import numpy as np
import pytest

from pipeline.emotion.calibration import Calibration, compute_log_loss, fit_calibration
from pipeline.emotion.fitting import CandidateEvidence, LabelledVideos, WeighedCandidates, fit_candidates, fit_prior
from pipeline.emotion.prior import Prior, Vectors, compare_shares, subsets, weigh
from pipeline.emotion.row_reader import fit_reader
from pipeline.emotion.taxonomy import Taxonomy

TAXONOMY = Taxonomy.load("evc-179")
OWNERS = TAXONOMY.membership()
C, W = OWNERS.shape


def some_targets(count: int, seed: int = 0) -> np.ndarray:
    """One of four categories a video."""
    targets = np.zeros((count, C), bool)
    targets[np.arange(count), np.random.default_rng(seed).integers(4, size=count)] = True
    return targets


def rows_of(targets: np.ndarray, noise: float, dim: int = 12, seed: int = 1) -> np.ndarray:
    """Rows that tell the targets in part; the law is the same for every seed."""
    law = np.random.default_rng(99).standard_normal((C, dim))
    return (targets @ law + noise * np.random.default_rng(seed).standard_normal((len(targets), dim))).astype(np.float32)


@pytest.mark.parametrize("dim", [5, 60])        # fewer and more columns than videos
def test_a_training_video_is_read_as_if_it_had_not_been_there(dim: int) -> None:
    targets, count = some_targets(30), 30
    rows = rows_of(targets, 1.0, dim).astype(np.float64)
    reader, evidence = fit_reader(rows, targets)
    # By brute force: the same ridge over the other videos.
    rates = targets.mean(0)
    wanted = (targets - rates) / np.sqrt(np.maximum(rates * (1 - rates), 1e-3))
    scaled = (rows - rows.mean(0)) / rows.std(0)

    def fit(chosen: np.ndarray, penalty: float) -> np.ndarray:
        centred = scaled[chosen] - scaled[chosen].mean(0)
        gram = centred.T @ centred + penalty * count * np.eye(dim)
        return np.asarray(np.linalg.solve(gram, centred.T @ wanted[chosen]))

    penalty = min((0.1, 0.3, 1.0, 3.0, 10.0),
                  key=lambda each: float(np.abs(fit(np.arange(count), each) - reader.coefficients).max()))
    assert reader.coefficients == pytest.approx(fit(np.arange(count), penalty), abs=1e-8)
    for video in (0, 7, 29):
        others = np.delete(np.arange(count), video)
        deviation = scaled[video] - scaled[others].mean(0)
        assert evidence[video] == pytest.approx(deviation @ fit(others, penalty), abs=1e-8)
    assert np.abs(evidence - reader.read(rows)).max() > 0.01        # which differs from what it learned by heart


def test_rows_of_chance_are_not_believed() -> None:
    """Had the reader seen the training videos, it would tell them by heart, and be believed."""
    targets = some_targets(60)

    def gain(evidence: np.ndarray) -> float:
        """By how much the log-loss falls when this is believed as far as it seems to be worth."""
        sources = np.stack([np.zeros((60, C)), evidence], 1)
        without = fit_calibration(0 * sources, targets, targets.mean(0)).apply(0 * sources)
        believed = fit_calibration(sources, targets, targets.mean(0)).apply(sources)
        return 1 - (compute_log_loss(believed, targets) or 0) / (compute_log_loss(without, targets) or 1)

    gains = []
    for seed in range(8):
        chance = np.random.default_rng(seed).standard_normal((60, 200))
        reader, unseen = fit_reader(chance, targets)
        gains.append(gain(unseen))
        assert gain(reader.read(chance)) > 0.5
    assert np.mean(gains) < 0.02


def test_a_constant_column_says_nothing() -> None:
    targets = some_targets(40)
    rows = rows_of(targets, 0.5)
    with_constant = np.concatenate([rows, np.full((40, 1), 7, np.float32)], 1)
    reader, evidence = fit_reader(with_constant, targets)
    assert evidence == pytest.approx(fit_reader(rows, targets)[1], abs=1e-6)
    with_constant[:, -1] = 1000         # outside the data set it may be anything
    assert reader.read(with_constant) == pytest.approx(fit_reader(rows, targets)[0].read(rows), abs=1e-6)


def test_calibration_finds_the_slopes_that_made_the_truth() -> None:
    rng = np.random.default_rng(0)
    evidence = rng.standard_normal((3000, 3, C))
    truth = Calibration(np.array([0.5, 2.0, 0.0]), np.linspace(-3, -1, C))
    targets = rng.random((3000, C)) < truth.apply(evidence)
    fitted = fit_calibration(evidence, targets, np.full(C, 0.1))
    assert fitted.slopes == pytest.approx(truth.slopes, abs=0.05)
    assert fitted.intercepts == pytest.approx(truth.intercepts, abs=0.35)
    again = fit_calibration(evidence, targets, np.full(C, 0.1))
    assert np.array_equal(again.slopes, fitted.slopes) and np.array_equal(again.intercepts, fitted.intercepts)


def test_evidence_that_is_too_sure_is_tempered() -> None:
    """Sure and often wrong, as the candidates of an emotional data set are: ten times the true log-odds."""
    rng = np.random.default_rng(0)
    truth = rng.standard_normal((500, 1, C))
    targets = rng.random((500, C)) < Calibration(np.ones(1), np.full(C, -2.0)).apply(truth)
    unfitted = Calibration(np.ones(1), np.full(C, -2.0)).apply(10 * truth)
    fitted = fit_calibration(10 * truth, targets, np.full(C, 0.1)).apply(10 * truth)
    constant = np.broadcast_to(targets.mean(0, dtype=np.float32), targets.shape)
    losses = [compute_log_loss(p, targets) or 0 for p in (fitted, constant, unfitted)]
    assert losses == sorted(losses)


def test_a_source_that_is_right_by_being_wrong_is_left_out() -> None:
    rng = np.random.default_rng(0)
    evidence = rng.standard_normal((500, 2, C))
    targets = rng.random((500, C)) < Calibration(np.array([1.0, -1.0]), np.full(C, -1.0)).apply(evidence)
    slopes = fit_calibration(evidence, targets, np.full(C, 0.1)).slopes
    assert slopes[1] == 0 and slopes[0] > 0.5


def test_with_nothing_to_learn_from_candidates_are_believed() -> None:
    fitted = fit_calibration(np.zeros((0, 3, C)), np.zeros((0, C), bool), np.full(C, 0.1))
    assert fitted.slopes.tolist() == [1, 0, 0]
    assert fitted.apply(np.zeros((1, 3, C))) == pytest.approx(0.1)


def test_log_loss_by_hand() -> None:
    priors = np.array([[0.8, 0.1], [0.0, 1.0]], np.float32)
    targets = np.array([[True, False], [True, True]])
    by_hand = -np.mean([np.log(0.8), np.log(0.9), np.log(1e-3), np.log(0.999)])
    assert compute_log_loss(priors, targets) == pytest.approx(by_hand, rel=1e-5)
    assert compute_log_loss(priors[:0], targets[:0]) is None


def test_candidates_weigh_by_their_similarity() -> None:
    p, positions = np.eye(2, dtype=np.float32), np.array([[0, 1]])
    shares, counts = weigh(p, positions, np.array([[0.5, 0.5]], np.float32), 0.1)
    assert shares == pytest.approx(np.array([[0.5, 0.5]])) and counts == pytest.approx([2])
    shares, counts = weigh(p, positions, np.array([[0.1, 0.0]], np.float32), 0.1)
    assert shares[0, 0] / shares[0, 1] == pytest.approx(np.e, rel=1e-5) and 1 < counts[0] < 2
    many = weigh(p, np.zeros((600, 2), np.int64), np.zeros((600, 2), np.float32), 0.1)[0]
    assert many == pytest.approx(np.tile([1.0, 0.0], (600, 1)))


def test_a_share_is_compared_with_the_corpus_and_counts_by_its_candidates() -> None:
    rates = np.full(1, 0.2)
    few, many = (compare_shares(np.array([[0.6]], np.float32), np.array([count], np.float32), rates)[0, 0]
                 for count in (2, 200))
    assert 0 < few < many < np.log(0.6 / 0.4) - np.log(0.2 / 0.8)
    assert compare_shares(np.array([[0.2]], np.float32), np.array([9], np.float32), rates) == pytest.approx(0, abs=1e-6)


def label(targets: np.ndarray) -> LabelledVideos:
    """With the alphabetically first word of each category."""
    words = np.zeros((len(targets), W), bool)
    for category, own in enumerate(OWNERS):
        words[:, np.flatnonzero(own)[0]] |= targets[:, category]
    return LabelledVideos(np.arange(len(targets)), targets, words)


def fit(targets: np.ndarray, vectors: Mapping[str, Vectors], shares: np.ndarray | None = None,
        training: LabelledVideos | None = None) -> tuple[Prior, np.ndarray, np.ndarray]:
    """A prior of videos whose candidates say nothing, unless `shares` are given."""
    count = len(targets)
    rates = np.full(C, 0.1), np.full(W, 0.02)
    shares = np.full((count, C), 0.1, np.float32) if shares is None else shares
    candidates = WeighedCandidates(shares, np.full((count, W), 0.02, np.float32), np.full(count, 20, np.float32), rates)
    fitted = fit_candidates(CandidateEvidence({}, np.zeros((0, 1), np.int64), np.zeros((0, 1), np.float32)),
                            LabelledVideos(np.zeros(0, np.int64), targets[:0], np.zeros((0, W), bool)), rates[0])
    return fit_prior(fitted, candidates, vectors, training or label(targets), OWNERS)


def test_sound_tells_what_candidates_do_not_and_silent_videos_have_a_prior_of_their_own() -> None:
    targets = some_targets(300)
    present = np.arange(300) % 3 > 0
    sound = rows_of(targets, 0.5) * present[:, None]
    prior, evidence, has = fit(targets, {"audio": (sound, present)})
    assert prior.modalities == ("audio",) and has[:, 0].tolist() == present.tolist()
    p = prior.estimate(evidence, has, ["audio"])
    right = targets[np.arange(300), p.argmax(1)]
    assert right[present].mean() > 0.9 > 0.5 > right[~present].mean()
    loss, silent = (compute_log_loss(p[of], targets[of]) or 0 for of in (present, ~present))
    constant = compute_log_loss(np.broadcast_to(targets.mean(0, dtype=np.float32), targets.shape), targets) or 0
    assert loss < constant / 3 and silent == pytest.approx(constant, rel=0.05)
    # A captioner that does not read sound has nothing of it.
    deaf = prior.estimate(evidence, has, ["appearance", "text"])
    assert deaf == pytest.approx(np.broadcast_to(deaf[0], deaf.shape), abs=1e-6)


def test_a_new_video_has_the_prior_that_its_like_have() -> None:
    targets, new = some_targets(300), some_targets(200, seed=5)
    noise, dim = 4.0, 100       # so much that the readers know some training videos by heart
    prior, evidence, has = fit(targets, {"audio": (rows_of(targets, noise, dim), np.ones(300, bool))})
    rows = rows_of(new, noise, dim, seed=6)
    unseen, present = prior.read_rows({"audio": (rows, np.ones(200, bool))}, 200)
    shares = prior.read_shares(np.full((200, C), 0.1, np.float32), np.full(200, 20, np.float32))
    theirs = prior.estimate(np.concatenate([shares, unseen], 1), present, ["audio"])
    own = prior.estimate(evidence, has, ["audio"])
    losses = compute_log_loss(own, targets) or 0, compute_log_loss(theirs, new) or 0
    assert losses[0] == pytest.approx(losses[1], rel=0.15)
    assert own.max(1).mean() == pytest.approx(theirs.max(1).mean(), abs=0.05)       # and training videos are no surer


def test_the_mixture_learns_what_a_neighbouring_mood_stands_for() -> None:
    """Candidates always carry the category after the right one."""
    targets = some_targets(200)
    shares = (0.05 + 0.5 * np.roll(targets, 1, axis=1) * np.random.default_rng(0).random((200, 1))).astype(np.float32)
    prior, evidence, has = fit(targets, {}, shares)
    p = prior.estimate(evidence, has, [])
    assert targets[np.arange(200), p.argmax(1)].mean() > 0.9
    assert prior.calibrations[0].slopes[1] > 0


def test_words_have_priors_of_their_own() -> None:
    """Two words of a category that always come together are both likely; split evidence could not say so."""
    targets = some_targets(300)
    labelled = label(targets)
    pair = np.flatnonzero(OWNERS[0])[:2]
    labelled.words[:, pair[1]] = labelled.words[:, pair[0]]
    prior, evidence, has = fit(targets, {"audio": (rows_of(targets, 0.3), np.ones(300, bool))}, training=labelled)
    p = prior.estimate(evidence, has, ["audio"])
    words = prior.estimate_words(p, np.full((300, W), 0.02, np.float32), np.full(300, 20, np.float32))
    having = targets[:, 0]
    assert words[having][:, pair].min(1).mean() > 0.8 and words[~having][:, pair].mean() < 0.1
    assert words.mean() == pytest.approx(labelled.words.mean(), rel=0.1)


def test_an_estimator_that_misleads_gets_no_weight() -> None:
    rng = np.random.default_rng(0)
    targets = some_targets(200)
    categories = np.repeat(np.eye(C, dtype=np.float32)[:4] * 5, 50, 0)          # captions, 50 a category
    positions = np.stack([(targets[video].argmax() * 50 + rng.integers(50, size=10)) for video in range(200)])
    misleading = rng.permutation(np.repeat(np.eye(C, dtype=np.float32)[:4] * 5, 50, 0))
    rates = np.full(C, 0.1)
    scores = np.zeros((200, 10), np.float32)
    both = CandidateEvidence({"lexicon": categories, "clip": misleading}, positions, scores)
    assert fit_candidates(both, label(targets), rates).weights == {"lexicon": 1.0, "clip": 0.0}
    alone = CandidateEvidence({"clip": misleading}, positions, scores)
    assert fit_candidates(alone, label(targets), rates).weights["clip"] > 0


def test_near_candidates_count_more_where_only_they_are_right() -> None:
    targets = some_targets(200)
    categories = np.eye(C, dtype=np.float32)[:4] * 5
    rng = np.random.default_rng(0)
    positions = np.concatenate([targets.argmax(1)[:, None], rng.integers(4, size=(200, 9))], 1)
    rates = np.full(C, 0.1)
    falling = np.tile(np.linspace(0.6, 0.2, 10, dtype=np.float32), (200, 1))
    near = fit_candidates(CandidateEvidence({"lexicon": categories}, positions, falling), label(targets), rates)
    anywhere = fit_candidates(CandidateEvidence({"lexicon": categories}, np.repeat(positions[:, :1], 10, 1), falling),
                              label(targets), rates)
    assert near.temperature < 0.1
    assert anywhere.temperature >= near.temperature


def test_subsets_stand_at_the_number_of_their_bits() -> None:
    assert subsets(("a", "b")) == [(), ("a",), ("b",), ("a", "b")]


def test_without_training_videos_the_candidates_are_believed() -> None:
    targets = some_targets(40)
    nobody = LabelledVideos(np.zeros(0, np.int64), targets[:0], np.zeros((0, W), bool))
    shares = (0.02 + 0.6 * targets).astype(np.float32)
    prior, evidence, has = fit(targets, {"audio": (rows_of(targets, 0.1), np.ones(40, bool))}, shares, nobody)
    assert prior.modalities == ()               # there was nothing to read it by
    p = prior.estimate(evidence, has, ["audio"])
    assert (p.argmax(1) == targets.argmax(1)).all()
    # their share, and a little the corpus'
    assert p[targets] == pytest.approx((0.62 * 20 + 0.1 * 4) / 24, abs=0.01)
    words = prior.estimate_words(p, np.full((40, W), 0.02, np.float32), np.full(40, 20, np.float32))
    assert np.isfinite(words).all() and words.max() < 0.5
