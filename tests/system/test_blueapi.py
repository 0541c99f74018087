"""The sink ``blueapi`` against a real one, with a person at work beside us: at most one run, and nobody else's plan."""

import asyncio
import contextlib
import re
import signal
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import httpx
import pytest
from blueapi_peer import SESSION, DocumentListener, Login, blueapi
from routed import Routing
from service_process import Process
from services import running, wait_until

from agent_service.documents.intake import DocumentIntake
from agent_service.errors import BackendUnavailable, OutOfBounds, UnknownDevice, UnknownPlan
from agent_service.models import AgentSpec, QueueState
from agent_service.plans.sinks import unknown_fate
from agent_service.plans.sinks.blueapi import blueapi_of
from agent_service.plans.sinks.blueapi.config import BlueapiSection
from agent_service.plans.sinks.blueapi.sink import BlueapiSink
from agent_service.protocols import PlanOrder


@pytest.fixture(scope="module")
def peer(tmp_path_factory):
    with blueapi(tmp_path_factory.mktemp("blueapi"), stomp=True) as one:
        yield one


@pytest.fixture
def person(peer):
    yield peer
    if peer.ask("GET", "/worker/state") != "IDLE":
        peer.stop()


class Lossy(httpx.AsyncBaseTransport):
    """A network that loses answers, or requests, when it is told to."""

    def __init__(self, lose):
        self._transport = httpx.AsyncHTTPTransport()
        self._lose = lose

    async def handle_async_request(self, request):
        lost = self._lose(request)
        if lost == "request":
            raise httpx.ReadError("reset by the test")
        answer = await self._transport.handle_async_request(request)
        if lost == "answer":
            await answer.aread()
            await answer.aclose()
            raise httpx.ReadError("reset by the test")
        return answer

    async def aclose(self):
        await self._transport.aclose()


class Rig:
    def __init__(self, sink, rest):
        self.sink = sink
        self.rest = rest
        self.documents = []

    def starts(self, uid):
        return [one for name, one in self.documents if name == "start" and one.get("agent_suggestion_uid") == uid]

    async def until(self, condition, what="the condition"):
        async with asyncio.timeout(30):
            while not condition():
                await asyncio.sleep(0.01)

    def says(self, state, words):
        return self.sink.status.state is state and words in str(self.sink.status.reason)


@contextlib.asynccontextmanager
async def rig_of(peer, *, may_begin=lambda order: True, lose=None, hears=True, **more):
    section = BlueapiSection(kind="blueapi", url=peer.url, instrument_session=SESSION, **more)
    rest, look = blueapi_of(section)
    if lose is not None:
        await rest._client.aclose()
        rest._client = httpx.AsyncClient(base_url=f"{peer.url}/api/v1", transport=Lossy(lose), timeout=10)
    sink = BlueapiSink(rest, look, {}, DocumentIntake(None), session=SESSION, may_begin=may_begin)
    one, routing, loop = Rig(sink, rest), Routing(), asyncio.get_running_loop()

    def hear(name, document):
        one.documents.append((name, document))
        if hears:
            loop.call_soon_threadsafe(sink.observe, *routing.route(name, document))

    listener = await asyncio.to_thread(DocumentListener, peer.broker.port, hear)
    sink.start(lambda: None)
    try:
        yield one
    finally:
        await sink.stop(5)
        await asyncio.to_thread(listener.close)


def order(plan="acquire", **changes):
    uid = str(uuid.uuid4())
    given = {"point": {"motor": 1.5}, "actuators": ("motor",), "sensors": ("det",)} | changes
    return PlanOrder(suggestion_id=uid, agent="aligner", plan=plan, **given)


def waits(folder):
    """An order of a plan that goes on until its file is there."""
    go = folder / str(uuid.uuid4())
    return order("waits", md={"go": str(go)}), go


def pending(peer):
    return [task for task in peer.tasks() if task["is_pending"]]


async def test_a_plan_waits_for_a_persons_scan_and_says_so(person) -> None:
    async with rig_of(person) as one:
        scan = await asyncio.to_thread(person.scan)
        waiting = asyncio.create_task(one.sink.run(ours := order()))
        await one.until(lambda: one.says(QueueState.SUSPENDED, "busy with plan 'persons_scan'"))
        assert (one.sink.status.pending, one.sink.status.current) == (1, None)
        await asyncio.to_thread(person.stop)
        assert (await waiting).exit_status == "success"
        assert [start["instrument_session"] for start in one.starts(ours.suggestion_id)] == [SESSION]
        assert (await asyncio.to_thread(person.task, scan))["is_complete"]


