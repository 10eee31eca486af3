"""What is part of a store's recipe."""

from typing import Any

import pytest
from colours import SECTION, Colours

from pipeline.common.files import fingerprint
from pipeline.encoders.precision import precision
from pipeline.extraction.recipe import clip_recipe_id, num_shards, recipe


class Model(Colours):
    """A model of frames, as it would be on some device."""

    def __init__(self, device: str, **more: Any) -> None:
        super().__init__()
        self.recipe |= {"precision": precision(device), **more}


def test_the_precision_of_a_device_makes_another_recipe() -> None:
    ids = {device: fingerprint(recipe(Model(device), SECTION)) for device in ("cpu", "cuda", "cuda:1")}
    assert ids["cuda"] == ids["cuda:1"] != ids["cpu"]


def test_a_clip_may_be_encoded_on_another_device_than_the_store() -> None:
    store = fingerprint(recipe(Model("cuda"), SECTION))
    assert clip_recipe_id(Model("cpu"), SECTION, store) == store
    other = Model("cpu", weights="others")
    assert clip_recipe_id(other, SECTION, store) == fingerprint(recipe(other, SECTION))
    assert clip_recipe_id(Colours(), SECTION, store) == fingerprint(recipe(Colours(), SECTION))


@pytest.mark.parametrize(("sampling", "count"), [
    ({"times": "uniform", "frames": 28}, 32), ({"times": "uniform", "windows": 8, "window_seconds": 0.96}, 32),
    ({"times": "windows", "windows": 100, "frames": 16, "seconds": 2.0}, 64),
    ({"times": "rate", "per_second": 8.0}, 128), ({}, 32)])
def test_the_number_of_shards_follows_from_the_sampling(sampling: dict[str, Any], count: int) -> None:
    """Of 10,000 videos with rows of 512 float16: at least 20 shards for the videos, and 1 for 16,384 rows."""
    encoder = Model("cpu", sampling=sampling, dtype="float16")
    encoder.dim = 512
    by_size = SECTION.model_copy(update={"num_shards": 0})
    assert num_shards(encoder.dim, encoder.recipe, by_size, 10_000) == num_shards(
        encoder.dim, encoder.recipe, by_size, 10_001) == count
    assert num_shards(encoder.dim, encoder.recipe, SECTION, 10_000) == SECTION.num_shards
