"""Plans at a facility at odd moments: an abort as one begins, a fate decided otherwise, answers that are none."""

import asyncio
from dataclasses import replace

import httpx
import pytest
from forgetful_peers import ForgetfulManager, blueapi, queue_server
from headless_service import service

from agent_service.errors import BackendUnavailable
from agent_service.models import Event, EventKind
from agent_service.plans.sinks import unknown_fate
from agent_service.plans.sinks.blueapi import remote_task
from agent_service.plans.sinks.blueapi.remote_task import why_failed
from agent_service.plans.sinks.blueapi.rest import BlueapiRest
from agent_service.plans.sinks.facility_plan import FacilityPlan
from agent_service.protocols import MOVE, ExitStatus, PlanOrder

ORDER = PlanOrder("s1", "aligner", {"motor": 1.5}, plan="acquire", actuators=("motor",), sensors=("det",))


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("busy", [True, False], ids=["busy", "begun"])
async def test_a_plan_that_is_aborted_as_it_is_asked_to_begin_never_begins_later(busy):
    asked, go, state = [], asyncio.Event(), ["IDLE"]
    task = {"task_id": "t", "task": {"name": "acquire", "params": {}}, "is_pending": True, "is_complete": False}

    async def answer(request):
        path = request.url.path.removeprefix("/api/v1")
        asked.append((request.method, path))
        match request.method, path:
            case "POST", "/tasks":
                return httpx.Response(201, json={"task_id": "t"})
            case "PUT", "/worker/task":
                await go.wait()
                task["is_pending"] = busy
                return httpx.Response(409 if busy else 200, json={"detail": "busy"})
            case "PUT", "/worker/state":
                task.update(is_complete=True, outcome={"type": "RunEngineInterrupted"})
                return httpx.Response(202, json="ABORTING")
            case "GET", "/worker/state":
                return httpx.Response(200, json=state[0])
            case "GET", "/worker/task":
                return httpx.Response(200, json={"task_id": "t"})
            case _:
                return httpx.Response(200, json=task)

    sink = blueapi(lambda order: True, answer)
    sink.start(lambda: None)
    running = asyncio.create_task(sink.run(ORDER))
    await until(lambda: ("PUT", "/worker/task") in asked)
    aborting = asyncio.create_task(sink.abort("smoke"))
    await until(lambda: sink.status.state == "held")
    go.set()
    async with asyncio.timeout(10):
        result = await running
        await aborting
    assert (result.exit_status, result.reason) == (ExitStatus.ABORT, "smoke")
    await sink.resume()
    await asyncio.sleep(0)
    assert asked.count(("PUT", "/worker/task")) == 1
    await sink.stop(1)


class SlowBlueapi:
    """Has tasks; a beginning breaks off, and others are refused. ``begun`` is the task that began all the same."""

    def __init__(self):
        self.asked, self.tasks, self.begun = [], [], None

    def answer(self, request):
        method, path = request.method, request.url.path.removeprefix("/api/v1")
        self.asked.append((method, path))
        match method, path:
            case "POST", "/tasks":
                self.tasks.append(f"t{len(self.asked)}")
                return httpx.Response(201, json={"task_id": self.tasks[-1]})
            case "PUT", "/worker/task":
                if self.count("PUT", "/worker/task") == 1:
                    raise httpx.ReadError("reset")
                return httpx.Response(409, json={"detail": "busy"})
            case "GET", "/worker/state":
                return httpx.Response(200, json="IDLE")
            case "GET", "/worker/task":
                return httpx.Response(200, json={"task_id": self.begun})
        task_id = path.rpartition("/")[2]
        if task_id not in self.tasks:
            return httpx.Response(404, json={"detail": "Item not found"})
        if method == "DELETE":
            self.on_delete(task_id)
            self.tasks.remove(task_id)
        given = {"task_id": task_id, "task": {"name": "acquire", "params": {}}}
        return httpx.Response(200, json={**given, "is_pending": self.begun != task_id, "is_complete": False})

    def on_delete(self, task_id):
        pass

    def count(self, *what):
        return self.asked.count(what)


