"""The samples in the documentation that need no service."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agent_service import config

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


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/concepts.md", "docs/service-toml.md"])
def test_links_within_the_repository_lead_somewhere(page):
    path = DOCS / page
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), f"{page} links to {target}"
