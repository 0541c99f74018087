"""The journal fails at one exact fact: nothing is forgotten, nothing is done twice, and nothing waits for ever.

What the service does by itself waits until its fact can be written; what a request asks for is refused (503).
"""

import pytest
from faulty_journal import MODES, FaultyJournal
from services import wait_until


@pytest.fixture
def faulty(monkeypatch):
    return FaultyJournal(monkeypatch)


def suggestion(state):
    return "suggestion.state", {"state": state}


def agent(state):
    return "agent.state", {"state": state}


def history(service, name="walker"):
    return sorted(service.get(f"agents/{name}/history", limit=1000)["items"], key=lambda one: one["seq"])


def ways(service, name="walker"):
    """The fates of each suggestion, in order."""
    found = {}
    for one in history(service, name):
        if one["kind"] == "suggestion.state":
            found.setdefault(one["data"]["id"], []).append(one["data"]["state"])
    return list(found.values())


LOOP = {
    "started": agent("running"),
    "suggested": suggestion("proposed"),
    "submitted": suggestion("submitted"),
    "run began": suggestion("running"),
    "measured": suggestion("measured"),
    "ingested": ("ingest", {}),
    "reported": ("report", {}),
    "ending": agent("stopping"),
    "ended": agent("stopped"),
}


@pytest.mark.parametrize("n_points", [1, 2])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("step", LOOP)
def test_the_loop_waits_at_each_of_its_facts(start, faulty, step, mode, n_points):
    service = start()
    service.create("walker", loop={"max_runs": 4, "n_points": n_points, "report_every": 1})
    kind, data = LOOP[step]
    faulty.fail_at(kind, mode=mode, **data)
    service.post("agents/walker/start")
    status = service.until("walker", "stopped", "failed")
    assert (status["state"], status["progress"]["done"], status["counts"]["pending"]) == ("stopped", 4, 0)
    assert faulty.hits == 2 if mode == "refused" else faulty.hits
    assert ways(service) == [["proposed", "approved", "submitted", "running", "measured", "ingested"]] * 4
    assert [one["point"]["x"] for one in service.suggestions("walker")] == [0, 1, 2, 3]
    assert service.get("agents/walker/variables/seen")["value"] == 4
    assert len({one["run_uid"] for one in service.suggestions("walker")}) == 4
    reports = [one["data"]["report"] for one in history(service) if one["kind"] == "report"]
    seen = [one["n"] for one in reports]  # two outcomes of a batch may both be told before the report on the first
    assert (len(seen), seen[-1]) == (4, 4)
    assert seen == sorted(seen)
    assert [one["data"]["state"] for one in history(service) if one["kind"] == "agent.state"] == [
        "created",
        "starting",
        "running",
        "stopping",
        "stopped",
    ]


