"""Which videos the page shows, and how their captions did on emotion."""

from collections import Counter

import pytest
from test_report import TAXONOMY

from pipeline.emotion.taxonomy import Taxonomy
from pipeline.report import gallery


def test_the_choice_depends_on_the_seed_and_not_on_the_order() -> None:
    outcome_of = {f"v{n}": "right" if n % 2 else "wrong" for n in range(100)}
    chosen = gallery.choose_videos(outcome_of, 0)
    assert chosen == gallery.choose_videos(dict(reversed(outcome_of.items())), 0)
    assert chosen != gallery.choose_videos(outcome_of, 1)
    assert Counter(outcome_of[video] for video in chosen) == {"right": 12, "wrong": 12}
    assert gallery.choose_videos({"a": "unknown"}, 0) == ["a"]


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
    pieces = gallery.mark_emotion_words(text, taxonomy, frozenset({"joy", "sadness"}))
    assert "".join(piece.text for piece in pieces) == text
    assert [(piece.text, piece.emotion, piece.state) for piece in pieces if piece.emotion] == [
        ("HAPPILY", "joy", "right"), ("sad's", "sadness", "right"), ("calm", "serenity", "wrong")]
    assert gallery.mark_emotion_words("happily", TAXONOMY)[0].state == ""


def test_matrix_counts_videos_by_reference_and_prediction() -> None:
    predictions = [{"video_id": "a", "caption": "he is sad"}, {"video_id": "b", "caption": "he runs"},
                   {"video_id": "c", "caption": "he is sad"}, {"video_id": "d", "caption": "a worried man"}]
    references = {"a": ["a worried man"], "b": ["worried"], "d": ["worried"]}
    counts, videos = gallery.count_confusions(predictions, references, TAXONOMY)
    assert videos == {"apprehension": 3, "fear": 3}
    # "worried" is said as its first category; beside a reference's second one it is no confusion.
    assert counts == {("apprehension", "apprehension"): 1,
                      ("apprehension", "sadness"): 1, ("fear", "sadness"): 1,
                      ("apprehension", gallery.NO_EMOTION): 1, ("fear", gallery.NO_EMOTION): 1}
