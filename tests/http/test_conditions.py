"""Conditions: without the beam nothing begins, and what was measured meanwhile does not count."""

import time

import beamline_with_conditions as beamline
import pytest
from services import wait_until

from agent_service import Client
from agent_service.errors import Conflict, NotFound, UsageError
from agent_service.journal import reader

WALK = {
    "type": "sequence",
    "actuators": ["x"],
    "sensors": ["det"],
    "outcome": "det",
    "plan": "gated",
    "executor": "thread",
}
BEAM = {"rule": "ring_current > 100", "settle_s": 0}


@pytest.fixture(autouse=True)
def _fresh():
    beamline.fresh()
    yield
    beamline.fresh()


@pytest.fixture
def serve(start):
    def serve(state=None, **conditions):
        run_engine = {"startup": "beamline_with_conditions"}
        service = start(state, run_engine=run_engine, conditions=conditions or {"beam": BEAM})
        service.client = Client(service.url, api_key=service.server.api_key)
        return service

    return serve


@pytest.fixture
def service(serve):
    one = serve()
    yield one
    one.client.close()


def walk(service, *points, name="a", **spec):
    service.create(name, **{**WALK, **spec}, config={"points": [{"x": float(point)} for point in points]})
    service.post(f"agents/{name}/start")


def met(service):
    return wait_until(lambda: all(one["state"] == "met" for one in service.get("conditions")["items"]))


def unmet(service):
    return wait_until(lambda: (found := service.get("conditions")["items"][0])["state"] == "lost" and found)


def test_a_loss_holds_the_agent_and_says_which_everywhere(service):
    met(service)
    beamline.ring_current.put(0.3)
    assert unmet(service)["text"] == "ring_current 0.3, needs > 100"
    walk(service, 1)
    text = "ring_current 0.3, needs > 100"
    assert wait_until(lambda: service.status("a")["suspended"]) == text
    queue = service.get("queue")
    assert (queue["state"], queue["reason"]) == ("suspended", text)
    assert service.client.service().conditions[0].text == text
    ready = service.http.get("/readyz").json()
    assert (ready["ready"], ready["parts"]["conditions"]) == (True, {"ready": False, "reason": text})
    assert 'agent_service_condition_met{condition="beam"} 0.0' in service.http.get("/metrics").text
    assert not beamline.runs_begun
    beamline.ring_current.put(250.0)
    status = service.until("a", "stopped")
    assert (status["counts"]["ingested"], status["suspended"]) == (1, None)
    assert service.get("queue")["state"] == "idle"
    assert 'agent_service_condition_met{condition="beam"} 1.0' in service.http.get("/metrics").text


def test_a_run_that_overlaps_a_loss_is_void_and_its_point_is_measured_again(service):
    met(service)
    beamline.gate.clear()
    walk(service, 3, 4)
    assert beamline.measuring.wait(20)
    beamline.ring_current.put(0.0)
    unmet(service)
    beamline.gate.set()
    void = wait_until(lambda: [one for one in service.suggestions("a") if one["void"]])[0]
    assert void["state"] == "abandoned"
    assert void["run_uid"]
    assert void["reason"] == (
        "void, for beam was not met while it was measured: ring_current 0, needs > 100; its point is measured again"
    )
    beamline.ring_current.put(300.0)
    assert service.until("a", "stopped")["counts"]["ingested"] == 2
    again = next(one for one in service.suggestions("a") if one["retry_of"] == void["id"])
    assert (again["state"], again["point"]) == ("ingested", void["point"])
    assert beamline.runs_begun == [3.0, 3.0, 4.0]
    told = [
        event["data"]["points"][0]["det"]
        for event in service.get("agents/a/history")["items"]
        if event["kind"] == "ingest"
    ]
    assert told == [3.0, 4.0]


def test_a_drop_that_is_over_before_the_run_ends_voids_it(service):
    met(service)
    beamline.gate.clear()
    walk(service, 3)
    assert beamline.measuring.wait(20)
    beamline.ring_current.put(0.0)
    beamline.ring_current.put(300.0)
    beamline.gate.set()
    status = service.until("a", "stopped")
    assert (status["counts"]["ingested"], status["counts"]["suggested"]) == (1, 2)
    assert service.client.conditions()[0].losses >= 2  # the first is the start


