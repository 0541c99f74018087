"""The samples in the documentation that need no service."""

from __future__ import annotations

import ast
import inspect
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent_service.client import Client
from agent_service.models import AgentSpec
from agent_service.service import config

if TYPE_CHECKING:
    from pydantic import BaseModel

DOCS = Path(__file__).parents[2]


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_sample_service_toml_is_valid(tmp_path, monkeypatch):
    monkeypatch.delenv("AGENT_SERVICE_API_KEY", raising=False)
    (sample,) = blocks(DOCS / "docs" / "service-toml.md", "toml")
    path = tmp_path / "service.toml"
    path.write_text(sample)
    loaded = config.load(path)
    assert loaded.service.state == tmp_path / "service.state"
    assert loaded.agents[0].guardrails.bounds == {"mirror_x": (-4, 4)}


def _keys(model: type[BaseModel]) -> set[str]:
    return {
        f"{name}.{below}" if below else name
        for name, field in model.model_fields.items()
        for below in (getattr(field.annotation, "model_fields", None) or [""])
    }


def test_the_table_of_an_agents_keys_is_complete_and_its_defaults_true():
    text = (DOCS / "docs" / "service-toml.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.*?`) \|(.*?)\|", text, re.MULTILINE)
    told: dict[str, str] = {}
    for names, default in rows:
        first, *others = re.findall(r"`(.+?)`", names)
        told |= dict.fromkeys([first, *(first.partition(".")[0] + one for one in others)], default.strip())
    assert set(told) == _keys(AgentSpec)
    for key, default in told.items():
        name, _, below = key.partition(".")
        field = AgentSpec.model_fields[name]
        field = field.annotation.model_fields[below] if below else field
        actual = None if field.is_required() else field.get_default(call_default_factory=True)
        assert (None if default in ("", "none") else json.loads(default.strip("`"))) == actual, key


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "notebooks/README.md",
        *(f"docs/{one.name}" for one in sorted(DOCS.glob("docs/*.md"))),
    ],
)
def test_links_within_the_repository_lead_somewhere(page):
    path = DOCS / page
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), f"{page} links to {target}"


def _examples() -> list[ast.Call]:
    text = (DOCS / "docs" / "client.md").read_text(encoding="utf-8")
    trees = [ast.parse(example) for example in re.findall(r"`(client\.[^`]*)`", text)]
    return [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]


def test_the_page_of_the_client_has_every_method_and_what_it_takes():
    shown = set()
    for call in _examples():
        if isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) == "client":
            method = getattr(Client, call.func.attr)
            keywords = {keyword.arg: None for keyword in call.keywords}
            inspect.signature(method).bind(None, *[None] * len(call.args), **keywords)
            shown.add(call.func.attr)
    methods = {name for name in dir(Client) if not name.startswith("_") and callable(getattr(Client, name))}
    assert methods - shown == {"from_state", "send"}, "the page lacks a method"
