"""Caption your own clips with the captioner that the graph trained.

    python -m stages.caption holiday.mp4
    python -m stages.caption clips "more/*.mkv" @list.txt          # folders, patterns, a file with one path a line
    python -m stages.caption clips --html captions.html            # a page: frames, emotions, retrieved captions
    python -m stages.caption clips --json > captions.jsonl         # everything, as a line of JSON for each clip
    python -m stages.caption film.mp4 --srt                        # film.srt: a subtitle for each scene; also --vtt
    python -m stages.caption holiday.mp4 generation.num_beams=10   # with another parameter
    python -m stages.caption holiday.mp4 --checkpoint models/sample/baseline
    python -m stages.caption holiday.mp4 --checkpoint my-model     # a folder of stages.model, or a hub's org/name

Every output says what the captioner was trained on, and warns of clips that are unlike its training clips: do not
trust their captions.

Exit status: 0 every file has its caption, 1 some files could not be read (the others have their captions),
2 a wrong command line.
"""

import inspect
import re
import sys
import threading
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.common.errors import SpectrumError, print_error, readable_errors
from pipeline.common.files import json_text, write_jsonl, write_text
from pipeline.common.progress import Bar
from pipeline.common.terminal import say, warn
from pipeline.params import DEFAULT, Params, load
from pipeline.params.paths import Paths
from stages.command import Checkpoint, ParamsFile, run_command

if TYPE_CHECKING:
    from pipeline.captioning.clips import CaptionedClip, ClipCaptioner
    from pipeline.captioning.files import OwnVideo

_OVERRIDE = re.compile(r"[a-z_]+(\.[a-z_]+)*=.*", re.DOTALL)
_ENOUGH_FOR_A_BAR = 2       # videos


@dataclass(frozen=True)
class Options:
    """The command line."""

    inputs: Annotated[list[str] | None, typer.Argument(
        metavar="VIDEO... [KEY=VALUE]...", help="videos, folders, patterns, @lists; parameters to change")] = None
    lists: Annotated[list[Path] | None, typer.Option(
        "--list", metavar="FILE", help="a file with one path a line")] = None
    as_json: Annotated[bool, typer.Option("--json", help="print a line of JSON for each caption, no table")] = False
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="write a page with a card for each caption")] = None
    srt: Annotated[bool, typer.Option("--srt", help="caption scene by scene, and write subtitles: VIDEO.srt")] = False
    vtt: Annotated[bool, typer.Option("--vtt", help="the same as VIDEO.vtt")] = False
    out: Annotated[Path | None, typer.Option(
        metavar="FOLDER", help="put subtitles there; with --json also captions.jsonl")] = None
    checkpoint: Checkpoint = None
    params_file: ParamsFile = DEFAULT

    @property
    def overrides(self) -> list[str]:
        return [name for name in self.inputs or () if _OVERRIDE.fullmatch(name) and not Path(name).exists()]

    @property
    def videos(self) -> list[str]:
        overrides = self.overrides
        return [name for name in self.inputs or () if name not in overrides]

    @property
    def by_scene(self) -> bool:
        return self.srt or self.vtt


def main(**options: Any) -> None:
    chosen = Options(**options)
    if not chosen.videos and not chosen.lists:
        raise typer.BadParameter("name at least one video, folder, pattern or @list", param_hint="VIDEO")
    with readable_errors(go_on="run it again for the rest: what was printed or written stays"):
        whole = _caption(chosen, *_locate(chosen))
    sys.exit(not whole)


def _locate(options: Options) -> tuple[Params, Paths]:
    """The parameters, and where the captioner and its files are."""
    if options.checkpoint is None:
        params = load(options.overrides, options.params_file)
        return params, Paths.of(params)
    from pipeline.sharing.locating import locate

    return locate(options.checkpoint, options.overrides, options.params_file)


def _caption(options: Options, params: Params, paths: Paths) -> bool:
    """Whether every file has its caption."""
    from pipeline.captioning.files import check_videos, find_videos, refuse_imported_frames
    from pipeline.media.decoder import VideoDecoder

    refuse_imported_frames(params)
    with VideoDecoder(params.machine.decoding_timeout, params.extraction.decoder) as decoder:
        decoder.start()
        libraries = threading.Thread(target=_import_libraries)
        libraries.start()       # beside the look at the files, which is another process' work
        try:
            found, problems = find_videos(options.videos, options.lists or ())
            _refuse_overwriting(options, found)
            with Bar("look at the files", len(found), "videos") if len(found) >= _ENOUGH_FOR_A_BAR else _NoBar() as bar:
                videos, unreadable = check_videos(found, decoder, bar.advance)
            problems += unreadable
            for problem in problems:
                print_error(problem)
        finally:
            libraries.join()
        if not videos:
            return False
        from pipeline.captioning.loading import open_captioner

        captioner = open_captioner(params, paths, decoder)
        if captioner.is_untrained:
            warn("warning: the picture encoder has untrained weights; the captions mean nothing")
        clips, failed = _caption_all(captioner, videos, options)
        if clips:
            _write_outputs(captioner, clips, options)
    return not problems and not failed


