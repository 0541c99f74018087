"""Methods that are coroutines: each is awaited, in a thread as in a process, on one event loop as old as the agent."""

import pytest
from services import wait_until


@pytest.fixture(params=["thread", "process"])
def executor(request):
    return request.param


@pytest.fixture
def service(start):
    return start()


def create(service, name="one", kind="Awaited", *, executor, **spec):
    return service.create(name, type=f"coroutine_brains:{kind}", executor=executor, **spec)


def report(service, name="one"):
    return service.post(f"agents/{name}/report")["report"]


@pytest.mark.parametrize("kind", ["Awaited", "make"])
def test_a_loop_of_coroutines(service, executor, tmp_path, kind):
    config = {"folder": str(tmp_path), "enough": 3}
    create(service, kind=kind, executor=executor, config=config, evaluate="coroutine_brains:peak")
    service.post("agents/one/start")
    stopped = service.until("one", "stopped", "failed")
    assert (stopped["state"], stopped["reason"]) == ("stopped", "it knows enough")
    assert stopped["counts"]["ingested"] == 3
    assert stopped["best"]["point"] == {"x": 1.0, "y": 0.0}
    service.http.patch("/api/v1/agents/one", json={"loop": {"approval": "required"}})
    service.post("agents/one/start?paused=true")
    told = report(service)
    assert (told["n"], told["registered"], told["loops"]) == (3, 3, 1), "replayed through coroutines, on one loop"
    service.post("agents/one/stop")


def test_all_that_a_brain_may_have(service, executor, tmp_path):
    create(service, executor=executor, config={"folder": str(tmp_path)}, loop={"approval": "required"})
    service.post("agents/one/start?paused=true")
    first, second, third = (service.post("agents/one/suggest", {})["suggestions"][0] for _ in range(3))
    service.post(f"suggestions/{first['id']}/reject", {})
    service.post(f"suggestions/{second['id']}/approve", {"point": {"x": 9.0, "y": 9.0}})
    service.post("agents/one/ingest", {"points": [{"_id": third["id"], "signal": 1.0}]})
    told = report(service)
    assert told == {"n": 1, "failures": 2, "registered": 1, "saved": 1, "loops": 1, "offset": 0}
    assert service.http.put("/api/v1/agents/one/variables/gain", json={"value": 2.5}).json()["value"] == 2.5
    service.problem("PUT", "agents/one/variables/gain", 422, "invalid_input", json={"value": -1})
    assert service.get("agents/one/variables/gain")["value"] == 2.5
    assert service.post("agents/one/methods/shift", {"args": [2]}) == {"result": 2}
    found = service.problem("POST", "agents/one/methods/burst", 502, "agent_fault")
    assert "out of film" in found["detail"]
    found = service.problem("POST", "agents/one/methods/give_up", 502, "agent_fault")
    assert "cancelled by the agent's own code" in found["detail"]
    assert service.status("one")["state"] == "paused"
    service.post("agents/one/restart")
    again = report(service)
    assert (again["n"], again["offset"]) == (1, 2)
    assert service.get("agents/one/variables/gain")["value"] == 2.5
    service.post("agents/one/stop")


def test_what_a_call_leaves_running_goes_on_between_calls_and_ends_with_the_agent(service, executor, tmp_path):
    create(service, executor=executor, config={"folder": str(tmp_path)}, loop={"approval": "required"})
    service.post("agents/one/start?paused=true")
    service.post("agents/one/suggest", {})
    before = service.get("agents/one/variables/ticked")["value"]
    # each look is a call that itself ends at once, so what it counts ticked between the looks
    wait_until(lambda: service.get("agents/one/variables/ticked", fresh=True)["value"] > before + 20)
    service.post("agents/one/stop")
    if executor == "thread":
        wait_until((tmp_path / "ended").exists)


@pytest.mark.parametrize("where", ["suggest", "ingest"])
def test_one_that_never_comes_back_is_given_up_at_its_deadline(service, executor, tmp_path, where):
    timeouts = {where: 0.5}
    config = {"folder": str(tmp_path), "where": where}
    create(service, kind="Stuck", executor=executor, config=config, timeouts=timeouts)
    service.post("agents/one/start")
    failed = service.until("one", "failed")
    assert f"did not end {where} within 0.5 s" in failed["reason"]
    assert "computes on" not in failed["reason"]
    if executor == "thread":
        wait_until((tmp_path / "cancelled").exists)


def test_a_stop_gives_up_what_is_awaited(service, executor, tmp_path):
    config = {"folder": str(tmp_path), "where": "suggest"}
    create(service, kind="Stuck", executor=executor, config=config)
    service.post("agents/one/start")
    wait_until(lambda: service.status("one")["busy"])
    assert service.post("agents/one/stop")["state"] == "stopped"
    if executor == "thread":
        wait_until((tmp_path / "cancelled").exists)


@pytest.mark.parametrize("kind", ["Disguised", "OwnLoop"])
def test_what_an_ordinary_function_returns_is_awaited_too(service, executor, kind):
    create(service, kind=kind, executor=executor, loop={"max_runs": 3})
    service.post("agents/one/start")
    service.until("one", "stopped")
    service.http.patch("/api/v1/agents/one", json={"loop": {"max_runs": 9, "approval": "required"}})
    service.post("agents/one/start?paused=true")
    assert report(service)["n"] == 3
    assert report(service)["n"] == 3
    service.post("agents/one/stop")


@pytest.mark.parametrize(("kind", "where"), [("Yielding", "ingest"), ("AsyncYielding", "suggest")])
def test_a_yield_is_no_silence(service, executor, tmp_path, kind, where):
    create(service, kind=kind, executor=executor, config={"folder": str(tmp_path)})
    service.post("agents/one/start")
    assert f"{where} has a yield in it" in service.until("one", "failed")["reason"]


def test_a_factory_that_fails_says_why(service, executor):
    create(service, kind="make_none", executor=executor)
    found = service.problem("POST", "agents/one/start", 502, "agent_fault")
    assert "ConnectionError: nobody answers" in found["detail"]


def test_in_a_notebooks_process(tmp_path):
    import coroutine_brains

    import agent_service

    with agent_service.serve(catalog="none", state=tmp_path / "state", startup="rig") as service:
        what = {"actuators": ["x", "y"], "sensors": ["signal"], "outcome": "signal", "loop": {"max_runs": 2}}
        service.host("object", coroutine_brains.Awaited(str(tmp_path)), start=True, **what)
        service.host("factory", coroutine_brains.make, config={"folder": str(tmp_path)}, start=True, **what)
        for name in ("object", "factory"):
            assert service.client.wait(name, "stopped", within_s=20).counts.ingested == 2
