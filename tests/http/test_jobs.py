"""Jobs: calls that go on behind an answer 202, and what becomes of them."""

import asyncio
import contextlib
import json
import socket
import threading
from pathlib import Path

import brainbox
import httpx
import pytest
import rig
from services import wait_until

from agent_service import AsyncClient, Client
from agent_service.errors import AgentFault, CallCancelled, Conflict, DeadlineExceeded, NotFound
from agent_service.models import JobState

AT_ONCE = {"Prefer": "wait=0"}


class Gate:
    """What a `brainbox.Patient` waits for, in whatever process it lives."""

    def __init__(self, path):
        self.path = path

    def open(self):
        self.path.touch()

    @property
    def waited_for(self):
        return Path(f"{self.path}.waits").exists()


@pytest.fixture
def gate(tmp_path):
    one = Gate(tmp_path / "gate")
    yield one
    one.open()


@pytest.fixture(params=["thread", "process"])
def executor(request):
    return request.param


@pytest.fixture
def service(start, executor):
    return start()


@pytest.fixture
def client(service):
    with Client(service.url, api_key=service.server.api_key) as one:
        yield one


@pytest.fixture
def patient(service, gate, executor):
    """A running agent that suggests only by hand, and waits in suggest."""

    def make(name="patient", *, started=True, **spec):
        config = {"gate": str(gate.path), "where": spec.pop("where", "suggest")}
        service.create(name, type="brainbox:Patient", config=config, executor=executor, **spec)
        if started:
            service.post(f"agents/{name}/start?paused=true")
        return name

    return make


def begin(service, path, body=None, *, method="POST", headers=AT_ONCE):
    """Ask for something long, expect a job, and return it."""
    answer = service.http.request(method, f"/api/v1/{path}", json=body, headers=headers)
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert answer.headers["location"] == f"/api/v1/jobs/{job['id']}"
    assert answer.headers["preference-applied"] == "wait=0"
    return job


def ended(service, job):
    """Wait for the end of a job, by asking the service to wait."""
    answer = service.http.get(f"/api/v1/jobs/{job['id']}", headers={"Prefer": "wait=20"})
    assert answer.status_code == 200, answer.text
    return answer.json()


def suggesting(service, name, gate):
    """Let an agent be in the midst of a suggest, and return its job."""
    job = begin(service, f"agents/{name}/suggest", {})
    wait_until(lambda: gate.waited_for)
    return job


# --- an answer in time


def test_a_call_in_time_is_answered_as_ever(service):
    service.create("quick", loop={"approval": "required"})
    service.post("agents/quick/start?paused=true")
    answer = service.http.post("/api/v1/agents/quick/suggest", json={})
    assert answer.status_code == 200
    assert "preference-applied" not in answer.headers
    answer = service.http.post("/api/v1/agents/quick/suggest", json={}, headers={"Prefer": "respond-async, wait=30"})
    assert (answer.status_code, answer.headers["preference-applied"]) == (200, "wait=30")
    assert service.get("jobs")["items"] == []


@pytest.mark.parametrize(
    ("prefer", "applied"),
    [
        ("wait=0", "wait=0"),
        ("respond-async", "wait=0"),
        ("respond-async; x=y, wait=0.2", "wait=0.2"),
        ('handling=lenient, WAIT="0"', "wait=0"),
        ("wait=0, wait=20", "wait=0"),
    ],
)
def test_preferences(service, patient, gate, prefer, applied):
    patient()
    answer = service.http.post("/api/v1/agents/patient/suggest", json={}, headers={"Prefer": prefer})
    assert (answer.status_code, answer.headers["preference-applied"]) == (202, applied)


def test_a_preference_that_makes_no_sense_is_passed_over(service, patient, gate):
    patient()
    gate.open()
    answer = service.http.post("/api/v1/agents/patient/suggest", json={}, headers={"Prefer": "wait=soon"})
    assert answer.status_code == 200
    assert "preference-applied" not in answer.headers


# --- a job


def test_a_job_from_its_begin_to_its_result(service, patient, gate):
    patient()
    job = suggesting(service, "patient", gate)
    assert (job["agent"], job["call"]) == ("patient", "suggest")
    assert (job["result"], job["problem"], job["finished_at"]) == (None, None, None)
    wait_until(lambda: service.get(f"jobs/{job['id']}")["progress"])
    now = service.get(f"jobs/{job['id']}")
    assert now["state"] == "running"
    assert (now["progress"]["done"], now["progress"]["total"], now["progress"]["message"]) == (1, 2, "waiting")
    busy = service.status("patient")["busy"]
    assert (busy["call"], busy["job"], busy["progress"]["message"]) == ("suggest", job["id"], "waiting")
    gate.open()
    done = ended(service, job)
    assert done["state"] == "succeeded"
    assert done["created_at"] < done["finished_at"]
    [made] = done["result"]["suggestions"]
    assert service.suggestions("patient") == [made]
    assert service.status("patient")["busy"] is None
    assert [one["id"] for one in service.get("jobs", agent="patient")["items"]] == [job["id"]]
    assert service.get("jobs", agent="nobody")["items"] == []


