"""Kills of agents' processes and of the fork server, in any order: agents come back, and nothing is lost.

`tests/unit/test_kills.py` kills at each step of what passes between them; here a whole service lives through it.
"""

from __future__ import annotations

import itertools
import os
import signal
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from services import Served, wait_until

NAMES = (f"kills{n}" for n in itertools.count())
FAULTS = (200, 202, 409, 502, 504)
RESTARTS = {"on_fault": "restart", "restarts": {"pause": 0.001, "limit": 1000}}
MINE = strategies.integers(0, 2)


def brain(served, name):
    return served.server.service.supervisor.agent(name).brain


def pid_of(served, name):
    handle = brain(served, name)._handle
    return None if handle is None else handle.pid


def fork_server_of(served, name):
    fork_server = brain(served, name)._placement._executors["process"]._fork_servers[()]
    return None if fork_server is None else fork_server.pid


def send(number, pid):
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


class Kills(RuleBasedStateMachine):
    """Kills what hosts a few agents of one service, while people use them."""

    served: Served
    faults: str

    def __init__(self):
        super().__init__()
        self.names = []
        self.frozen = None
        self.start_sibling()

    def name(self, number):
        return self.names[number % len(self.names)]

    def ask(self, method, path, **kwargs):
        answer = self.served.http.request(method, f"/api/v1/{path}", **kwargs)
        assert answer.status_code in FAULTS, answer.text
        if answer.status_code >= 500:
            assert answer.json()["code"] in ("agent_fault", "deadline_exceeded"), answer.text

    # kills

    @rule(number=MINE)
    def kill_agent(self, number):
        send(signal.SIGKILL, pid_of(self.served, self.name(number)))

    @rule(number=MINE, method=strategies.sampled_from(["suggest", "report"]))
    def kill_agent_before_a_call(self, number, method):
        self.kill_agent(number)
        self.ask("POST", f"agents/{self.name(number)}/{method}", json={"n_points": 1} if method == "suggest" else None)

    @precondition(lambda self: self.frozen is None)
    @rule()
    def kill_fork_server(self):
        send(signal.SIGKILL, fork_server_of(self.served, self.names[0]))

    @precondition(lambda self: self.frozen is None)
    @rule()
    def the_fork_server_is_busy(self):
        self.frozen = fork_server_of(self.served, self.names[0])
        send(signal.SIGSTOP, self.frozen)

    @precondition(lambda self: self.frozen is not None)
    @rule()
    def it_is_free_again(self):
        send(signal.SIGCONT, self.frozen)
        self.frozen = None

    # what people do meanwhile

    @precondition(lambda self: len(self.names) < 3 and self.frozen is None)
    @rule()
    def start_sibling(self):
        name = next(NAMES)
        loop = {"max_runs": 4, "approval": "required" if len(self.names) % 2 else "auto"}
        self.served.create(
            name, type="crashing_brain:Frail", config={"faults": self.faults}, executor="process", loop=loop, **RESTARTS
        )
        self.names.append(name)
        self.ask("POST", f"agents/{name}/start", headers={"Prefer": "wait=0"})

    @rule(number=MINE, method=strategies.sampled_from(["suggest", "report"]))
    def call(self, number, method):
        self.ask("POST", f"agents/{self.name(number)}/{method}", json={"n_points": 1} if method == "suggest" else None)

    @rule(number=MINE)
    def ingest(self, number):
        self.ask("POST", f"agents/{self.name(number)}/ingest", json={"points": [{"x": 0.5, "y": 0.5, "signal": 1.0}]})

    @rule(number=MINE, word=strategies.sampled_from(["pause", "resume", "stop", "start", "restart"]))
    def command(self, number, word):
        self.ask("POST", f"agents/{self.name(number)}/{word}", headers={"Prefer": "wait=0"})

    @rule(number=MINE)
    def approve(self, number):
        for one in self.served.suggestions(self.name(number), state="proposed"):
            self.ask("POST", f"suggestions/{one['id']}/approve")

    @invariant()
    def none_has_failed(self):
        for name in self.names:
            status = self.served.status(name)
            assert status["state"] != "failed", status["reason"]

    def teardown(self):
        send(signal.SIGCONT, self.frozen)
        for name in self.names:
            self.goes_on(name)

    def goes_on(self, name):
        """Whatever it went through, it measures on, and its brain knows what the journal knows."""
        served = self.served
        settled = wait_until(lambda: (one := served.status(name))["state"] not in ("starting", "stopping") and one)
        change = {"max_runs": settled["progress"]["done"] + 2, "approval": "auto"}
        assert served.http.patch(f"/api/v1/agents/{name}", json={"loop": change}).status_code == 200
        if settled["state"] in ("stopped", "paused"):
            self.ask("POST", f"agents/{name}/{'start' if settled['state'] == 'stopped' else 'resume'}")
        stopped = served.until(name, "stopped", "failed")
        assert (stopped["state"], stopped["progress"]["done"]) == ("stopped", change["max_runs"]), stopped["reason"]
        found = served.suggestions(name, limit=500)
        runs = [one["run_uid"] for one in found if one["run_uid"]]
        assert len(runs) == len(set(runs))
        assert {one["state"] for one in found if one["run_uid"]} <= {"ingested"}
        points = [
            len(one["data"]["points"])
            for one in served.get(f"agents/{name}/history", limit=500)["items"]
            if one["kind"] == "ingest"
        ]
        served.http.patch(f"/api/v1/agents/{name}", json={"loop": {"max_runs": change["max_runs"] + 1}})
        served.post(f"agents/{name}/start?paused=true")
        assert served.post(f"agents/{name}/report")["report"]["n"] == sum(points)
        served.post(f"agents/{name}/stop")


