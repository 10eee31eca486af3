"""The page of what can go wrong names a test for each promise, and each of these tests exists."""

import ast
import re

import pytest
from project import ROOT

ROWS = [line for line in (ROOT / "docs/faults.md").read_text().splitlines()
        if line.startswith("| ") and not line.startswith("| promise")]


@pytest.mark.parametrize("row", ROWS)
def test_a_promise_has_its_tests(row: str) -> None:
    promise, tests = row.strip("| ").split(" | ")
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", tests)
    assert named and "`, `".join(f"{file}::{test}" for file, test in named) == tests.strip("`"), promise
    for file, test in named:
        functions = {node.name for node in ast.parse((ROOT / file).read_text()).body
                     if isinstance(node, ast.FunctionDef)}
        assert test in functions, f"{file} has no {test}"
