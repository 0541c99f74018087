"""Claims over HTTP: a lease on an approved suggestion, its documents from elsewhere, and every way in which it ends."""

import threading
import time

import pytest
from services import wait_until

from agent_service.client import AsyncClient, Client
from agent_service.errors import Conflict

CLAIM = {"sink": {"kind": "claim"}, "source": {"kind": "none"}}


@pytest.fixture
def service(start):
    """A service that moves nothing itself."""
    return start(run_engine={"md": {"proposal": "P-1", "scan_id": 7}}, **CLAIM)


def claim(service, status=200, **body):
    answer = service.http.post("/api/v1/suggestions/claim", json={"wait_s": 10, **body})
    assert answer.status_code == status, answer.text
    return answer.json() if status == 200 else answer


def documents(found, *, uid="r1", signal=0.5, exit_status="success", now=1.7e9):
    """A run of one event for a claim, as a RunEngine would emit it."""
    data = {**found["point"], "signal": signal}
    keys = {key: {"source": "sim", "dtype": "number", "shape": []} for key in data}
    return [
        ("start", {"uid": uid, "time": now, **found["md"]}),
        ("descriptor", {"uid": f"{uid}-d", "time": now, "run_start": uid, "name": "primary", "data_keys": keys}),
        (
            "event",
            {
                "uid": f"{uid}-e",
                "time": now,
                "descriptor": f"{uid}-d",
                "seq_num": 1,
                "data": data,
                "timestamps": dict.fromkeys(data, now),
            },
        ),
        ("stop", {"uid": f"{uid}-s", "time": now, "run_start": uid, "exit_status": exit_status, "reason": ""}),
    ]


def emit(service, some):
    service.post("documents", {"documents": some})


def fate(service, found):
    return service.get(f"suggestions/{found['id']}")


def begin(service, name="walker", **spec):
    service.create(name, **{"loop": {"max_runs": 2}, **spec})
    service.post(f"agents/{name}/start")


def test_a_claim_says_all_that_a_plan_needs_and_its_run_is_ingested(service):
    begin(service)
    found = claim(service, agent="walker", lease_s=30)
    assert found["state"] == "submitted"
    assert (found["plan"], found["actuators"], found["sensors"]) == ("acquire", ["x", "y"], ["signal"])
    assert found["md"] == {"proposal": "P-1", "agent_name": "walker", "agent_suggestion_uid": found["id"]}
    assert found["lease_s"] == 30
    queue = service.get("queue")
    assert (queue["kind"], queue["state"], queue["current"], queue["pending"]) == ("claim", "running", found["id"], 0)
    claim(service, 204, agent="walker", wait_s=0)
    start, *rest = documents(found)
    emit(service, [start])
    wait_until(lambda: fate(service, found)["state"] == "running")
    emit(service, rest)
    ended = wait_until(lambda: (one := fate(service, found))["state"] == "ingested" and one)
    assert (ended["run_uid"], ended["outcome"]) == ("r1", {"signal": 0.5})
    second = claim(service)
    emit(service, documents(second, uid="r2"))
    assert service.until("walker", "stopped")["progress"]["done"] == 2


def test_a_claim_waits_for_a_suggestion(service):
    service.create("late", loop={"approval": "required"})
    service.post("agents/late/start")
    [proposed] = wait_until(lambda: service.suggestions("late", state="proposed"))
    found = []
    waiting = threading.Thread(target=lambda: found.append(claim(service, agent="late", wait_s=20)))
    waiting.start()
    service.post(f"suggestions/{proposed['id']}/approve", {"point": {"x": 3, "y": 4}})
    waiting.join(10)
    assert found[0]["point"] == {"x": 3, "y": 4}