async def in_doubt(monkeypatch):
    """Return a blueapi whose answer to a beginning was lost, its sink, the plan, and what lets plans be wanted."""
    monkeypatch.setattr(remote_task, "_DOUBT_S", 0.05)
    peer, wanted = SlowBlueapi(), [True]
    sink = blueapi(lambda order: wanted[0], peer.answer)
    sink.start(lambda: None)
    running = asyncio.create_task(sink.run(ORDER))
    await until(lambda: peer.count("PUT", "/worker/task") == 3)  # 409: another one runs, or this one is about to
    return peer, sink, running, wanted


async def test_a_plan_whose_beginning_brought_no_answer_is_taken_back_when_its_task_is_deleted_and_not_before(
    monkeypatch,
):
    """Else its suggestion is approved again, and measured beside what the request begins after all."""
    peer, sink, running, wanted = await in_doubt(monkeypatch)
    assert not sink.withdraw("aligner", "the beam is lost", only="s1")
    wanted[0] = False
    await until(lambda: sink.withdraw("aligner", "the beam is lost", only="s1"))
    [posted] = [what for what in peer.asked if what == ("POST", "/tasks")]
    assert (peer.tasks, [method for method, _ in peer.asked].count("DELETE"), posted) == ([], 1, ("POST", "/tasks"))
    result = await running
    assert (result.exit_status, result.begun) == (ExitStatus.ABORT, False)
    await sink.stop(1)


async def test_a_plan_that_began_as_its_task_was_deleted_is_taken_back_by_nobody(monkeypatch):
    peer, sink, running, wanted = await in_doubt(monkeypatch)
    peer.on_delete = lambda task_id: setattr(peer, "begun", task_id)
    wanted[0] = False
    await until(lambda: sink.status.reason is not None and "has forgotten the plan's task" in sink.status.reason)
    assert not sink.withdraw("aligner", "the beam is lost", only="s1")
    wanted[0] = True
    sink.observe("start", {"uid": "r", "agent_suggestion_uid": "s1"}, "r")
    sink.observe("stop", {"run_start": "r", "exit_status": "success"}, "r")
    async with asyncio.timeout(10):
        await running
    assert peer.count("POST", "/tasks") == 1
    await sink.stop(1)


async def test_an_agent_that_stops_while_nobody_knows_whether_its_plan_began_does_not_wait_for_ever(monkeypatch):
    peer, sink, running, wanted = await in_doubt(monkeypatch)
    wanted[0] = False
    sink.withdraw("aligner", "not measured: stopped")
    async with asyncio.timeout(10):
        result = await running
    assert (result.exit_status, result.reason, result.begun) == (ExitStatus.ABORT, "not measured: stopped", False)
    assert peer.tasks == []
    await sink.stop(1)


async def test_a_task_that_waits_when_no_request_can_be_on_its_way_has_not_begun(monkeypatch):
    monkeypatch.setattr(remote_task, "BEGIN_S", 0.2)
    peer, sink, running, _ = await in_doubt(monkeypatch)
    await until(lambda: sink.withdraw("aligner", "the beam is lost", only="s1"))
    assert not (await running).begun
    await until(lambda: peer.tasks == [])
    await sink.stop(1)


@pytest.mark.parametrize("page", ["<html>sign in</html>", '"IDLE"', "[]", '{"detail": "no"}', "null"])
@pytest.mark.parametrize("call", ["tasks", "task", "active", "post"])
async def test_an_answer_that_is_none_of_blueapis_is_one_that_could_not_be_had(call, page):
    rest = BlueapiRest("http://127.0.0.1:9", lambda: None)
    answers = httpx.MockTransport(lambda request: httpx.Response(200, text=page))
    rest._client = httpx.AsyncClient(base_url=f"{rest.url}/api/v1", transport=answers)
    call = {"task": lambda: rest.task("t"), "post": lambda: rest.post("acquire", {}, "s")}.get(
        call, getattr(rest, call)
    )
    with pytest.raises(BackendUnavailable, match=r"look at sink\.url"):
        await call()
    await rest.close()


