"""`store.json`: what a store is made of. It is written last: with it the store is complete.

It holds the recipe, each shard's counts and SHA-256, the videos that failed and those that are partial.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field, InstanceOf, ValidationError

from pipeline.common.commands import RESTORE, rerun
from pipeline.common.errors import SpectrumError
from pipeline.common.files import fingerprint, read_json, sha256, write_json, write_text
from pipeline.common.terminal import printable
from pipeline.store.shard import DTYPES, SCHEMA, decoded_texts, open_shard, shard_name

STORE_FILE = "store.json"
FAILED_FILE = "failed.txt"      # the videos that failed, for people: id, file and reason, a line each

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
    write_json(folder / STORE_FILE, {
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


def partial_videos(path: Path, recipe_id: str) -> list[dict[str, str | float]]:
    """The videos of a shard that could not be decoded whole: {id, share}."""
    with open_shard(path, recipe_id) as data:
        return [{"id": video_id, "share": round(float(share), 6)}
                for video_id, share in zip(decoded_texts(data["ids"]), data["shares"][:], strict=True) if share < 1]


def read_store_file(folder: Path) -> StoreMetadata:
    """Raises SpectrumError where the store is not complete, of another schema, or its store.json was changed."""
    path = folder / STORE_FILE
    try:
        content = read_json(path)       # not yet whether it is signed: that of an older schema is not
    except SpectrumError as error:
        if isinstance(error.__context__, FileNotFoundError):
            raise SpectrumError(f"{path}: no such file, so no whole feature store; {rerun('extract')}") from None
        raise
    schema = content.get("schema", "none") if isinstance(content, dict) else "none"
    if schema != SCHEMA:
        raise SpectrumError(f"{path}: expected a feature store of schema {SCHEMA}, found {schema!r:.20}; "
                            f"{rerun('extract')}, or read it with the version that wrote it")
    try:
        return StoreMetadata.model_validate(read_json(path, signed=True))
    except (ValidationError, RecursionError) as error:
        _refuse_content(path, error)


def _refuse_content(path: Path, error: Exception) -> NoReturn:
    """Names the first field that is wrong."""
    detail = "it is nested too deeply"
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        detail = f"{'.'.join(map(str, first['loc'])) or 'content'}: {first['msg']}"
    raise SpectrumError(f"{path}: not what a feature store's file holds ({detail}); {RESTORE}, or "
                        f"{rerun('extract')}") from None
