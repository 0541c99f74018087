"""docs/promises.md names tests that are there."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/promises.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (.+?) \| `(\S+?)::(\w+)` \|$", PAGE, re.MULTILINE)


@cache
def functions(path):
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    methods = (one for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for one in node.body)
    names = {node.name for node in [*tree.body, *methods] if isinstance(node, kinds)}
    # state machines: TestKills = Kills.TestCase
    assigned = (target for node in tree.body if isinstance(node, ast.Assign) for target in node.targets)
    return names | {target.id for target in assigned if isinstance(target, ast.Name)}


@pytest.mark.parametrize(("path", "test"), sorted({(path, test) for _, path, test in ROWS}))
def test_the_test_of_a_promise_is_there(path, test):
    assert test in functions(path)


def test_every_row_of_the_page_is_read():
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| promise")]
    assert len(rows) == len(ROWS) > 100