def test_a_run_that_fails_without_beam_is_no_fault_of_the_agents(service):
    met(service)
    beamline.gate.clear()
    walk(service, 3, plan="no_light", loop={"max_failures": 1})
    assert beamline.measuring.wait(20)
    beamline.ring_current.put(0.0)
    beamline.gate.set()
    wait_until(lambda: [one for one in service.suggestions("a") if one["void"]])
    beamline.ring_current.put(300.0)
    status = service.until("a", "stopped")
    assert (status["counts"]["ingested"], status["counts"]["failed"]) == (1, 0)


def test_a_plan_handed_ahead_is_taken_back_and_approved_again(service):
    met(service)
    beamline.gate.clear()
    walk(service, 3, 4, 5, loop={"n_points": 3})
    assert beamline.measuring.wait(20)
    wait_until(lambda: service.get("queue")["pending"] == 1)
    beamline.ring_current.put(0.0)
    wait_until(lambda: service.get("queue")["pending"] == 0)
    assert len(wait_until(lambda: service.suggestions("a", state="approved"))) == 2
    beamline.gate.set()
    wait_until(lambda: [one for one in service.suggestions("a") if one["void"]])
    assert service.get("queue")["current"] is None
    beamline.ring_current.put(300.0)
    assert service.until("a", "stopped")["counts"]["ingested"] == 3


def test_a_person_who_approved_a_void_point_is_not_asked_again(service):
    met(service)
    beamline.gate.clear()
    walk(service, 3, loop={"approval": "required"})
    one = wait_until(lambda: service.suggestions("a", state="proposed"))[0]
    service.post(f"suggestions/{one['id']}/approve")
    assert beamline.measuring.wait(20)
    beamline.ring_current.put(0.0)
    beamline.ring_current.put(300.0)
    beamline.gate.set()
    assert service.until("a", "stopped")["counts"]["ingested"] == 1


def test_what_waited_through_a_long_loss_is_asked_for_anew(serve):
    service = serve(beam={**BEAM, "stale_after_s": 0.2})
    met(service)
    beamline.gate.clear()
    sobol = {**WALK, "type": "sobol", "config": {"bounds": {"x": [0, 5]}}}
    service.create("a", **sobol, loop={"n_points": 2, "max_runs": 2})
    service.post("agents/a/start")
    assert beamline.measuring.wait(20)
    beamline.ring_current.put(0.0)
    lost = unmet(service)
    began = time.time()
    wait_until(lambda: time.time() - began > 0.3)  # the loss is to be a long one
    beamline.ring_current.put(300.0)
    beamline.gate.set()
    service.until("a", "stopped")
    fates = {one["state"]: one for one in service.suggestions("a")}
    assert lost["stale_after_s"] == 0.2
    assert "stale: beam was not met for" in fates["expired"]["reason"]
    assert service.status("a")["counts"]["ingested"] == 2
    service.client.close()


def test_a_suspender_s_threshold_to_resume_is_kept(serve):
    suspender = {"kind": "floor", "signal": "ring_current", "suspend": 100, "resume": 200}
    service = serve(beam={"suspender": suspender, "settle_s": 0})
    met(service)
    beamline.ring_current.put(150.0)
    wait_until(lambda: service.client.conditions()[0].signals[0].value == 150)
    assert service.client.conditions()[0].state == "met"
    beamline.ring_current.put(50.0)
    assert unmet(service)["rule"] == "ring_current >= 100.0"
    beamline.ring_current.put(150.0)
    wait_until(lambda: service.client.conditions()[0].signals[0].value == 150)
    assert service.client.conditions()[0].text == "ring_current 150, needs >= 200.0"
    beamline.ring_current.put(250.0)
    met(service)
    service.client.close()


def test_until_it_has_settled_the_agents_wait(serve):
    service = serve(beam={"rule": "ring_current > 100", "settle_s": 3600})
    wait_until(lambda: service.client.conditions()[0].state == "settling")
    walk(service, 3)
    text = "ring_current 300, and has to stay so for 3600 s"
    assert wait_until(lambda: service.status("a")["suspended"]) == text
    assert service.client.conditions()[0].text == text
    assert not beamline.runs_begun
    service.client.close()


