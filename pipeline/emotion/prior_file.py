"""A fitted prior as arrays and one JSON text, as emotion.h5 holds it.

Readers lie one under the other: as many rows a source as its vectors have numbers.
"""

import json
import math
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.common.hdf5 import Arrays, Layout
from pipeline.emotion.calibration import Calibration
from pipeline.emotion.prior import MIXTURE, Prior
from pipeline.emotion.row_reader import RowReader

LAYOUTS = {
    "category_rates": Layout("float64", rank=1), "word_rates": Layout("float64", rank=1),
    "reader_centres": Layout("float64", rank=1), "reader_scales": Layout("float64", rank=1),
    "reader_coefficients": Layout("float64", rank=2),
    "slopes": Layout("float64", rank=2), "intercepts": Layout("float64", rank=2),
    "word_slopes": Layout("float64", rank=1), "word_intercepts": Layout("float64", rank=1),
}


def lay_out(prior: Prior) -> tuple[Arrays, str]:
    """Arrays of LAYOUTS, and the JSON."""
    readers = prior.readers.values()
    arrays = {
        "category_rates": prior.category_rates, "word_rates": prior.word_rates,
        "reader_centres": np.concatenate([reader.centre for reader in readers]),
        # A column that says nothing has no scale.
        "reader_scales": np.concatenate([np.where(np.isinf(reader.scale), 0.0, reader.scale) for reader in readers]),
        "reader_coefficients": np.concatenate([reader.coefficients for reader in readers]),
        "slopes": np.stack([calibration.slopes for calibration in prior.calibrations]),
        "intercepts": np.stack([calibration.intercepts for calibration in prior.calibrations]),
        "word_slopes": prior.word_calibration.slopes, "word_intercepts": prior.word_calibration.intercepts,
    }
    described = {"temperature": prior.temperature, "weights": dict(prior.weights),
                 "readers": {name: len(reader.centre) for name, reader in prior.readers.items()}}
    return arrays, json.dumps(described)


def digest_of(prior: Prior) -> str:
    """Stands for all that was fitted."""
    arrays, described = lay_out(prior)
    content = sha256(described.encode())
    for name in LAYOUTS:
        content.update(np.ascontiguousarray(arrays[name]).tobytes())
    return content.hexdigest()[:16]


def parse(arrays: Mapping[str, Any], text: str, owners: NDArray[np.bool_]) -> Prior:
    """The prior of emotions of which owners [C, W] says what words they have.

    Raises ValueError, in words that follow a file's name, for anything else.
    """
    try:
        described = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its prior is no JSON: {error}") from None
    if not isinstance(described, dict):
        raise ValueError("its prior is no JSON object")
    temperature, weights, widths = (described.get(key) for key in ("temperature", "weights", "readers"))
    if not isinstance(temperature, int | float) or not 0 < temperature < math.inf:
        raise ValueError("its temperature is no positive number")
    if not isinstance(weights, dict) or not all(
            isinstance(weight, int | float) and 0 <= weight < math.inf for weight in weights.values()):
        raise ValueError("its weights are no numbers by name")
    if not isinstance(widths, dict) or next(iter(widths), None) != MIXTURE or not all(
            isinstance(width, int) and width > 0 for width in widths.values()):
        raise ValueError(f"its readers are no widths by name, {MIXTURE} first")
    categories, words = owners.shape
    sets, total = 2 ** (len(widths) - 1), sum(widths.values())
    shapes = {"category_rates": (categories,), "word_rates": (words,), "reader_centres": (total,),
              "reader_scales": (total,), "reader_coefficients": (total, categories),
              "slopes": (sets, 1 + len(widths)), "intercepts": (sets, categories), "word_slopes": (2,),
              "word_intercepts": (words,)}
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise ValueError(f"its {name} have the shape {arrays[name].shape}, expected {shape}")
    scales = np.where(arrays["reader_scales"] > 0, arrays["reader_scales"], np.inf)
    readers, first = {}, 0
    for name, width in widths.items():
        part = slice(first, first + width)
        readers[name] = RowReader(arrays["reader_centres"][part], scales[part], arrays["reader_coefficients"][part])
        first += width
    calibrations = tuple(map(Calibration, arrays["slopes"], arrays["intercepts"]))
    return Prior(float(temperature), {name: float(weight) for name, weight in weights.items()},
                 arrays["category_rates"], arrays["word_rates"], readers, calibrations,
                 Calibration(arrays["word_slopes"], arrays["word_intercepts"]), owners)