def test_a_job_that_fails_has_the_problem_of_its_route(service, patient, gate):
    patient(where="ponder")
    pondering = begin(service, "agents/patient/methods/ponder")
    wait_until(lambda: gate.waited_for)
    job = begin(service, "agents/patient/variables/nothing", {"value": 1}, method="PUT")
    assert job["state"] == "pending"
    gate.open()
    failed = ended(service, job)
    assert failed["state"] == "failed"
    assert (failed["problem"]["status"], failed["problem"]["code"]) == (404, "not_found")
    assert "no variable 'nothing'" in failed["problem"]["detail"]
    assert failed["problem"]["request_id"]
    assert ended(service, pondering)["result"] == {"result": [None, [1, 2]]}


def test_jobs_are_told_in_the_event_stream(service, patient, gate, client):
    seen = []
    opened = threading.Event()

    def work():
        for event in client.events("patient"):
            opened.set()
            seen.append(event)
            if event.kind == "job" and event.data["state"] == "succeeded":
                return

    patient()
    watching = threading.Thread(target=work)
    watching.start()
    wait_until(opened.is_set)
    job = suggesting(service, "patient", gate)
    gate.open()
    watching.join(20)
    assert not watching.is_alive()
    told = [one for one in seen if one.kind == "job"]
    assert {one.data["id"] for one in told} == {job["id"]}
    assert [one.data["state"] for one in told][-2:] == ["running", "succeeded"]
    assert {(one.agent, one.seq) for one in told} == {("patient", None)}
    assert not any("result" in one.data for one in told)
    kinds = {one["kind"] for one in service.get("agents/patient/history")["items"]}
    assert "job" not in kinds


def test_unknown_jobs(service):
    found = service.problem("GET", "jobs/nothing", 404, "not_found")
    assert "not across a restart" in found["detail"]
    service.problem("DELETE", "jobs/nothing", 404, "not_found")


def test_jobs_do_not_survive_a_restart_and_their_facts_do(start, tmp_path):
    first = start(tmp_path / "one")
    first.create("walker", loop={"approval": "required"})
    first.post("agents/walker/start?paused=true")
    answer = first.http.post("/api/v1/agents/walker/suggest", json={}, headers=AT_ONCE)
    job = answer.json()
    if answer.status_code == 202:
        assert ended(first, job)["state"] == "succeeded"
    first.close()
    second = start(tmp_path / "one")
    if answer.status_code == 202:
        second.problem("GET", f"jobs/{job['id']}", 404, "not_found")
    assert second.get("jobs")["items"] == []
    assert len(second.suggestions("walker")) == 1


# --- cancelling


def test_cancelling_a_call_under_way_ends_it_for_real(service, patient, gate):
    patient()
    service.create("healthy", loop={"approval": "required"})
    service.post("agents/healthy/start?paused=true")
    job = suggesting(service, "patient", gate)
    answer = service.http.delete(f"/api/v1/jobs/{job['id']}")
    assert answer.status_code == 200
    cancelled = answer.json()
    assert cancelled["state"] == "cancelled"
    assert (cancelled["problem"]["status"], cancelled["problem"]["code"]) == (409, "cancelled")
    status = service.status("patient")
    assert status["state"] == "failed"
    assert "cancelled by a person" in status["reason"]
    assert status["last_error"]["code"] == "cancelled"
    assert status["busy"] is None
    service.problem("DELETE", f"jobs/{job['id']}", 409, "conflict")
    service.post("agents/healthy/suggest", {})
    gate.open()
    service.post("agents/patient/restart")
    assert service.until("patient", "running")["last_error"]
    assert ended(service, job)["state"] == "cancelled"


def test_an_agent_that_comes_back_by_itself_does_so_after_a_cancelled_call(service, patient, gate):
    patient(on_fault="restart", restarts={"pause": 0.05})
    job = suggesting(service, "patient", gate)
    assert service.http.delete(f"/api/v1/jobs/{job['id']}").json()["state"] == "cancelled"
    gate.open()
    assert service.until("patient", "paused")["last_error"]["code"] == "cancelled"
    assert len(service.post("agents/patient/suggest", {})["suggestions"]) == 1


