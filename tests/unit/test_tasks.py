"""One owner for the tasks of an agent: who they act for, which are under way, and how they end."""

import asyncio

import pytest

from agent_service import context
from agent_service.agents.tasks import AgentTasks, Role


class Job:
    id = "job"


@pytest.fixture
def ended():
    return []


@pytest.fixture
def tasks(ended):
    return AgentTasks("walker", on_end=lambda: ended.append(1))


async def surroundings():
    return context.acting(), context.is_patient(), context.watcher()


@pytest.mark.parametrize("role", Role)
async def test_each_task_works_for_the_service_and_waits_for_a_full_disk(tasks, role):
    context.enter("anna")
    with context.watched_by(Job()):
        assert await tasks.begin(role, surroundings()) == (None, True, None)
        assert context.acting() == "anna"
        assert not context.is_patient()


async def test_a_task_for_a_request_acts_for_it(tasks):
    context.enter("anna")
    with context.watched_by(job := Job()):
        assert await tasks.begin(Role.BUILD, surroundings(), for_request=True) == ("anna", False, job)


async def test_tasks_are_told_apart_by_role_and_forgotten_when_they_end(tasks, ended):
    gate = asyncio.Event()
    loop, plan = tasks.begin(Role.LOOP, gate.wait()), tasks.begin(Role.PLAN, gate.wait())
    assert tasks.under_way(Role.LOOP) == {loop}
    assert tasks.under_way() == {loop, plan}
    assert loop.get_name() == "agent:walker"
    gate.set()
    await tasks.wait()
    assert tasks.under_way() == set()
    await asyncio.sleep(0)  # their callbacks
    assert ended == [1, 1]


async def test_only_the_roles_that_are_named_are_cancelled(tasks):
    gate = asyncio.Event()
    outcome, loop = tasks.begin(Role.OUTCOME, gate.wait()), tasks.begin(Role.LOOP, gate.wait())
    tasks.cancel(Role.OUTCOME, Role.RESTART)
    await tasks.wait(Role.OUTCOME)
    assert outcome.cancelled()
    assert tasks.under_way() == {loop}
    tasks.cancel()
    await tasks.wait()
    assert loop.cancelled()


async def test_a_task_neither_cancels_nor_awaits_itself(tasks):
    async def end():
        tasks.cancel(Role.RESTART)
        await tasks.wait(Role.RESTART)
        return "went on"

    assert await tasks.begin(Role.RESTART, end()) == "went on"


async def test_a_task_that_fails_is_nobody_elses_end(tasks):
    async def fail():
        raise ValueError("no brain")

    task = tasks.begin(Role.BUILD, fail())
    await tasks.wait(Role.BUILD)
    with pytest.raises(ValueError, match="no brain"):
        task.result()
    assert tasks.under_way() == set()
