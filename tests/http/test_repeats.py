"""Requests sent twice with one Idempotency-Key: carried out once, answered the same, also across a restart."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from people import person, problem

from agent_service.client import AsyncClient, Client
from agent_service.errors import BackendUnavailable, DeadlineExceeded
from agent_service.journal import reader
from agent_service.state_dir import StateDir

SPEC = {"type": "brainbox:Walker", "actuators": ["x", "y"], "sensors": ["signal"], "outcome": "signal"}
HAND = {"points": [{"x": 1.0, "y": 1.0, "signal": 2.0}]}
RUN = [
    ["start", {"uid": "by-hand", "time": 1.0}],
    ["stop", {"uid": "by-hand-s", "time": 1.0, "run_start": "by-hand", "exit_status": "success", "reason": ""}],
]


def send(service, path, body=None, key="once"):
    return service.http.post(f"/api/v1/{path}", json=body, headers={"Idempotency-Key": key})


def same(first, second):
    assert (first.status_code, first.content) == (second.status_code, second.content)
    assert [first.headers.get(name) for name in ("content-type", "location")] == [
        second.headers.get(name) for name in ("content-type", "location")
    ]


def last_seq(service):
    return reader(StateDir(Path(service.get("service")["state_dir"])).journal_url).last_seq()


@pytest.fixture
def asked(start):
    """A service with an agent that a person must approve, one suggestion of which waits, and what may be asked."""
    service = start()
    paused(service)
    return service


def paused(service, name="a"):
    service.create(name, loop={"approval": "required"})
    service.post(f"agents/{name}/start?paused=true")
    service.post(f"agents/{name}/suggest", {})
    service.post(f"agents/{name}/ingest", HAND)


def waiting(service):
    return service.suggestions("a", state="proposed")[0]["id"]


def requests(service):
    """Return what can be asked, each with a path and a body."""
    service.post("agents/a/suggest", {"n_points": 4})
    approved, rejected, *seen = service.suggestions("a", state="proposed")[:4]
    return {
        "create": ("agents", {"name": "b", **SPEC}),
        "suggest": ("agents/a/suggest", {"n_points": 2}),
        "ingest": ("agents/a/ingest", HAND),
        "report": ("agents/a/report", None),
        "go-to-best": ("agents/a/go-to-best", None),
        "approve": (f"suggestions/{approved['id']}/approve", {"point": {"x": 2.0, "y": 1.0}}),
        "reject": (f"suggestions/{rejected['id']}/reject", {"reason": "no"}),
        "approve all": ("suggestions/approve", {"seen": {one["id"]: one["point"] for one in seen}}),
        "propose": ("agents/a/suggestions", {"point": {"x": 1.0, "y": 3.0}, "reason": "a hunch"}),
        "documents": ("documents", {"documents": RUN}),
    }


def carried_out(service):
    """Send each request once, and return the answers."""
    asked = requests(service)
    answers = {what: send(service, path, body, key=what) for what, (path, body) in asked.items()}
    assert {what: answer.text for what, answer in answers.items() if not answer.is_success} == {}
    return asked, answers


def again(service, asked):
    seq = last_seq(service)
    answers = {what: send(service, path, body, key=what) for what, (path, body) in asked.items()}
    assert last_seq(service) == seq, "something was done again"
    return answers


def test_the_same_key_is_the_same_answer(asked):
    sent, answers = carried_out(asked)
    for what, answer in again(asked, sent).items():
        same(answers[what], answer)


def test_across_a_restart(start, tmp_path):
    service = start(tmp_path / "state")
    paused(service)
    sent, answers = carried_out(service)
    service.close()
    service = start(tmp_path / "state")
    service.until("a", "paused")
    for what, answer in again(service, sent).items():
        same(answers[what], answer)


def test_killed_between_fact_and_answer(start, tmp_path):
    service = start(tmp_path / "state")
    paused(service)
    sent, answers = carried_out(service)
    service.close()
    for file in (tmp_path / "state").glob("answers.db*"):
        file.unlink()
    service = start(tmp_path / "state")
    service.until("a", "paused")
    del sent["documents"]  # a run that is sent twice counts once, without a key too
    by_facts = again(service, sent)
    assert {what: answer.status_code for what, answer in by_facts.items()} == {
        what: answers[what].status_code for what in sent
    }
    for what in sent.keys() - {"create", "suggest"}:  # of which the present state is said
        assert by_facts[what].json() == answers[what].json(), what
    for what, answer in again(service, sent).items():
        same(by_facts[what], answer)


def test_a_method_whose_answer_was_lost_is_not_called_again(start, tmp_path):
    service = start(tmp_path / "state")
    service.create("a", type="brainbox:Patient")
    service.post("agents/a/start?paused=true")
    send(service, "agents/a/methods/shift", {"args": [1]}).raise_for_status()
    service.close()
    for file in (tmp_path / "state").glob("answers.db*"):
        file.unlink()
    service = start(tmp_path / "state")
    service.until("a", "paused")
    status, code, detail = problem(send(service, "agents/a/methods/shift", {"args": [1]}))
    assert (status, code) == (409, "conflict")
    assert "is not done again" in detail
    assert service.post("agents/a/report")["report"]["offset"] == 1


def test_a_refusal_is_kept_too(asked):
    first = send(asked, "agents", {"name": "a", **SPEC})
    assert problem(first)[:2] == (409, "already_exists")
    asked.post("agents/a/stop")
    asked.http.delete("/api/v1/agents/a").raise_for_status()
    same(first, send(asked, "agents", {"name": "a", **SPEC}))
    assert send(asked, "agents", {"name": "a", **SPEC}, key="another").status_code == 201


def test_a_key_belongs_to_one_request(asked):
    send(asked, "agents/a/suggest", {"n_points": 1}).raise_for_status()
    for path, body in [("agents/a/suggest", {"n_points": 2}), ("agents/a/report", None)]:
        status, code, detail = problem(send(asked, path, body))
        assert (status, code) == (422, "invalid_input")
        assert "belongs to another request" in detail


def test_two_people_may_use_the_same_key(asked):
    headers = {"Idempotency-Key": "once"}
    with person(asked, "alice", "control") as alice, person(asked, "bob", "control") as bob:
        made = [one.post("agents/a/suggest", headers=headers, json={}).json() for one in (alice, bob, alice)]
    assert made[0] == made[2] != made[1]


def test_what_stops_acts_each_time(asked):
    for _ in range(2):
        send(asked, "queue/abort", {}).raise_for_status()
        assert asked.get("queue")["state"] == "held"
        send(asked, "queue/resume", key=f"resume-{_}").raise_for_status()


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there", "\xe9"])
def test_what_is_no_key(asked, key):
    answer = asked.http.post("/api/v1/agents/a/suggest", json={}, headers={"Idempotency-Key": key.encode("latin-1")})
    assert problem(answer)[:2] == (422, "invalid_input")
    assert "1 to 255 printable ASCII characters" in answer.json()["detail"]


def test_who_asks_twice_at_once_is_answered_once(asked):
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: send(asked, "agents/a/suggest", {"n_points": 1}), range(8)))
    assert {answer.content for answer in answers} == {answers[0].content}
    assert len(asked.suggestions("a")) == 2


def test_a_key_without_the_scope_learns_nothing_by_it(asked):
    send(asked, "agents/a/suggest", {}).raise_for_status()
    with person(asked, "eve", "read") as eve:
        answer = eve.post("agents/a/suggest", json={}, headers={"Idempotency-Key": "once"})
    assert problem(answer)[:2] == (403, "forbidden")


def test_claims(start):
    service = start(sink={"kind": "claim"}, source={"kind": "none"})
    service.create("a", loop={"max_runs": 3})
    service.post("agents/a/start")
    first = send(service, "suggestions/claim", {"wait_s": 10})
    assert first.status_code == 200
    same(first, send(service, "suggestions/claim", {"wait_s": 10}))
    path = f"suggestions/{first.json()['id']}/release"
    same(send(service, path, {}, key="two"), send(service, path, {}, key="two"))


@pytest.mark.parametrize("kept", [True, False])
def test_a_claim_that_is_asked_for_again_after_a_restart_claims_no_other(start, tmp_path, kept):
    """The claim outlived the service, and where its answer was lost with it that is made anew."""
    sections = {"sink": {"kind": "claim"}, "source": {"kind": "none"}}
    service = start(tmp_path / "state", **sections)
    service.create("a", loop={"max_runs": 3})
    service.post("agents/a/start")
    first = send(service, "suggestions/claim", {"wait_s": 10})
    service.close()
    if not kept:
        for file in (tmp_path / "state").glob("answers.db*"):
            file.unlink()
    service = start(tmp_path / "state", **sections)
    again = send(service, "suggestions/claim", {"wait_s": 10})
    if kept:
        same(first, again)
    else:  # its lease is a new one
        assert {**again.json(), "lease_s": None} == {**first.json(), "lease_s": None}
    facts = reader(StateDir(tmp_path / "state").journal_url).read(agent="a")
    assert [fact.data["suggestion"] for fact in facts if fact.data.get("command") == "claim"] == [first.json()["id"]]


# the clients ----------------------------------------------------------------------------------------------------------


class Breaking(httpx.HTTPTransport):
    """Loses answers: the request arrives, and the connection breaks before its answer came."""

    def __init__(self, *losses, method="POST"):
        super().__init__()
        self.losses, self.method = list(losses), method

    def handle_request(self, request):
        loss = self.losses.pop(0) if self.losses and request.method == self.method else None
        if isinstance(loss, httpx.ConnectError):
            raise loss
        answer = super().handle_request(request)
        if loss is not None:
            answer.read()
            raise loss
        return answer


class AsyncBreaking(httpx.AsyncHTTPTransport):
    """Loses the first answer."""

    def __init__(self):
        super().__init__()
        self.lost = False

    async def handle_async_request(self, request):
        answer = await super().handle_async_request(request)
        if request.method == "POST" and not self.lost:
            self.lost = True
            await answer.aread()
            raise httpx.RemoteProtocolError("gone")
        return answer


def reach(service, cls, transport):
    return cls(service.url, api_key=service.server.api_key, transport=transport)


@pytest.mark.parametrize("loss", [httpx.ReadError("gone"), httpx.RemoteProtocolError("gone")])
def test_a_client_sends_again_what_was_lost(asked, loss):
    with reach(asked, Client, Breaking(loss, httpx.ConnectError("restarting"), loss)) as client:
        made = client.suggest("a")
    assert [one.id for one in made] == [asked.suggestions("a")[-1]["id"]]
    assert len(asked.suggestions("a")) == 2


@pytest.mark.parametrize("loss", [httpx.ReadError("gone"), httpx.RemoteProtocolError("gone")])
def test_a_client_reads_again_once(asked, loss):
    with reach(asked, Client, Breaking(loss, method="GET")) as client:
        assert client.agent("a").name == "a"
    with reach(asked, Client, Breaking(loss, loss, method="GET")) as client, pytest.raises(BackendUnavailable):
        client.agent("a")


async def test_so_does_the_asyncio_client(asked):
    async with reach(asked, AsyncClient, AsyncBreaking()) as client:
        await client.suggest("a")
    assert len(asked.suggestions("a")) == 2


def test_a_service_that_is_not_there_is_said_at_once(asked):
    refused = Breaking(*[httpx.ConnectError("refused")] * 2)
    with reach(asked, Client, refused) as client, pytest.raises(BackendUnavailable, match="no service answers"):
        client.suggest("a")
    assert len(refused.losses) == 1


class StandsBy(httpx.HTTPTransport):
    """A service that another takes over from: it refuses some requests, as a standby does, before it leads."""

    def __init__(self, times):
        super().__init__()
        self.times = times

    def handle_request(self, request):
        if self.times and request.url.path != "/readyz":
            self.times -= 1
            detail = "the service is standing by; try again in 1 s, or watch /readyz"
            told = {
                "type": "about:blank",
                "title": "away",
                "status": 503,
                "detail": detail,
                "code": "backend_unavailable",
            }
            return httpx.Response(503, json=told, headers={"Retry-After": "1"})
        return super().handle_request(request)


def test_a_client_asks_a_standby_again_until_it_leads(asked):
    with reach(asked, Client, StandsBy(2)) as client:
        client.suggest("a")
    with reach(asked, Client, StandsBy(2)) as client:
        assert client.agent("a").name == "a"
    assert len(asked.suggestions("a")) == 2


def test_what_may_not_be_sent_twice_is_not_sent_to_a_standby_again(asked):
    standby = StandsBy(2)
    with reach(asked, Client, standby) as client, pytest.raises(BackendUnavailable, match="standing by"):
        client.stop("a")
    assert standby.times == 1


def test_a_wait_goes_on_through_a_takeover_for_as_long_as_it_may(asked, monkeypatch):
    monkeypatch.setattr("agent_service.client._calls._PAUSES_S", (0.0,))
    standby = StandsBy(20)
    with reach(asked, Client, standby) as client:
        assert client.wait("a", "paused", within_s=60).name == "a"
        assert not standby.times
        standby.times = 10_000
        with pytest.raises(BackendUnavailable, match="standing by"):
            client.wait("a", "paused", within_s=0.2)


def test_a_late_answer_is_not_asked_for_again(asked):
    late = Breaking(httpx.ReadTimeout("late"), httpx.ReadTimeout("late"))
    with reach(asked, Client, late) as client, pytest.raises(DeadlineExceeded):
        client.suggest("a")
    assert len(late.losses) == 1


def test_what_stops_is_not_sent_again(asked):
    with reach(asked, Client, Breaking(httpx.ReadError("gone"))) as client, pytest.raises(BackendUnavailable):
        client.abort_queue()
