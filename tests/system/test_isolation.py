"""One agent does what no agent should, among nine healthy ones in one service: the nine do not notice."""

import os
import signal

import pytest
from archive_rig import alive
from services import wait_until

NINE = [f"healthy{number}" for number in range(9)]


@pytest.fixture(scope="module")
def crowd(served):
    """A service with nine agents that run without end: eight in threads, one in a process."""
    for number, name in enumerate(NINE):
        served.create(name, executor="process" if number == 0 else "thread")
        served.post(f"agents/{name}/start")
    for name in NINE:
        served.until(name, "running")
    return served


@pytest.fixture
def tenth(crowd):
    """Make the tenth agent, in a process of its own; it is paused, and removed after the test."""

    def make(**spec):
        given = {"name": "tenth", "type": "crashing_brain:CrashingBrain", "executor": "process", **spec}
        crowd.create(**given)
        crowd.post("agents/tenth/start")
        crowd.until("tenth", "running")
        crowd.post("agents/tenth/pause")
        return pid_of(crowd)

    yield make
    if crowd.status("tenth")["state"] in ("running", "paused"):
        crowd.post("agents/tenth/stop")
        crowd.until("tenth", "stopped")
    crowd.http.delete("/api/v1/agents/tenth").raise_for_status()


def pid_of(service):
    return next(one["value"] for one in service.get("agents/tenth/variables")["items"] if one["name"] == "pid")


def counts(service):
    return {name: service.status(name)["counts"]["ingested"] for name in NINE}


def the_nine_go_on(service):
    """Wait until each of the nine has measured two more points."""
    before = counts(service)
    wait_until(
        lambda: all(now >= before[name] + 2 for name, now in counts(service).items()), within_s=60, what="the nine"
    )


def revived(service):
    """Restart the tenth, and let it work."""
    service.http.patch("/api/v1/agents/tenth", json={"config": {"peril": ""}}).raise_for_status()
    service.post("agents/tenth/restart")
    service.until("tenth", "running")
    before = service.status("tenth")["counts"]["ingested"]
    wait_until(lambda: service.status("tenth")["counts"]["ingested"] > before, what="the tenth's work")


@pytest.mark.parametrize(
    ("peril", "said"),
    [
        ("kill", "suggest failed: the process of agent 'tenth' was killed by SIGKILL"),
        ("segfault", "suggest failed: the process of agent 'tenth' was killed by SIGSEGV"),
        ("exit", "suggest failed: the process of agent 'tenth' ended with exit code 3"),
        ("loop", "suggest failed: agent 'tenth' did not end suggest within 1 s"),
        ("memory", "suggest failed: MemoryError (memory_limit_mb is 512)"),
        ("unpicklable", "suggest failed: ValueError: suggest returned something of type lock"),
    ],
)
def test_what_befalls_one_in_a_call_is_its_own(crowd, tenth, peril, said):
    pid = tenth(timeouts={"suggest": 1}, memory_limit_mb=512)
    crowd.http.put("/api/v1/agents/tenth/variables/peril", json={"value": peril}).raise_for_status()
    crowd.post("agents/tenth/resume")
    failed = crowd.until("tenth", "failed")
    assert said in failed["reason"]
    assert failed["last_error"]["code"] == ("deadline_exceeded" if peril == "loop" else "agent_fault")
    if peril == "segfault":
        assert "in _segfault" in failed["last_error"]["traceback"]
    wait_until(lambda: not alive(pid), what="the end of its process")
    the_nine_go_on(crowd)
    revived(crowd)


def test_a_death_between_calls_is_told_too(crowd, tenth):
    os.kill(tenth(), signal.SIGKILL)
    failed = crowd.until("tenth", "failed")
    said = failed["reason"].removeprefix("suggest failed: ")  # its loop may just have asked it
    assert said.startswith("the process of agent 'tenth' was killed by SIGKILL")
    the_nine_go_on(crowd)
    revived(crowd)


def test_a_constructor_that_raises(crowd, tenth):
    crowd.create("tenth", type="crashing_brain:CrashingBrain", executor="process", config={"peril": "constructor"})
    fault = crowd.problem("POST", "agents/tenth/start", 502, "agent_fault")
    assert "the licence server does not answer" in fault["detail"]
    assert crowd.status("tenth")["state"] == "failed"
    the_nine_go_on(crowd)
    revived(crowd)
