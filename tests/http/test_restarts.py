"""With on_fault = "restart" an agent comes back by itself, with what it knew, and nothing is measured twice."""

import os
import signal

import pytest
import rig
from archive_rig import alive
from services import wait_until

import agent_service


@pytest.fixture
def service(start):
    return start()


@pytest.fixture
def faults(tmp_path):
    """How often a frail brain is to fail still; a negative number lets those go that hang."""
    path = tmp_path / "faults"
    path.write_text("0")
    yield path
    path.write_text("-1")


@pytest.fixture
def gate():
    rig.measuring.clear()
    rig.gate.clear()
    yield rig.gate
    rig.gate.set()


def frail(service, faults, name="frail", *, where="suggest", how="raise", **spec):
    given = {"executor": "thread", "on_fault": "restart", "restarts": {"pause": 0.02}, "loop": {"max_runs": 6}, **spec}
    config = {"faults": str(faults), "where": where, "how": how}
    return service.create(name, type="crashing_brain:Frail", config=config, **given)


def states(service, name="frail"):
    """The states that an agent went through, with their reasons."""
    facts = service.get(f"agents/{name}/history")["items"]
    facts.sort(key=lambda one: one["seq"])
    return [(one["data"]["state"], one["data"].get("reason") or "") for one in facts if one["kind"] == "agent.state"]


def each_was_measured_once(service, name="frail"):
    found = service.suggestions(name, limit=200)
    runs = [one["run_uid"] for one in found if one["run_uid"]]
    assert len(runs) == len(set(runs))
    assert all(one["state"] == "ingested" for one in found if one["run_uid"])
    return len(runs)


@pytest.mark.parametrize(
    ("executor", "where", "how"),
    [
        ("thread", "suggest", "raise"),
        ("thread", "ingest", "raise"),
        ("thread", "suggest", "hang"),
        ("process", "suggest", "kill"),
        ("process", "ingest", "kill"),
        ("process", "ingest", "hang"),
    ],
)
def test_it_comes_back_with_what_it_knew(service, faults, executor, where, how):
    timeouts = {where: 0.5 if how == "hang" else 30}
    frail(service, faults, where=where, how=how, executor=executor, timeouts=timeouts, loop={"max_runs": 4})
    faults.write_text("2")
    service.post("agents/frail/start")
    assert service.until("frail", "stopped", "failed")["state"] == "stopped"
    restarts = [reason for state, reason in states(service) if state == "starting" and reason]
    assert [one.rpartition("(")[2] for one in restarts] == ["1 of 5), in 0.02 s", "2 of 5), in 0.04 s"]
    assert all(one.startswith(f"restarting after {where} failed: ") for one in restarts)
    assert each_was_measured_once(service) == 4
    service.http.patch("/api/v1/agents/frail", json={"loop": {"max_runs": 6}})
    service.post("agents/frail/start")
    service.until("frail", "stopped")
    assert service.status("frail")["counts"]["ingested"] == 6


def test_a_success_begins_the_count_anew(service, faults):
    frail(service, faults, loop={"approval": "required"})
    service.post("agents/frail/start")
    wait_until(lambda: service.suggestions("frail"))  # of its loop, which waits for approval and asks no more
    for restarts in (1, 2):
        service.until("frail", "running")
        faults.write_text("1")
        service.problem("POST", "agents/frail/suggest", 502, "agent_fault", json={"n_points": 1})
        wait_until(lambda n=restarts: [state for state, _ in states(service)].count("running") == 1 + n)
        service.post("agents/frail/suggest", {"n_points": 1})
    said = [reason for state, reason in states(service) if "restarting" in reason]
    assert [one.rpartition("(")[2] for one in said] == ["1 of 5), in 0.02 s"] * 2


def test_it_fails_when_it_was_in_vain(service, faults):
    frail(service, faults, restarts={"pause": 0.02, "limit": 2})
    faults.write_text("100")
    service.post("agents/frail/start")
    failed = service.until("frail", "failed")
    assert failed["reason"].endswith("RuntimeError: no luck in suggest; restarted 2 times in a row, and not again")
    assert [state for state, _ in states(service)].count("failed") == 1
    faults.write_text("0")
    service.post("agents/frail/restart")
    assert service.until("frail", "stopped")["counts"]["ingested"] == 6


def test_a_start_by_a_person_that_fails_is_told_at_once(service, faults):
    frail(service, faults, where="constructor")
    faults.write_text("1")
    service.problem("POST", "agents/frail/start", 502, "agent_fault")
    assert service.status("frail")["state"] == "failed"


def test_it_can_be_stopped_while_it_waits(service, faults):
    frail(service, faults, restarts={"pause": 60})
    faults.write_text("1")
    service.post("agents/frail/start")
    wait_until(lambda: "restarting after" in (service.status("frail")["reason"] or ""))
    waiting = service.status("frail")
    assert (waiting["state"], waiting["legal"]) == ("starting", ["stop"])
    assert waiting["last_error"]["message"] == "suggest: RuntimeError: no luck in suggest"
    service.problem("POST", "agents/frail/suggest", 409, "illegal_transition", json={"n_points": 1})
    assert service.post("agents/frail/stop")["state"] == "stopped"
    service.post("agents/frail/start")
    assert service.until("frail", "stopped")["counts"]["ingested"] == 6


def test_it_can_be_stopped_while_it_is_built_again(service, faults):
    frail(service, faults, executor="process", where="constructor", how="hang", loop={"approval": "required"})
    service.post("agents/frail/start")
    wait_until(lambda: service.suggestions("frail"))
    faults.write_text("1")
    os.kill(service.get("agents/frail/variables/pid")["value"], signal.SIGKILL)
    being_built = faults.with_suffix(".pid")
    wait_until(being_built.exists)
    assert service.post("agents/frail/stop")["state"] == "stopped"
    wait_until(lambda: not alive(int(being_built.read_text())))


