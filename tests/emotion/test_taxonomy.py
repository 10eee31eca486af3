"""The two lists of emotion words."""

import json
import os
from pathlib import Path

import pytest

from pipeline.common.errors import SpectrumError
from pipeline.emotion.taxonomy import Taxonomy

EVC, FT = Taxonomy.load("evc-179"), Taxonomy.load("ft-161")


@pytest.mark.parametrize(("taxonomy", "words"), [(EVC, 179), (FT, 161)])
def test_counts(taxonomy: Taxonomy, words: int) -> None:
    assert len(taxonomy.categories) == 34
    assert len(taxonomy.words) == len(set(taxonomy.words)) == words
    assert list(taxonomy.categories) == sorted(taxonomy.categories)
    assert list(taxonomy.words) == sorted(taxonomy.words)
    assert all(word == word.lower() and " " not in word for word in taxonomy.words)


def test_the_longer_list_holds_the_shorter() -> None:
    assert len(set(EVC.words) - set(FT.words)) == 18
    assert set(FT.words) < set(EVC.words)
    assert "hate" in EVC.words and "hate" not in FT.words
    assert EVC.categories == FT.categories


def test_four_words_stand_in_two_categories() -> None:
    double = {word: EVC.categories_of(word) for word in EVC.words if len(EVC.categories_of(word)) > 1}
    assert double == {"annoying": ("anger", "annoyance"), "hopeful": ("anticipation", "optimistic"),
                      "timid": ("fear", "shy"), "worried": ("annoyance", "worry")}
    assert EVC.first_category("worried") == "annoyance"


def test_what_is_no_emotion_word() -> None:
    for token in ("dog", "Happy", "happy.", ""):
        assert EVC.categories_of(token) == ()
        assert EVC.first_category(token) is None


def test_membership() -> None:
    table = EVC.membership()
    assert table.shape == (34, 179) and table.dtype == bool
    assert table.sum() == 183                       # 179 words, four of them twice
    assert table.any(axis=1).all() and table.any(axis=0).all()
    assert table[EVC.categories.index("joy"), EVC.words.index("happily")]
    assert not table[EVC.categories.index("sadness"), EVC.words.index("happily")]


def test_an_unknown_list_is_refused() -> None:
    with pytest.raises(SpectrumError, match="evc-179"):
        Taxonomy.load("plutchik")


def test_the_lists_are_the_fields() -> None:
    folder = os.environ.get("SPECTRUM_REAL_DATA")
    if not folder:
        pytest.skip("SPECTRUM_REAL_DATA is unset")
    field = json.loads((Path(folder) / "emotion_words.json").read_text())["categories"]
    for taxonomy in (EVC, FT):
        assert taxonomy.category_words == {
            category: tuple(word for word in entry["words"]
                            if taxonomy is EVC or word not in entry["only_in_evc_179"])
            for category, entry in field.items()}
