"""Extracting the features of videos: what callers use.

    build = partial(appearance.load, section, Path("models/sample/encoder"), "auto")
    summary = extract([("clip_7", "clips/7.mp4")], build, Path("features/sample/sample-clip"),
                      params.extraction, params.machine, params.cluster)
"""

import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import params
from pipeline.common.errors import SpectrumError, readable_write_errors
from pipeline.common.files import fingerprint, remove_temporary_files
from pipeline.common.progress import Bar
from pipeline.common.terminal import warn
from pipeline.encoders.base import Encoder
from pipeline.extraction.batching import encode_all
from pipeline.extraction.reading import file_problem, read_one
from pipeline.extraction.recipe import clip_recipe_id, num_shards, recipe
from pipeline.extraction.shard_maker import STEPS, Build, ShardProgress, ShardReport, Task
from pipeline.extraction.shard_worker import ShardWork
from pipeline.media.decoder import VideoDecoder
from pipeline.store.folder import only_writer, remove_leftovers, rows_folder, stored_ids
from pipeline.store.known_rows import drop_rows, keep_shards, kept_bytes
from pipeline.store.shard import Rows, check_id, shard_of
from pipeline.store.store_file import FAILED_FILE, STORE_FILE, write_store_file
from pipeline.workers.engine import open_engine

__all__ = ["clip_recipe_id", "encode_one", "extract", "recipe"]

_SHOWN = 3      # videos that a message names


def extract(videos: Sequence[tuple[str, str | Path]], build: Build, folder: Path, extraction: params.Extraction,
            machine: params.Machine, cluster: params.Cluster) -> dict[str, Any]:
    """Makes the store of `videos` (id, file) in `folder`; returns counts, rates and seconds per step.

    `build` makes the encoder, in each process that needs one: it has to be picklable where there is a cluster. A
    video that cannot be decoded is listed in the store and the run goes on. A video that cannot be read now, but has
    rows of the same recipe in the store, keeps them: it counts as `kept`, and `kept_videos` has its id.

    Raises SpectrumError at the end, with the store written, where more than the share `extraction.allowed_failures`
    of the videos failed; and before anything is changed where most files of the stored videos are missing, where
    another process writes the same store, or the disk is full.
    """
    started = time.perf_counter()
    files = _files(videos)
    with only_writer(folder):
        _check_files(files, folder)
        with readable_write_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for place in (folder, *rows_folder(folder).glob("*/")):
                remove_temporary_files(place)
        with open_engine(cluster) as engine:
            if engine.cores and not machine.decoder_processes:      # the workers share this machine's cores
                machine = machine.model_copy(update={"decoder_processes": engine.cores})
            task = engine.begin(ShardWork(build, folder, extraction, machine))
            facts, recipe_id = task.facts, fingerprint(task.facts["recipe"])
            shard_count = num_shards(facts["dim"], facts["recipe"], extraction, len(files))
            tasks = _tasks(files, shard_count)
            _keep_rows(folder, recipe_id)
            # In one process the next shard is read while one is encoded.
            parts = {f"shard {own.number}": (own,) for own in tasks} if engine.side_by_side else {"all": tuple(tasks)}
            with Bar(f"extract {facts['name']}", len(videos), "videos", "frames") as bar:
                made = list(task.run(parts, _BarUpdate(bar)))
        reports = [report for own, _ in made for report in own]
        seconds = {step: sum(own[step] for _, own in made) for step in STEPS}
        failures = _sorted(entry for report in reports for entry in report.failures)
        counts = {report.number: (report.videos, report.rows) for report in reports if report.videos}
        with readable_write_errors(folder / STORE_FILE):
            remove_leftovers(folder, set(counts))
            write_store_file(folder, facts["modality"], facts["recipe"], facts["dim"], counts, shard_count, failures)
        drop_rows(folder, recipe_id)        # which the shards have now
    kept = _sorted(entry for report in reports for entry in report.kept)
    if kept:
        warn(f"{folder}: {len(kept)} of {len(videos)} videos cannot be read now and keep the rows that the "
             f"store has of them: {_some(kept)}")
    _check_failures(failures, len(videos), folder, extraction.allowed_failures)
    return {**_summary(reports, seconds, time.perf_counter() - started), "kept_videos": [entry["id"] for entry in kept]}


