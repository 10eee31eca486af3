"""The job script of docs/clusters.md, rendered and run in place of SLURM."""

import builtins
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from documents import blocks
from project import ROOT

from pipeline.params import Cluster
from pipeline.workers.engine import open_engine

pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed")

SBATCH = """#!/usr/bin/env bash
cp "$1" {folder}/job.sh
bash "$1" > {folder}/job.log 2>&1 &
echo "Submitted batch job $!"
"""


class Doubling:
    facts = {"recipe": "doubling"}      # noqa: RUF012

    def do(self, part: int, _report: object) -> int:
        return 2 * part


def test_the_job_script_starts_a_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                        capsys: pytest.CaptureFixture[str]) -> None:
    shown, script = (block for block in blocks("docs/clusters.md", "SLURM") if block.language in ("python", "text"))
    project = tmp_path / "project"
    (project / ".venv/bin").mkdir(parents=True)
    (project / ".venv/bin/activate").write_text(
        f"export PYTHONPATH={os.pathsep.join([str(ROOT), *filter(None, sys.path)])}\n")
    for name, text in (("sbatch", SBATCH), ("scancel", "#!/usr/bin/env bash\nkill $1\n")):
        (tmp_path / name).write_text(text.format(folder=tmp_path))
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    results: list[int] = []

    def work(_prompt: str) -> str:
        """While the workers are there: parts of work through the address that was printed."""
        address = capsys.readouterr().out.split()[-1]
        with open_engine(Cluster(scheduler=address)) as engine:
            results.extend(engine.begin(Doubling).run({"one": 1, "two": 2}))
        return ""

    monkeypatch.setattr(builtins, "input", work)
    code = shown.text.replace("/project", str(project)).replace("jobs=8", "jobs=1")
    exec(compile(code, "clusters.md", "exec"), {"__name__": "__main__"})
    assert results == [2, 4]
    rendered = (tmp_path / "job.sh").read_text()
    assert without_names(rendered.replace(str(project), "/project")) == without_names(script.text)
    subprocess.run(["bash", "-n", tmp_path / "job.sh"], check=True)


def without_names(script: str) -> list[str]:
    """Its lines without what differs from run to run: the Python, the scheduler's address, the worker's name."""
    script = re.sub(r"\S+/python\S* -m", "python -m", re.sub(r"tcp://\S+", "tcp://…", script))
    return [line.rstrip() for line in re.sub(r"--name \S+", "--name …", script).strip().splitlines()]