def test_a_lease_runs_out_and_a_late_run_is_ingested_once_and_flagged(service):
    begin(service)
    found = claim(service, lease_s=0.2)
    expired = wait_until(lambda: (one := fate(service, found))["state"] == "expired" and one)
    assert "claim ran out" in expired["reason"]
    service.problem("POST", f"suggestions/{found['id']}/renew", 409, "conflict")
    service.problem("POST", f"suggestions/{found['id']}/release", 409, "conflict")
    for _ in range(2):
        emit(service, documents(found))
    ended = wait_until(lambda: (one := fate(service, found))["state"] == "ingested" and one)
    assert ended["reason"].startswith("its outcome came late: it was expired")
    assert ended["run_uid"] == "r1"
    second = claim(service)
    emit(service, documents(second, uid="r2"))
    status = service.until("walker", "stopped")
    assert (status["progress"]["done"], status["counts"]["ingested"]) == (2, 2)
    assert service.get("agents/walker/history", limit=1000)["items"][-1]["data"]["state"] == "stopped"


@pytest.mark.parametrize("how", ["documents", "renewals"])
def test_documents_and_renewals_keep_a_lease(service, how):
    begin(service)
    found = claim(service, lease_s=1.0)
    start, descriptor, event, stop = documents(found)
    began = time.monotonic()
    emit(service, [start, descriptor])
    seq = 1
    while time.monotonic() - began < 2.2:
        if how == "documents":
            emit(service, [(event[0], {**event[1], "seq_num": seq, "uid": f"e{seq}"})])
        else:
            assert service.post(f"suggestions/{found['id']}/renew")["lease_s"] == 1.0
        seq += 1
        time.sleep(0.2)
    emit(service, [event, stop])
    ended = wait_until(lambda: (one := fate(service, found))["state"] == "ingested" and one)
    assert ended["reason"] is None, "it was not late"


@pytest.mark.parametrize(
    ("how", "state", "stops"), [("fail", "failed", True), ("abort", "failed", False), ("unused", "submitted", False)]
)
def test_release(service, how, state, stops):
    begin(service, loop={"max_failures": 1})
    found = claim(service)
    answer = service.post(f"suggestions/{found['id']}/release", {"how": how, "reason": "no beam"})
    assert answer["state"] == state
    if how != "unused":
        assert answer["reason"] == "no beam"
    if stops:
        assert "1 failure in a row" in service.until("walker", "stopped")["reason"]
        claim(service, 204, agent="walker")
    else:
        assert (claim(service)["id"] == found["id"]) == (how == "unused")


def test_a_run_that_began_is_not_given_back(service):
    begin(service)
    found = claim(service)
    emit(service, documents(found)[:1])
    wait_until(lambda: fate(service, found)["state"] == "running")
    service.problem("POST", f"suggestions/{found['id']}/release", 409, "conflict", json={"how": "unused"})


@pytest.mark.parametrize("status", ["fail", "abort"])
def test_a_run_that_failed_fails_the_suggestion(service, status):
    begin(service)
    found = claim(service)
    emit(service, documents(found, exit_status=status))
    ended = wait_until(lambda: (one := fate(service, found))["state"] == "failed" and one)
    assert ended["reason"] == f"the run ended with exit_status {status}"


def test_held_and_paused_queues_hand_nothing_out_and_what_was_claimed_goes_on(service):
    begin(service, "one")
    begin(service, "two")
    found = claim(service, agent="one")
    [waits] = wait_until(lambda: service.suggestions("two", state="submitted"))
    service.post("queue/pause")
    claim(service, 204, agent="two", wait_s=0.05)
    service.post("queue/resume")
    assert service.post("queue/abort", {"reason": "smoke"})["state"] == "held"
    failed = wait_until(lambda: (one := fate(service, waits))["state"] == "failed" and one)
    assert failed["reason"] == "smoke"
    service.until("two", "paused")
    claim(service, 204, wait_s=0.05)
    emit(service, documents(found))
    wait_until(lambda: fate(service, found)["state"] == "ingested")
    service.post("queue/resume")
    assert claim(service, agent="two")["agent"] == "two"


