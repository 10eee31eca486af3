"""How time and memory of the stages after extraction grow with a data set, each stage in a process of its own.

    python -m benchmarks.scaling                    # 1,600, 6,400 and 25,600 synthetic videos, ten captions each
    python -m benchmarks.scaling --largest 64 --short 64    # and 102,400 videos with a million captions
    python -m benchmarks.scaling --largest 4 --longest 3600 # one video has 3,600 rows, the others 28

A stage is what `dvc repro` runs, on the data of benchmarks/synthetic.py; train is one epoch of a captioner of width 32.
Peak memory is the most that the process held (VmHWM), libraries and mapped files included; time is the processor's, of
all its threads, so that others on the machine count little.

Encoding, exact search and an epoch take hours at the largest size. From `--short` times the smallest size on, only
20,480 captions are encoded and 2,048 videos searched for (others get random vectors and candidates), and an epoch ends
after 200 steps: memory is what it is, the time of such a run of these three stages is not used.

Writes reports/bench/scaling.json and scaling.svg, and prints a plan: what other sizes would take by these fits. Time
grows as a power of the size that is fitted to the two largest sizes, memory by a constant and a share of each video.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks import synthetic
from benchmarks.memory import peak_mb
from benchmarks.timing import machine
from pipeline.common.files import write_json
from pipeline.params.paths import Paths

SMALLEST = 1600
FACTORS = (1, 4, 16, 64)
STAGES = ("index", "retrieve", "emotion", "train")
SHORTENED = {"index": 20_480, "retrieve": 2048, "train": 200}       # captions; queries; steps
# Videos; each with as many captions as here.
PLANS = {"MSR-VTT": 10_000, "VATEX": 41_269, "1 M clips": 1_000_000, "10 M clips": 10_000_000}
_ROOT = Path(__file__).parents[1]

Run = dict[str, Any]


def measure(videos: int, longest: int, stages: Sequence[str], short: bool) -> list[Run]:
    """A project of so many videos is made, and every stage runs on it."""
    with tempfile.TemporaryDirectory() as folder:
        _call(Path(folder), "make", str(videos), str(longest))
        found = []
        for stage in stages:
            run = _call(Path(folder), stage, "short" if short else "")
            found.append({"stage": stage, "videos": videos, "short": short and stage in SHORTENED, **run})
            print(f"{videos:>9,} videos  {stage:<9} {run['cpu_seconds']:8.1f} s {run['peak_mb']:8.0f} MB", flush=True)
    return found


def _call(folder: Path, *arguments: str) -> Run:
    done = subprocess.run([sys.executable, "-m", "benchmarks.scaling", "--run", " ".join(arguments)], cwd=folder,
                          check=True, stdout=subprocess.PIPE, text=True,
                          env={**os.environ, "PYTHONPATH": str(_ROOT)})
    result: Run = json.loads(done.stdout.splitlines()[-1])
    return result


def run_here(arguments: Sequence[str]) -> Run:
    """`make VIDEOS LONGEST` or a stage, maybe `short`, in the current folder, which is the project's."""
    folder = Path.cwd()
    if arguments[0] == "make":
        synthetic.make(folder, _ROOT / "params.yaml", *map(int, arguments[1:]))
        return {}
    synthetic.register_model(folder)
    params = synthetic.parameters()
    stage = import_module(f"stages.{arguments[0]}")
    more = {"part": "captioner"} if arguments[0] == "train" else {}
    if arguments[1:] == ["short"]:
        synthetic.shorten(*SHORTENED.values())
    started, before = time.perf_counter(), time.process_time()
    stage.run(params, Paths.of(params), **more)
    return {"cpu_seconds": time.process_time() - before, "seconds": time.perf_counter() - started,
            "peak_mb": peak_mb()}