def _caption_all(captioner: "ClipCaptioner", videos: Sequence["OwnVideo"],
                 options: Options) -> tuple[list["CaptionedClip"], int]:
    """The captions of all that could be read, and how many could not."""
    from pipeline.captioning.windows import Window, find_windows

    clips: list[CaptionedClip] = []
    failed = 0
    seconds = sum(video.probe.duration for video in videos)
    bar = (Bar("caption", round(seconds, 2), "seconds of video") if options.by_scene
           else Bar("caption", len(videos), "videos") if len(videos) >= _ENOUGH_FOR_A_BAR else _NoBar())
    with bar:
        for video in videos:
            windows: Sequence[Window | None] = [None]
            try:
                if options.by_scene:
                    windows = find_windows(captioner.decoder, video.path, video.probe.duration, lambda _: None)
                for window in windows:
                    clips.append(captioner.caption(video.path, window))
                    if options.as_json and not options.out:
                        print(json_text(clips[-1].as_json()), flush=True)
                    bar.advance(window.end - window.start if window else 1, note=clips[-1].text)
            except SpectrumError as error:
                print_error(error)
                failed += 1
    return clips, failed


def _write_outputs(captioner: "ClipCaptioner", clips: Sequence["CaptionedClip"], options: Options) -> None:
    """Writes the files that were asked for, and prints the table unless JSON was printed."""
    from pipeline.captioning.subtitles import to_srt, to_vtt
    from pipeline.captioning.table import print_table

    written = []
    if options.as_json and options.out:
        written.append(options.out / "captions.jsonl")
        write_jsonl(written[-1], (clip.as_json() for clip in clips))
    for asked, suffix, text_of in ((options.srt, ".srt", to_srt), (options.vtt, ".vtt", to_vtt)):
        if asked:
            for path, own in _subtitle_files(clips, options.out or Path(), suffix).items():
                write_text(path, text_of(own))
                written.append(path)
    if options.html:
        from pipeline.report.caption_page import render
        from pipeline.report.film_strips import choose_size, make_strip

        size, frames = choose_size(len(clips)), []
        for clip in clips:
            window = clip.window
            with captioner.decoder.reading_part(window.start, window.end) if window else nullcontext():
                frames.append(make_strip(captioner.decoder, clip.path, size))
        write_text(options.html, render([clip.as_json() for clip in clips], frames, str(captioner.trained_on),
                                        captioner.emotions.estimators.taxonomy))
        written.append(options.html)
    far = sum(clip.is_far for clip in clips)
    lines_alone = options.as_json and not options.out      # of JSON, on stdout
    if not lines_alone:
        print_table(clips)
        say(f"trained on {captioner.trained_on}")
    if far:
        warn(f"warning: {far} of {len(clips)} {'scenes' if options.by_scene else 'clips'} lie far from the training "
             f"clips ({captioner.trained_on}): do not trust their captions")
    if written:
        (warn if lines_alone else say)("wrote " + ", ".join(map(str, written)))


def _subtitle_files(clips: Sequence["CaptionedClip"], folder: Path,
                    suffix: str) -> dict[Path, list["CaptionedClip"]]:
    """The windows of every video by the file of its subtitles; two videos of one name get a number."""
    of_video: dict[Path, list[CaptionedClip]] = {}
    for clip in clips:
        of_video.setdefault(clip.path, []).append(clip)
    files: dict[Path, list[CaptionedClip]] = {}
    for video, own in of_video.items():
        path, number = folder / f"{video.stem}{suffix}", 1
        while path in files:
            number += 1
            path = folder / f"{video.stem}-{number}{suffix}"
        files[path] = own
    return files


def _refuse_overwriting(options: Options, videos: Sequence[Path]) -> None:
    if options.html and options.html.resolve() in {path.resolve() for path in videos}:
        raise SpectrumError(f"{options.html}: it is one of the videos; give the page a name of its own")


def _import_libraries() -> None:
    from pipeline.captioning.loading import import_libraries

    import_libraries()


class _NoBar:
    """In place of a Bar where there is nothing to wait for."""

    def __enter__(self) -> "_NoBar":
        return self

    def __exit__(self, *_: object) -> None:
        return

    def advance(self, count: float = 1, note: str | None = None) -> None:
        """As that of a Bar."""


# Typer reads a function's parameters; these are the fields of Options.
main.__signature__ = inspect.signature(Options)     # type: ignore[attr-defined]


if __name__ == "__main__":
    run_command(main, __doc__)
