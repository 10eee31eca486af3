"""Extraction against its two halves, open_clip's own features, and the length of a video.

    python -m benchmarks.extraction ../clips              # each clip of the folder, 8 times under different names
    python -m benchmarks.extraction ../clips --times 2 --decoders 1

With a ViT-B-32 of random weights, which costs what a trained one does. Writes reports/bench/extraction.json:

- `end_to_end_over_slower_half`: videos/s of a whole extraction against those of decoding alone or encoding alone,
  whichever is slower; the same clips, one run.
- `end_to_end_over_cpu_bound`: the same against both halves one after the other. Where decoding and encoding use the
  same cores this is the bound; the first ratio can come near 1 only where one half takes nearly all the time, or
  where the encoder has a GPU.
- `fidelity_min_cosine`: the worst row of the store against open_clip's transform and `encode_image` on the same frame.
- `memory_growth_mb`: peak memory of the extraction of a clip of an hour over that of one of 10 seconds.
- `load_speedup` and seconds: as benchmarks/store.py.
"""

import json
import platform
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from benchmarks.store import loading
from pipeline import extraction, programs
from pipeline.decoder import Decoder
from pipeline.encoders import appearance
from pipeline.encoders.compat import install
from pipeline.extraction.batching import Batches
from pipeline.extraction.reading import Item, Job, Readers, Stream
from pipeline.files import write_json
from pipeline.params import AppearanceEncoder, Cluster, Extraction, cores
from pipeline.store import FeatureStore

install()

import open_clip  # noqa: E402
from PIL import Image  # noqa: E402

SECTION = AppearanceEncoder(name="ViT-B-32", model="ViT-B-32", weights="random", frames=28)
_MEMORY = "import sys\nfrom benchmarks.extraction import peak\nprint(peak(*sys.argv[1:]))\n"


def peak(video: str, encoder: str, store: str) -> float:
    """Peak MB of this process, from when the weights are loaded, and of its decoder. Linux."""
    loaded = appearance.load(SECTION, Path(encoder), "cpu")
    Path("/proc/self/clear_refs").write_text("5")       # forgets the peak so far, which is that of loading weights
    decoder, done = [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            for children in Path("/proc/self/task").glob("*/children"):
                with suppress(OSError):     # a thread or process that has just ended
                    decoder[0] = max([decoder[0], *map(_peak_of, children.read_text().split())])

    watcher = threading.Thread(target=watch)
    watcher.start()
    extraction.extract([("video", video)], lambda: loaded, Path(store), Extraction(decoders=1), Cluster())
    done.set()
    watcher.join()
    return _peak_of("self") + decoder[0]


def _peak_of(process: str) -> float:
    lines = Path("/proc", process, "status").read_text().splitlines()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), 0.0)


def halves(videos: list[tuple[str, Path]], encoder: appearance.Appearance, folder: Path,
           section: Extraction) -> dict[str, Any]:
    """Seconds of decoding alone, of encoding alone, and of both in one extraction."""
    encoder.encode(np.zeros((encoder.batch, *_size(encoder)), np.uint8))        # warm
    began = time.perf_counter()
    frames = 0
    with Readers(_Discarding(encoder), section) as readers:
        for event in readers.read([Job(0, video_id, path, {}) for video_id, path in videos]):
            frames += isinstance(event, Item)
    decoding = time.perf_counter() - began

    batches, stream = Batches(encoder), Stream(Job(0, "", Path(), {}))
    item = np.random.default_rng(0).integers(0, 256, _size(encoder), np.uint8)
    began = time.perf_counter()
    for _ in range(frames):
        batches.add(stream, item)
    batches.finish()
    encoding = time.perf_counter() - began

    began = time.perf_counter()
    summary = extraction.extract(videos, lambda: encoder, folder, section, Cluster())
    both = time.perf_counter() - began
    assert summary["frames"] == frames
    return {
        "end_to_end_over_slower_half": max(decoding, encoding) / both,
        "end_to_end_over_cpu_bound": (decoding + encoding) / both,
        "videos": len(videos), "frames": frames, "decoding_seconds": decoding, "encoding_seconds": encoding,
        "end_to_end_seconds": both, "parts": summary["seconds"],
    }


class _Discarding:
    """The encoder's sampling; of each frame one number is kept."""

    def __init__(self, encoder: appearance.Appearance) -> None:
        self.read = encoder.read

    def prepare(self, item: Any) -> Any:
        return item[:1, 0, 0]


def _size(encoder: appearance.Appearance) -> tuple[int, ...]:
    return encoder.prepare(np.zeros((300, 400, 3), np.uint8)).shape


def fidelity(clips: list[Path], encoder: appearance.Appearance, store: FeatureStore, section: Extraction) -> float:
    """The least cosine of a stored row to open_clip's on the same frame. `store` has the clips by their names."""
    size = open_clip.get_model_preprocess_cfg(encoder.model)
    transform = open_clip.transform.image_transform_v2(open_clip.transform.PreprocessCfg(**size), is_train=False)
    least = 1.0
    with Decoder(section.timeout, section.backend) as decoder, torch.inference_mode():
        for clip in clips:
            frames = [frame for _, frame in encoder.read(decoder, clip)]
            wanted = encoder.model.encode_image(torch.stack([transform(Image.fromarray(frame)) for frame in frames]))
            found = torch.from_numpy(store[f"0 {clip.name}"].astype(np.float32))
            least = min(least, float(torch.nn.functional.cosine_similarity(wanted, found).min()))
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
         times: Annotated[int, typer.Option(help="how often each clip is taken")] = 8,
         decoders: Annotated[int, typer.Option(help="as extraction.decoders")] = 0) -> None:
    """Measure extraction; figures go to reports/bench/extraction.json."""
    files = sorted(path.resolve() for path in clips.iterdir() if path.suffix != ".json")
    section = Extraction(decoders=decoders, allowed_failures=1.0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        appearance.prepare(SECTION, folder / "encoder", seed=0)
        encoder = appearance.load(SECTION, folder / "encoder", "cuda" if torch.cuda.is_available() else "cpu")
        videos = [(f"{copy} {path.name}", path) for copy in range(times) for path in files]
        found = halves(videos, encoder, folder / "store", section)
        store = FeatureStore.open(folder / "store")
        whole = [path for path in files if f"0 {path.name}" in store]
        found["fidelity_min_cosine"] = fidelity(whole, encoder, store, section)
        (folder / "loading").mkdir()
        found |= memory(folder, folder / "encoder") | loading(folder / "loading")
    found = {key: round(value, 4) if isinstance(value, float) else value for key, value in found.items()}
    machine = {"processor": platform.processor() or platform.machine(), "cores": cores(),
               "torch_threads": torch.get_num_threads(),
               "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None}
    write_json(Path("reports/bench/extraction.json"), {**found, "decoders": decoders or cores(), "machine": machine})
    print(json.dumps({**found, "machine": machine}, indent=2))


if __name__ == "__main__":
    typer.run(main)
