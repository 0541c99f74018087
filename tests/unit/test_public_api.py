"""What the package promises by name, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import agent_service

PUBLIC = [
    "AgentSpec",
    "AsyncClient",
    "Client",
    "ServiceConfig",
    "ServiceError",
    "create_app",
    "method",
    "open_catalog",
    "progress",
    "run_agent",
    "serve",
    "variable",
]


def test_the_public_names_are_these():
    assert agent_service.__all__ == PUBLIC
    assert len(PUBLIC) <= 12


def test_every_public_name_is_there():
    for name in PUBLIC:
        assert getattr(agent_service, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = agent_service.no_such_name


@pytest.mark.parametrize("module", ["agent_service", "agent_service.client", "agent_service.cli"])
def test_importing_a_client_loads_nothing_heavy(module):
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert module.partition(".")[0] in loaded
    heavy = {"bluesky", "ophyd", "numpy", "scipy", "pandas", "fastapi", "uvicorn", "sqlalchemy", "tiled", "databroker"}
    assert loaded & heavy == set()
