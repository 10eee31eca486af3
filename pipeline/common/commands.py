"""The commands that messages name: the one place in the library that knows how the graph's programs are called."""

MAKE = "run the stage that makes it, or `dvc repro`"
REMAKE = "make it again with `dvc repro`"
RESTORE = "bring it back with `dvc checkout --force`"
IMPORT_FEATURES = "`python -m pipeline.store import`"


# The graph's nodes of a stage that is called otherwise in it.
_NODES = {"sample": "sample/dvc.yaml:sample", "train": "train@captioner train@baseline",
          "extract": "extract-appearance extract@audio extract@motion"}


def repro(stage: str, part: str = "") -> str:
    """`repro("extract", "audio")` is `dvc repro extract@audio`: what makes the outs of a stage, or of a part of it."""
    nodes = _NODES.get(stage, stage).split()
    return " ".join(["dvc repro", *(node for node in nodes if node.endswith(part))])


def rerun(stage: str) -> str:
    """`rerun("extract")` is "run `python -m stages.extract`", to be part of a sentence."""
    return f"run `python -m stages.{stage}`"