def test_a_call_that_waits_its_turn_is_withdrawn_without_harm(service, patient, gate):
    patient()
    first = suggesting(service, "patient", gate)
    waiting = begin(service, "agents/patient/variables/gain", {"value": 7}, method="PUT")
    assert service.get(f"jobs/{waiting['id']}")["state"] == "pending"
    cancelled = service.http.delete(f"/api/v1/jobs/{waiting['id']}").json()
    assert cancelled["state"] == "cancelled"
    assert "nothing happened" in cancelled["problem"]["detail"]
    assert service.status("patient")["state"] == "paused"
    gate.open()
    assert ended(service, first)["state"] == "succeeded"
    assert service.get("agents/patient/variables/gain", fresh=True)["value"] == 1


def test_cancelling_an_evaluation_fails_the_agent_too(start):
    """To ingest a run calls the user's function first: it is the agent's code as well."""
    service = start(service={"catalog": "embedded"})
    service.create("walker", loop={"max_runs": 1})
    service.post("agents/walker/start")
    service.until("walker", "stopped")
    uid = service.suggestions("walker")[0]["run_uid"]
    service.create("eye", evaluate="brainbox:slow_peak", executor="thread", loop={"approval": "required"})
    service.post("agents/eye/start?paused=true")
    brainbox.thinking.clear()
    brainbox.done_thinking.clear()
    try:
        job = begin(service, "agents/eye/ingest", {"run_uids": [uid]})
        wait_until(brainbox.thinking.is_set, within_s=90)  # the catalogue takes its time to be there
        assert service.status("eye")["busy"]["call"] == "evaluate"
        assert service.http.delete(f"/api/v1/jobs/{job['id']}").json()["state"] == "cancelled"
        assert service.status("eye")["state"] == "failed"
    finally:
        brainbox.done_thinking.set()


def test_cancelling_a_start_stops_the_agent(service, patient, gate):
    patient(where="start", started=False)
    job = begin(service, "agents/patient/start")
    wait_until(lambda: gate.waited_for)
    cancelled = service.http.delete(f"/api/v1/jobs/{job['id']}").json()
    assert cancelled["state"] == "cancelled"
    status = service.until("patient", "stopped")
    assert "cancelled by a person" in status["reason"]
    gate.open()
    service.post("agents/patient/start?paused=true")


def test_cancelling_a_change_leaves_the_agent_as_it_was(service, patient, gate, tmp_path):
    patient()
    before = service.status("patient")["config"]
    config = {"gate": str(tmp_path / "other"), "where": "start"}
    job = begin(service, "agents/patient", {"config": config}, method="PATCH")
    wait_until(Path(f"{config['gate']}.waits").exists)
    assert service.http.delete(f"/api/v1/jobs/{job['id']}").json()["state"] == "cancelled"
    Path(config["gate"]).touch()
    gate.open()
    assert len(service.post("agents/patient/suggest", {})["suggestions"]) == 1  # its turn comes after any building
    assert service.status("patient")["config"] == before


def test_a_stop_waits_for_its_run_and_cannot_be_cancelled(service, executor):
    rig.gate.clear()
    rig.measuring.clear()
    try:
        service.create("measuring", plan="gated", executor=executor)
        service.post("agents/measuring/start")
        wait_until(rig.measuring.is_set)
        job = begin(service, "agents/measuring/stop")
        assert job["state"] == "running"
        found = service.problem("DELETE", f"jobs/{job['id']}", 409, "conflict")
        assert "abort the queue" in found["detail"]
        rig.gate.set()
        done = ended(service, job)
        assert (done["state"], done["result"]["state"]) == ("succeeded", "stopped")
    finally:
        rig.gate.set()


def test_a_stop_by_somebody_else_ends_the_call_of_a_job(service, patient, gate):
    patient()
    job = suggesting(service, "patient", gate)
    service.post("agents/patient/stop")
    failed = ended(service, job)
    assert (failed["state"], failed["problem"]["code"]) == ("failed", "conflict")
    assert service.status("patient")["last_error"] is None


# --- whoever goes away, and too many


def test_a_client_that_goes_away_does_not_end_its_call(service, patient, gate):
    patient()
    where = httpx.URL(service.url)
    body = json.dumps({"n_points": 2})
    with contextlib.closing(socket.create_connection((where.host, where.port))) as line:
        line.sendall(
            f"POST /api/v1/agents/patient/suggest HTTP/1.1\r\nHost: {where.host}:{where.port}\r\nAuthorization: Apikey "
            f"{service.server.api_key}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            f"{body}".encode()
        )
        wait_until(lambda: gate.waited_for)
    gate.open()
    wait_until(lambda: len(service.suggestions("patient")) == 2)
    assert service.status("patient")["state"] == "paused"


