"""What is refused of a specification before there is an agent."""

import pytest
from headless_service import SPEC, service

from agent_service.errors import InvalidInput, ServiceError, UnknownDevice
from agent_service.models import AgentSpec


@pytest.fixture
async def rooms(tmp_path):
    async with service(tmp_path / "journal.db") as headless:
        yield headless


REFUSED = {
    "no such type": ({"type": "brainbox:Nobody"}, InvalidInput, "Nobody"),
    "a module that raises": ({"type": "not_there.at_all:Brain"}, ServiceError, "not_there"),
    "a configuration that the type does not take": ({"config": {"stride": 1}}, InvalidInput, "stride"),
    "an outcome that is an actuator": ({"outcome": "x"}, InvalidInput, "x"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_is_wrong_is_refused_and_named(rooms, case):
    wrong, kind, words = REFUSED[case]
    with pytest.raises(kind, match=words):
        await rooms.supervisor.checks.check(AgentSpec(**{**SPEC, "name": "walker", **wrong}))
    assert not rooms.supervisor.lives


async def test_what_is_right_makes_nothing(rooms):
    await rooms.supervisor.checks.check(AgentSpec(**SPEC, name="walker"))
    assert not rooms.supervisor.lives


async def test_a_rule_about_what_nobody_can_ask_is_refused(rooms):
    rules = {"rules": ["abs(x - gate) <= 3"]}
    spec = AgentSpec(**SPEC, name="walker", guardrails=rules)
    for look in (rooms.supervisor.checks.check, rooms.supervisor.checks.look_at_guardrails):
        with pytest.raises(
            UnknownDevice, match="names gate, which is no actuator of agent 'walker'; this service has no"
        ):
            await look(spec)
    await rooms.supervisor.checks.look_at_guardrails(AgentSpec(**SPEC, name="walker", guardrails={"rules": ["x <= y"]}))
