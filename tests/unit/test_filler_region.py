"""Where filler points may lie: within the agent's own search, however it names its actuators, and the limits."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from agent_service.agents.fillers import region
from agent_service.models import AgentSpec


@pytest.mark.parametrize(
    ("names", "written"), [({"stage_x": "stage.x"}, "stage.x"), ({"stage_x": "stage.x"}, "stage_x"), ({}, "stage_x")]
)
def test_fillers_stay_within_the_agents_own_search_however_it_names_an_actuator(
    names: dict[str, str], written: str
) -> None:
    config = {"bounds": {written: [0, 5]}}
    spec = AgentSpec.model_validate(
        {"name": "a", "type": "sobol", "config": config, "actuators": ["stage_x"], "outcome": "flux", "names": names}
    )
    agent = SimpleNamespace(spec=spec, guardrails=SimpleNamespace(limits={"stage_x": (-100.0, 3.0)}))
    assert region(cast("Any", agent)) == {"stage_x": (0.0, 3.0)}