async def test_an_abort_ends_our_plan_though_its_fate_was_decided_otherwise():
    """A person ingested its outcome by hand, and sees then that it is not to go on."""
    manager = ForgetfulManager()
    sink = queue_server(lambda order: True, manager)
    sink.start(lambda: None)
    running = asyncio.create_task(sink.run(ORDER))
    await until(lambda: any(method == "queue_item_execute" for method, _ in manager.asked))
    manager.running = {"item_uid": "ours", "user": "agent-service", "meta": {"agent_suggestion_uid": "s1"}}
    await until(lambda: any(plan.running for plan in sink._line.begun))
    fact = {"id": "s1", "state": "ingested"}
    sink.apply(Event(seq=1, time="2026-01-01T00:00:00Z", kind=EventKind.SUGGESTION_STATE, agent="aligner", data=fact))
    assert (await running).exit_status is ExitStatus.ABORT
    await sink.abort("smoke")
    await until(lambda: any(method == "re_pause" for method, _ in manager.asked))
    manager.running = None
    await until(lambda: not sink._line.begun)
    assert sink.status.current is None
    await sink.stop(1)


async def test_what_was_to_be_aborted_is_aborted_by_the_service_that_comes_back_held():
    manager = ForgetfulManager()
    manager.running = {"item_uid": "ours", "user": "agent-service", "meta": {"agent_suggestion_uid": "s1"}}
    sink = queue_server(lambda order: True, manager)
    sink.start(lambda: None)
    sink.latch("smoke")
    found = await sink.reattach([ORDER])
    await until(lambda: ("re_pause", {"option": "immediate"}) in manager.asked)
    manager.history = [{**manager.running, "result": {"exit_status": "aborted", "run_uids": ["r"]}}]
    manager.running = None
    async with asyncio.timeout(10):
        assert (await found["s1"]).reason == "smoke"
    await sink.stop(1)


@pytest.mark.parametrize("pending", [True, False])
async def test_a_task_that_was_to_be_aborted_is_aborted_or_never_begins(pending):
    asked = []
    md = {"agent_suggestion_uid": "s1"}
    task = {"task_id": "t", "task": {"name": "acquire", "params": {"md": md}}}
    task |= {"is_pending": pending, "is_complete": False}

    def answer(request):
        path = request.url.path.removeprefix("/api/v1")
        asked.append((request.method, path))
        if (request.method, path) == ("PUT", "/worker/state"):
            task.update(is_complete=True, outcome={"type": "RunEngineInterrupted"})
        known = {"/tasks": {"tasks": [task]}, "/worker/state": "IDLE", "/worker/task": {"task_id": "t"}}
        return httpx.Response(200, json=known.get(path, task))

    sink = blueapi(lambda order: True, answer)
    sink.start(lambda: None)
    sink.latch("smoke")
    async with asyncio.timeout(10):
        result = await (await sink.reattach([ORDER]))["s1"]
    assert (result.exit_status, result.reason) == (ExitStatus.ABORT, "smoke")
    await until(lambda: (("DELETE", "/tasks/t") if pending else ("PUT", "/worker/state")) in asked)
    await sink.resume()
    await sink.stop(1)
    assert ("PUT", "/worker/task") not in asked


async def test_a_stop_is_written_while_the_plan_ends(tmp_path):
    """A service that is killed before the plan has ended, which may take long at a facility, comes back held."""
    manager = ForgetfulManager()
    manager.running = {"item_uid": "ours", "user": "agent-service", "meta": {"agent_suggestion_uid": "s1"}}
    async with service(tmp_path / "journal.db", lambda may_begin: queue_server(may_begin, manager)) as rooms:
        found = await rooms.sink.reattach([ORDER])
        stopping = asyncio.create_task(rooms.supervisor.queue.abort("smoke"))
        facts = []
        while not facts:
            events = await asyncio.to_thread(rooms.journal.read)
            facts = [event for event in events if event.data.get("command") == "abort"]
        assert (facts[0].data["state"], stopping.done()) == ("held", False)
        manager.history = [{**manager.running, "result": {"exit_status": "aborted", "run_uids": ["r"]}}]
        manager.running = None
        async with asyncio.timeout(10):
            await stopping
            assert (await found["s1"]).exit_status is ExitStatus.ABORT
        await rooms.sink.stop(1)