def fit(runs: Sequence[Run]) -> dict[str, dict[str, float]]:
    """By stage: `exponent` of time against size at the two largest, MB whatever the size, and bytes a video."""
    found = {}
    for stage in dict.fromkeys(run["stage"] for run in runs):
        own = sorted((run for run in runs if run["stage"] == stage), key=lambda run: int(run["videos"]))
        sizes = np.array([run["videos"] for run in own])
        megabytes = np.array([run["peak_mb"] for run in own])
        per_video = (megabytes[-1] - megabytes[-2]) / (sizes[-1] - sizes[-2])
        timed = [run for run in own if not run["short"]]
        before, last = timed[-2:]
        growth, times = (last[key] / before[key] for key in ("cpu_seconds", "videos"))
        found[stage] = {"exponent": float(np.log(growth) / np.log(times)), "kilobytes_a_video": float(per_video * 1024),
                        "base_mb": float(megabytes[-1] - per_video * sizes[-1]),
                        "seconds": float(last["cpu_seconds"]), "videos": int(last["videos"])}
    return found


def plan(fits: Mapping[str, Mapping[str, float]]) -> list[Run]:
    """What the data sets of PLANS would take: hours of a processor core and memory by stage, and the disk of their
    files."""
    rows = []
    for name, videos in PLANS.items():
        disk = videos * (synthetic.ROWS * synthetic.DIM * 2 + synthetic.CAPTIONS * (synthetic.DIM * 4 + 200)) / 1e9
        hours = {stage: own["seconds"] * (videos / own["videos"]) ** own["exponent"] / 3600
                 for stage, own in fits.items()}
        memory = {stage: (own["base_mb"] + own["kilobytes_a_video"] * videos / 1024) / 1024
                  for stage, own in fits.items()}
        rows.append({"data": name, "videos": videos, "disk_gb": disk, "hours": hours, "memory_gb": memory,
                     "bound": max(hours, key=lambda stage: hours[stage])})
    return rows


def draw(runs: Sequence[Run], path: Path) -> None:
    """Time and memory against size, a line a stage."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for axes, key, label in zip(figure.subplots(1, 2), ("cpu_seconds", "peak_mb"),
                                ("processor time, s", "peak memory, MB"), strict=True):
        for stage in dict.fromkeys(run["stage"] for run in runs):
            own = [run for run in runs if run["stage"] == stage and not (run["short"] and key == "cpu_seconds")]
            axes.loglog([run["videos"] for run in own], [run[key] for run in own], marker="o", label=stage)
        axes.set_xlabel("videos")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
    figure.axes[0].legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})


def main(largest: Annotated[int, typer.Option(help="times the smallest size: 4, 16 or 64")] = 16,
         short: Annotated[int, typer.Option(help="from this many times on, retrieve and train are cut short")] = 64,
         longest: Annotated[int, typer.Option(help="rows of the longest video")] = synthetic.ROWS,
         stages: str = ",".join(STAGES), out: Path = Path("reports/bench/scaling.json"),
         run: Annotated[str, typer.Option(hidden=True)] = "") -> None:
    if run:
        print(json.dumps(run_here(run.split())))
        return
    if largest < FACTORS[1]:
        raise typer.BadParameter("a fit needs two sizes: 4, 16 or 64", param_hint="--largest")
    runs = [found for factor in FACTORS if factor <= largest
            for found in measure(factor * SMALLEST, longest, stages.split(","), factor >= short)]
    fits = fit(runs)
    rows = plan(fits)
    write_json(out, {"runs": runs, "fits": fits, "plan": rows, "machine": machine()})
    draw(runs, out.with_suffix(".svg"))
    for stage, own in fits.items():
        print(f"{stage}: time grows as size^{own['exponent']:.2f}, memory by {own['kilobytes_a_video']:.1f} KB a video")
    for row in rows:
        print(f"{row['data']}: {row['disk_gb']:.1f} GB of disk; "
              + ", ".join(f"{stage} {row['hours'][stage]:.2f} h {row['memory_gb'][stage]:.1f} GB" for stage in fits)
              + f"; longest: {row['bound']}")


if __name__ == "__main__":
    typer.run(main)
