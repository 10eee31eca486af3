"""Prepare the data set: its videos, captions and splits, checked, as a manifest.

    python -m stages.prepare
    python -m stages.prepare dataset=mine data.kind=folder data.videos=clips data.captions=captions.csv

Makes data/<dataset>/{videos,captions,corpus}.jsonl and encoder-inputs.json. Published data sets
(docs/datasets.md) are read as their owners publish them: python -m pipeline.params presets/msvd.yaml
"""

from pipeline.datasets import emvidcap, folder, msrvtt, msvd
from pipeline.datasets.encoder_inputs import write_encoder_inputs
from pipeline.datasets.manifest import Manifest
from pipeline.datasets.published import Findings
from pipeline.params import Params
from pipeline.params.paths import Paths
from stages.command import Summary, stage


def run(params: Params, paths: Paths) -> Summary:
    manifest, findings = _read(params)
    manifest.write(paths.data)
    write_encoder_inputs(paths.data, manifest, params.encoders.appearance)
    found = findings.as_json()
    print("\n".join(_told(params.dataset, manifest, found)))
    return {"splits": manifest.counts(), "corpus": len(manifest.corpus), "captions": manifest.caption_counts(),
            "findings": found}


def _read(params: Params) -> tuple[Manifest, Findings]:
    match params.data.kind:
        case "folder":
            return folder.build(params.data, params.seed), Findings()
        case "msvd":
            return msvd.prepare(params.data)
        case "msrvtt":
            return msrvtt.prepare(params.data)
        case "emvidcap-s" | "emvidcap-l" | "emvidcap":
            return emvidcap.prepare(params.data, params.seed)


def _told(dataset: str, manifest: Manifest, found: Summary) -> list[str]:
    """What a person wants to know of it, a line each."""
    told = [f"{dataset}: {len(manifest.videos):,} videos, {len(manifest.captions):,} captions, "
            f"{len(manifest.corpus):,} to retrieve from"]
    told += [f"  {split}: {counts['videos']:,} videos, {counts['captions']:,} captions"
             for split, counts in manifest.counts().items()]
    of_captions = manifest.caption_counts()
    told.append(f"  {of_captions['repeated']:,} captions repeat one of their video, {of_captions['not_ascii']:,} are "
                "not ASCII; all are kept")
    for name, value in found.items():
        match value:
            case dict():
                text = ", ".join(f"{key} {part:,}" if isinstance(part, int) else f"{key} ({part})"
                                 for key, part in value.items())
            case list():
                text = "; ".join(value)
            case _:
                text = f"{value:,}"
        told.append(f"  {name.replace('_', ' ')}: {text}")
    if "left_out_videos" in found or "not_as_published" in found:
        told.append("  not the published data set: compare no result with a published one")
    return told


if __name__ == "__main__":
    stage(run, "prepare", __doc__)
