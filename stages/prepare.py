"""Prepare the data set: its videos, captions and splits, checked, as a manifest.

    python -m stages.prepare                                   # the sample: renders its clips, too
    python -m stages.prepare dataset=mine data.kind=folder data.videos=clips data.captions=captions.csv

Makes data/<dataset>/{videos,captions,corpus}.jsonl, and for the sample data/<dataset>/clips.
"""

from pipeline.datasets import folder, sample
from pipeline.params import Params
from pipeline.paths import Paths
from stages.command import Summary, stage


def run(params: Params, paths: Paths) -> Summary:
    if params.data.kind == "sample":
        manifest = sample.build(params.sample, params.seed, paths.data)
    else:
        manifest = folder.build(params.data, params.seed)
    manifest.write(paths.data)
    return {"splits": manifest.counts(), "corpus": len(manifest.corpus)}


if __name__ == "__main__":
    stage(run, "prepare", __doc__)
