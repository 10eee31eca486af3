"""Prepare the data set: check its videos, captions and splits, and write the lists that all stages read.

    python -m stages.prepare
    python -m stages.prepare dataset=mine data.kind=folder data.videos=clips data.captions=captions.csv

Makes data/<dataset>/{videos,captions,corpus}.jsonl, manifest.json and encoder-inputs.json. The files of published data
sets are read as their owners publish them (docs/datasets.md).
"""

from pipeline.common.terminal import say
from pipeline.datasets import emvidcap, folder, msrvtt, msvd
from pipeline.datasets.encoder_inputs import write_encoder_inputs
from pipeline.datasets.manifest import Manifest, check_trainable
from pipeline.datasets.published import Findings
from pipeline.params import Params
from pipeline.params.paths import Paths
from stages.command import Summary, stage


def run(params: Params, paths: Paths) -> Summary:
    manifest, findings = _read(params)
    check_trainable(manifest)
    manifest.write(paths.data)
    write_encoder_inputs(paths.data, manifest, params.encoders.appearance)
    listed = findings.as_json()
    say("\n".join(_lines(params, manifest, listed)))
    return {"splits": manifest.counts(), "corpus": len(manifest.corpus), "captions": manifest.caption_counts(),
            "findings": listed}


def _read(params: Params) -> tuple[Manifest, Findings]:
    match params.data.kind:
        case "folder":
            return folder.prepare(params.data, params.seed)
        case "msvd":
            return msvd.prepare(params.data)
        case "msrvtt":
            return msrvtt.prepare(params.data)
        case "emvidcap-s" | "emvidcap-l" | "emvidcap":
            return emvidcap.prepare(params.data, params.seed)


def _lines(params: Params, manifest: Manifest, findings: Summary) -> list[str]:
    """What a person wants to know of the data set, a line each."""
    lines = [f"{params.dataset}: {len(manifest.videos):,} videos, {len(manifest.captions):,} captions, "
             f"{len(manifest.corpus):,} to retrieve from"]
    lines += [f"  {split}: {counts['videos']:,} videos, {counts['captions']:,} captions"
              for split, counts in manifest.counts().items()]
    of_captions = manifest.caption_counts()
    lines.append(f"  {of_captions['repeated']:,} captions repeat one of their video, {of_captions['not_ascii']:,} are "
                 "not ASCII; all are kept")
    if unspaced := manifest.unspaced():
        lines.append(f"  {len(unspaced):,} captions of a script without spaces are one word, such as "
                     f"{unspaced[0].text!r}: separate their words by spaces if they are several")
    if len(manifest.corpus) < params.retrieval.stored:
        lines.append(f"  fewer captions to retrieve from than retrieval.stored ({params.retrieval.stored}) asks for: "
                     "as many as there are will be candidates")
    for name, value in findings.items():
        match value:
            case dict():
                text = ", ".join(f"{key} {part:,}" if isinstance(part, int) else f"{key} ({part})"
                                 for key, part in value.items())
            case list():
                text = "; ".join(value)
            case _:
                text = f"{value:,}"
        lines.append(f"  {name.replace('_', ' ')}: {text}")
    if "left_out_videos" in findings or "not_as_published" in findings:
        lines.append("  not the published data set: compare no result with a published one")
    return lines


def describe(summary: Summary) -> str:
    videos, captions = (sum(counts[key] for counts in summary["splits"].values()) for key in ("videos", "captions"))
    return f"checked {videos:,} videos with {captions:,} captions"


if __name__ == "__main__":
    stage(run, "prepare", __doc__, describe)
