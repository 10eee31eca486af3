"""List, verify, import and export feature stores."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

import typer

from pipeline.common.errors import SpectrumError, readable_errors
from pipeline.common.terminal import printable
from pipeline.store.exchange import ImportOptions, Layout, export_features, import_features, read_names
from pipeline.store.feature_store import FeatureStore
from pipeline.store.store_file import STORE_FILE

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False,
                  rich_markup_mode=None, help=__doc__)
Modality = Literal["appearance", "audio", "motion"]
Dtype = Literal["float16", "float32"]
Folder = Annotated[Path, typer.Argument(metavar="STORE", help="the store's folder")]
Names = Annotated[list[Path] | None, typer.Option(
    "--names", metavar="FILE", help="a manifest's videos.jsonl (its ids and names), or lines of two columns: key in "
                                    "the file, id; may be given several times")]


@app.command("verify")
def verify_command(path: Folder) -> None:
    """Check all checksums, counts and values. Prints a line for each problem; exit status 1 if there are any."""
    with readable_errors():
        store = FeatureStore.open(path)
    problems = store.verify()
    for problem in problems:
        print(printable(problem))
    if problems:
        raise typer.Exit(1)
    print(f"{path}: whole: {_counts(store)}, recipe {store.recipe_id}")


@app.command("ls")
def ls_command(path: Folder) -> None:
    """List the videos: id, rows, first and last time in seconds, share if partial; then those that failed."""
    with readable_errors():
        store = FeatureStore.open(path)
        for video_id in store.ids:
            times = store.times(video_id)
            span = "none" if not len(times) else "times unknown" if "times" in store.recipe else \
                f"{times[0]:.2f}-{times[-1]:.2f} s"
            share = f"\tpartial: {store.partial[video_id]:.0%}" if video_id in store.partial else ""
            print(printable(f"{video_id}\t{len(times)} rows\t{span}{share}"))
    for video_id, reason in store.failures.items():
        print(printable(f"{video_id}\tfailed\t{reason}"))
    print(f"{path}: {_counts(store)}")
    for reason, count in Counter(store.failures.values()).most_common():
        print(printable(f"  {count} failed: {reason}"))


@app.command("import")
def import_command(
    source: Annotated[Path, typer.Argument(help="flat HDF5, .npz, .parquet, or a folder of .npy or .npz files")],
    path: Folder,
    names: Names = None,
    encoder: Annotated[str, typer.Option(help="what made the features, e.g. ViT-B-32/openai")] = "",
    modality: Annotated[Modality, typer.Option(help="what the rows are of")] = "appearance",
    dtype: Annotated[Dtype | None, typer.Option(help="what rows are rounded to; without it, the file's own")] = None,
    allow_missing: Annotated[float, typer.Option(min=0, max=1, help="share of the ids that may lack features")] = 0.0,
) -> None:
    """Make a store of published features. The store must not exist yet."""
    with readable_errors():
        if (path / STORE_FILE).exists():
            raise SpectrumError(f"{path}: there is a store already; remove it or name another folder")
        about = {"model": encoder or "unknown", "weights": "unknown", "untrained": False, "note": ""}
        done = import_features(source, path, ImportOptions(about, read_names(names or []), modality, dtype or "",
                                                           allowed_missing=allow_missing))
        print(f"{path}: {done['videos']} videos, {done['rows']} rows of {done['dim']} {done['dtype']}; "
              f"{done['failed']} videos without features ({done['of_zeros']} with rows of zeros), "
              f"{done['extra']} keys that are no id")


@app.command("export")
def export_command(
    path: Folder,
    destination: Annotated[Path, typer.Argument(help="the file or folder to make")],
    layout: Annotated[Layout, typer.Option(
        help="hdf5 | npz | parquet: one file; npy: a folder with one file a video")] = "hdf5",
    names: Names = None,
) -> None:
    """Write a store's features as flat HDF5, .npz, Parquet, or a folder of .npy files."""
    with readable_errors():
        done = export_features(FeatureStore.open(path), destination, layout, read_names(names or []))
        print(f"{destination}: {done['videos']} videos, {done['rows']} rows of {done['dim']} {done['dtype']}; "
              f"{done['failed']} that failed are not in it")


def _counts(store: FeatureStore) -> str:
    return f"{len(store)} videos, {len(store.partial)} of them partial, {len(store.failures)} failed"


if __name__ == "__main__":
    app()
