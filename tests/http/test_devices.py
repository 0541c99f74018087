"""Agents whose devices are inside others: one device, one name, from the suggestion to the document and back."""

import sys

import pytest
from bluesky import RunEngine
from peers import free_port
from services import wait_until

OPHYD = {
    "actuators": ["stage.x", "stage.y"],
    "sensors": ["stage_signal"],
    "outcome": "stage_signal",
    "config": {"bounds": {"stage.x": [-2, 2], "stage.y": [-2, 2]}, "objective": "stage_signal", "seed": 1},
}
ASYNC = {
    "actuators": ["table.x", "table.y"],
    "sensors": ["detector"],
    "outcome": "detector.signal",
    "config": {"bounds": {"table.x": [-2, 2], "table.y": [-2, 2]}, "objective": "detector.signal", "seed": 1},
}
KINDS = {
    "ophyd": (OPHYD, "stage_x", "stage_y", "stage_signal"),
    "ophyd-async": (ASYNC, "table-x", "table-y", "detector-signal"),
}


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


@pytest.fixture
def service(start):
    return start(run_engine={"startup": "stages"})


def position(name):
    """Return where a device is, as it says itself."""
    stages = sys.modules["stages"]  # the service loaded it
    if name.startswith("stage"):
        return getattr(stages.stage, name[-1]).position
    from bluesky.run_engine import call_in_bluesky_event_loop

    return call_in_bluesky_event_loop(getattr(stages.table, name[-1]).locate())["readback"]


def test_a_closed_loop_on_devices_named_by_the_way_to_them(service, kind):
    spec, x, y, signal = kind
    made = service.create("aligner", type="bayes", loop={"max_runs": 6}, **spec)
    assert made["spec"]["actuators"] == [x, y]
    assert made["spec"]["outcome"] == signal
    assert made["spec"]["config"]["bounds"] == spec["config"]["bounds"], "the brain is left to its own words"
    service.post("agents/aligner/start")
    status = service.until("aligner", "stopped", "failed")
    assert status["reason"] == "max_runs reached (6 of 6)"
    done = service.suggestions("aligner", state="ingested")
    assert len(done) == 6
    assert service.get("agents/aligner/devices")["positions"] == {x: position(x), y: position(y)}
    assert all(set(one["point"]) == {x, y} and set(one["outcome"]) == {signal} for one in done)
    for one in done:
        at_x, at_y = one["point"][x], one["point"][y]
        assert one["outcome"][signal] == pytest.approx(1 - (at_x - 1) ** 2 - at_y**2)
    best = service.get("agents/aligner/best")["items"][0]
    measured = max(done, key=lambda one: one["outcome"][signal])
    assert best["point"] == pytest.approx(measured["point"])
    assert best["id"] == measured["id"]
    service.post("agents/aligner/go-to-best")
    assert {name: position(name) for name in (x, y)} == pytest.approx(best["point"])


def test_guardrails_hold_however_a_device_is_named(start, kind):
    spec, x, _, _ = kind
    written = spec["actuators"][0]
    service = start(run_engine={"startup": "stages"}, guardrails={"bounds": {written: [-1, 1]}})
    walk = {**spec, "type": "sequence", "config": {"points": [{written: 3, spec["actuators"][1]: 0}]}}
    service.create("far", **walk)
    service.post("agents/far/start")
    service.until("far", "stopped")
    [rejected] = service.suggestions("far", state="rejected")
    assert rejected["reason"] == f"guardrails.bounds.{x}: {x} = 3 is outside [-1, 1]"


def test_the_largest_step_holds_by_either_name(service, kind):
    spec, x, y, _ = kind
    points = [{spec["actuators"][0]: at, spec["actuators"][1]: 0} for at in (0, 1, 5)]
    walk = {**spec, "type": "sequence", "config": {"points": points}}
    made = service.create("steps", guardrails={"max_step": {spec["actuators"][0]: 2}}, **walk)
    assert made["spec"]["guardrails"]["max_step"] == {x: 2}
    service.post("agents/steps/start")
    service.until("steps", "stopped")
    [rejected] = service.suggestions("steps", state="rejected")
    assert rejected["point"] == {x: 5, y: 0}
    assert rejected["reason"].startswith(f"guardrails.max_step.{x}: {x} = 5 is 4 from 1")
    changed = service.http.patch("/api/v1/agents/steps", json={"guardrails": {"max_step": {spec["actuators"][0]: 3}}})
    assert changed.json()["spec"]["guardrails"]["max_step"] == {x: 3}