OTHER_ENDS = {
    "failed": (suggestion("failed"), {"plan": "raises", "loop": {"max_runs": 2, "max_failures": 2}}, {"failed"}),
    "rejected": (suggestion("rejected"), {"guardrails": {"bounds": {"x": [1, 5]}}}, {"rejected", "ingested"}),
    "several runs": (("suggestion.state", {"state": "running"}), {"plan": "twice", "run": "last"}, {"ingested"}),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", OTHER_ENDS)
def test_other_ends_of_a_suggestion_wait_too(start, faulty, case, mode):
    service = start()
    (kind, data), spec, ends = OTHER_ENDS[case]
    service.create("walker", **{"loop": {"max_runs": 2}, **spec})
    faulty.fail_at(kind, mode=mode, **data)
    service.post("agents/walker/start")
    status = service.until("walker", "stopped", "failed")
    assert faulty.hits
    assert status["state"] == "stopped", status["reason"]
    assert status["counts"]["pending"] == 0
    assert {one[-1] for one in ways(service)} == ends


# requests -----------------------------------------------------------------------------------------------------------

POINT = {"x": 0.5, "y": 0.5, "signal": 2.0}
REQUESTS = {
    "create": (
        agent("created"),
        "POST",
        "agents",
        {"type": "brainbox:Walker", "actuators": ["x"], "outcome": "signal"},
    ),
    "start": (agent("starting"), "POST", "agents/resting/start", None),
    "restart at rest": (agent("starting"), "POST", "agents/resting/restart", None),
    "delete": (("agent.state", {"removed": True}), "DELETE", "agents/resting", None),
    "pause": (agent("paused"), "POST", "agents/walker/pause", None),
    "resume": (agent("running"), "POST", "agents/halted/resume", None),
    "stop": (agent("stopping"), "POST", "agents/walker/stop", None),
    "restart": (agent("stopping"), "POST", "agents/walker/restart", None),
    "restart, stopped": (agent("starting"), "POST", "agents/walker/restart", None),
    "suggest": (suggestion("proposed"), "POST", "agents/walker/suggest", {"n_points": 2}),
    "ingest": (("ingest", {}), "POST", "agents/walker/ingest", {"points": [POINT]}),
    "report": (("report", {}), "POST", "agents/walker/report", None),
    "variable": (("config", {}), "PUT", "agents/walker/variables/gain", {"value": 7.0}),
    "loop": (("config", {}), "PATCH", "agents/walker", {"loop": {"max_runs": 50}}),
    "config": (("config", {}), "PATCH", "agents/walker", {"config": {"step": 2.0}}),
    "approve": (suggestion("approved"), "POST", "suggestions/{0}/approve", None),
    "approve another": (suggestion("approved"), "POST", "suggestions/{0}/approve", {"point": {"x": 9.0, "y": 9.0}}),
    "reject": (suggestion("rejected"), "POST", "suggestions/{0}/reject", None),
}


def waits_for_a_person(service, name):
    """Whether one is proposed, and nothing else is to happen by itself."""
    states = {one["state"] for one in service.suggestions(name)}
    return "proposed" in states and states <= {"proposed", "ingested", "rejected"}


def agree(service, name):
    """What a brain knows is what the journal says, no more and no less."""
    facts = history(service, name)
    ingested = [one for one in facts if one["kind"] == "ingest"]
    edited = [one for one in facts if one["data"].get("state") == "approved" and "point" in one["data"]]
    failed = [one for one in facts if one["data"].get("state") == "rejected"] + edited
    set_to = [one["data"]["value"] for one in facts if one["kind"] == "config" and "value" in one["data"]]
    report = service.post(f"agents/{name}/report")["report"]
    assert (report["n"], report["failed"]) == (len(ingested), len(failed))
    assert service.get(f"agents/{name}/variables/gain")["value"] == ([1.0, *set_to])[-1]
    assert report["step"] == service.status(name)["config"].get("step", 1.0)
    built = max((i for i, one in enumerate(facts) if one["kind"] == "config" and "config" in one["data"]), default=-1)
    proposed = [one for one in facts[built + 1 :] if one["data"].get("state") == "proposed"]
    assert report["suggested"] == len(proposed), "a brain is asked for no point twice, not even one that is built anew"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", REQUESTS)
def test_a_request_is_refused_at_its_fact_and_brain_and_journal_agree(start, faulty, case, mode):
    service = start()
    for name in ("resting", "halted", "walker"):
        service.create(name, type="brainbox:Open", loop={"approval": "required"})
        service.post(f"agents/{name}/start")
        wait_until(lambda name=name: service.suggestions(name))
    service.post("agents/resting/stop")
    service.post("agents/halted/pause")
    (kind, data), method, path, body = REQUESTS[case]
    path = path.format(service.suggestions("walker")[0]["id"])
    body = {"name": "other", **body} if case == "create" else body
    faulty.fail_at(kind, mode=mode, times=1, **data)
    found = service.problem(method, path, 503, "backend_unavailable", json=body)
    assert "nothing was acknowledged" in found["detail"]
    assert faulty.hits == 1
    wait_until(lambda: service.http.get("/readyz").status_code == 200)
    for one in service.get("agents")["items"]:  # nobody is between two states for ever
        if service.until(one["name"], "created", "running", "paused", "stopped")["state"] in ("running", "paused"):
            wait_until(lambda name=one["name"]: waits_for_a_person(service, name))
            agree(service, one["name"])
    if mode == "refused":  # and it can be asked again
        answer = service.http.request(method, f"/api/v1/{path}", json=body)
        assert answer.status_code < 300, answer.text
