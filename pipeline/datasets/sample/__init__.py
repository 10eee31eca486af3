"""The sample data set: a small cartoon world rendered here, as real video files with sound and captions.

Actors act in places, in a mood that shows in face, light, motion and sound. See grammar.py for the world and
its captions, scene.py for the pictures, sound.py for the sound, clip.py for the files.
"""

import os
import re
import signal
import threading
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path

import numpy as np

from pipeline import params
from pipeline.common import programs
from pipeline.common.device import cpu_cores
from pipeline.common.errors import SpectrumError
from pipeline.common.progress import Bar
from pipeline.datasets.manifest import Caption, Manifest, Split, Video, check
from pipeline.datasets.sample.clip import Clip, render
from pipeline.datasets.sample.grammar import captions, plan

_NAME = re.compile(r"(pretrain|train|validation|test)-\d{4,}\.mp4")


def build(section: params.Sample, seed: int, folder: Path) -> Manifest:
    """Renders the clips of all splits into `folder`/clips; the corpus is the training captions.

    The same section, seed and ffmpeg give the same bytes. Clips of an earlier build that this one does not
    have are removed. Raises SpectrumError where a clip cannot be rendered.
    """
    counts: dict[Split, int] = {
        "pretrain": section.pretrain, "train": section.train, "validation": section.validation, "test": section.test}
    rng = np.random.default_rng(seed)
    clips: list[Clip] = []
    videos: list[tuple[str, Video]] = []
    texts: list[tuple[str, Caption]] = []
    for split, scenes in plan(counts, rng).items():
        for number, scene in enumerate(scenes, start=1):
            video = Video(f"{split}-{number:04d}", str(folder / "clips" / f"{split}-{number:04d}.mp4"), split)
            clips.append(Clip(scene, Path(video.path), (seed, len(clips)), section.seconds, section.size))
            videos.append((video.id, video))
            texts += [(video.id, Caption(video.id, text)) for text in captions(scene, section.captions, rng)]
    _remove_others(folder / "clips", {clip.path.name for clip in clips})
    _render_all(clips)
    return check(videos, texts, [(video, text) for video, text in texts if video.startswith("train-")])


def _render_all(clips: list[Clip]) -> None:
    programs.ffmpeg()       # its absence is reported once, here, not by every worker
    pool = ProcessPoolExecutor(min(cpu_cores(), len(clips)), get_context("spawn"), _end_with_parent)
    with Bar("render", len(clips), "clips") as bar, pool:
        # Ctrl-C reaches the whole group, and is this process' to answer: the workers inherit the mask.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            submitted = _submit(pool, clips)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            for done in as_completed(submitted):
                done.result()
                bar.advance()
        except BrokenProcessPool:
            for worker in active_children():    # one that was being started just then would wait for work for ever
                worker.kill()
            raise SpectrumError(f"{clips[0].path.parent}: a process that renders clips was ended from outside (is "
                                "there enough memory?); run again") from None
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _submit(pool: ProcessPoolExecutor, clips: list[Clip]) -> list[Future[None]]:
    try:
        return [pool.submit(render, clip) for clip in clips]
    except OSError:     # the first workers ended, and the pool with them, while another was being started
        raise BrokenProcessPool from None


def _end_with_parent() -> None:
    """Of a worker: a pool's processes would wait for work for ever where a signal ended the one that has it."""
    parent = parent_process()
    assert parent is not None
    threading.Thread(target=lambda: (wait([parent.sentinel]), os._exit(1)), daemon=True).start()


def _remove_others(folder: Path, names: set[str]) -> None:
    for path in folder.glob("*.mp4"):
        if path.name not in names and _NAME.fullmatch(path.name):
            path.unlink()
