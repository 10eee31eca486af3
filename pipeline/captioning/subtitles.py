"""Captions of windows as subtitles: SRT and WebVTT.

Both tell in their first lines, or in the first subtitle, what the captioner was trained on: a file is passed on alone.
"""

import html
from collections.abc import Sequence

from pipeline.captioning.clips import CaptionedClip

FAR = "(unlike the training clips)"


def to_srt(clips: Sequence[CaptionedClip]) -> str:
    """SRT has no comments, so the first subtitle carries the note."""
    cues = []
    for number, clip in enumerate(clips, start=1):
        lines = _lines(clip)
        if number == 1:
            lines.append(f"[{_note(clip)}]")
        cues.append("\n".join([str(number), _times(clip, ","), *lines]) + "\n")
    return "\n".join(cues)


def to_vtt(clips: Sequence[CaptionedClip]) -> str:
    cues = ["WEBVTT\n", f"NOTE {html.escape(_note(clips[0]), quote=False)}\n"]
    cues += ["\n".join([_times(clip, "."), *(html.escape(line, quote=False) for line in _lines(clip))]) + "\n"
             for clip in clips]
    return "\n".join(cues)


def _lines(clip: CaptionedClip) -> list[str]:
    text = " ".join(clip.text.split()).replace("-->", "→")      # which would begin another subtitle
    return [text, *([FAR] if clip.is_far else [])]


def _note(clip: CaptionedClip) -> str:
    return f"captions by a model trained on {clip.trained_on}"


def _times(clip: CaptionedClip, point: str) -> str:
    assert clip.window is not None
    return f"{_clock(clip.window.start, point)} --> {_clock(clip.window.end, point)}"


def _clock(seconds: float, point: str) -> str:
    whole, thousandths = divmod(round(1000 * seconds), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}{point}{thousandths:03}"
