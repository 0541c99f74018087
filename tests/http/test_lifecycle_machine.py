"""Any order of commands: an agent keeps to its table of transitions, and the fold of the journal is the memory."""

from __future__ import annotations

import itertools

from hypothesis import HealthCheck, settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from services import Served, wait_until

from agent_service.agents.record.agent import AgentRecord
from agent_service.models import EventKind
from agent_service.models.state_machines import AgentState, Command, check_agent

NAMES = (f"machine{n}" for n in itertools.count())
EXPECTED = (200, 202, 409)
WORDS = [one.value for one in (Command.START, Command.PAUSE, Command.RESUME, Command.STOP, Command.RESTART)]
AT_REST = ("created", "stopped", "failed")


class Lifecycle(RuleBasedStateMachine):
    """Sends commands to one agent of a service."""

    served: Served

    def __init__(self):
        super().__init__()
        self.name = next(NAMES)
        self.held = False
        self.served.create(self.name, config={"step": 1}, loop={"max_runs": 6})

    def command(self, word, body=None, **params):
        before = self.served.status(self.name)["legal"]
        answer = self.served.http.post(f"/api/v1/agents/{self.name}/{word}", json=body, params=params)
        assert answer.status_code in EXPECTED, answer.text
        if answer.status_code == 409:
            problem = answer.json()
            assert problem["detail"]
            assert word not in before or self.held or word not in problem.get("legal", [])

    @rule(word=strategies.sampled_from(WORDS))
    def lifecycle(self, word):
        self.command(word)

    @rule()
    def start_paused(self):
        self.command("start", paused=True)

    @rule()
    def suggest(self):
        self.command("suggest", {"n_points": 1})

    @rule()
    def ingest(self):
        self.command("ingest", {"points": [{"x": 0.5, "y": 0.5, "signal": 1.0}]})

    @rule()
    def more_runs(self):
        total = self.served.status(self.name)["progress"]["done"] + 3
        answer = self.served.http.patch(f"/api/v1/agents/{self.name}", json={"loop": {"max_runs": total}})
        assert answer.status_code in EXPECTED, answer.text

    @rule()
    def other_config(self):
        answer = self.served.http.patch(f"/api/v1/agents/{self.name}", json={"config": {"step": 2}})
        assert answer.status_code in EXPECTED, answer.text

    @precondition(lambda self: not self.held)
    @rule()
    def stop_everything(self):
        self.served.post("queue/abort", {"reason": "the machine says so"})
        self.held = True

    @precondition(lambda self: self.held)
    @rule()
    def release(self):
        self.served.post("queue/resume")
        self.held = False

    def teardown(self):
        if self.held:
            self.served.post("queue/resume")
        self.served.http.post(f"/api/v1/agents/{self.name}/stop")
        wait_until(lambda: self.served.status(self.name)["state"] in AT_REST)
        facts = self.served.server.service.journal.read(agent=self.name)
        states = [AgentState(one.data["state"]) for one in facts if one.kind is EventKind.AGENT_STATE]
        assert states[0] is AgentState.CREATED
        for old, new in itertools.pairwise(states):
            check_agent(old, new)
        folded = AgentRecord.created(facts[0])
        for one in facts[1:]:
            folded.apply(one)
        record = self.served.server.service.supervisor.agent(self.name).record
        assert folded == record
        assert self.served.http.delete(f"/api/v1/agents/{self.name}").status_code == 204


def test_any_order_of_commands(served):
    run_state_machine_as_test(
        type("OfThisService", (Lifecycle,), {"served": served}),
        settings=settings(
            max_examples=25,
            stateful_step_count=12,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