def test_points_by_hand_are_taken_in_either_word(service, kind):
    spec, x, y, signal = kind
    service.create("told", type="bayes", loop={"approval": "required", "max_runs": 1}, **spec)
    service.post("agents/told/start?paused=true")
    written = {spec["actuators"][0]: 0.5, spec["actuators"][1]: 0.25, spec["outcome"]: 0.7}
    service.post("agents/told/ingest", {"points": [written]})
    service.post("agents/told/ingest", {"points": [{x: 0.1, y: 0.2, signal: 0.3}]})
    [best] = service.get("agents/told/best")["items"]
    assert (best["point"], best["outcome"]) == ({x: 0.5, y: 0.25}, {signal: 0.7})
    service.post("agents/told/resume")
    [proposed] = wait_until(lambda: service.suggestions("told", state="proposed"))
    edited = {spec["actuators"][0]: 1.0, spec["actuators"][1]: 0.0}
    service.post(f"suggestions/{proposed['id']}/approve", {"point": edited})
    service.until("told", "stopped")
    [done] = [one for one in service.suggestions("told", state="ingested") if one["id"] == proposed["id"]]
    assert done["point"] == {x: 1.0, y: 0.0}
    assert done["outcome"][signal] == pytest.approx(1.0)


def test_a_point_says_each_position_once_by_either_word(service, kind):
    spec, x, y, signal = kind
    service.create("told", type="bayes", loop={"approval": "required"}, **spec)
    service.post("agents/told/start?paused=true")
    first, second = spec["actuators"]
    service.post("agents/told/ingest", {"points": [{first: 0.5, second: 0.25, spec["outcome"]: 0.7}]})
    [proposed] = service.post("agents/told/suggest", {"n_points": 1})["suggestions"]
    for point in ({first: 2.0, second: 1.0, x: 3.0}, {x: 3.0, second: 1.0, first: 2.0}):
        for path, body in [
            (f"suggestions/{proposed['id']}/approve", {"point": point}),
            ("agents/told/suggestions", {"point": point, "reason": "a flank"}),
            ("agents/told/ingest", {"points": [{**point, signal: 1.0}]}),
            ("agents/told/predict", {"points": [point]}),
            ("agents/told/go-to-best", {"point": point}),
        ]:
            found = service.problem("POST", path, 422, "invalid_point", json=body)
            assert f"are one, {x!r}; give it once" in found["detail"], path
    assert service.get(f"suggestions/{proposed['id']}")["state"] == "proposed"
    service.post("agents/told/go-to-best", {"point": {first: 0.5, second: 0.25}})
    service.post("agents/told/go-to-best", {"point": {x: 0.5, y: 0.25}})


def test_an_agent_that_listens_learns_from_runs_that_others_made(service, kind):
    spec, x, y, signal = kind
    service.create("listener", listen="all", type="brainbox:Listener", **{**spec, "config": {}})
    service.post("agents/listener/start")
    walk = {"points": [{spec["actuators"][0]: 0.5, spec["actuators"][1]: 1.5}]}
    service.create("walker", **{**spec, "type": "sequence", "config": walk})
    service.post("agents/walker/start")
    service.until("walker", "stopped")
    wait_until(lambda: service.status("listener")["counts"]["ingested"] or service.get("agents/listener/history"))
    facts = wait_until(
        lambda: [one for one in service.get("agents/listener/history")["items"] if one["kind"] == "ingest"]
    )
    [point] = facts[0]["data"]["points"]
    assert point == pytest.approx({x: 0.5, y: 1.5, signal: -1.5})


def test_an_agent_that_listens_learns_each_place_of_a_scan(service, kind):
    spec, x, y, signal = kind
    service.create("listener", listen="all", type="brainbox:Listener", **{**spec, "config": {}})
    service.post("agents/listener/start")
    keys = {name: {"source": "a person", "dtype": "number", "shape": []} for name in (x, y, signal)}
    documents = [
        ("start", {"uid": "scan", "time": 1.0, "motors": [x, y]}),
        ("descriptor", {"uid": "d", "run_start": "scan", "time": 1.0, "name": "primary", "data_keys": keys}),
    ]
    for n, read in enumerate([(0.0, 1.0, 5.0), (2.0, 1.0, 7.0)], 1):
        data = dict(zip((x, y, signal), read, strict=True))
        event = {"uid": f"e{n}", "descriptor": "d", "time": 1.0, "seq_num": n, "data": data}
        documents.append(("event", {**event, "timestamps": dict.fromkeys(data, 1.0), "filled": {}}))
    documents.append(("stop", {"uid": "s", "run_start": "scan", "time": 2.0, "exit_status": "success"}))
    service.post("documents", {"documents": documents})
    [fact] = wait_until(
        lambda: [one for one in service.get("agents/listener/history")["items"] if one["kind"] == "ingest"]
    )
    assert fact["data"]["run_uids"] == ["scan"]
    assert fact["data"]["points"] == [{x: 0.0, y: 1.0, signal: 5.0}, {x: 2.0, y: 1.0, signal: 7.0}]
    assert service.status("listener")["counts"]["from_runs"] == 2
    rows = service.get("agents/listener/points")["items"]
    assert [row["run_uid"] for row in rows] == ["scan", "scan"]