async def test_while_it_is_paused_nothing_further_begins_and_the_plan_under_way_goes_on_saying_why(person, tmp_path):
    async with rig_of(person) as one:
        (ours, go), behind = waits(tmp_path), order()
        running, waiting = (asyncio.create_task(one.sink.run(plan)) for plan in (ours, behind))
        await one.until(lambda: one.starts(ours.suggestion_id))
        await one.sink.pause()
        assert one.says(QueueState.PAUSED, "nothing further begins. A plan under way goes on: blueapi could not resume")
        go.touch()
        assert (await running).exit_status == "success"
        assert one.says(QueueState.PAUSED, "nothing further begins")
        assert (waiting.done(), one.starts(behind.suggestion_id)) == (False, [])
        await one.sink.resume()
        assert (await waiting).exit_status == "success"


async def test_an_abort_ends_our_task_and_never_a_persons(person, tmp_path) -> None:
    async with rig_of(person) as one:
        running = asyncio.create_task(one.sink.run(ours := waits(tmp_path)[0]))
        await one.until(lambda: one.starts(ours.suggestion_id))
        await one.sink.abort("smoke in the hutch")
        result = await running
        assert (result.exit_status, result.reason, len(result.run_uids)) == ("abort", "smoke in the hutch", 1)
        [stop] = [doc for name, doc in one.documents if name == "stop" and doc["run_start"] == result.run_uids[0]]
        assert stop["exit_status"] == "abort"
        await one.sink.resume()
        scan = await asyncio.to_thread(person.scan)
        waiting = asyncio.create_task(one.sink.run(order()))
        await one.until(lambda: one.says(QueueState.SUSPENDED, "busy"))
        await one.sink.abort("once more")
        assert (await waiting).exit_status == "abort"
        assert not (await asyncio.to_thread(person.task, scan))["is_complete"]
    assert [task for task in pending(person) if task["task"]["params"]["md"]["agent_name"] == "aligner"] == []


@pytest.mark.parametrize(
    ("how", "status", "reason"),
    [("ABORTING", "abort", "a person ended the plan at blueapi"), ("STOPPING", "success", "")],
)
async def test_a_person_may_end_our_plan(person, tmp_path, how, status, reason) -> None:
    async with rig_of(person) as one:
        running = asyncio.create_task(one.sink.run(ours := waits(tmp_path)[0]))
        await one.until(lambda: one.starts(ours.suggestion_id))
        await asyncio.to_thread(person.stop, how)
        result = await running
        assert (result.exit_status, result.reason, len(result.run_uids)) == (status, reason, 1)
        assert one.says(QueueState.HELD, "somebody ended our plan at blueapi")


async def test_a_guardrail_is_asked_when_the_turn_has_come(person) -> None:
    forbidden = []

    def may_begin(order):
        if forbidden:
            raise OutOfBounds("not any more")
        return True

    async with rig_of(person, may_begin=may_begin) as one:
        await asyncio.to_thread(person.scan)
        waiting = asyncio.create_task(one.sink.run(ours := order()))
        await one.until(lambda: one.says(QueueState.SUSPENDED, "busy"))
        forbidden.append(True)
        result = await waiting
        assert (result.exit_status, result.reason) == ("rejected", "not any more")
        mine = [ours.suggestion_id]
        await one.until(
            lambda: not [t for t in pending(person) if t["task"]["params"]["md"]["agent_suggestion_uid"] in mine]
        )


@pytest.mark.parametrize("lost", ["request", "answer"])
@pytest.mark.parametrize("call", ["POST /api/v1/tasks", "PUT /api/v1/worker/task"])
async def test_a_reset_around_a_request_doubles_and_loses_nothing(person, call, lost) -> None:
    left = [lost]

    def lose(request):
        return left.pop() if left and f"{request.method} {request.url.path}" == call else None

    async with rig_of(person, lose=lose) as one:
        ours = order()
        assert (await one.sink.run(ours)).exit_status == "success"
        assert left == []
        assert (await one.sink.run(order())).exit_status == "success"
        assert len(one.starts(ours.suggestion_id)) == 1
    assert pending(person) == []


