"""What decides the values of a store's rows."""

from pipeline import params
from pipeline.encoders.base import Encoder, Recipe
from pipeline.media.decoder import decoder_recipe


def recipe(encoder: Encoder, extraction: params.Extraction) -> Recipe:
    """Of the store: the encoder's, with the decoder that is used here."""
    if "decoder" not in encoder.recipe:
        return encoder.recipe
    return {**encoder.recipe, "decoder": decoder_recipe(extraction.decoder)}
