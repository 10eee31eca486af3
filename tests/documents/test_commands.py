"""Every command in the documents is run by a test, or its block says that it is not run."""

import ast
import re
import subprocess
import sys

import pytest
from documents import DOCUMENTS, Block, blocks
from project import ROOT

TEAM = "tests/graph/test_team.py::first"
HERE = "tests/documents/test_examples.py::"
# By document and heading: the test that runs the commands of this heading, or the same commands on smaller files.
TESTED = {
}
BLOCKS = [block for document in DOCUMENTS for block in blocks(document) if block.commands]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"{block.document}-{block.heading}")
def test_commands_are_run_or_marked(block: Block) -> None:
    test = TESTED.get((block.document, block.heading))
    assert test or block.is_marked, f"{block.document}, {block.heading}: name the test of {block.commands}, or mark it"
    assert not (test and block.is_marked), f"{block.document}, {block.heading}: run, and marked as not run"


def test_no_test_is_named_in_vain() -> None:
    headings = {(block.document, block.heading) for block in BLOCKS}
    for (document, heading), test in TESTED.items():
        assert (document, heading) in headings, f"{document} has no commands under {heading!r}"
        file, _, name = test.partition("::")
        functions = {node.name for node in ast.parse((ROOT / file).read_text(encoding="utf-8")).body
                     if isinstance(node, ast.FunctionDef)}
        assert name in functions, f"{file} has no {name}"


@pytest.mark.parametrize("command", sorted({command for block in BLOCKS for command in block.commands
                                            if re.match(r"python -m (stages|pipeline)\.[\w.]+.* --\w", command)}))
def test_options_exist(command: str) -> None:
    module = command.split()[2:3] if "pipeline.store" not in command else command.split()[2:4]
    told = subprocess.run([sys.executable, "-m", *module, "--help"], cwd=ROOT, capture_output=True, text=True,
                          check=True).stdout
    for option in re.findall(r" (--[\w-]+)", command):
        assert option in told, f"{command}: no option {option}"
