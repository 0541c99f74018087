"""Several suggestions are open, whatever people do meanwhile: nothing is lost, told twice or measured twice."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import HealthCheck, settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from services import Served, running, wait_until
from slow_filters import SPACE

NAMES = (f"several{n}" for n in itertools.count())
EXPECTED = (200, 202, 409)
OPEN = ("proposed", "approved", "submitted", "running", "measured")
POINTS = strategies.fixed_dictionaries(
    {
        "filt": strategies.sampled_from(SPACE["filt"]["values"]),
        "turns": strategies.integers(0, 7),
        "lamp": strategies.booleans(),
        "x": strategies.floats(-3, 3),
    }
)
WHICH = strategies.integers(0, 3)
LOOPS = strategies.fixed_dictionaries(
    {
        "max_pending": strategies.integers(1, 4),
        "n_points": strategies.integers(1, 2),
        "approval": strategies.sampled_from(["auto", "required"]),
        "filler": strategies.sampled_from([None, "sobol"]),
    }
)
OBJECTIVES = {
    "objectives": {"flux": "maximize", "width": "minimize"},
    "outcome_constraints": {"width": {"max": 6}},
}


class Several(RuleBasedStateMachine):
    """Uses one agent of a service, which has several suggestions open."""

    served: Served

    def __init__(self):
        super().__init__()
        self.name = next(NAMES)
        self.held = False

    @initialize(loop=LOOPS, most=strategies.sampled_from([None, None, 1, 3]))
    def create(self, loop, most):
        self.served.create(
            self.name,
            type="slow_filters:Draws",
            config={"most": most},
            actuators=list(SPACE),
            sensors=["flux", "width"],
            outcome=["flux", "width"],
            space=SPACE,
            plan="slowly",
            guardrails={"allowed": {"filt": ["none", "Al", "Ti"]}, "unbounded": ["x", "turns"]},
            loop={"max_runs": 5, "max_failures": 1000, **loop},
            **OBJECTIVES,
        )
        self.ask("POST", f"agents/{self.name}/start")

    def ask(self, method, path, body=None):
        answer = self.served.http.request(method, f"/api/v1/{path}", json=body)
        assert answer.status_code in EXPECTED, answer.text

    def waiting(self, number):
        found = self.served.suggestions(self.name, state="proposed", limit=500)
        return found[number % len(found)]["id"] if found else None

    @rule(word=strategies.sampled_from(["pause", "resume", "stop", "start", "restart"]))
    def command(self, word):
        self.ask("POST", f"agents/{self.name}/{word}")

    @rule(number=WHICH)
    def approve(self, number):
        if one := self.waiting(number):
            self.ask("POST", f"suggestions/{one}/approve")

    @rule(number=WHICH, point=POINTS)
    def approve_another_point(self, number, point):
        if one := self.waiting(number):
            answer = self.served.http.post(f"/api/v1/suggestions/{one}/approve", json={"point": point})
            assert answer.status_code in ((422,) if point["filt"] == "1" else EXPECTED), answer.text

    @rule(number=WHICH)
    def reject(self, number):
        found = [one for one in self.served.suggestions(self.name, limit=500) if one["state"] in OPEN]
        if found:
            self.ask("POST", f"suggestions/{found[number % len(found)]['id']}/reject")

    @rule(number=WHICH)
    def suggest(self, number):
        self.ask("POST", f"agents/{self.name}/suggest", {"n_points": 1 + number % 2})

    @rule(point=POINTS)
    def ingest(self, point):
        self.ask("POST", f"agents/{self.name}/ingest", {"points": [{**point, "flux": 1.0, "width": 2.0}]})

    @rule(point=POINTS, number=WHICH)
    def ingest_an_open_one(self, point, number):
        if one := self.waiting(number):
            about = self.served.get(f"suggestions/{one}")["point"]
            self.ask(
                "POST", f"agents/{self.name}/ingest", {"points": [{**about, "flux": 9.0, "width": 7.0, "_id": one}]}
            )

    @rule(loop=LOOPS)
    def another_loop(self, loop):
        self.ask("PATCH", f"agents/{self.name}", {"loop": loop})

    @rule(seed=strategies.integers(0, 2))
    def another_brain(self, seed):
        self.ask("PATCH", f"agents/{self.name}", {"config": {"seed": seed}})

    @precondition(lambda self: not self.held)
    @rule()
    def abort(self):
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
        self.goes_on()
        self.measured_once()
        self.front()
        self.replayed()
        assert self.served.http.delete(f"/api/v1/agents/{self.name}").status_code == 204

    def goes_on(self):
        """Let it make three more runs by itself."""
        served, name = self.served, self.name
        status = wait_until(lambda: (one := served.status(name))["state"] not in ("starting", "stopping") and one)
        for one in served.suggestions(name, state="proposed", limit=500):
            self.ask("POST", f"suggestions/{one['id']}/reject")
        total = status["progress"]["done"] + 8
        change = {"max_runs": total, "approval": "auto"}
        assert served.http.patch(f"/api/v1/agents/{name}", json={"loop": change}).status_code == 200
        if status["state"] in ("stopped", "failed", "created"):
            assert status["state"] != "failed", status["reason"]
            self.ask("POST", f"agents/{name}/start")
        elif status["state"] == "paused":
            self.ask("POST", f"agents/{name}/resume")

        def there():
            for one in served.suggestions(name, state="proposed", limit=500):
                self.ask("POST", f"suggestions/{one['id']}/reject")
            return served.status(name)["state"] in ("stopped", "failed")

        wait_until(there, what=lambda: str((served.status(name), served.suggestions(name, limit=500)[-5:])))
        stopped = served.status(name)
        assert (stopped["state"], stopped["progress"]["done"]) == ("stopped", total), stopped["reason"]

    def facts(self, kind):
        items = self.served.get(f"agents/{self.name}/history", limit=1000)["items"]
        return [one["data"] for one in items if one["kind"] == kind]

    def measured_once(self):
        found = self.served.suggestions(self.name, limit=500)
        assert not [one for one in found if one["state"] in OPEN]
        runs = [one["run_uid"] for one in found if one["run_uid"] and one["state"] == "ingested"]
        assert len(runs) == len(set(runs))
        assert not [
            one for one in found if one["state"] == "ingested" and one["point"]["filt"] == "1" and one["run_uid"]
        ]
        for one in found:
            kinds = {name: type(value) for name, value in one["point"].items()}
            assert kinds == {"filt": str, "turns": int, "lamp": bool, "x": float}

    def front(self):
        """The front is that of the definition."""
        points = [point for one in self.facts("ingest") for point in one["points"]]
        feasible = [one for one in points if one["width"] <= 6]
        best = {
            (one["flux"], one["width"])
            for one in feasible
            if not any(
                (other["flux"] >= one["flux"] and other["width"] <= one["width"])
                and (other["flux"], other["width"]) != (one["flux"], one["width"])
                for other in feasible
            )
        }
        told = self.served.get(f"agents/{self.name}/best")
        assert {(one["outcome"]["flux"], one["outcome"]["width"]) for one in told["measured"]} == best

    def replayed(self):
        served, name = self.served, self.name
        more = served.status(name)["progress"]["done"] + 1
        served.http.patch(f"/api/v1/agents/{name}", json={"loop": {"max_runs": more}})
        served.post(f"agents/{name}/start?paused=true")
        before = served.post(f"agents/{name}/report")["report"]
        points = [point for one in self.facts("ingest") for point in one["points"]]
        assert len(before["told"]) == len(points)
        assert before["open"] == []
        assert served.http.patch(f"/api/v1/agents/{name}", json={"config": {"seed": 99}}).status_code == 200
        assert served.post(f"agents/{name}/report")["report"] == before
        served.post(f"agents/{name}/stop")


@pytest.mark.long
@pytest.mark.timeout(600)
def test_whatever_people_do_while_several_are_open(tmp_path):
    with running(tmp_path / "state", run_engine={"startup": "slow_filters"}) as served:
        run_state_machine_as_test(
            type("OfThisService", (Several,), {"served": served}),
            settings=settings(
                max_examples=8,
                stateful_step_count=14,
                deadline=None,
                database=None,
                derandomize=True,
                suppress_health_check=[HealthCheck.too_slow],
            ),
        )
