"""Extraction against its two halves, open_clip's own features, and the length of a video.

    python -m benchmarks.extraction ../clips              # 24 videos, evenly from the folder, twice
    python -m benchmarks.extraction ../clips --videos 8 --rounds 1 --decoders 1

Where the folder has fewer videos they are taken again under other names. With a ViT-B-32 of random weights, which
costs what a trained one does. Writes reports/bench/extraction.json:

- `end_to_end_over_slower_half`: the seconds of decoding alone or encoding alone, whichever is slower, over those of a
  whole extraction: the same videos, threads and processes, in turn; the median over the rounds. Decoding alone drops
  the frames; encoding alone begins with as many frames of the same sizes, which it resizes, too.
- `end_to_end_over_cpu_bound`: the same of both halves one after the other. Where decoding and encoding use the same
  cores this is the bound; the first ratio can come near 1 only where one half takes nearly all the time, or where the
  encoder has a GPU.
- `fidelity_min_cosine`: the worst row of the store against open_clip's transform and `encode_image` on the same frame.
- `memory_growth_mb`: peak memory of the extraction of a clip of an hour over that of one of 10 seconds.
- `load_speedup` and seconds: as benchmarks/store.py.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from benchmarks.clips import evenly
from benchmarks.memory import forget_peak, peak_mb
from benchmarks.store import loading
from benchmarks.timing import machine
from pipeline.common import programs
from pipeline.common.device import cpu_cores
from pipeline.common.files import write_json
from pipeline.encoders import appearance, open_clip_model
from pipeline.encoders.torchvision_compat import install
from pipeline.extraction.batching import Batches
from pipeline.extraction.reading import End, Job, Readers
from pipeline.extraction.run import extract
from pipeline.media.decoder import DecodeStream, Item, Outcome, VideoDecoder
from pipeline.params import AppearanceEncoder, Cluster, Extraction, Machine
from pipeline.store.feature_store import FeatureStore

install()

import open_clip  # noqa: E402
from PIL import Image  # noqa: E402

SECTION = AppearanceEncoder(name="ViT-B-32", model="ViT-B-32", weights="random", num_frames=28)
FAITHFUL = 16           # videos, at most, whose rows are compared with open_clip's
_MEMORY = "import sys\nfrom benchmarks.extraction import peak\nprint(peak(*sys.argv[1:]))\n"


def peak(video: str, encoder: str, store: str) -> float:
    """Peak MB of this process, from when the weights are loaded, and of its decoder. Linux."""
    loaded = appearance.load(SECTION, Path(encoder), "cpu")
    forget_peak()               # which was that of loading weights
    decoder, done = [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            for children in Path("/proc/self/task").glob("*/children"):
                with suppress(OSError):     # a thread or process that has just ended
                    decoder[0] = max([decoder[0], *map(peak_mb, children.read_text().split())])

    watcher = threading.Thread(target=watch)
    watcher.start()
    extract([("video", video)], lambda: loaded, Path(store), Extraction(), Machine(decoder_processes=1), Cluster())
    done.set()
    watcher.join()
    return peak_mb() + decoder[0]


def named(files: list[Path], count: int) -> list[tuple[str, Path]]:
    """`count` videos as (id, file): where there are fewer files, they are taken again under other names."""
    return [(f"{number:04d} {path.name}", path) for number, path in enumerate(islice(cycle(files), count))]


class Halves:
    """Extraction and each of its halves alone, over the same videos, by the same threads and processes."""

    def __init__(self, videos: list[tuple[str, Path]], encoder: appearance.OpenClipEncoder, machine: Machine) -> None:
        self.videos, self.encoder, self.machine = videos, encoder, machine
        self.shapes: dict[Path, list[tuple[int, ...]]] = {path: [] for _, path in videos}
        self.parts: dict[str, float] = {}
        self.frames = 0

    def warm_up(self) -> None:
        """Notes which frames there are, and warms up."""
        with VideoDecoder(self.machine.decoding_timeout) as decoder:
            for path, shapes in self.shapes.items():
                shapes += [frame.shape for _, frame in self.encoder.read(decoder, path)]
        self.frames = sum(len(self.shapes[path]) for _, path in self.videos)
        self._encode(_FromMemory(self.encoder, {path: shapes[:2] for path, shapes in self.shapes.items()}))

    def decoding(self) -> None:
        with Readers(_Discarding(self.encoder), Extraction(), self.machine) as readers:
            frames = sum(not isinstance(event, End) for event in readers.read(self._jobs()))
        assert frames == self.frames

    def encoding(self) -> None:
        self._encode(_FromMemory(self.encoder, self.shapes))

    def both(self, store: Path) -> None:
        summary = extract(self.videos, lambda: self.encoder, store, Extraction(), self.machine, Cluster())
        assert summary["frames"] == self.frames
        self.parts = summary["seconds"]

    def _encode(self, source: "_FromMemory") -> None:
        batches = Batches(self.encoder)
        with Readers(source, Extraction(), self.machine) as readers:
            for event in readers.read(self._jobs()):
                if not isinstance(event, End):
                    batches.add(event.stream, event.prepared)
            batches.finish()

    def _jobs(self) -> list[Job]:
        return [Job(0, video_id, path, {}) for video_id, path in self.videos]


class _Discarding:
    """Decodes what the encoder asks for; of each frame one number is kept."""

    def __init__(self, encoder: appearance.OpenClipEncoder) -> None:
        self.read = encoder.read

    def prepare(self, item: Any) -> Any:
        return item[:1, 0, 0]


class _FromMemory:
    """Frames of given shapes in place of decoded ones."""

    def __init__(self, encoder: appearance.OpenClipEncoder, shapes: dict[Path, list[tuple[int, ...]]]) -> None:
        self.prepare = encoder.prepare
        random = np.random.default_rng(0)
        self._frames = {shape: random.integers(0, 256, shape, np.uint8) for shape in sorted(
            {shape for of_file in shapes.values() for shape in of_file})}
        self._shapes = shapes

    def read(self, decoder: VideoDecoder, path: Path) -> DecodeStream:  # noqa: ARG002  (as an encoder's)
        return DecodeStream(self._items(path))

    def _items(self, path: Path) -> Generator[Item, None, Outcome]:
        for shape in self._shapes[path]:
            yield 0.0, self._frames[shape]
        return 1.0, ""


def halves(of: Halves, stores: Path, rounds: int) -> dict[str, Any]:
    """Seconds of decoding alone, of encoding alone and of both, in turn; the medians of the ratios."""
    of.warm_up()
    seconds: dict[str, list[float]] = {"decoding": [], "encoding": [], "end_to_end": []}
    for number in range(rounds):
        runs: dict[str, Callable[[], None]] = {
            "decoding": of.decoding, "encoding": of.encoding,
            "end_to_end": lambda number=number: of.both(stores / str(number))}  # type: ignore[misc]
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
    each = list(zip(*seconds.values(), strict=True))
    return {
        "end_to_end_over_slower_half": statistics.median(max(first, second) / both for first, second, both in each),
        "end_to_end_over_cpu_bound": statistics.median((first + second) / both for first, second, both in each),
        "videos": len(of.videos), "files": len(of.shapes), "frames": of.frames,
        **{f"{name}_seconds": [round(value, 3) for value in values] for name, values in seconds.items()},
        "parts": of.parts,
    }


def fidelity(videos: list[tuple[str, Path]], encoder: appearance.OpenClipEncoder, store: FeatureStore,
             decoding: Machine) -> float:
    """The least cosine of a stored row to open_clip's on the same frame."""
    size = open_clip.get_model_preprocess_cfg(encoder.model)
    transform = open_clip.transform.image_transform_v2(open_clip.transform.PreprocessCfg(**size), is_train=False)
    least = 1.0
    with VideoDecoder(decoding.decoding_timeout) as decoder, torch.inference_mode():
        for video_id, path in videos:
            frames = [transform(Image.fromarray(frame)) for _, frame in encoder.read(decoder, path)]
            wanted = encoder.model.encode_image(torch.stack(frames).to(encoder.device)).cpu()
            stored = torch.from_numpy(store[video_id].astype(np.float32))
            least = min(least, float(torch.nn.functional.cosine_similarity(wanted, stored).min()))
    return least


