"""Estimate emotions: of every candidate caption, and from them each video's emotional prior.

    python -m stages.emotion emotion.clip=0      # the word lists alone

Makes features/<dataset>/emotion.h5, and emotion.json in the reports: how often the prior, and each back end
alone, finds a reference emotion of the validation videos.
"""

import numpy as np

from pipeline import index
from pipeline.device import device
from pipeline.emotion import probabilities
from pipeline.emotion.prior import Emotions, hit_rates, prior, reference_categories
from pipeline.emotion.taxonomy import Taxonomy
from pipeline.encoders import appearance
from pipeline.files import write_json
from pipeline.manifest import Manifest
from pipeline.params import Params
from pipeline.paths import Paths
from stages.command import Summary, stage


def run(params: Params, paths: Paths) -> Summary:
    manifest = Manifest.load(paths.data)
    taxonomy = Taxonomy.load(params.emotion.words)
    candidates = index.Candidates.read(paths.candidates)
    captions = index.open_index(paths.index, candidates.recipe_id)
    used = candidates.rows[:, : params.retrieval.used]  # [V, K]
    scores = candidates.scores[:, : params.retrieval.used]
    rows, place = np.unique(used, return_inverse=True)  # [n], [V, K]
    place = place.reshape(used.shape)

    encoder = appearance.load(params.encoders.appearance, paths.encoder, str(device(params.device)))
    parts = probabilities.backends([captions.texts[row] for row in rows], captions.embeddings[rows],
                                   captions.embeddings, params.emotion, taxonomy, encoder.encode_texts)
    validation = np.flatnonzero([manifest.split_of[video] == "validation" for video in candidates.ids])
    references = [reference_categories(manifest.captions_of[candidates.ids[i]], taxonomy) for i in validation]
    mixed = probabilities.mixture(parts, params.emotion)
    found = {}
    for name, words in {**parts, "mixture": mixed}.items():
        categories = probabilities.categories(words, taxonomy)
        priors = prior(categories[place[validation]], scores[validation], params.emotion.retrieval_temperature)
        found[name] = hit_rates(priors, references, taxonomy)

    caption_categories = probabilities.categories(mixed, taxonomy)
    temperature = params.emotion.retrieval_temperature
    Emotions(
        taxonomy=taxonomy.name,
        recipe_id=probabilities.recipe_id(params.emotion, params.retrieval.used, candidates.recipe_id),
        rows=rows, caption_words=mixed, caption_categories=caption_categories, ids=candidates.ids,
        words=prior(mixed[place], scores, temperature),
        categories=prior(caption_categories[place], scores, temperature),
    ).write(paths.emotion)
    write_json(paths.reports / "emotion.json", found)
    return {"captions": len(rows), "videos": len(candidates.ids), "validation": found}


if __name__ == "__main__":
    stage(run, "emotion", __doc__)
