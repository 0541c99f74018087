"""docs/openapi.json and docs/service.schema.json are what the service says today; `make schemas` writes them anew."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import agent_service
from agent_service.service.config import ServiceConfig

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    ("name", "say"),
    [
        ("openapi.json", lambda: agent_service.create_app(ServiceConfig()).openapi()),
        ("service.schema.json", ServiceConfig.file_schema),
    ],
)
def test_the_written_schema_is_fresh(name, say):
    written = json.loads((DOCS / name).read_text(encoding="utf-8"))
    assert written == json.loads(json.dumps(say())), f"docs/{name} is old; write it anew with: make schemas"