async def test_a_restart_in_the_middle_of_a_run_costs_nothing(person, tmp_path) -> None:
    ours, go = waits(tmp_path)
    ahead, killed = order(), []
    async with rig_of(person, lose=lambda request: "request" if killed else None) as one:
        running = [asyncio.create_task(one.sink.run(plan)) for plan in (ours, ahead)]
        await one.until(lambda: one.starts(ours.suggestion_id) and len(pending(person)) == 1)
        killed.append(True)  # nobody is told of anything more
        for task in running:
            task.cancel()
    async with rig_of(person) as two:
        found = await two.sink.reattach([ours, ahead])
        assert sorted(found) == sorted([ours.suggestion_id, ahead.suggestion_id])
        assert two.sink.status.current is None or two.sink.status.current == ours.suggestion_id
        go.touch()
        results = [await found[plan.suggestion_id] for plan in (ours, ahead)]
        assert [result.exit_status for result in results] == ["success", "success"]
        assert len(two.starts(ahead.suggestion_id)) == 1
        assert two.starts(ours.suggestion_id) == []


async def test_what_blueapi_forgot_is_told_by_its_documents(person, tmp_path) -> None:
    ours, go = waits(tmp_path)
    async with rig_of(person) as one:
        running = asyncio.create_task(one.sink.run(ours))
        await one.until(lambda: one.starts(ours.suggestion_id))
        [task] = [task for task in person.tasks() if not task["is_pending"] and not task["is_complete"]]
        await asyncio.to_thread(person.ask, "DELETE", f"/tasks/{task['task_id']}")  # as a reload does with all
        await one.until(lambda: one.says(QueueState.RUNNING, "has forgotten the plan's task"))
        go.touch()
        assert (await running).exit_status == "success"


async def test_a_pause_is_no_end_and_a_restart_of_blueapi_doubles_nothing(person, tmp_path, monkeypatch) -> None:
    """Of what was under way nobody knows the fate; what only waited there is made anew."""
    monkeypatch.setattr(unknown_fate, "UNKNOWN_AFTER_S", 0.3)
    monkeypatch.setattr(unknown_fate, "LOST_AFTER_S", 0.5)
    (ours, _), behind = waits(tmp_path), order()
    async with rig_of(person) as one:
        running, waiting = (asyncio.create_task(one.sink.run(plan)) for plan in (ours, behind))
        await one.until(lambda: one.starts(ours.suggestion_id))
        await asyncio.to_thread(person.stop, "PAUSED")
        await one.until(lambda: one.says(QueueState.RUNNING, "a person paused the plan"))
        await one.until(lambda: len(pending(person)) == 1)
        await asyncio.to_thread(person.kill)
        await one.until(lambda: one.says(QueueState.RUNNING, "cannot be reached"))
        assert not running.done()
        await asyncio.to_thread(person.start)
        result = await running
        assert result.exit_status == "expired"
        assert "neither blueapi nor documents say how its plan ended" in result.reason
        assert (await waiting).exit_status == "success"
        assert [len(one.starts(plan.suggestion_id)) for plan in (ours, behind)] == [1, 1]


async def test_plans_and_devices_are_looked_up_there(person) -> None:
    def spec(**changes):
        given = {"actuators": ["motor"], "sensors": ["det"], "outcome": "det"} | changes
        return AgentSpec(name="aligner", type="sobol", **given)

    async with rig_of(person) as one:

        async def refused(error, words, **changes):
            with pytest.raises(error, match=words):
                await asyncio.to_thread(one.sink.check, spec(**changes))

        await asyncio.to_thread(one.sink.check, spec())
        await refused(UnknownPlan, "did you mean 'acquire'", plan="aquire")
        await refused(UnknownPlan, "takes no suggestions, actuators, sensors, md", plan="persons_scan")
        await refused(UnknownDevice, "did you mean 'motor'", actuators=["motr"])
        await refused(UnknownDevice, "'det' .* is not Movable", actuators=["det"])
        await refused(UnknownDevice, "no device 'dat'", sensors=["dat"])


async def test_a_blueapi_that_asks_for_a_token_is_given_the_one_of_the_file_and_a_new_one_when_that_expired(tmp_path):
    """Its plans wait meanwhile, saying so, and none is measured twice."""
    login = await asyncio.to_thread(Login, tmp_path)
    file = tmp_path / "token"
    try:
        with blueapi(tmp_path, stomp=True, login=login) as asking:
            async with rig_of(asking, token_file=file) as one:
                first = asyncio.create_task(one.sink.run(order()))
                await one.until(lambda: one.says(QueueState.SUSPENDED, "does not let this service in"))
                file.write_text(login.token(for_s=-5))
                assert one.says(QueueState.SUSPENDED, "set AGENT_SERVICE_BLUEAPI_TOKEN, or sink.token_file, anew")
                file.write_text(login.token())
                assert (await first).exit_status == "success"
                (ours, go) = waits(tmp_path)
                running = asyncio.create_task(one.sink.run(ours))
                await one.until(lambda: one.starts(ours.suggestion_id))
                file.write_text(login.token(for_s=-5))  # in the middle of a run
                await one.until(lambda: one.says(QueueState.RUNNING, "does not let this service in"))
                go.touch()
                file.write_text(login.token())
                assert (await running).exit_status == "success"
                assert len(one.starts(ours.suggestion_id)) == 1
                ids = {task["task"]["params"]["md"]["agent_suggestion_uid"] for task in asking.tasks()}
                assert len(ids) == len(asking.tasks()) == 2
    finally:
        await asyncio.to_thread(login.kill)


