"""docs/architecture.md and docs/where-to-change.md name what is there."""

import ast
import re
from itertools import chain
from pathlib import Path

import agent_service

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "agent_service"
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
CHANGES = (ROOT / "docs/where-to-change.md").read_text(encoding="utf-8")
MOST_ENTRIES = 22
CLASS_LINES_BELOW = 300
METHODS_BELOW = 20


def test_every_file_on_the_way_is_there():
    named = re.findall(r"(?<![\w/.])((?:[a-z_]+/)+[\w]+\.(?:py|js)|[a-z_]+\.py)", ARCHITECTURE)
    assert len(named) > 50
    assert [name for name in named if not any((base / name).is_file() for base in (ROOT, PACKAGE))] == []


def test_every_file_where_a_change_begins_is_there():
    named = re.findall(r"\| `([\w/]+\.py)` \|", CHANGES)
    assert len(named) == 13 + 20
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_the_tree_is_that_of_the_package():
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    assert rooms <= set(re.findall(r"(\w+)/ ", ARCHITECTURE))
    entries = [path for path in PACKAGE.iterdir() if path.name != "__pycache__"]
    assert len(entries) <= MOST_ENTRIES


def test_each_room_says_what_lives_there():
    for path in PACKAGE.rglob("__init__.py"):
        first = path.read_text(encoding="utf-8").splitlines()[0]
        assert first.lstrip("r").startswith('"""'), path
        assert "TODO" not in first, path
    assert agent_service.__doc__


def test_no_class_is_too_large_to_have_one_meaning():
    too_large = []
    for path in chain(PACKAGE.rglob("*.py"), (ROOT / "notebook_widgets").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                methods = sum(isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) for item in node.body)
                lines = node.end_lineno - node.lineno + 1
                if lines >= CLASS_LINES_BELOW or methods >= METHODS_BELOW:
                    too_large.append(f"{path.relative_to(ROOT)}: {node.name} has {lines} lines and {methods} methods")
    assert too_large == []
