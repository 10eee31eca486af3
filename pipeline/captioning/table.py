"""Captions as a table, or of a single clip with what led to it."""

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.captioning.clips import CaptionedClip
from pipeline.captioning.subtitles import FAR
from pipeline.common.terminal import for_people, printable, say

_SHOWN = 5          # emotions, attributes and candidates of a single clip
_LIKELY = 0.1       # probability of an emotion that the table names
_WIDTH = 120        # columns where there is no terminal


def print_table(clips: Sequence[CaptionedClip]) -> None:
    if len(clips) == 1 and clips[0].window is None:
        say(describe(clips[0]))
        return
    if not for_people():
        for clip in clips:
            say(f"{clip.path}: {clip.text}")
        return
    table = Table(box=None, pad_edge=False)
    in_windows = any(clip.window for clip in clips)
    for name in ("video", *(["from", "to"] if in_windows else []), "caption", "emotions"):
        table.add_column(name, overflow="fold", justify="right" if name in ("from", "to") else "left")
    for clip in clips:
        window = [f"{clip.window.start:.1f}", f"{clip.window.end:.1f}"] if clip.window else []
        emotions = ", ".join(f"{name} {p:.0%}" for name, p in clip.caption.emotions[:2] if p >= _LIKELY)
        caption = f"{clip.text} {FAR}" if clip.is_far else clip.text
        table.add_row(*(Text(printable(cell)) for cell in (str(clip.path), *window, caption, emotions)))
    Console(width=None if sys.stdout.isatty() else _WIDTH).print(table)


def describe(clip: CaptionedClip) -> str:
    """The caption, and under it the strongest of what led to it."""
    caption = clip.caption

    def line(title: str, entries: Sequence[tuple[str, float]]) -> str:
        return f"  {title:<11}" + ", ".join(f"{name} {number:.2f}" for name, number in entries[:_SHOWN])

    return "\n".join([
        f"{clip.path}: {clip.text}{f' {FAR}' if clip.is_far else ''}", line("emotions", caption.emotions),
        line("attributes", [(attribute.word, attribute.probability) for attribute in caption.attributes]),
        line("candidates", clip.candidates)])
