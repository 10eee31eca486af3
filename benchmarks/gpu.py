"""What a GPU does, in one table with the card's name: `make bench-gpu FAISS=gpu`.

    python -m benchmarks.gpu sample/clips

Each part is that of another benchmark here, on the card: decoding, encoding and both at once
(benchmarks/extraction.py), search (benchmarks/retrieval.py), training and beam search against the plain loop
(benchmarks/captioner.py); beside them the self-critical phase, and the card's memory at the peak of each part. The
share of the card's peak is measured, too: what encoding a picture computes, in matrix products and convolutions, a
second, over what a large matrix product in bfloat16 reaches there.

Writes reports/bench/gpu.json. Where there is no GPU it says so and ends with status 1.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from benchmarks import captioner, extraction, retrieval
from benchmarks.clips import evenly
from benchmarks.memory import forget_peak, peak_mb
from benchmarks.timing import in_turn, machine, medians
from pipeline import params
from pipeline.captioner.splits import Split
from pipeline.captioner.training.optimization import Phase
from pipeline.captioner.training.self_critical import SelfCritical
from pipeline.captioner.training.settings import TrainingSettings
from pipeline.common.files import write_json
from pipeline.encoders import appearance, open_clip_model
from pipeline.encoders.base import encode
from pipeline.params import AppearanceEncoder, Machine

ENCODER = extraction.SECTION.model_copy(update={"batch_size": 256})


@dataclass(frozen=True)
class Sizes:
    """How much is measured; the defaults fill a card and take some minutes."""

    encoder: AppearanceEncoder = ENCODER
    videos: int = 240               # extracted
    batches: int = 40               # encoded
    product: int = 8192             # rows and columns of the matrices that show the card's peak
    captions: int = 1_000_000       # searched
    queries: int = 4096
    model: params.Captioner = captioner.CARE
    captioned: int = 256            # videos that are trained on and captioned
    vocabulary: int = captioner.WORDS
    rounds: int = 3


@dataclass(frozen=True)
class Row:
    what: str
    value: float
    unit: str
    memory_mb: float = 0.0          # of the device, at the peak of this part
    beside: str = ""                # what it is compared with


@contextmanager
def watched(device: str) -> Iterator[list[float]]:
    """Its list has, at the end, the MB of the device that were held at the peak."""
    cuda, peak = device.startswith("cuda"), [0.0]
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    else:
        forget_peak()
    yield peak
    peak[0] = torch.cuda.max_memory_allocated() / 2**20 if cuda else peak_mb()


def extracting(clips: Path, folder: Path, sizes: Sizes, device: str) -> list[Row]:
    """Decoding alone, encoding alone, and a whole extraction, which does both at once."""
    open_clip_model.prepare(sizes.encoder, folder / "encoder", seed=0)
    encoder = appearance.load(sizes.encoder, folder / "encoder", device)
    encoding = encoding_speed(encoder, sizes, device)
    taken = extraction.named(evenly(clips, sizes.videos), sizes.videos)
    halves = extraction.Halves(taken, encoder, Machine())
    with watched(device) as memory:
        found = extraction.halves(halves, folder / "stores", sizes.rounds)
    frames = found["frames"]
    both, decoding = (frames / float(np.median(found[f"{name}_seconds"])) for name in ("end_to_end", "decoding"))
    return [Row("decode", decoding, "frames/s", beside=f"{machine()['cores']} cores"), *encoding,
            Row("extract, end to end", both, "frames/s", memory[0],
                f"{found['end_to_end_over_slower_half']:.2f} of its slower half alone")]


def encoding_speed(encoder: appearance.OpenClipEncoder, sizes: Sizes, device: str) -> list[Row]:
    """Pictures that are there already, batch after batch."""
    from torch.utils.flop_counter import FlopCounterMode

    side = open_clip_model.preprocessing(encoder.model)["size"]
    height, width = (side, side) if isinstance(side, int) else side
    batch = np.random.default_rng(0).integers(0, 256, (encoder.batch_size, 3, height, width), np.uint8)
    with FlopCounterMode(display=False) as counter:
        encode(encoder, batch)

    def run() -> None:
        pending = [encoder.submit(batch) for _ in range(sizes.batches)]
        for future in pending:
            future.result()

    matrix = torch.randn(sizes.product, sizes.product, device=device, dtype=torch.bfloat16)
    with watched(device) as memory:
        ours, product = medians(in_turn(sizes.rounds, run, lambda: matrix @ matrix))
    rate = sizes.batches * counter.get_total_flops() / ours
    peak = 2 * sizes.product**3 / product
    return [Row(f"encode, {encoder.name}", sizes.batches * len(batch) / ours, "images/s", memory[0]),
            Row("encode, of the card's peak", 100 * rate / peak, "%",
                beside=f"{rate / 1e12:.3g} of {peak / 1e12:.3g} TFLOP/s")]


def searching(folder: Path, sizes: Sizes, device: str) -> list[Row]:
    from pipeline.retrieval.faiss_loading import import_faiss

    cards = import_faiss().get_num_gpus() if device.startswith("cuda") else 0
    found = retrieval.searching(folder, sizes.captions, sizes.queries, sizes.rounds, device, time.perf_counter)
    place = f"{cards} cards" if cards else "no card that faiss sees"
    return [Row(f"search {sizes.captions:,} captions", sizes.queries / found["search_seconds"], "videos/s",
                beside=f"{1 / found['retrieval_over_faiss']:.2f} times faiss on the processor; {place}")]


def captioning(folder: Path, sizes: Sizes, device: str) -> list[Row]:
    """Training and beam search against the plain loop, and the self-critical phase."""
    world = captioner.make(folder, sizes.model, sizes.captioned, sizes.vocabulary, device)
    rows = []
    for what, unit, measure in (("train", "captions", captioner.training_speed),
                                ("beam", "videos", captioner.beam_speed)):
        with watched(device) as memory:
            found = measure(world, sizes.rounds)
        rows.append(Row({"train": "train", "beam": f"beam {captioner.BEAM.num_beams}"}[what],
                        float(found[f"{what}_{unit}_per_second"]), f"{unit}/s", memory[0],    # type: ignore[arg-type]
                        f"{found[f'{what}_speedup']:.2f} times the plain loop there"))
    training = captioner.TRAINING.model_copy(update={"self_critical_epochs": 1})
    settings = TrainingSettings(sizes.model, training, captioner.BEAM, world.taxonomy)
    objective = SelfCritical(model := world.model(), settings, Split(world.inputs, tuple(map(tuple, world.texts))),
                             world.targets(), None, world.vocabulary, 0)
    batch = np.arange(training.videos_per_batch)
    with watched(device) as memory:
        seconds = medians(in_turn(sizes.rounds, partial(Phase(model, objective, training).learn, batch)))[0]
    return [*rows, Row("self-critical", len(batch) / seconds, "videos/s", memory[0],
                       f"{training.self_critical_samples} captions each")]


def measure(clips: Path, device: str, sizes: Sizes) -> list[Row]:
    parts: list[Callable[[Path], list[Row]]] = [
        lambda folder: extracting(clips, folder, sizes, device), lambda folder: searching(folder, sizes, device),
        lambda folder: captioning(folder, sizes, device)]
    rows = []
    for part in parts:
        with tempfile.TemporaryDirectory() as folder:
            rows += part(Path(folder))
    return rows


def table(rows: list[Row]) -> str:
    lines = [f"{row.what:<28} {row.value:>12,.1f} {row.unit:<11} "
             f"{f'{row.memory_mb:,.0f} MB' if row.memory_mb else '':>10}  {row.beside}" for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def main(clips: Annotated[Path, typer.Argument(help="a folder of videos")],
         videos: Annotated[int, typer.Option(min=1, help="how many are extracted a round")] = Sizes.videos,
         rounds: Annotated[int, typer.Option(min=1, help="how often everything is timed")] = Sizes.rounds,
         out: Path = Path("reports/bench/gpu.json")) -> None:
    """Measure what the GPU does; figures go to reports/bench/gpu.json."""
    if not torch.cuda.is_available():
        print("bench-gpu needs a GPU, and torch sees none here; `make bench` measures the processor", file=sys.stderr)
        raise typer.Exit(1)
    about = torch.cuda.get_device_properties(0)
    print(f"{about.name}, {about.total_memory / 2**30:.0f} GB; torch {torch.__version__}, CUDA {torch.version.cuda}")
    rows = measure(clips, "cuda", replace(Sizes(), videos=videos, rounds=rounds))
    write_json(out, {"rows": [vars(row) for row in rows], "machine": machine()})
    print(table(rows))


if __name__ == "__main__":
    typer.run(main)
