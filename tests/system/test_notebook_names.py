"""Notebooks of any name, served without Jupyter: each finds its own memory again at a restart."""

from __future__ import annotations

import pytest
from prototype import SERVE, WALK, notebook
from services import wait_until

from agent_service.client import Client

NAMES = ["測定", "扫描", "réglage du faisceau", "reglage-du-faisceau"]


@pytest.mark.long
def test_each_name_keeps_its_memory(command):
    done = {}
    for _ in range(2):
        for name in NAMES:
            file = command.folder / f"{name}.ipynb"
            if not file.exists():
                notebook(file, "%load_ext agent_service", WALK, SERVE)
            known = {path for path in command.folder.glob(".agent-service/*") if path.is_dir()}
            process, _ = command.serve(file.name)
            [state] = [path for path in command.folder.glob(".agent-service/*") if (path / "service.json").exists()]
            with Client.from_state(state) as client:
                if name in done:
                    assert (state, client.agent("walk").progress.done) == done[name]
                else:
                    assert state not in known
                    client.start("walk")
                    wait_until(lambda: client.agent("walk").progress.done >= 1)
                    client.stop("walk")
                    done[name] = state, client.agent("walk").progress.done
            command.stop(process)
    assert len({state for state, _ in done.values()}) == len(NAMES)