async def test_the_token_of_the_environment_opens_a_blueapi(tmp_path, monkeypatch) -> None:
    login = await asyncio.to_thread(Login, tmp_path)
    try:
        with blueapi(tmp_path, stomp=True, login=login) as asking:
            monkeypatch.setenv("AGENT_SERVICE_BLUEAPI_TOKEN", login.token())
            async with rig_of(asking) as one:
                assert (await one.sink.run(order())).exit_status == "success"
                given = {"actuators": ["motor"], "sensors": ["det"], "outcome": "det"}
                await asyncio.to_thread(one.sink.check, AgentSpec(name="aligner", type="sobol", **given))
                monkeypatch.delenv("AGENT_SERVICE_BLUEAPI_TOKEN")
            _, look = blueapi_of(BlueapiSection(kind="blueapi", url=asking.url, instrument_session=SESSION))
            with pytest.raises(BackendUnavailable, match="does not let this service in"):
                await asyncio.to_thread(look.plans)
    finally:
        await asyncio.to_thread(login.kill)


@pytest.mark.long
async def test_a_reload_of_the_environment_in_the_middle_of_a_run_measures_nothing_twice(person, tmp_path, monkeypatch):
    """blueapi 1.21 forgets all tasks then, and may hang until it is restarted."""
    monkeypatch.setattr(unknown_fate, "UNKNOWN_AFTER_S", 0.5)
    monkeypatch.setattr(unknown_fate, "LOST_AFTER_S", 1.0)
    ours, _ = waits(tmp_path)
    behind = order()
    async with rig_of(person) as one:
        running, waiting = (asyncio.create_task(one.sink.run(plan)) for plan in (ours, behind))
        await one.until(lambda: one.starts(ours.suggestion_id) and len(pending(person)) == 1)
        with contextlib.suppress(httpx.HTTPError):  # a person does it
            await asyncio.to_thread(person.ask, "DELETE", "/environment")
        await asyncio.wait({running}, timeout=5)
        with contextlib.suppress(httpx.HTTPError, ValueError, KeyError):
            if not await asyncio.to_thread(lambda: person.ask("GET", "/environment")["initialized"]):
                raise ValueError("it hangs")
            await asyncio.to_thread(person.tasks)
        if not running.done():  # it hangs: a person restarts it
            await asyncio.to_thread(person.kill)
            await asyncio.to_thread(person.start)
        result = await running
        assert result.exit_status in {"expired", "abort", "fail"}, result
        assert (await waiting).exit_status == "success"
        assert [len(one.starts(plan.suggestion_id)) for plan in (ours, behind)] == [1, 1]