def test_too_many_calls_of_one_agent_are_refused(service, patient, gate, monkeypatch):
    monkeypatch.setattr("agent_service.service.jobs.MAX_CALLS", 2)
    patient()
    suggesting(service, "patient", gate)
    begin(service, "agents/patient/report")
    found = service.problem("POST", "agents/patient/report", 409, "conflict", headers=AT_ONCE)
    assert "cancel some" in found["detail"]


def test_finished_jobs_are_kept_within_bounds(service, patient, gate, monkeypatch):
    monkeypatch.setattr("agent_service.service.jobs.KEPT", 3)
    patient(where="ponder")
    jobs = [begin(service, "agents/patient/methods/ponder") for _ in range(5)]
    gate.open()
    assert ended(service, jobs[-1])["state"] == "succeeded"
    assert [one["id"] for one in service.get("jobs")["items"]] == [one["id"] for one in jobs[2:]]
    first = service.get("jobs", limit=2)
    assert [one["id"] for one in service.get("jobs", cursor=first["next"])["items"]] == [jobs[4]["id"]]


def test_a_service_that_stops_answers_who_waits(start, gate, executor):
    service = start()
    config = {"gate": str(gate.path), "where": "suggest"}
    service.create("patient", type="brainbox:Patient", config=config, executor=executor)
    service.post("agents/patient/start?paused=true")
    answers = []

    def ask():
        answers.append(service.http.post("/api/v1/agents/patient/suggest", json={}, timeout=30))

    asking = threading.Thread(target=ask)
    asking.start()
    wait_until(lambda: gate.waited_for)
    service.server.close()
    asking.join(20)
    assert not asking.is_alive()
    assert (answers[0].status_code, answers[0].json()["code"]) == (503, "backend_unavailable")


# --- the clients


def test_the_client_waits_for_long_calls_by_itself(service, patient, gate, client, monkeypatch):
    monkeypatch.setattr("agent_service.client._calls.ASK_EVERY_S", 0.05)
    patient()
    made = []
    asking = threading.Thread(target=lambda: made.extend(client.suggest("patient", 2)))
    asking.start()
    wait_until(lambda: client.jobs("patient"))
    [job] = client.jobs("patient")
    assert client.job(job.id).state is JobState.RUNNING
    gate.open()
    asking.join(20)
    assert len(made) == 2
    assert client.job(job.id).state is JobState.SUCCEEDED


def test_the_client_raises_what_the_job_failed_of(service, patient, gate, client, monkeypatch):
    monkeypatch.setattr("agent_service.client._calls.ASK_EVERY_S", 0.05)
    patient()
    caught = []

    def ask():
        with pytest.raises(CallCancelled) as error:
            client.suggest("patient")
        caught.append(error.value)

    asking = threading.Thread(target=ask)
    asking.start()
    wait_until(lambda: client.jobs("patient") and gate.waited_for)
    [job] = client.jobs("patient")
    assert client.cancel(job.id).state is JobState.CANCELLED
    asking.join(20)
    assert "cancelled by a person" in caught[0].detail
    with pytest.raises(Conflict, match="cancelled already"):
        client.cancel(job.id)
    with pytest.raises(NotFound, match="kept for 1 h"):
        client.job("nothing")


def test_the_client_waits_no_longer_than_told(service, patient, gate, client):
    patient()
    with pytest.raises(
        DeadlineExceeded, match=r"suggest of agent 'patient' is not done after 0.05 s and goes on as job"
    ):
        client.suggest("patient", wait_s=0.05)
    [job] = client.jobs("patient")
    assert job.state is JobState.RUNNING
    gate.open()


async def test_the_asyncio_client_does_the_same(service, patient, gate, monkeypatch):
    monkeypatch.setattr("agent_service.client._calls.ASK_EVERY_S", 0.05)
    await asyncio.to_thread(patient)
    async with AsyncClient(service.url, api_key=service.server.api_key) as client:
        asking = asyncio.ensure_future(client.suggest("patient", 3))
        while not (found := await client.jobs("patient")):
            await asyncio.sleep(0.01)
        gate.open()
        assert len(await asking) == 3
        assert (await client.job(found[0].id)).state is JobState.SUCCEEDED


def test_a_fault_is_the_same_class_by_a_job(service, patient, gate, client, monkeypatch):
    patient(where="ponder")
    begin(service, "agents/patient/methods/ponder")
    wait_until(lambda: gate.waited_for)
    monkeypatch.setattr("agent_service.client._calls.ASK_EVERY_S", 0.05)
    caught = []

    def ask():
        with pytest.raises(AgentFault, match="out of film") as error:
            client.call("patient", "burst")
        caught.append(error.value)

    asking = threading.Thread(target=ask)
    asking.start()
    wait_until(lambda: len(client.jobs("patient")) == 2)
    gate.open()
    asking.join(20)
    assert "brainbox.py" in caught[0].traceback
