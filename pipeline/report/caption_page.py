"""The page of one's own clips: cards like those of the report, without references. One file; it needs no network."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from pipeline.emotion.taxonomy import Taxonomy
from pipeline.report import gallery
from pipeline.report.assets import as_inert_json, hash_of, read_asset, read_card_scripts, read_template

FAR = "Far from the training clips: do not trust this caption."


def render(rows: Sequence[Mapping[str, Any]], frames: Sequence[gallery.Frames], trained_on: str,
           taxonomy: Taxonomy) -> str:
    """rows: as CaptionedClip.as_json gives them; frames: of each."""
    words = gallery.EmotionWords(taxonomy)
    cards = [gallery.make_card(row, (), own, words)
             | {"id": Path(row["video_id"]).name, "split": _window(row), "clip": "",
                "note": FAR if row["unlike_training"] else ""} for row, own in zip(rows, frames, strict=True)]
    script = read_card_scripts()
    return read_template("caption_page.html.j2").render(
        total=len(cards), trained_on=trained_on, far=sum(bool(card["note"]) for card in cards),
        emotions=sorted({name for card in cards for name in card["said"]}),
        cards=Markup(as_inert_json({"cards": cards, "outcomes": gallery.OUTCOMES})),
        style=Markup(read_asset("style.css")), script=Markup(script),
        script_hash=hash_of(script))


def _window(row: Mapping[str, Any]) -> str:
    return f"{row['start']:.1f} – {row['end']:.1f} s" if "start" in row else ""