def test_what_was_paused_stays_paused(service, faults):
    frail(service, faults, executor="process", loop={"approval": "required"})
    service.post("agents/frail/start")
    wait_until(lambda: service.suggestions("frail"))  # it waits for approval
    paused = service.post("agents/frail/pause")
    os.kill(service.get("agents/frail/variables/pid")["value"], signal.SIGKILL)
    wait_until(lambda: [state for state, _ in states(service)].count("paused") == 2)
    again = service.status("frail")
    assert (again["state"], again["reason"]) == ("paused", paused["reason"])
    [said] = [reason for _, reason in states(service) if "restarting" in reason]
    assert said.startswith("restarting after the process of agent 'frail' was killed by SIGKILL")


def test_what_was_paused_stays_paused_when_the_service_ends_meanwhile(start, tmp_path, faults):
    first = start(tmp_path / "state")
    frail(first, faults, executor="process", restarts={"pause": 60}, loop={"approval": "required"})
    first.post("agents/frail/start")
    wait_until(lambda: first.suggestions("frail"))
    first.post("agents/frail/pause")
    os.kill(first.get("agents/frail/variables/pid")["value"], signal.SIGKILL)
    first.until("frail", "starting")
    first.close()
    second = start(tmp_path / "state")
    assert second.until("frail", "paused", "running")["state"] == "paused"


@pytest.mark.parametrize("how", ["between calls", "in a call"])
def test_a_run_under_way_is_seen_through(service, faults, gate, how):
    frail(service, faults, executor="process", plan="gated", loop={"max_runs": 2})
    service.post("agents/frail/start")
    wait_until(rig.measuring.is_set)
    pid = service.get("agents/frail/variables/pid")["value"]
    if how == "between calls":
        os.kill(pid, signal.SIGKILL)
    else:
        faults.write_text("1")
        service.problem("POST", "agents/frail/suggest", 502, "agent_fault", json={"n_points": 1})
    wait_until(lambda: [state for state, _ in states(service)].count("running") == 2)
    [under_way] = [one for one in service.suggestions("frail") if one["state"] == "running"]
    gate.set()
    service.until("frail", "stopped")
    assert each_was_measured_once(service) == 2
    now = {one["id"]: one for one in service.suggestions("frail")}
    assert now[under_way["id"]]["state"] == "ingested"


def test_a_run_that_ends_while_the_brain_is_away_is_told_to_the_next_one(service, faults, gate):
    frail(service, faults, executor="process", plan="gated", loop={"max_runs": 1}, restarts={"pause": 1.5})
    service.post("agents/frail/start")
    wait_until(rig.measuring.is_set)
    os.kill(service.get("agents/frail/variables/pid")["value"], signal.SIGKILL)
    service.until("frail", "starting")
    gate.set()
    wait_until(lambda: service.suggestions("frail")[0]["state"] == "measured")
    service.until("frail", "stopped")
    assert each_was_measured_once(service) == 1


def test_runs_of_others_that_come_meanwhile_are_told_to_the_next_brain(service, faults):
    frail(service, faults, where="ingest", how="kill", executor="process", listen="all", loop={"approval": "required"})
    service.create("walker", loop={"max_runs": 3})
    service.post("agents/frail/start")
    service.until("frail", "running")
    faults.write_text("2")
    service.post("agents/walker/start")
    service.until("walker", "stopped")
    wait_until(lambda: len([1 for one in service.get("agents/frail/history")["items"] if one["kind"] == "ingest"]) == 3)
    assert service.post("agents/frail/report")["report"]["n"] == 3
    assert len([state for state, _ in states(service) if state == "starting"]) == 3


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_a_job_that_is_cancelled_costs_the_call_only(service, faults, executor):
    frail(service, faults, executor=executor, how="hang", loop={"approval": "required"})
    service.post("agents/frail/start")
    wait_until(lambda: service.suggestions("frail"))
    faults.write_text("1")
    answer = service.http.post("/api/v1/agents/frail/suggest", json={"n_points": 1}, headers={"Prefer": "wait=0"})
    assert answer.status_code == 202
    hung = faults.with_suffix(".pid")
    wait_until(hung.exists)
    assert service.http.delete(answer.headers["location"]).json()["state"] == "cancelled"
    wait_until(lambda: [state for state, _ in states(service)].count("running") == 2)
    if executor == "process":
        wait_until(lambda: not alive(int(hung.read_text())))
    assert service.post("agents/frail/suggest", {"n_points": 1})["suggestions"]


class Locked:
    """A brain that does not pickle, and fails."""

    def __init__(self):
        self.actuators, self.sensors, self.outcome = ["mirror_x"], ["flux"], "flux"
        self.lock = __import__("threading").Lock()

    def suggest(self, num_points=None):
        msg = "once is enough"
        raise RuntimeError(msg)

    def ingest(self, points):
        pass


def test_a_live_object_that_cannot_begin_again_says_why(tmp_path):
    with agent_service.serve(catalog="none", state=tmp_path / "state") as service:
        service.host("locked", Locked(), start=True, on_fault="restart", restarts={"pause": 0.02})
        client = service.client
        wait_until(lambda: "cannot begin again" in (client.agent("locked").reason or ""))
        assert client.agent("locked").state == "failed"
        with pytest.raises(agent_service.ServiceError, match="cannot begin again"):
            client.restart("locked")
