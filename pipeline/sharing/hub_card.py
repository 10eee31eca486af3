"""The card of a model's folder: the checkpoint's, with metadata for a hub, scores on test, and how to load it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.captioner import card
from pipeline.common.errors import SpectrumError

_TASK = "video-text-to-text"        # the hub's name of the nearest of its tasks
# Section of metrics.json, key, name; fractions, printed × 100.
_SCORES = (("coco", "CIDEr", "CIDEr"), ("coco", "METEOR", "METEOR"), ("coco", "Bleu_4", "BLEU-4"),
           ("coco", "ROUGE_L", "ROUGE-L"), ("emotion", "acc_sw", "Acc_sw"), ("emotion", "acc_c", "Acc_c"),
           ("emotion", "cfs", "CFS"))

_USE = """This folder needs no other. From Python:

    from pipeline.sharing.model_folder import load

    with load("{name}") as captioner:           # this folder, or its org/name on a hub
        print(captioner.caption(Path("clip.mp4")).text)

In a browser: `python -m stages.studio --checkpoint {name}`. The package is spectrum-captioning. `captioner.safetensors`
and `encoder/` hold weights, `index/` the captions to retrieve from, `emotion.h5` the fitted prior of emotions,
`params.yaml` the parameters; there is no pickle. The captions in `index/` are those of the data set's
training split: its licence goes with them, so add a `license:` on top of this file before others get it.
"""


def render(path: Path, name: str, dataset: str, metrics: Mapping[str, Any]) -> str:
    """`path`: the checkpoint's card; `metrics`: the entries of metrics.json about the captioner."""
    from huggingface_hub import EvalResult, ModelCardData

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpectrumError(f"{path}: the checkpoint's card cannot be read ({error}); train the captioner again"
                            ) from None
    scores = [(title, 100 * value) for section, key, title in _SCORES
              if (value := (metrics.get(section) or {}).get(key)) is not None]
    results = [EvalResult(_TASK, dataset, dataset, title, round(value, 1), task_name="Video captioning",
                          dataset_split="test") for title, value in scores]
    data = ModelCardData(language="en", library_name="spectrum-captioning", pipeline_tag=_TASK,
                         tags=["video-captioning", "emotion", "retrieval"], model_name=name,
                         eval_results=results or None)
    table = "".join(f"| {title} | {value:.1f} |\n" for title, value in scores)
    tested = f"## Test scores (x 100)\n\n| score | value |\n|---|---|\n{table}\n" if table else ""
    text, found = re.subn(r"^## Use\n.*?(?=^## |\Z)", lambda _: f"{tested}## Use\n\n{_USE.format(name=name)}\n",
                          text, count=1, flags=re.MULTILINE | re.DOTALL)
    if not found:
        raise SpectrumError(f"{path}: the checkpoint's {card.NAME} has no section Use; train the captioner again")
    return f"---\n{data.to_yaml()}\n---\n\n{text}"
