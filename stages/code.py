"""Note which code a project folder's results come of, so that DVC sees what a changed program makes stale.

    python -m stages.code

Makes code.json, a digest for every program of the graph. It is the first stage of a folder that stages.new laid out,
and says so where the folder's dvc.yaml is not the graph of the program that runs.
"""

from pathlib import Path

from pipeline.common.errors import SpectrumError, readable_errors
from pipeline.common.files import write_json
from stages.command import run_command
from stages.new import GRAPH_FILE, is_current
from stages.project_code import CODE_FILE, code_digests


def main() -> None:
    with readable_errors():
        if not is_current(Path()):
            raise SpectrumError(f"{GRAPH_FILE}: it is not the graph of the program that runs; write it anew with "
                                "`python -m stages.new --update .`, which keeps your parameters")
        write_json(CODE_FILE, code_digests())


if __name__ == "__main__":
    run_command(main, __doc__)
