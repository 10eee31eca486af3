"""`store.json`: what a store is made of. It is written last: with it the store is complete.

It holds the recipe, each shard's counts and SHA-256, the videos that failed and those that are partial. Its own
last entry is the SHA-256 of the text before it, so that a flipped bit in it is noticed, too.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from pipeline.common.errors import SpectrumError
from pipeline.common.files import fingerprint, json_text, sha256, write_text
from pipeline.store.shard import DTYPES, SCHEMA, opened, shard_name, texts

INDEX = "store.json"
_OWN = "sha256_of_the_above"


def write_index(folder: Path, modality: str, recipe: dict[str, Any], dim: int,
                counts: dict[int, tuple[int, int]], shard_count: int, failures: list[dict[str, str]]) -> None:
    """Publishes store.json for the shards that stand in `folder`.

    `counts` are each shard's videos and rows; `shard_count` is how many shards there could be. The rows' type is
    the recipe's `dtype`, float16 where it names none.
    """
    dtype = recipe.get("dtype", "float16")
    if dtype not in DTYPES:
        raise SpectrumError(f"{folder}: rows of {dtype}; a store keeps {' or '.join(DTYPES)}")
    recipe_id = fingerprint(recipe)
    sign(folder, {
        "schema": SCHEMA, "modality": modality, "recipe_id": recipe_id, "recipe": recipe,
        "dim": dim, "dtype": dtype, "shard_count": shard_count,
        "videos": sum(videos for videos, _ in counts.values()),
        "rows": sum(rows for _, rows in counts.values()),
        "shards": [{"file": shard_name(number), "sha256": sha256(folder / shard_name(number)),
                    "videos": videos, "rows": rows} for number, (videos, rows) in sorted(counts.items())],
        "failures": failures,
        "partial": sorted((entry for number in counts for entry in partial(folder / shard_name(number), recipe_id)),
                          key=lambda entry: str(entry["id"])),
    })


def sign(folder: Path, index: dict[str, Any]) -> None:
    """Writes store.json, its own checksum at its end."""
    above = json_text(index, indent=2).removesuffix("\n}")
    write_text(folder / INDEX, f'{above},\n  "{_OWN}": "{_digest(above)}"\n}}\n')


def partial(path: Path, recipe_id: str) -> list[dict[str, str | float]]:
    """The videos of a shard that could not be decoded whole: {id, share}."""
    with opened(path, recipe_id) as data:
        return [{"id": video_id, "share": round(float(share), 6)}
                for video_id, share in zip(texts(data["ids"]), data["shares"][:], strict=True) if share < 1]


def read_index(folder: Path) -> dict[str, Any]:
    """Raises SpectrumError where the store is not complete, of another schema, or its store.json was changed."""
    path = folder / INDEX
    try:
        text = path.read_bytes().decode()
        index: dict[str, Any] = json.loads(text)
    except FileNotFoundError:
        raise SpectrumError(f"{path}: no such file, so no whole feature store; run `dvc repro extract`") from None
    except OSError as error:
        raise SpectrumError(f"{path}: it cannot be read ({error.strerror}); name a feature store's folder, or mend its "
                            "permissions") from None
    except (ValueError, RecursionError) as error:
        raise SpectrumError(f"{path}: not readable, damaged ({error}); extract again") from None
    schema = index.get("schema", "none") if isinstance(index, dict) else "none"
    if schema != SCHEMA:
        raise SpectrumError(f"{path}: expected a feature store of schema {SCHEMA}, found {schema!r:.20}; extract "
                            "again, or read it with the version that wrote it")
    above, _, own = text.rpartition(",\n")
    if own != f'  "{_OWN}": "{_digest(above)}"\n}}\n':
        raise SpectrumError(f"{path}: it was changed or damaged after it was written; bring it back with "
                            "`dvc checkout --force`, or extract again")
    index.pop(_OWN)
    return index


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
