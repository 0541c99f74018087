"""Points of texts, whole numbers, true and false: from a brain to the device, to the journal, a replay and back."""

import filters
import pytest
from services import wait_until

from agent_service.client import Client

RUN_ENGINE = {"startup": "filters"}
SPACE = {
    "filt": {"type": "choice", "values": ["none", "Al", "Ti", "1"]},
    "turns": {"type": "int", "low": 0, "high": 2**62},
    "lamp": {"type": "bool"},
    "x": [-1e3, 1e3],
}
POINTS = [
    {"filt": "Al", "turns": 3.0, "lamp": True, "x": 1, "_id": 0},
    {"filt": "1", "turns": 2**53 + 1, "lamp": False, "x": 1e-12, "_id": 1},
    {"filt": "Ti", "turns": 0, "lamp": False, "x": -0.0, "_id": 2},
]
SENT = [
    {"filt": "Al", "turns": 3, "lamp": True, "x": 1.0},
    {"filt": "1", "turns": 2**53 + 1, "lamp": False, "x": 1e-12},
    {"filt": "Ti", "turns": 0, "lamp": False, "x": -0.0},
]


@pytest.fixture(autouse=True)
def _forget():
    for device in filters.DEVICES:
        device.sent.clear()


def create(service, **spec):
    return service.create(
        "mixed",
        **{
            "type": "brainbox:Mixed",
            "config": {"points": POINTS},
            "actuators": list(SPACE),
            "sensors": ["flux"],
            "outcome": "flux",
            "space": SPACE,
            "loop": {"max_runs": 3},
            **spec,
        },
    )


def exact(points):
    return [{name: (type(one[name]), repr(one[name])) for name in SPACE if name in one} for one in points]


def sent():
    return [dict(zip(SPACE, row, strict=True)) for row in zip(*(d.sent for d in filters.DEVICES), strict=True)]


def suggested(service):
    return [one["point"] for one in service.suggestions("mixed")]


def ingested(service):
    items = service.get("agents/mixed/history", limit=200)["items"]
    return [point for one in items if one["kind"] == "ingest" for point in one["data"]["points"]]


@pytest.mark.parametrize("executor", ["thread", "process"])
@pytest.mark.parametrize("offered", [False, True])
def test_from_suggest_to_the_device_to_the_journal_and_a_replay(start, tmp_path, executor, offered):
    service = start(tmp_path / "state", run_engine=RUN_ENGINE)
    by = {"space": {}, "config": {"points": POINTS, "offers": SPACE}} if offered else {}
    create(service, executor=executor, **by)
    service.post("agents/mixed/start")
    stopped = service.until("mixed", "stopped", "failed")
    assert (stopped["state"], stopped["progress"]["done"]) == ("stopped", 3), stopped
    assert exact(sent()) == exact(SENT)
    assert sorted(stopped["spec"]["space"]) == sorted(SPACE)
    assert exact(suggested(service)) == exact(SENT)
    assert exact(ingested(service)) == exact(SENT)
    service.post("agents/mixed/go-to-best")
    assert exact([sent()[-1]]) == exact([stopped["best"]["point"]]) == exact([SENT[1]])
    service.close()

    service = start(tmp_path / "state", run_engine=RUN_ENGINE)  # what the journal told
    assert exact(suggested(service)) == exact(SENT)
    service.http.patch("/api/v1/agents/mixed", json={"loop": {"max_runs": 4}})
    service.post("agents/mixed/start?paused=true")
    report = service.post("agents/mixed/report")["report"]
    assert exact(report["told"]) == exact(SENT)
    assert [{name: kinds[name] for name in SPACE} for kinds in report["kinds"]] == [
        {"filt": "str", "turns": "int", "lamp": "bool", "x": "float"}
    ] * 3
    service.post("agents/mixed/stop")


@pytest.mark.parametrize(
    ("point", "why"),
    [
        ({**SENT[0], "filt": "al"}, "did you mean 'Al'?"),
        ({**SENT[0], "filt": 1}, "filt is 1, none of"),
        ({**SENT[0], "turns": 3.5}, "turns is 3.5, not a whole number"),
        ({**SENT[0], "turns": True}, "turns is true, not a number"),
        ({**SENT[0], "lamp": 1}, "lamp is 1, neither true nor false"),
        ({**SENT[0], "x": "5"}, "x is '5', not a number"),
        ({**SENT[0], "x": 2000}, "x is 2000.0, above 1000.0"),
        ({"filt": "Al"}, "turns is missing"),
        ({**SENT[0], "other": 1}, "other does not belong to this agent"),
    ],
)
def test_a_person_edits_within_the_space(start, point, why):
    service = start(run_engine=RUN_ENGINE)
    create(service, loop={"approval": "required"})
    service.post("agents/mixed/start?paused=true")
    [first] = service.post("agents/mixed/suggest", {"n_points": 1})["suggestions"]
    problem = service.problem("POST", f"suggestions/{first['id']}/approve", 422, "invalid_point", json={"point": point})
    assert why in problem["detail"]
    body = {"points": [{**point, "flux": 1.0}]}
    if "above" not in why and "neither" not in why:  # these a device may read
        assert why in service.problem("POST", "agents/mixed/ingest", 422, "invalid_point", json=body)["detail"]
    edited = {"filt": "Ti", "turns": 4.0, "lamp": False, "x": 2}
    service.post(f"suggestions/{first['id']}/approve", {"point": edited})
    assert not any(device.sent for device in filters.DEVICES)
    [approved] = service.suggestions("mixed", state="approved")
    assert exact([approved["point"]]) == exact([{"filt": "Ti", "turns": 4, "lamp": False, "x": 2.0}])
    service.post("agents/mixed/stop")