def test_an_agent_comes_back_with_its_names(start, tmp_path, kind):
    spec, x, y, _ = kind
    service = start(tmp_path / "state", run_engine={"startup": "stages"})
    service.create("aligner", type="bayes", loop={"max_runs": 2}, **spec)
    service.post("agents/aligner/start")
    service.until("aligner", "stopped")
    before = service.get("agents/aligner/best")["items"]
    service.close()
    service = start(tmp_path / "state", run_engine={"startup": "stages"})
    service.http.patch("/api/v1/agents/aligner", json={"loop": {"max_runs": 3}}).raise_for_status()
    service.post("agents/aligner/start?paused=true")
    assert service.get("agents/aligner/best")["items"] == before
    assert set(before[0]["point"]) == {x, y}


def test_two_words_for_one_device_are_refused(service):
    problem = service.problem(
        "POST",
        "agents",
        422,
        "invalid_input",
        json={
            "name": "twice",
            "type": "sobol",
            "actuators": ["stage.x", "stage_x"],
            "outcome": "stage_signal",
            "config": {"bounds": {"stage.x": [0, 1], "stage_x": [0, 1]}},
        },
    )
    assert problem["detail"] == "actuators: stage.x and stage_x are one device, 'stage_x'; name it once"


@pytest.fixture
def bluesky_again():
    """End what a startup's own RunEngine leaves, and give bluesky its loop back."""
    from bluesky import run_engine

    before = run_engine.get_bluesky_event_loop()
    yield
    loop = run_engine.get_bluesky_event_loop()
    if loop is not before:
        loop.call_soon_threadsafe(loop.stop)
        run_engine._ensure_event_loop_running.loop_to_thread[loop].join(10)
        loop.close()
        run_engine.set_bluesky_event_loop(before)


@pytest.mark.usefixtures("bluesky_again")
def test_a_startup_with_a_run_engine_of_its_own_shares_its_loop(start, tmp_path):
    script = tmp_path / "beamline.py"
    script.write_text(
        "from bluesky import RunEngine\n"
        "from ophyd_async.core import init_devices, soft_signal_rw\n"
        "from ophyd_async.sim import SimMotor\n"
        "RE = RunEngine({}, context_managers=[])\n"
        "with init_devices():\n"
        "    alone = SimMotor(instant=False)\n"
        "    level = soft_signal_rw(float, 0.25)\n"
    )
    service = start(run_engine={"startup": str(script)})
    points = [{"alone": at} for at in (0.05, 0.1)]
    service.create(
        "walk", type="sequence", actuators=["alone"], sensors=["level"], outcome="level", config={"points": points}
    )
    service.post("agents/walk/start")
    assert service.until("walk", "stopped", "failed")["counts"]["ingested"] == 2, service.suggestions("walk")
    _end(service)


def _end(service):
    service.close()
    from bluesky import run_engine

    loop = run_engine.get_bluesky_event_loop()
    assert loop.is_running(), "the loop of the startup's own RunEngine goes on when the service ends"
    assert isinstance(RunEngine({}, loop=loop, context_managers=[]), RunEngine)


def test_the_devices_are_listed_by_the_names_that_agents_have_for_them(service):
    listed = {device["name"]: device for device in service.get("devices")["items"]}
    for spec, x, y, _ in KINDS.values():
        assert listed[x]["moves"]
        assert listed[y]["moves"]
        assert all(listed[name]["reads"] for name in spec["sensors"] if "." not in name)


def test_devices_that_nobody_can_list_are_said_to_be_so(start):
    away = start(
        sink={"kind": "queueserver", "control": f"tcp://127.0.0.1:{free_port()}"}, sources=[{"kind": "posted"}]
    )
    answer = away.get("devices")
    assert answer["items"] == []
    assert answer["asked_at"] is None
    assert answer["reason"]
