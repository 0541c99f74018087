"""What documentation, notebooks and journals of 0.1.0 name is found where it is now."""

import importlib
import subprocess
import sys

import pytest

import agent_service

MOVED = {
    "agents.fair_lock": "agents.call_lock",
    "agents.points": "agents.sent_points",
    "beamline": "plans.beamline",
    "brains.bayes": "brains.builtin.bayes",
    "brains.listed": "brains.allowed_modules",
    "brains.record": "brains.builtin.record",
    "brains.sequence": "brains.builtin.sequence",
    "brains.sobol": "brains.builtin.sobol",
    "catalog": "archive.catalog",
    "config": "service.config",
    "documents.copies": "documents.document_copies",
    "methods": "brains.declared",
    "models.number": "models.real_numbers",
    "notices": "executors.notices",
    "server.serving": "launch.local",
    "variables": "brains.declared",
}


@pytest.mark.parametrize("former", MOVED)
def test_a_module_is_the_same_under_its_former_name(former):
    found = importlib.import_module(f"agent_service.{former}")
    assert found is importlib.import_module(f"agent_service.{MOVED[former]}")


@pytest.mark.parametrize("former", MOVED)
def test_the_former_name_may_be_the_first_import_of_all(former):
    code = f"import agent_service.{former} as old, agent_service.{MOVED[former]} as new; assert old is new"
    code += "; assert new.__spec__.name == new.__name__"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)


def test_plans_are_found_at_their_former_place():
    from agent_service import plans
    from agent_service.plans import library

    assert (plans.acquire, plans.move_to) == (library.acquire, library.move_to)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        plans.nothing  # noqa: B018
    assert plans.run_agent is agent_service.run_agent


def test_a_name_that_never_was_is_refused():
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("agent_service.nothing")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        agent_service.nothing  # noqa: B018
