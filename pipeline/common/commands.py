"""The commands that messages name: the one place in the library that knows how the graph's programs are called."""

MAKE = "run the stage that makes it, or `dvc repro`"
REMAKE = "make it again with `dvc repro`"
RESTORE = "bring it back with `dvc checkout --force`"
IMPORT_FEATURES = "`python -m pipeline.store import`"


def rerun(stage: str) -> str:
    """`rerun("extract")` is "run `python -m stages.extract`", to be part of a sentence."""
    return f"run `python -m stages.{stage}`"
