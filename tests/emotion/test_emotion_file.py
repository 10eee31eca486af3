"""emotion.h5: what was written comes back, and anything else is refused in a sentence."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from pipeline.common import hdf5
from pipeline.common.errors import SpectrumError
from pipeline.emotion import prior_file
from pipeline.emotion.calibration import Calibration
from pipeline.emotion.emotion_file import Emotions
from pipeline.emotion.prior import Prior
from pipeline.emotion.row_reader import RowReader
from pipeline.emotion.taxonomy import Taxonomy

TAXONOMY = Taxonomy.load("evc-179")
C, W = len(TAXONOMY.categories), len(TAXONOMY.words)
WIDTHS = {"mixture": C, "audio": 3, "motion": 5}


def some_prior() -> Prior:
    rng = np.random.default_rng(0)
    readers = {name: RowReader(rng.random(width), rng.random(width) + 0.5, rng.standard_normal((width, C)))
               for name, width in WIDTHS.items()}
    readers["audio"].scale[1] = np.inf       # a column that said nothing
    return Prior(0.1, {"lexicon": 1.0, "clip": 0.25}, rng.random(C), rng.random(W), readers,
                 tuple(Calibration(rng.random(4), rng.standard_normal(C)) for _ in range(4)),
                 Calibration(rng.random(2), rng.standard_normal(W)), TAXONOMY.membership())


def emotions() -> Emotions:
    rng = np.random.default_rng(1)
    return Emotions("evc-179", "abc", "candidates", {"audio": "a1"}, some_prior(), np.array([3, 8]),
                    rng.random((2, C), np.float32), ("a", "é"), rng.random((2, W), np.float32),
                    np.full(2, 20, np.float32), rng.standard_normal((2, 4, C)).astype(np.float32),
                    np.array([[True, False], [True, True]]))


def test_emotions_and_their_prior_come_back_from_disk(tmp_path: Path) -> None:
    made = emotions()
    made.write(tmp_path / "e.h5")
    made.write(tmp_path / "again.h5")
    assert (tmp_path / "e.h5").read_bytes() == (tmp_path / "again.h5").read_bytes()
    read = Emotions.read(tmp_path / "e.h5")
    assert (read.taxonomy, read.recipe_id, read.ids) == ("evc-179", "abc", ("a", "é"))
    assert read.row_recipes == {"audio": "a1"}
    for modalities in ((), ("audio",), ("audio", "motion", "text")):
        for own, theirs in zip(made.select(["é", "a"], modalities), read.select(["é", "a"], modalities), strict=True):
            assert np.array_equal(own, theirs)
    assert read.prior.summary() == made.prior.summary()
    assert prior_file.digest_of(read.prior) == prior_file.digest_of(made.prior)
    rows = {"audio": (np.ones((1, 3), np.float32), np.array([True]))}
    assert np.array_equal(read.prior.read_rows(rows, 1)[0], made.prior.read_rows(rows, 1)[0])
    with pytest.raises(SpectrumError, match="no emotional prior for video 'z'"):
        read.select(["z"], ())
    with pytest.raises(SpectrumError, match=r"none\.h5: no such file; run the stage that makes it"):
        Emotions.read(tmp_path / "none.h5")


def test_whatever_was_fitted_differently_has_another_digest() -> None:
    made = some_prior()
    others = (replace(made, temperature=0.3), replace(made, weights={"lexicon": 1.0, "clip": 0.5}),
              replace(made, category_rates=made.category_rates / 2),
              replace(made, calibrations=made.calibrations[::-1]),
              replace(made, word_calibration=Calibration(np.zeros(2), np.zeros(W))))
    assert len({prior_file.digest_of(prior) for prior in (made, *others)}) == 1 + len(others)


def test_a_video_is_given_the_calibration_of_what_it_has() -> None:
    made = emotions()
    for video, modalities, number in (("a", (), 0), ("a", ("audio", "motion"), 1), ("é", ("motion",), 2),
                                      ("é", ("audio", "motion", "appearance"), 3)):
        position = made.ids.index(video)
        expected = made.prior.calibrations[number].apply(made.evidence[[position]])
        assert np.array_equal(made.select([video], modalities)[0], expected)


def too_large(values: np.ndarray) -> np.ndarray:
    return np.where(np.arange(values.shape[1]) == 3, 1.5, values).astype(np.float32)


def prior_with(**changes: Any) -> dict[str, Any]:
    return {"prior": replace(some_prior(), **changes)}


@pytest.mark.parametrize(("changes", "message"), [
    ({"taxonomy": "plutchik"}, "its list of emotion words is 'plutchik', expected one of evc-179, ft-161"),
    ({"taxonomy": "ft-161"}, r"its word_rates have the shape \(179,\), expected \(161,\)"),
    ({"rows": np.array([8, 3])}, "its rows do not rise"),
    ({"rows": np.array([-1, 3])}, "its rows do not rise"),
    ({"rows": np.array([1, 2, 3])}, "its caption_categories have the shape"),
    ({"ids": ("a", "a")}, "a video stands in it twice"),
    ({"word_shares": too_large(emotions().word_shares)}, "its word_shares hold a value that is no probability"),
    ({"caption_categories": -emotions().caption_categories}, "its caption_categories hold a value that is no prob"),
    ({"evidence": np.full((2, 4, C), np.nan, np.float32)}, "its evidence hold a value that is not a finite number"),
    ({"evidence": emotions().evidence[:, :3]}, r"its evidence have the shape \(2, 3, 34\), expected \(2, 4, 34\)"),
    ({"present": np.ones((2, 3), bool)}, "its present have the shape"),
    ({"counts": np.array([-1, 2], np.float32)}, "its counts are not 0 or more"),
    ({"word_shares": emotions().word_shares.astype(np.float64)}, "its word_shares are of type float64, expected"),
    (prior_with(temperature=float("inf")), "its temperature is no positive number"),
    (prior_with(weights={"clip": "heavy"}), "its weights are no numbers by name"),
    (prior_with(calibrations=some_prior().calibrations[:3]), r"its slopes have the shape \(3, 4\), expected \(4, 4\)"),
    (prior_with(word_calibration=Calibration(np.zeros(2), np.zeros(3))), "its word_intercepts have the shape"),
    (prior_with(readers=dict(reversed(some_prior().readers.items()))), "its readers are no widths by name, mixture"),
    ({"row_recipes": {"audio": 3}}, "its row_recipes are no texts by name"),
])
def test_a_file_of_anything_else_is_refused_in_a_sentence(
        tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = tmp_path / "emotion.h5"
    replace(emotions(), **changes).write(path)
    with pytest.raises(SpectrumError, match=rf"emotion\.h5: .*{message}"):
        Emotions.read(path)


@pytest.mark.parametrize(("name", "text", "message"), [
    ("prior", "[" * 100_000, "its prior is no JSON"), ("prior", "[]", "its prior is no JSON object"),
    ("prior", json.dumps({"temperature": 1, "weights": {}, "readers": {"mixture": -3}}), "its readers are no widths"),
    ("row_recipes", "[" * 100_000, "its row_recipes are no JSON"),
])
def test_texts_that_are_something_else_are_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = tmp_path / "emotion.h5"
    emotions().write(path)
    with h5py.File(path, "r+") as file:
        file.attrs[name] = text
        file.attrs["sha256"] = hdf5._sha256({key: value for key, value in file.attrs.items() if key != "sha256"})
    with pytest.raises(SpectrumError, match=rf"emotion\.h5: .*{message}"):
        Emotions.read(path)