def test_a_text_is_compared_and_each_condition_is_named(serve):
    service = serve(beam="ring_current > 100", shutter={"rule": 'shutter == "open"', "settle_s": 0})
    beamline.shutter.put("closed")
    shown = wait_until(
        lambda: (
            (one := {each.name: each for each in service.client.conditions()}["shutter"]).state == "lost"
            and one.signals[0].value == "closed"
            and one
        )
    )
    assert shown.text == 'shutter closed, needs == "open"'
    assert service.client.conditions()[0].settle_s == 10
    wait_until(lambda: 'shutter closed, needs == "open"' in service.get("queue")["reason"])
    service.client.close()


def test_a_signal_that_cannot_be_asked_is_not_met(service):
    met(service)

    def get(**_):
        msg = "no such channel"
        raise ConnectionError(msg)

    beamline.ring_current.get = get
    assert unmet(service)["text"] == "ring_current is not known: ConnectionError: no such channel"
    del beamline.ring_current.get
    met(service)


def test_a_person_switches_a_condition_off_and_that_is_said_and_kept(serve, tmp_path):
    service = serve(tmp_path / "kept")
    beamline.ring_current.put(0.0)
    unmet(service)
    walk(service, 3)
    assert wait_until(lambda: service.status("a")["suspended"])
    off = service.client.switch_condition("beam", on=False, reason="dark frames")
    assert off.state == "off"
    assert off.text == "beam is switched off by a person: what is measured counts without it"
    assert service.until("a", "stopped")["counts"]["ingested"] == 1
    [fact] = [fact for fact in facts(service) if fact["state"] == "off"]
    assert fact["reason"] == "switched off by a person: dark frames"
    with pytest.raises(NotFound, match="there is no condition 'baem'; did you mean 'beam'"):
        service.client.switch_condition("baem", on=True)
    service.close()
    service.client.close()
    again = serve(tmp_path / "kept")
    assert again.client.conditions()[0].state == "off"
    assert again.client.switch_condition("beam", on=True).state == "lost"
    assert again.get("queue")["state"] == "suspended"
    again.client.close()


def facts(service):
    """Return what the journal says of conditions."""
    journal = reader(f"sqlite:///{service.get('service')['state_dir']}/journal.db")
    return [event.data for event in journal.read(kinds=["condition.state"])]


def test_a_move_is_refused_unless_a_person_says_otherwise(service):
    met(service)
    walk(service, 3)
    service.until("a", "stopped")
    beamline.ring_current.put(0.0)
    unmet(service)
    said = r"ring_current 0, needs > 100; to move all the same, client.go_to_best\('a', despite_conditions=True\)"
    with pytest.raises(Conflict, match=said):
        service.client.go_to_best("a")
    assert service.client.go_to_best("a", despite_conditions=True).point == {"x": 3.0}


def test_a_restart_counts_what_nobody_watched_as_lost(serve, tmp_path):
    service = serve(tmp_path / "kept")
    met(service)
    service.client.close()
    service.close()
    again = serve(tmp_path / "kept")
    met(again)
    assert [fact["state"] for fact in facts(again)] == ["lost", "met", "lost", "met"]
    assert facts(again)[2]["reason"] == "nobody watched it while the service was not there"
    again.client.close()


def test_a_signal_that_is_not_there_is_refused_at_the_start(start):
    with pytest.raises(
        UsageError, match=r"conditions.beam: there is no device 'ring_curent'.*did you mean 'ring_current'"
    ):
        start(run_engine={"startup": "beamline_with_conditions"}, conditions={"beam": "ring_curent > 100"})


def test_without_a_startup_a_service_of_claims_has_no_signals(start):
    with pytest.raises(UsageError, match="conditions: with sink claim nothing here has signals"):
        start(run_engine={"startup": None}, sink={"kind": "claim"}, conditions={"beam": "ring_current > 100"})


def test_nothing_can_be_claimed_while_a_condition_is_not_met(start):
    service = start(
        run_engine={"startup": "beamline_with_conditions"}, sink={"kind": "claim"}, conditions={"beam": BEAM}
    )
    met(service)
    walk(service, 3)
    wait_until(lambda: service.get("queue")["pending"] == 1)
    beamline.ring_current.put(0.0)
    unmet(service)
    assert service.http.post("/api/v1/suggestions/claim", json={}).status_code == 204
    wait_until(lambda: service.suggestions("a", state="approved"))
    beamline.ring_current.put(300.0)
    claimed = service.post("suggestions/claim", {"wait_s": 20})
    assert claimed["point"] == {"x": 3.0}