@pytest.mark.parametrize("turns", range(4))
async def test_whoever_waits_for_news_is_cancelled_also_as_there_is_some(turns):
    """Else a sink that is stopped as documents come never ends."""
    plan = FacilityPlan(ORDER)

    async def follow():
        while True:
            await plan.wait(60)

    following = asyncio.create_task(follow())
    for _ in range(4):
        await asyncio.sleep(0)
    plan.news.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    following.cancel()
    await asyncio.wait({following}, timeout=2)
    assert following.cancelled()
    following.cancel()


@pytest.mark.parametrize("peer", [queue_server, blueapi])
@pytest.mark.parametrize("has_it", [True, False])
async def test_the_catalogue_is_asked_before_a_plan_expires_that_is_nowhere(monkeypatch, peer, has_it):
    monkeypatch.setattr(unknown_fate, "UNKNOWN_AFTER_S", 0.05)
    answers, asked = asyncio.Event(), asyncio.Event()

    async def look_up():
        asked.set()
        await answers.wait()
        if has_it:
            sink.observe("start", {"uid": "r", "agent_suggestion_uid": "s1"}, "r")
            sink.observe("stop", {"run_start": "r", "exit_status": "success"}, "r")

    sink = peer(lambda order: True, look_up=look_up)
    sink.start(lambda: None)
    found = await sink.reattach([ORDER])
    async with asyncio.timeout(10):
        await asked.wait()
        await asyncio.wait({found["s1"]}, timeout=0.2)
        assert not found["s1"].done()
        answers.set()
        result = await found["s1"]
    assert result.exit_status is (ExitStatus.SUCCESS if has_it else ExitStatus.EXPIRED)
    await sink.stop(1)


@pytest.mark.parametrize("peer", [queue_server, blueapi])
async def test_three_plans_in_a_row_that_are_nowhere_hold_the_queue(monkeypatch, peer):
    monkeypatch.setattr(unknown_fate, "UNKNOWN_AFTER_S", 0.05)
    sink = peer(lambda order: True)
    sink.start(lambda: None)
    found = await sink.reattach([replace(ORDER, suggestion_id=f"s{number}") for number in range(3)])
    async with asyncio.timeout(10):
        assert {(await ended).exit_status for ended in found.values()} == {ExitStatus.EXPIRED}
    assert sink.status.state == "held"
    assert "3 plans in a row" in sink.status.reason
    await sink.stop(1)


def test_a_plan_that_blueapi_ended_for_want_of_its_broker_says_so():
    message = "Error(s) publishing event: state=<WorkerState.IDLE: 'IDLE'> (1 sub-exception)"
    said = why_failed({"type": "ExceptionGroup", "message": message * 20})  # it says the tasks before, too
    assert said.startswith("the broker of blueapi did not take its documents, and blueapi ended the plan; start the")
    assert "WorkerState" not in said
    assert why_failed({"type": "ValueError", "message": "no\nlight"}) == "ValueError: no light"


async def test_a_move_counts_as_begun_once_it_has_and_not_when_the_facility_refused_it():
    moved = []
    sink = queue_server(lambda order: True, moved=moved.append)
    order = PlanOrder("", "aligner", {"motor": 3.0}, plan=MOVE, actuators=("motor",), sensors=())
    move, other = sink._plan_of(order, "move"), sink._plan_of(ORDER, "s1")
    assert sink._wanted(move)
    assert sink._wanted(other), "the move was withdrawn meanwhile"
    assert moved == []
    assert sink._wanted(move)
    move.begun = True
    assert sink._wanted(other)
    assert sink._wanted(other)
    assert moved == [order]