def test_what_its_agent_does_not_want_now_is_not_handed_out(service):
    begin(service)
    wait_until(lambda: service.suggestions("walker", state="submitted"))
    service.post("agents/walker/pause")
    claim(service, 204, agent="walker", wait_s=0.05)
    service.post("agents/walker/resume")
    found = claim(service)
    service.post(f"suggestions/{found['id']}/release", {"how": "unused"})
    stopped = service.post("agents/walker/stop")
    assert stopped["state"] == "stopped", "nobody claimed it, so there is no run to wait for"
    assert fate(service, found)["reason"] == "not measured: stopped by a person"
    claim(service, 204, agent="walker", wait_s=20)


def test_guardrails_are_looked_at_again_when_it_is_claimed(service):
    begin(service)
    [waits] = wait_until(lambda: service.suggestions("walker", state="submitted"))
    service.http.patch("/api/v1/agents/walker", json={"guardrails": {"bounds": {"x": [5, 6]}}})
    assert claim(service, agent="walker")["point"]["x"] == 5.0
    rejected = fate(service, waits)
    assert rejected["state"] == "rejected"
    assert rejected["reason"].startswith("guardrails.bounds.x: ")
    assert service.status("walker")["counts"]["failed"] == 0


@pytest.mark.parametrize(
    ("change", "rule"), [({"plans": ["other"]}, "plans"), ({"budget_runs": 0}, "budget_runs"), (None, "max_step.x")]
)
def test_so_are_the_rules_that_look_at_what_went_before(service, change, rule):
    begin(service, config={"limit": 1}, guardrails={"max_step": {"x": 1}, "budget_runs": 1})
    [waits] = wait_until(lambda: service.suggestions("walker", state="submitted"))
    if change:
        service.http.patch("/api/v1/agents/walker", json={"guardrails": change}).raise_for_status()
    else:  # somebody's own runs: what arrives last counts, whatever its clock says
        emit(service, documents({"point": {"x": 0.5, "y": 0.0}, "md": {}}, uid="r0", now=time.time() + 86_400))
        emit(service, documents({"point": {"x": 9.0, "y": 0.0}, "md": {}}, now=time.time() - 86_400))
        positions = service.server.service.supervisor.last_positions.positions
        wait_until(lambda: positions.get("x") == 9.0)  # posted documents are taken in behind the answer
    claim(service, 204, agent="walker", wait_s=0.5)
    wait_until(lambda: fate(service, waits)["state"] == "rejected")
    assert fate(service, waits)["reason"].startswith(f"guardrails.{rule}: ")


def test_an_outcome_given_by_hand_ends_the_claim(service):
    begin(service)
    found = claim(service)
    service.post("agents/walker/ingest", {"points": [{"_id": found["id"], "signal": 1.0}]})
    assert fate(service, found)["state"] == "ingested"
    service.problem("POST", f"suggestions/{found['id']}/renew", 409, "conflict")
    assert claim(service)["id"] != found["id"]


def test_a_client_that_went_away_gets_nothing(service):
    import httpx

    service.create("late", loop={"approval": "required"})
    service.post("agents/late/start")
    [proposed] = wait_until(lambda: service.suggestions("late", state="proposed"))
    with pytest.raises(httpx.ReadTimeout):
        service.http.post("/api/v1/suggestions/claim", json={"wait_s": 30}, timeout=0.2)
    service.post(f"suggestions/{proposed['id']}/approve")
    wait_until(lambda: fate(service, proposed)["state"] == "submitted", what="an offer to who went away")
    assert claim(service)["id"] == proposed["id"], "it was given back"


def test_refusals(service, start, tmp_path):
    service.problem("POST", "suggestions/claim", 404, "not_found", json={"agent": "nobody"})
    service.problem("POST", "suggestions/nothing/renew", 404, "not_found")
    service.problem("POST", "suggestions/nothing/release", 404, "not_found")
    found = service.problem("POST", "suggestions/claim", 422, "invalid_input", json={"lease_s": 0, "wait_s": 31})
    assert [one["field"] for one in found["errors"]] == ["lease_s", "wait_s"]
    begin(service)
    emit(service, documents(claim(service)))
    wait_until(lambda: service.status("walker")["best"])
    service.post("agents/walker/stop")
    found = service.problem("POST", "agents/walker/go-to-best", 409, "conflict")
    assert "RE(bps.mv(x, 0, y, 0))" in found["detail"]
    other = start(tmp_path / "other")
    found = other.problem("POST", "suggestions/claim", 409, "conflict")
    assert 'kind = "claim"' in found["detail"]


