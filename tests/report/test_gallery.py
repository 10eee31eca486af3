"""The videos on the page, and how their captions did on emotion."""

from typing import Any

import pytest
from test_report import TAXONOMY

from pipeline.emotion.taxonomy import Taxonomy
from pipeline.report import gallery


@pytest.mark.parametrize(("caption", "references", "outcome"), [
    ("a man happily sings", ["a joyful song"], "right"),
    ("a happily angrily man", ["a joyful song"], "mixed"),
    ("a man angrily sings", ["a joyful song"], "wrong"),
    ("a man angrily sings", ["a song"], "wrong"),
    ("a man sings", ["a joyful song"], "missed"),
    ("a man sings", ["a song"], "plain"),
    ("a man happily sings", [], "unknown"),
    ("a hopeful man", ["he is hopeful"], "right"),
    ("a worried man", ["she is afraid"], "wrong"),      # a caption's word counts for its first category alone
    ("an afraid man", ["she is worried"], "right"),     # a reference's word counts for all of them
])
def test_outcome(caption: str, references: list[str], outcome: str) -> None:
    assert gallery.judge_caption(caption, references, TAXONOMY) == outcome


def test_emotion_words_are_marked_and_the_text_is_kept() -> None:
    text = "A man, HAPPILY  (unhappily?) or very_sad: sad's 'calm'! É"
    taxonomy = Taxonomy("test", {**TAXONOMY.category_words, "sadness": ("sad", "sads")})
    words = gallery.EmotionWords(taxonomy)
    pieces = words.mark(text, frozenset({"joy", "sadness"}))
    assert "".join(piece if isinstance(piece, str) else piece[0] for piece in pieces) == text
    assert [piece for piece in pieces if not isinstance(piece, str)] == [
        ("HAPPILY", "joy", "right"), ("sad's", "sadness", "right"), ("calm", "serenity", "wrong")]
    assert words.mark("happily") == [("happily", "joy", "")]        # found before, now compared with nothing


def make_card(caption: str, references: list[str], **row: Any) -> gallery.Card:
    return gallery.make_card({"video_id": "a", "caption": caption, **row}, references, (),
                             gallery.EmotionWords(TAXONOMY))


def test_confusions_count_videos_by_reference_and_prediction() -> None:
    confusions = gallery.count_confusions([
        make_card("he is sad", ["a worried man"]), make_card("he runs", ["worried"]), make_card("he is sad", []),
        make_card("a worried man", ["worried"])])
    assert confusions is not None
    assert confusions.columns == ("apprehension", "fear", "sadness", gallery.NO_EMOTION)
    assert {(row, cell.category): round(cell.share * videos) for row, videos, cells in confusions.rows
            for cell in cells if cell.share} == {
        # "worried" is said as its first category; beside a reference's second one it is no confusion.
        ("apprehension", "apprehension"): 1,
        ("apprehension", "sadness"): 1, ("fear", "sadness"): 1,
        ("apprehension", gallery.NO_EMOTION): 1, ("fear", gallery.NO_EMOTION): 1}


def test_emotions_that_print_as_zero_are_left_out_and_the_prior_stands_beside() -> None:
    emotions = [{"category": name, "probability": share}
                for name, share in (("anger", 0.0), ("fear", 0.004), ("joy", 0.9), ("sadness", 0.001))]
    card = make_card("a man", ["joyful"], emotions=emotions, prior={"joy": 0.5, "sadness": 0.25})
    assert card["emotions"] == [("joy", 0.5, 0.9, True), ("sadness", 0.25, 0.001, False)]
    assert make_card("a man", [], emotions=emotions)["emotions"] == [("joy", None, 0.9, False)]


def test_a_videos_own_cider_is_of_the_first_protocol_that_could_be_had() -> None:
    assert make_card("a man", [], scores={"CIDEr (evc)": 0.2, "CIDEr (coco)": 0.1})["cider"] == 0.1
    assert make_card("a man", [], scores={"CIDEr (evc)": 0.2})["cider"] == 0.2
    assert make_card("a man", [])["cider"] is None and make_card("a man", [], score=float("nan"))["score"] is None