def memory(folder: Path, encoder: Path) -> dict[str, float]:
    """Peak MB of the process and its decoder for a clip of 10 seconds and one of an hour."""
    ffmpeg = [str(programs.ffmpeg()), "-v", "error", "-y"]
    short, hour = folder / "short.mp4", folder / "hour.mp4"
    subprocess.run([*ffmpeg, "-f", "lavfi", "-i", "testsrc=size=320x180:rate=5:duration=10", "-pix_fmt", "yuv420p",
                    str(short)], check=True)
    subprocess.run([*ffmpeg, "-stream_loop", "359", "-i", str(short), "-c", "copy", str(hour)], check=True)
    peaks = [float(subprocess.run([sys.executable, "-c", _MEMORY, clip, encoder, folder / f"store-{clip.stem}"],
                                  check=True, stdout=subprocess.PIPE, text=True).stdout) for clip in (short, hour)]
    return {"memory_growth_mb": peaks[1] - peaks[0], "memory_10_seconds_mb": peaks[0], "memory_1_hour_mb": peaks[1]}


def main(clips: Annotated[Path, typer.Argument(help="a folder of videos")],
         videos: Annotated[int, typer.Option(min=1, help="how many are extracted a round")] = 24,
         rounds: Annotated[int, typer.Option(min=1, help="how often everything is timed")] = 2,
         decoders: Annotated[int, typer.Option(min=0, help="as machine.decoder_processes")] = 0) -> None:
    """Measure extraction; figures go to reports/bench/extraction.json."""
    processes = Machine(decoder_processes=decoders)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        open_clip_model.prepare(SECTION, folder / "encoder", seed=0)
        encoder = appearance.load(SECTION, folder / "encoder", "cuda" if torch.cuda.is_available() else "cpu")
        taken = named(evenly(clips, videos), videos)
        figures = halves(Halves(taken, encoder, processes), folder / "stores", rounds)
        store = FeatureStore.open(folder / "stores" / "0")
        one_each = list({path: (video_id, path) for video_id, path in taken}.values())
        some = one_each[::-(-len(one_each) // FAITHFUL)]
        figures |= {"fidelity_min_cosine": fidelity(some, encoder, store, processes), "fidelity_videos": len(some)}
        (folder / "loading").mkdir()
        figures |= memory(folder, folder / "encoder") | loading(folder / "loading")
    figures = {key: round(value, 4) if isinstance(value, float) else value for key, value in figures.items()}
    figures |= {"decoders": decoders or cpu_cores(), "machine": machine()}
    write_json(Path("reports/bench/extraction.json"), figures)
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    typer.run(main)