@pytest.mark.timeout(600)
def test_kills_in_any_order(served, tmp_path):
    faults = tmp_path / "faults"
    faults.write_text("0")
    run_state_machine_as_test(
        type("OfThisService", (Kills,), {"served": served, "faults": str(faults)}),
        settings=settings(
            max_examples=15,
            stateful_step_count=12,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )


# --- one by one, as they were found


@pytest.fixture
def frail(start, tmp_path):
    """Start agents of a service of their own."""
    faults = tmp_path / "faults"
    faults.write_text("0")
    service = start()

    def create(name, **spec):
        given = {"config": {"faults": str(faults)}, "executor": "process", "loop": {"max_runs": 4}, **RESTARTS, **spec}
        service.create(name, type="crashing_brain:Frail", **given)
        return service

    return create


def test_a_call_that_finds_its_process_gone_while_siblings_start(frail):
    service = frail("one", loop={"approval": "required"})
    service.post("agents/one/start")
    wait_until(lambda: service.suggestions("one"))
    busy = fork_server_of(service, "one")
    os.kill(busy, signal.SIGSTOP)  # so that nobody says yet how the process ended
    try:
        os.kill(pid_of(service, "one"), signal.SIGKILL)
        wait_until(lambda: brain(service, "one")._handle is None or brain(service, "one")._handle._hung_up)
        service.problem("POST", "agents/one/suggest", 502, "agent_fault", json={"n_points": 1})
        assert service.status("one")["state"] == "starting"
    finally:
        os.kill(busy, signal.SIGCONT)
    service.until("one", "running")
    assert service.post("agents/one/suggest", {"n_points": 1})["suggestions"]


def test_one_that_is_killed_while_a_person_starts_it_comes_back(frail, tmp_path):
    (tmp_path / "faults").write_text("1")
    config = {"faults": str(tmp_path / "faults"), "where": "constructor", "how": "kill"}
    service = frail("one", config=config)
    service.post("agents/one/start")
    assert service.until("one", "stopped", "failed")["state"] == "stopped"


@pytest.mark.parametrize("how", ["kill", "raise"])
def test_agents_that_come_back_with_the_service_come_back_from_a_fault(start, tmp_path, how):
    faults = tmp_path / "faults"
    faults.write_text("0")
    first = start(tmp_path / "state")
    config = {"faults": str(faults), "where": "constructor", "how": how}
    first.create(
        "one", type="crashing_brain:Frail", config=config, executor="process", loop={"approval": "required"}, **RESTARTS
    )
    first.post("agents/one/start")
    wait_until(lambda: first.suggestions("one"))
    first.close()
    faults.write_text("2")
    second = start(tmp_path / "state")
    assert second.until("one", "running", "failed")["state"] == "running"
    assert "restarting after starting failed" in str(second.get("agents/one/history"))


def test_what_was_measured_is_not_lost_with_the_process_that_evaluates_it(frail, tmp_path, monkeypatch):
    deadly = tmp_path / "deadly"
    deadly.write_text("2")
    monkeypatch.setenv("DEADLY", str(deadly))
    service = frail("one", evaluate="crashing_brain:deadly_peak")
    service.post("agents/one/start")
    stopped = service.until("one", "stopped", "failed")
    assert (stopped["state"], stopped["counts"]["failed"], stopped["counts"]["ingested"]) == ("stopped", 0, 4)
    runs = [one["run_uid"] for one in service.suggestions("one")]
    assert len(set(runs)) == len(runs) == 4
    assert deadly.read_text() == "0"