def encode_one(path: Path, encoder: Encoder, extraction: params.Extraction,
               decoder: VideoDecoder) -> tuple[Rows, NDArray[np.float64]]:
    """A single file's rows [T, D] and times [T], as a store has them up to rounding. Raises SpectrumError."""
    items, times = read_one(path, encoder, extraction, decoder)
    return encode_all(encoder, items), np.array(times, np.float64)


class _BarUpdate:
    """Advances the bar by what is new of a shard: one that another worker starts again is not counted twice."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._last: dict[int, ShardProgress] = {}

    def __call__(self, _part: str, values: tuple[int, int, int, int]) -> None:
        progress = ShardProgress(*values)
        before = self._last.get(progress.number, ShardProgress(progress.number, 0, 0, 0))
        self._last[progress.number] = progress
        failed = sum(shard.failed for shard in self._last.values())
        self._bar.advance(progress.videos - before.videos, note=f"{failed} failed" if failed else "",
                          inner=progress.frames - before.frames)


def _files(videos: Sequence[tuple[str, str | Path]]) -> dict[str, Path]:
    """The file of each id."""
    files: dict[str, Path] = {}
    for video_id, path in videos:
        check_id(video_id)
        if video_id in files:
            raise SpectrumError(f"video {video_id!r} is listed twice ({files[video_id]} and {path}); ids are unique")
        files[video_id] = Path(path)
    return files


def _tasks(files: Mapping[str, Path], shard_count: int) -> list[Task]:
    by_shard: defaultdict[int, list[tuple[str, Path]]] = defaultdict(list)
    for video_id, path in sorted(files.items()):
        by_shard[shard_of(video_id, shard_count)].append((video_id, path))
    return [Task(number, tuple(shard)) for number, shard in sorted(by_shard.items())]


def _keep_rows(folder: Path, recipe_id: str) -> None:
    """Nothing that the store holds is lost while its shards are replaced, and nothing of another recipe afterwards."""
    if keep_shards(folder) - {recipe_id}:
        warn(f"{folder}: its rows are of another recipe, and are kept in {rows_folder(folder)} for when it "
             f"is asked for again ({kept_bytes(folder) / 1e6:.1f} MB are there; remove the folder to have "
             "the room)")


def _check_files(files: Mapping[str, Path], folder: Path) -> None:
    """Refuses to go on where most files are gone: a file system that is not mounted must not empty a store."""
    stored = stored_ids(folder)
    held = [path for video_id, path in files.items() if video_id in stored]
    missing = [(path, problem) for path in held if (problem := file_problem(path))]
    if 2 * len(missing) > len(held):
        path, problem = missing[0]
        raise SpectrumError(f"{folder}: {len(missing)} of the {len(held)} videos that this store holds are missing "
                            f"({path}: {problem}); nothing was changed; mount the videos' folder and run again, or "
                            f"remove the store and {rows_folder(folder)} if they are gone for good")


def _summary(reports: Sequence[ShardReport], seconds: Mapping[str, float], wall: float) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    for report in reports:
        counts.update(report.counts)
    videos, frames = sum(report.videos for report in reports), sum(report.frames for report in reports)
    kept = sum(len(report.kept) for report in reports)
    encoded = videos - counts["reused"] - counts["resumed"] - kept
    return {
        "videos": videos, "rows": sum(report.rows for report in reports), "frames": frames,
        "failed": sum(len(report.failures) for report in reports),
        **{name: counts[name] for name in ("partial", "silent", "reused", "resumed")}, "kept": kept,
        "videos_per_second": round(encoded / wall, 2), "frames_per_second": round(frames / wall, 2),
        "seconds": {step: round(seconds[step], 2) for step in STEPS},
    }


def _check_failures(failures: list[dict[str, str]], videos: int, folder: Path, allowed: float) -> None:
    if not failures:
        return
    sentence = (f"{folder}: {len(failures)} of {videos} videos failed; {folder / FAILED_FILE} has them all, with "
                f"reasons: {_some(failures)}")
    if len(failures) > allowed * videos:
        raise SpectrumError(f"{sentence}. That is more than extraction.allowed_failures={allowed:g} allows: mend or "
                            "remove them, or raise it")
    warn(sentence)


def _sorted(entries: Any) -> list[dict[str, str]]:
    return sorted(entries, key=lambda entry: entry["id"])


def _some(entries: Sequence[Mapping[str, str]]) -> str:
    return ("; ".join(f"{entry['path']}: {entry['reason']}" for entry in entries[:_SHOWN])
            + ("; …" if len(entries) > _SHOWN else ""))
