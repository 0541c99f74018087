"""A whole number stays one: from suggest to the device, to the journal and back, into a replay and to the brain."""

import changer
import pytest
from archive_rig import run_engine
from services import Served, wait_until

from agent_service import run_agent
from agent_service.client import Client
from agent_service.launch.background import BackgroundServer
from agent_service.service.config import ServiceConfig

RUN_ENGINE = {"startup": "changer"}


@pytest.fixture(autouse=True)
def _forget():
    changer.slot.sent.clear()


@pytest.fixture
def served_changer(start):
    return start(run_engine=RUN_ENGINE)


def create(service, **spec):
    body = {
        "type": "brainbox:Slots",
        "actuators": ["slot", "height"],
        "sensors": ["counts"],
        "outcome": "counts",
        "loop": {"max_runs": 3},
        **spec,
    }
    return service.create("slots", **body)


def are_whole(points):
    assert points
    assert {type(one["slot"]) for one in points} == {int}
    assert {type(one["height"]) for one in points} == {float}


def ingested(service):
    items = service.get("agents/slots/history", limit=200)["items"]
    return [point for one in items if one["kind"] == "ingest" for point in one["data"]["points"]]


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_from_suggest_to_the_device_and_back(start, tmp_path, executor):
    service = start(tmp_path / "state", run_engine=RUN_ENGINE)
    create(service, executor=executor)
    service.post("agents/slots/start")
    stopped = service.until("slots", "stopped", "failed")
    assert (stopped["state"], stopped["progress"]["done"]) == ("stopped", 3), stopped["reason"]
    assert changer.slot.sent == [1, 2, 3]
    are_whole([one["point"] for one in service.suggestions("slots")])
    are_whole(ingested(service))
    are_whole([stopped["best"]["point"]])
    service.post("agents/slots/go-to-best")
    assert changer.slot.sent[-1] == 3
    assert type(changer.slot.sent[-1]) is int
    service.close()

    service = start(tmp_path / "state", run_engine=RUN_ENGINE)  # what the journal told
    are_whole([one["point"] for one in service.suggestions("slots")])
    service.http.patch("/api/v1/agents/slots", json={"loop": {"max_runs": 4}})
    service.post("agents/slots/start")
    service.until("slots", "stopped")
    assert changer.slot.sent[-1] == 4
    assert {type(one) for one in changer.slot.sent} == {int}


def test_a_replay_tells_what_was_told(served_changer):
    service = served_changer
    create(service, loop={"approval": "required"})
    service.post("agents/slots/start?paused=true")
    service.post("agents/slots/suggest", {"n_points": 1})
    service.post("agents/slots/ingest", {"points": [{"slot": 9, "height": 1.0, "counts": 5}]})
    service.post("agents/slots/restart")
    assert service.post("agents/slots/report")["report"]["kinds"] == [["int", "float"]]
    service.post("agents/slots/stop")


def test_an_edited_point_keeps_its_kind(served_changer):
    service = served_changer
    create(service, loop={"approval": "required"})
    service.post("agents/slots/start")
    first = wait_until(lambda: service.suggestions("slots", state="proposed"))[0]
    # as a browser sends what it read: it has one kind of number
    service.post(f"suggestions/{first['id']}/approve", {"point": {"slot": 7.0, "height": 2}})
    done = wait_until(lambda: service.suggestions("slots", state="ingested"))
    assert done[0]["point"] == {"slot": 7, "height": 2.0}
    are_whole([done[0]["point"]])
    assert changer.slot.sent == [7]
    service.post("agents/slots/stop")


def test_a_device_that_is_sent_half_a_slot_says_so(served_changer):
    service = served_changer
    create(service, loop={"approval": "required"})
    service.post("agents/slots/start")
    first = wait_until(lambda: service.suggestions("slots", state="proposed"))[0]
    service.post(f"suggestions/{first['id']}/approve", {"point": {"slot": 7.5, "height": 2}})
    failed = wait_until(lambda: service.suggestions("slots", state="failed"))
    assert "takes whole numbers, not 7.5" in failed[0]["reason"]
    service.post("agents/slots/stop")


def test_by_hand(served_changer):
    service = served_changer
    create(service)
    service.post("agents/slots/start?paused=true")
    [first] = service.post("agents/slots/suggest", {"n_points": 1})["suggestions"]
    are_whole([first["point"]])
    service.post("agents/slots/ingest", {"points": [{"_id": first["id"], "counts": 5}]})
    service.post("agents/slots/ingest", {"points": [{"slot": 9, "height": 1.0, "counts": 5}]})
    are_whole(ingested(service))
    report = service.post("agents/slots/report")["report"]
    assert report["kinds"] == [["int", "float"], ["int", "float"]]
    answer = service.http.post(
        "/api/v1/agents/slots/ingest", json={"points": [{"slot": 2**70 + 1, "height": 1.0, "counts": 5}]}
    )
    assert answer.status_code == 422, answer.text
    assert "beyond 64 bits" in answer.text


def test_a_claim_in_a_run_engine_elsewhere(tmp_path):
    config = ServiceConfig(service={"port": 0, "catalog": "none", "state": tmp_path / "state"}, sink={"kind": "claim"})
    with run_engine() as engine:
        service = Served(BackgroundServer(config, engine=engine).start())
        try:
            create(service)
            with Client(service.url, api_key=service.server.api_key) as client:
                uids = engine(
                    run_agent("slots", devices=[changer.slot, changer.height, changer.counts], client_or_url=client)
                )
            assert service.until("slots", "stopped")["progress"]["done"] == 3
        finally:
            service.close()
    assert uids
    assert changer.slot.sent == [1, 2, 3]
