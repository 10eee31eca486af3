"""Note which code makes a project folder's results, so that DVC runs a stage again after its code has changed.

    python -m stages.code

Makes code.json: a digest of the code of every stage. It is the first stage in a folder that stages.new made. It stops
if the program was updated and now has another graph than the folder's dvc.yaml.
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
            raise SpectrumError(f"{GRAPH_FILE}: it is the graph of another version of the program; renew it with "
                                "`python -m stages.new --update .`, which keeps your parameters")
        write_json(CODE_FILE, code_digests())


if __name__ == "__main__":
    run_command(main, __doc__)
