"""What decides the values of a store's rows, and how many shards they are laid out in."""

from typing import Any

import numpy as np

from pipeline import params
from pipeline.common.files import fingerprint
from pipeline.encoders.base import Encoder, Recipe
from pipeline.encoders.precision import PRECISIONS
from pipeline.media.decoder import decoder_recipe
from pipeline.store.shard import shards_by_size

_CLIP_SECONDS = 15      # length of a usual clip, by which rows are estimated where a sampling has a rate


def recipe(encoder: Encoder, extraction: params.Extraction) -> Recipe:
    """Of the store: the encoder's, with the decoder that is used here."""
    if "decoder" not in encoder.recipe:
        return encoder.recipe
    return {**encoder.recipe, "decoder": decoder_recipe(extraction.decoder)}


def clip_recipe_id(encoder: Encoder, extraction: params.Extraction, trained_on: str) -> str:
    """Of a clip's rows, to be compared with the recipe id of a store that a captioner was `trained_on`.

    A clip may be encoded on another device than the store: the precision of the model is no difference here.
    """
    own = recipe(encoder, extraction)
    others = [{**own, "precision": precision} for precision in PRECISIONS] if "precision" in own else []
    return trained_on if trained_on in map(fingerprint, others) else fingerprint(own)


def num_shards(dim: int, recipe: Recipe, extraction: params.Extraction, videos: int) -> int:
    """Files that a store of so many videos is laid out in; it depends on nothing but the parameters and that number."""
    if extraction.num_shards:
        return extraction.num_shards
    row = dim * np.dtype(recipe.get("dtype", "float16")).itemsize
    return shards_by_size(videos, videos * _rows_a_video(recipe.get("sampling", {})) * row)


def _rows_a_video(sampling: dict[str, Any]) -> int:
    match sampling:
        case {"windows": int(rows)} | {"frames": int(rows)}:
            return rows
        case {"per_second": int(rate) | float(rate)}:
            return max(1, round(rate * _CLIP_SECONDS))
    return 1