def test_a_point_outside_the_space_moves_nothing(start):
    service = start(run_engine=RUN_ENGINE)
    create(service, config={"points": [{**POINTS[0], "filt": "ti"}]})
    service.post("agents/mixed/start")
    failed = service.until("mixed", "failed")
    assert "point 0 of suggest: filt is 'ti', none of" in failed["last_error"]["message"]
    assert not any(device.sent for device in filters.DEVICES)


def test_an_absent_actuator_stays_where_it_is_and_a_whole_number_exact(start):
    space = {**SPACE, "turns": {"type": "int", "when": {"filt": ["Al"]}}, "x": {"low": -5, "optional": True}}
    points = [{"filt": "Al", "turns": 3, "lamp": True}, {"filt": "none", "lamp": False, "x": 1.0}]
    points[0]["turns"] = 2**53 + 1
    service = start(run_engine=RUN_ENGINE)
    create(service, space=space, config={"points": points}, loop={"max_runs": 2})
    service.post("agents/mixed/start")
    stopped = service.until("mixed", "stopped", "failed")
    assert stopped["progress"]["done"] == 2, stopped
    assert [device.sent for device in filters.DEVICES] == [["Al", "none"], [2**53 + 1], [True, False], [1.0]]
    assert exact(ingested(service)) == exact(points)
    with Client(service.url, api_key=service.server.api_key) as client:
        turns = client.points("mixed")["turns"]
    assert (turns[0], turns.isna().tolist()) == (2**53 + 1, [False, True])


def test_a_brain_that_offers_what_guardrails_cannot_limit_does_not_start(start):
    service = start(run_engine=RUN_ENGINE)
    config = {"points": POINTS, "offers": SPACE}
    create(service, space={}, config=config, guardrails={"bounds": {"filt": [0, 1]}})
    problem = service.problem("POST", "agents/mixed/start", 502, "agent_fault")
    assert "guardrails.bounds names filt, which is a choice" in problem["detail"]


def test_every_run_is_told_with_its_values(start):
    service = start(run_engine=RUN_ENGINE)
    create(service)
    service.create(
        "listener",
        type="brainbox:Mixed",
        config={"points": []},
        actuators=list(SPACE),
        sensors=["flux"],
        outcome="flux",
        space=SPACE,
        listen="all",
    )
    service.post("agents/listener/start")
    service.post("agents/mixed/start")
    service.until("mixed", "stopped", "failed")
    told = wait_until(
        lambda: (report := service.post("agents/listener/report")["report"])["told"][2:] and report["told"]
    )
    assert exact(told) == exact(SENT)
    service.post("agents/listener/stop")


def test_what_a_brain_says_beside_a_point_is_kept_shown_and_given_back(start, tmp_path):
    service = start(tmp_path / "state", run_engine=RUN_ENGINE)
    beside = {"candidate": 7, "parents": [1, 2], "_reason": "far from the others", "flux": "no outcome"}
    create(service, config={"points": [{**point, **beside} for point in POINTS]}, loop={"approval": "required"})
    service.post("agents/mixed/start")
    [first] = wait_until(lambda: service.suggestions("mixed", state="proposed"))
    assert first["extra"] == beside
    service.post("agents/mixed/restart")
    [first] = wait_until(lambda: service.suggestions("mixed", state="proposed"))
    service.post(f"suggestions/{first['id']}/approve")
    wait_until(lambda: service.suggestions("mixed", state="ingested"))
    service.post("agents/mixed/stop")
    service.close()

    service = start(tmp_path / "state", run_engine=RUN_ENGINE)
    assert service.suggestions("mixed", state="ingested")[0]["extra"] == beside
    service.post("agents/mixed/start?paused=true")
    [told] = service.post("agents/mixed/report")["report"]["told"]
    assert (told["candidate"], told["parents"], told["flux"]) == (7, [1, 2], 3.5)
    assert "_reason" not in told
    service.post("agents/mixed/stop")


@pytest.mark.parametrize("of", ["agent", "service"])
def test_a_value_that_guardrails_do_not_allow_moves_nothing(start, of):
    allowed = {"allowed": {"filt": ["Al", "1"], "lamp": [True]}}
    service = start(run_engine=RUN_ENGINE, **({"guardrails": allowed} if of == "service" else {}))
    create(service, loop={"max_failures": 1}, **({"guardrails": allowed} if of == "agent" else {}))
    service.post("agents/mixed/start")
    service.until("mixed", "stopped", "failed")
    fates = [(one["state"], one["reason"]) for one in service.suggestions("mixed")]
    assert fates[0][0] == "ingested"
    assert fates[1] == ("rejected", "guardrails.allowed.lamp: lamp = false is none of true")
    assert filters.filt.sent == ["Al"]
    assert filters.lamp.sent == [True]


def test_guardrails_name_values_that_the_space_has(start):
    service = start(run_engine=RUN_ENGINE)
    for guardrails, why in (
        ({"allowed": {"filt": ["al"]}}, "did you mean 'Al'?"),
        ({"allowed": {"turns": [1.5]}}, "not a whole number"),
        ({"allowed": {"lamp": [1]}}, "neither true nor false"),
        ({"allowed": {"other": [1]}}, "no actuator of this agent"),
        ({"allowed": {"filt": []}}, "allowed"),
        ({"bounds": {"lamp": [0, 1]}}, "guardrails.allowed.lamp"),
        ({"bounds": {"x": [True, 2]}}, "is true or false"),
    ):
        body = {"name": "mixed", "type": "brainbox:Mixed", "actuators": list(SPACE), "outcome": "flux", "space": SPACE}
        answer = service.http.post("/api/v1/agents", json={**body, "guardrails": guardrails})
        assert answer.status_code == 422, answer.text
        assert why in answer.text
