"""Render the sample data set: clips of a small world of cartoons, and a file of captions.

    python -m stages.sample

Makes sample/clips and sample/captions.jsonl. The other stages read them like your own videos and captions.
"""

from pathlib import Path

from pipeline.params import Params
from pipeline.params.paths import Paths
from stages.command import Summary, stage

FOLDER = Path("sample")


def run(params: Params, paths: Paths) -> Summary:  # noqa: ARG001
    from pipeline.common.files import write_jsonl
    from pipeline.datasets import sample

    manifest = sample.build(params.sample, params.seed, FOLDER)
    write_jsonl(FOLDER / "captions.jsonl", (
        {"video": caption.video_id, "caption": caption.text, "split": manifest.split_of[caption.video_id]}
        for caption in manifest.captions))
    return {"videos": len(manifest.videos), "captions": len(manifest.captions)}


def describe(summary: Summary) -> str:
    return f"rendered {summary['videos']:,} clips with {summary['captions']:,} captions"


if __name__ == "__main__":
    stage(run, "sample", __doc__, describe)
