"""`store.json`: what a store is made of. It is written last: with it the store is complete.

It holds the recipe, each shard's counts and SHA-256, the videos that failed and those that are partial. Its own
last entry is the SHA-256 of the text before it, so that a flipped bit in it is noticed, too.
"""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field, InstanceOf, ValidationError

from pipeline.common.commands import RESTORE, rerun
from pipeline.common.errors import SpectrumError
from pipeline.common.files import fingerprint, json_text, sha256, write_text
from pipeline.common.terminal import printable
from pipeline.store.shard import DTYPES, SCHEMA, decoded_texts, open_shard, shard_name

STORE_FILE = "store.json"
FAILED_FILE = "failed.txt"      # the videos that failed, for people: id, file and reason, a line each
_CHECKSUM = "sha256_of_the_above"

Count = Annotated[int, Field(ge=0)]
# Not `str`: pydantic refuses halves of characters, which paths that are not UTF-8 have.
Text = InstanceOf[str]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)


class ShardEntry(_Strict):
    file: Annotated[str, Field(pattern=r"^shard-[0-9]{4}\.h5$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    videos: Count
    rows: Count


class FailedVideo(_Strict):
    id: Text
    path: Text
    reason: Text


class PartialVideo(_Strict):
    """A video of which only a share could be decoded."""

    id: Text
    share: Annotated[float, Field(ge=0, le=1)]


class StoreMetadata(_Strict):
    """The content of store.json, in the order of its keys."""

    schema_version: Literal[2] = Field(alias="schema")
    modality: Text
    recipe_id: Text
    recipe: dict[Text, Any]
    dim: Annotated[int, Field(ge=1)]
    dtype: Literal["float16", "float32"]
    shard_count: Annotated[int, Field(ge=1, le=9999)]       # how many shards there could be
    videos: Count
    rows: Count
    shards: list[ShardEntry]
    failures: list[FailedVideo]
    partial: list[PartialVideo]


def write_store_file(folder: Path, modality: str, recipe: dict[str, Any], dim: int,
                     counts: dict[int, tuple[int, int]], shard_count: int, failures: list[dict[str, str]]) -> None:
    """Publishes store.json for the shards that stand in `folder`, and the list of videos that failed.

    `counts` are each shard's videos and rows; `shard_count` is how many shards there could be; `failures` are
    {id, path, reason}. The rows' type is the recipe's `dtype`, float16 where it names none.
    """
    dtype = recipe.get("dtype", "float16")
    if dtype not in DTYPES:
        raise SpectrumError(f"{folder}: rows of {dtype}; a store keeps {' or '.join(DTYPES)}")
    recipe_id = fingerprint(recipe)
    _write_failed(folder / FAILED_FILE, failures)
    write_signed(folder, {
        "schema": SCHEMA, "modality": modality, "recipe_id": recipe_id, "recipe": recipe,
        "dim": dim, "dtype": dtype, "shard_count": shard_count,
        "videos": sum(videos for videos, _ in counts.values()),
        "rows": sum(rows for _, rows in counts.values()),
        "shards": [{"file": shard_name(number), "sha256": sha256(folder / shard_name(number)),
                    "videos": videos, "rows": rows} for number, (videos, rows) in sorted(counts.items())],
        "failures": failures,
        "partial": sorted((entry for number in counts
                           for entry in partial_videos(folder / shard_name(number), recipe_id)),
                          key=lambda entry: str(entry["id"])),
    })


def _write_failed(path: Path, failures: list[dict[str, str]]) -> None:
    """There is no such file where no video failed."""
    if failures:
        write_text(path, "".join("\t".join(_one_line(entry[key]) for key in ("id", "path", "reason")) + "\n"
                                 for entry in failures))
    else:
        path.unlink(missing_ok=True)


def _one_line(text: str) -> str:
    return printable(text.replace("\n", "\\n").replace("\t", "\\t"))


def write_signed(folder: Path, content: dict[str, Any]) -> None:
    """Writes store.json, its own checksum at its end."""
    above = json_text(content, indent=2).removesuffix("\n}")
    write_text(folder / STORE_FILE, f'{above},\n  "{_CHECKSUM}": "{_sha256_of_text(above)}"\n}}\n')


def partial_videos(path: Path, recipe_id: str) -> list[dict[str, str | float]]:
    """The videos of a shard that could not be decoded whole: {id, share}."""
    with open_shard(path, recipe_id) as data:
        return [{"id": video_id, "share": round(float(share), 6)}
                for video_id, share in zip(decoded_texts(data["ids"]), data["shares"][:], strict=True) if share < 1]


def read_store_file(folder: Path) -> StoreMetadata:
    """Raises SpectrumError where the store is not complete, of another schema, or its store.json was changed."""
    path = folder / STORE_FILE
    text, content = _read_json(path)
    schema = content.get("schema", "none") if isinstance(content, dict) else "none"
    if schema != SCHEMA:
        raise SpectrumError(f"{path}: expected a feature store of schema {SCHEMA}, found {schema!r:.20}; "
                            f"{rerun('extract')}, or read it with the version that wrote it")
    above, _, own = text.rpartition(",\n")
    if own != f'  "{_CHECKSUM}": "{_sha256_of_text(above)}"\n}}\n':
        raise SpectrumError(f"{path}: it was changed or damaged after it was written; {RESTORE}, or "
                            f"{rerun('extract')}")
    try:
        return StoreMetadata.model_validate(content)
    except (ValidationError, RecursionError) as error:
        _refuse_content(path, error)


def _read_json(path: Path) -> tuple[str, Any]:
    """The text of a file and what it holds."""
    try:
        if path.exists() and not path.is_file():        # reading a pipe would wait for ever
            raise SpectrumError(f"{path}: it is no ordinary file; remove it and {rerun('extract')}")
        text = path.read_bytes().decode()
        return text, json.loads(text)
    except FileNotFoundError:
        raise SpectrumError(f"{path}: no such file, so no whole feature store; {rerun('extract')}") from None
    except OSError as error:
        raise SpectrumError(f"{path}: it cannot be read ({error.strerror}); name a feature store's folder, or mend its "
                            "permissions") from None
    except (ValueError, RecursionError) as error:
        raise SpectrumError(f"{path}: not readable, damaged ({error}); {rerun('extract')}") from None


def _refuse_content(path: Path, error: Exception) -> NoReturn:
    """Names the first field that is wrong."""
    detail = "it is nested too deeply"
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        detail = f"{'.'.join(map(str, first['loc'])) or 'content'}: {first['msg']}"
    raise SpectrumError(f"{path}: not what a feature store's file holds ({detail}); {RESTORE}, or "
                        f"{rerun('extract')}") from None


def _sha256_of_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