AGENT = """
[sink]
kind = "blueapi"
url = "{url}"
instrument_session = "cm12345-1"
[[sources]]
kind = "posted"
[[agents]]
name = "aligner"
type = "sobol"
config = {{ bounds = {{ motor = [0, 1] }} }}
actuators = ["motor"]
sensors = ["det"]
outcome = "det"
"""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("", "", ""),
        ('"det"]', '"dett"]', "[[agents]] \"aligner\": sensors: 'dett' is no device at http://127.0.0.1"),
        ("outcome =", 'plan = "aquire"\noutcome =', "[[agents]] \"aligner\": plan: there is no plan 'aquire' at"),
        ('["motor"]', '["motor.x"]', "'motor.x' is the way to a component of 'motor'"),
        ('["motor"]', '["motor_x"]', "it may be a component of 'motor', and points go by what a device of blueapi"),
        ("{port}", "9", "cannot be reached (ConnectError: [Errno 111] Connection refused); start it, or"),
        ("{port}", "{port}/api/v1", "is no answer of blueapi's; look at sink.url; give it without /api"),
        ("instrument_session", "instrument_sesion", "instrument_session"),
    ],
)
def test_check_asks_the_peer_and_says_what_is_missing(peer, tmp_path, old, new, said):
    text = AGENT.format(url=peer.url).replace(*(one.format(port=peer.port) for one in (old, new)))
    (tmp_path / "service.toml").write_text(text)
    command = [sys.executable, "-m", "agent_service", "check", "--devices", "service.toml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert said in done.stderr
    assert bool(done.stderr) is bool(said) is (done.returncode != 0)


@pytest.mark.long
def test_check_says_what_to_add_to_a_blueapi_without_our_plans(tmp_path):
    with blueapi(tmp_path, plans=("bl_plans",)) as lacks:
        (tmp_path / "service.toml").write_text(AGENT.format(url=lacks.url))
        command = [sys.executable, "-m", "agent_service", "check", "--devices", "service.toml"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert "plan: there is no plan 'acquire' at" in done.stderr
    assert (
        "add it to env.sources of its configuration: {kind: planFunctions, module: agent_service.plans.blueapi}"
        in done.stderr
    )


def test_a_closed_loop_and_a_move(peer, tmp_path):
    """The documents are posted by whoever has them."""
    sink = {"kind": "blueapi", "url": peer.url, "instrument_session": SESSION}
    with running(tmp_path / "state", sink=sink, source={"kind": "none"}) as service:
        lock = threading.Lock()

        def post(name, document):
            with lock:
                service.post("documents", {"documents": [[name, document]]})

        listener = DocumentListener(peer.broker.port, post)
        try:
            given = {"actuators": ["motor"], "sensors": ["det"], "outcome": "det", "direction": "maximize"}
            service.create(
                "aligner", type="sobol", config={"bounds": {"motor": [-1, 1]}}, loop={"max_runs": 4}, **given
            )
            service.post("agents/aligner/start")
            ended = service.until("aligner", "stopped", "failed", within_s=60)
            assert (ended["state"], ended["progress"]["done"]) == ("stopped", 4), ended
            points = [one["outcome"]["det"] + one["point"]["motor"] ** 2 for one in service.suggestions("aligner")]
            assert points == pytest.approx([0.0] * 4)
            best = min(abs(one["point"]["motor"]) for one in service.suggestions("aligner"))
            moved = service.post("agents/aligner/go-to-best")
            assert abs(moved["point"]["motor"]) == best
            assert [task["task"]["name"] for task in peer.tasks()][-1] == "move_to"
        finally:
            listener.close()


PAGE = Path(__file__).parents[2] / "docs" / "beamline.md"


def test_the_arrangement_of_the_page_through_the_death_of_each_part(peer, tmp_path):
    [text] = re.findall(r"## blueapi\n\n```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    text = text.replace("127.0.0.1:8000", f"127.0.0.1:{peer.port}").replace("61613", str(peer.broker.port))
    process = Process(tmp_path)
    go = tmp_path / "go"
    head = f'[service]\nport = 0\ncatalog = "embedded"\n[run_engine]\nmd = {{ go = "{go}" }}\n'
    (tmp_path / "service.toml").write_text(head + text)
    given = {"actuators": ["motor"], "sensors": ["det"], "outcome": "det", "config": {"bounds": {"motor": [-1, 1]}}}

    def source(client):
        return next(one for one in client.service().sources if one.kind == "stomp")

    def ready(client):
        wait_until(lambda: client.ready().ready and source(client).state == "connected", within_s=60, what="all of it")

    def state(client, name):
        return [one.state for one in client.suggestions(name)]

    client = process.start()
    try:
        ready(client)
        client.create(name="brisk", type="sobol", loop={"max_runs": 3}, **given)
        client.start("brisk")
        wait_until(lambda: client.agent("brisk").state == "stopped", within_s=60, what="three runs")
        assert state(client, "brisk") == ["ingested"] * 3

        client.create(name="slow", type="sobol", plan="waits", loop={"max_runs": 1}, **given)
        client.start("slow")
        wait_until(lambda: state(client, "slow") == ["running"], within_s=60, what="a run")
        client.close()
        process.end(signal.SIGKILL)
        client = process.start()
        ready(client)
        go.touch()
        wait_until(lambda: client.agent("slow").state == "stopped", within_s=60, what="the end of the run")
        assert state(client, "slow") == ["ingested"]
        ran = [task for task in peer.tasks() if task["task"]["params"].get("md", {}).get("agent_name") == "slow"]
        assert [task["is_complete"] for task in ran] == [True]

        peer.broker.kill()  # blueapi itself fails what it runs then
        wait_until(lambda: source(client).state == "reconnecting", what="the broker's death")
        peer.broker.start()
        wait_until(lambda: source(client).state == "connected", within_s=60, what="the broker's return")
    finally:
        client.close()
        process.end(signal.SIGTERM)
