"""Turn captions and predictions into Parquet files, which `datasets` and pandas read, and back.

    python -m stages.tables data/sample captions.parquet                # columns: video, split, clip, caption
    python -m stages.tables reports/sample/predictions.jsonl predictions.parquet
    python -m stages.tables predictions.parquet predictions.jsonl       # for stages.score
    python -m stages.tables captions.parquet captions.jsonl             # for data.captions

For features: `python -m pipeline.store export STORE features.parquet --layout parquet`, and `import` for the way back.
"""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.common.errors import SpectrumError, readable_errors
from pipeline.common.terminal import say
from stages.command import run_command


def main(
    source: Annotated[Path, typer.Argument(help="a prepared data set's folder, a .jsonl or a .parquet file")],
    target: Annotated[Path, typer.Argument(help="the .parquet or .jsonl file to make")],
) -> None:
    with readable_errors():
        from pipeline.sharing import tables

        if target.exists():
            raise SpectrumError(f"{target}: it is there already; remove it or name another")
        match ("" if source.is_dir() else source.suffix.lower(), target.suffix.lower()):
            case ("", ".parquet"):
                rows = tables.write_captions(source, target)
            case (".jsonl", ".parquet"):
                rows = tables.to_parquet(source, target)
            case (".parquet", ".jsonl"):
                rows = tables.to_jsonl(source, target)
            case _:
                raise SpectrumError(f"{source}, {target}: a data set's folder or a .jsonl file becomes a .parquet "
                                    "file, and a .parquet file a .jsonl file")
        say(f"{target}: {rows:,} rows")


if __name__ == "__main__":
    run_command(main, __doc__)