def test_a_service_that_ends_answers_who_waits_and_what_was_claimed_outlives_it(tmp_path):
    from services import running

    answers = []
    with running(tmp_path / "state", **CLAIM) as service:
        begin(service)
        found = claim(service)
        waiting = threading.Thread(target=lambda: answers.append(claim(service, 204, wait_s=30)))
        waiting.start()
        wait_until(lambda: service.get("queue")["state"] == "running")
        began = time.monotonic()
        service.server.close()
        waiting.join(5)
        assert answers
        assert time.monotonic() - began < 5
    with running(tmp_path / "state", **CLAIM) as service:
        assert fate(service, found)["state"] == "submitted"
        assert service.post(f"suggestions/{found['id']}/renew", {})["id"] == found["id"]
        emit(service, documents(found))
        wait_until(lambda: fate(service, found)["state"] == "ingested")
        assert not [one for one in service.suggestions("walker") if one["retry_of"]], "nothing is measured again"


@pytest.mark.parametrize("heard", [0, 2])
def test_after_a_restart_a_claim_lasts_as_long_and_ends_as_whoever_made_it_said(tmp_path, heard):
    """The word of one who says none is not waited for, also when a part of the run was heard before."""
    from services import running

    with running(tmp_path / "state", **CLAIM) as service:
        begin(service)
        found = claim(service, lease_s=300)
        run = documents(found)
        if heard:
            emit(service, run[:heard])
    with running(tmp_path / "state", **CLAIM) as service:
        assert service.post(f"suggestions/{found['id']}/renew", {})["lease_s"] == 300
        emit(service, run)
        wait_until(lambda: fate(service, found)["state"] == "ingested")
        assert fate(service, found)["reason"] is None, "its claim ran out before"


async def test_both_clients_claim_renew_and_release(service):
    begin(service)
    key = service.server.api_key
    with Client(service.url, api_key=key) as client:
        async with AsyncClient(service.url, api_key=key) as other:
            found = await other.claim("walker", lease_s=30, wait_s=10)
            assert client.claim("walker") is None
            assert await other.claim() is None
            assert client.renew(found.id).lease_s == 30
            assert (await other.renew(found.id, lease_s=20)).lease_s == 20
            assert (await other.release(found.id, how="unused")).state == "submitted"
            assert client.claim(wait_s=1).id == found.id
            assert client.release(found.id, "no beam", how="abort").reason == "no beam"
            with pytest.raises(Conflict, match="nobody holds a claim"):
                await other.renew(found.id)


def test_a_runner_claims_only_what_moves_its_devices_or_has_its_tag(service):
    begin(service, "here")
    sobol = {"type": "sobol", "config": {"bounds": {"theta": [0, 1]}}}
    begin(service, "there", **sobol, actuators=["theta"], tag="far")
    claim(service, 204, actuators=["theta"], tag="near", wait_s=0)
    assert "or give null for any" in claim(service, 422, actuators=[]).text
    claim(service, 204, actuators=["x"], wait_s=0)  # half of what it takes to measure it
    for names in ({"tag": "far"}, {"actuators": ["theta", "chi"]}, {"actuators": ["theta"], "tag": "far"}):
        found = claim(service, **names)
        assert found["agent"] == "there"
        service.post(f"suggestions/{found['id']}/release", {"how": "unused"})
    assert claim(service, actuators=["y", "x"])["agent"] == "here"


def test_who_waits_with_a_tag_gets_no_suggestion_of_others(service):
    begin(service, "here")
    found = []
    waiting = threading.Thread(target=lambda: found.append(claim(service, tag="far")))
    waiting.start()
    begin(service, "there", tag="far")
    waiting.join(30)
    assert [one["agent"] for one in found] == ["there"]
