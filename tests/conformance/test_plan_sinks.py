"""What every plan sink does, against a real RunEngine."""

import asyncio
import contextlib
import dataclasses
import os
import tempfile
import threading
import time
import types
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import pytest
import remote_names
from blueapi_peer import SESSION, Blueapi, Broker, DocumentListener, needs_blueapi
from queue_service import QueueService
from remote_names import RemoteNames
from routed import Routing

from agent_service.documents.intake import DocumentIntake
from agent_service.documents.sources.engine_process import EngineProcessSource
from agent_service.documents.sources.run_engine import RunEngineSource
from agent_service.errors import BackendUnavailable, Conflict, QueueHeld, UnknownDevice, UnknownPlan
from agent_service.models import AgentSpec, Event, EventKind, QueueState, utcnow
from agent_service.plans.sinks import unknown_fate
from agent_service.plans.sinks.blueapi import blueapi_of
from agent_service.plans.sinks.blueapi.config import BlueapiSection
from agent_service.plans.sinks.blueapi.sink import BlueapiSink
from agent_service.plans.sinks.claim import ClaimSink
from agent_service.plans.sinks.engine_process import EngineLauncher, EngineLink, EngineProcessSink, TurnFile
from agent_service.plans.sinks.engine_settings import EngineSettings
from agent_service.plans.sinks.queue_server.clients import HttpClient, ZmqClient
from agent_service.plans.sinks.queue_server.config import QueueServerSection
from agent_service.plans.sinks.queue_server.sink import QueueServerSink
from agent_service.plans.sinks.run_engine import RunEngineSink
from agent_service.plans.sinks.run_engine_driver import RunEngineDriver
from agent_service.plans.startup import Namespace, load
from agent_service.protocols import Document, ExitStatus, PlanOrder, PlanResult, PlanSink
from agent_service.service.compose import SINKS
from agent_service.service.config import SinkSection

STARTUP = str(Path(__file__).with_name("sinks_startup.py"))
OURS = ("run-engine", "bluesky-run-engine", "document-intake")


async def until(condition: Callable[[], Any], timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition was not met in time"
        await asyncio.sleep(0.005)


others: set[threading.Thread] = set()


@pytest.fixture(autouse=True)
def _others() -> None:
    """Note the threads of before: bluesky's loop stays where a service had a startup."""
    others.clear()
    others.update(threading.enumerate())


def our_threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith(OURS) and one not in others]


@dataclass
class Rig:
    sink: Any
    namespace: Namespace
    documents: list[tuple[str, Document]] = field(default_factory=list)
    changes: list[QueueState] = field(default_factory=list)

    @property
    def beamline(self) -> Any:
        return self.namespace.plan("waits").__globals__

    @property
    def paused(self) -> bool:
        """Whether the RunEngine stands still in the middle of a plan."""
        return self.sink._driver.engine.run_engine.state == "paused"

    def all(self, name: str) -> list[Document]:
        return [document for kind, document in self.documents if kind == name]

    async def heard(self) -> None:
        """Return when what the sink was told is known where the RunEngine is."""

    async def inside(self) -> None:
        """Wait until the plan is in the middle of its run, as the service sees it."""
        await until(lambda: self.beamline["inside"].is_set() and self.all("start"))


@contextlib.asynccontextmanager
async def run_engine_rig() -> AsyncIterator[Rig]:
    namespace = await asyncio.to_thread(load, STARTUP, default=dict)
    intake = DocumentIntake(None)
    driver = RunEngineDriver(intake)
    rig = Rig(RunEngineSink(driver, namespace, {"proposal": "P-1", "scan_id": 41}), namespace)
    source = RunEngineSource(driver.engine)
    intake.start(lambda name, document, run: rig.documents.append((name, document)))
    source.start(intake)
    rig.sink.start(lambda: rig.changes.append(rig.sink.status.state))
    try:
        yield rig
    finally:
        await rig.sink.stop(10)
        source.stop()
        await intake.stop()
        await until(lambda: not our_threads())


@dataclass
class ProcessRig(Rig):
    """The sink has its RunEngine, and the startup, in a process."""

    names: RemoteNames | None = None

    @property
    def beamline(self) -> Any:
        return self.names

    @property
    def paused(self) -> bool:
        engines = "[str(one.state) for one in gc.get_objects() if type(one).__name__ == 'RunEngine']"
        return self.names is not None and "paused" in self.names.ask(engines)

    async def heard(self) -> None:
        await asyncio.to_thread(self.sink.own_name, "motor")  # asked and answered after it


class Allows:
    """Guardrails that forbid nothing."""

    def may_be_early(self, order: PlanOrder) -> bool:
        return True

    def ask_devices(self, order: PlanOrder) -> None: ...

    def heard_devices(self, order: PlanOrder, words: Any) -> bool:
        return True

    def permit(self, order: PlanOrder, found: Any, wholes: Any, *, begins: bool) -> None: ...

    def note_begun(self, order: PlanOrder) -> None: ...


@pytest.fixture(scope="module", autouse=True)
def _engine_folder():
    """Have one process for all tests, as long as it lives: it is there in an instant for the next service."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENGINE_FOLDER", folder)
        yield
        asyncio.run(_end_the_engine(Path(folder)))


def _link(folder: Path) -> tuple[EngineSettings, EngineLauncher]:
    settings = EngineSettings((STARTUP,), md={"proposal": "P-1", "scan_id": 41})
    return settings, EngineLauncher(folder, settings, waits_s=60, keeps_documents=True)


async def _end_the_engine(folder: Path) -> None:
    settings, launcher = _link(folder)
    if (connection := await launcher.connect()) is not None:
        connection.close()
        link = EngineLink(launcher)
        await link.open(settings)
        await link.quit()


@contextlib.asynccontextmanager
async def engine_process_rig() -> AsyncIterator[Rig]:
    folder = Path(os.environ["ENGINE_FOLDER"])
    settings, launcher = _link(folder)
    link = EngineLink(launcher)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(remote_names.ADDRESS, f"{folder}/names")
        hello = await link.open(settings)
    assert not hello.orders
    intake = DocumentIntake(None)
    source = EngineProcessSource(asyncio.get_running_loop(), says_stored=False)
    turns = TurnFile(launcher.turns)
    sink = EngineProcessSink(link, settings, turns, intake=intake, source=source, permits=Allows)
    names = RemoteNames(f"{folder}/names")
    for event in ("inside", "leave"):
        names[event].clear()
    names["started"].clear()
    rig = ProcessRig(sink, Namespace({}, source="nothing"), names=names)
    intake.start(lambda name, document, run: rig.documents.append((name, document)))
    source.start(intake)
    sink.start(lambda: rig.changes.append(sink.status.state))
    try:
        yield rig
    finally:
        names.close()
        if link.up:
            await sink.abort("the test is over")
            await until(lambda: sink.status.current is None)
            await sink.resume()
            for number in range(1, turns.highest + 100):
                link.send(("settled", number))
            await link.call("pause")
            await link.call("resume")
            link.leave()
        turns.close()
        source.stop()
        await intake.stop()


@contextlib.asynccontextmanager
async def claim_rig() -> AsyncIterator[Rig]:
    """Somebody claims, and measures in a RunEngine of their own."""
    async with run_engine_rig() as theirs:
        sink = ClaimSink({"proposal": "P-1", "scan_id": 41}, DocumentIntake(None), may_begin=lambda order: True)
        rig = Rig(sink, theirs.namespace, theirs.documents)
        sink.start(lambda: rig.changes.append(sink.status.state))
        claimer = asyncio.create_task(claims_and_measures(sink, theirs))
        try:
            yield rig
        finally:
            claimer.cancel()
            await sink.stop(10)
            await asyncio.wait({claimer})


async def claims_and_measures(sink: ClaimSink, theirs: Rig) -> None:
    seen, routing = 0, Routing()
    while True:
        order = await sink.claims.claim(None, lease_s=60, wait_s=30, over=lambda: False)
        if order is None:
            continue
        result = await theirs.sink.run(dataclasses.replace(order, md=sink.claims.metadata(order)))
        for name, document in theirs.documents[seen:]:
            sink.observe(*routing.route(name, document))
        seen = len(theirs.documents)
        if not result.run_uids:
            sink.claims.release(order.suggestion_id, how=result.exit_status, reason=result.reason)


class RemoteRig(Rig):
    """A facility in processes of its own: what its devices and plans did is told by the documents."""

    @property
    def beamline(self) -> Any:
        places = [one["data"]["motor"] for one in self.all("event") if "motor" in one["data"]]
        motor = types.SimpleNamespace(position=places[-1] if places else 0.0)
        return {"motor": motor, "started": [one["agent_suggestion_uid"] for one in self.all("start")]}


BLUEAPI: list[Any] = []
"""One for all tests here: it takes seconds to start."""


@pytest.fixture(scope="module", autouse=True)
def _blueapi() -> Iterator[None]:
    yield
    while BLUEAPI:
        BLUEAPI.pop().kill()


def the_blueapi() -> tuple[Broker, Blueapi]:
    needs_blueapi()
    if not BLUEAPI:
        folder = Path(tempfile.mkdtemp(prefix="blueapi-"))
        BLUEAPI.append(Broker(folder))
        BLUEAPI.append(Blueapi(folder, BLUEAPI[0]))
    return BLUEAPI[0], BLUEAPI[1]


@contextlib.asynccontextmanager
async def blueapi_rig() -> AsyncIterator[Rig]:
    broker, peer = await asyncio.to_thread(the_blueapi)
    rest, look = blueapi_of(BlueapiSection(kind="blueapi", url=peer.url, instrument_session=SESSION))
    md = {"proposal": "P-1", "scan_id": 41}
    sink = BlueapiSink(rest, look, md, DocumentIntake(None), session=SESSION, may_begin=lambda order: True)
    rig, routing, loop = RemoteRig(sink, Namespace({}, source="nothing")), Routing(), asyncio.get_running_loop()

    def hear(name: str, document: Document) -> None:
        rig.documents.append((name, document))
        loop.call_soon_threadsafe(sink.observe, *routing.route(name, document))

    listener = await asyncio.to_thread(DocumentListener, broker.port, hear)
    sink.start(lambda: rig.changes.append(sink.status.state))
    await until(lambda: sink.moves)
    try:
        yield rig
    finally:
        await sink.stop(10)
        await asyncio.to_thread(listener.close)


@pytest.fixture(scope="module")
def facility() -> Iterator[QueueService]:
    """Started before the first test that asks for it, so that its thread counts for none."""
    queue = QueueService(Path(tempfile.mkdtemp(prefix="queue-")))
    yield queue
    queue.close()


@contextlib.asynccontextmanager
async def queue_server_rig(queue: QueueService) -> AsyncIterator[Rig]:
    await asyncio.to_thread(queue.open)
    await asyncio.to_thread(queue.until, "idle")
    queue.ask("history_clear")
    client = ZmqClient(queue.control, public_key=None, user="agents", user_group="primary")
    sink = QueueServerSink(client, {"proposal": "P-1", "scan_id": 41}, poll_s=0.05, may_begin=lambda order: True)
    rig, routing, loop = RemoteRig(sink, Namespace({}, source="nothing")), Routing(), asyncio.get_running_loop()

    def hear(name: str, document: Document) -> None:
        rig.documents.append((name, document))
        loop.call_soon_threadsafe(sink.observe, *routing.route(name, document))

    queue.listen(hear)
    sink.start(lambda: rig.changes.append(sink.status.state))
    try:
        yield rig
    finally:
        await sink.stop(10)
        queue.unlisten(hear)


RIGS = {
    "run_engine": run_engine_rig,
    "run_engine in a process": engine_process_rig,
    "claim": claim_rig,
    "queueserver": queue_server_rig,
    "blueapi": blueapi_rig,
}
"""A rig for each sink, by its kind and where that has its RunEngine."""

OF_THE_SERVICE = {"run_engine", "run_engine in a process"}
"""Those whose RunEngine is the service's own, so that it answers for what a plan does in it."""


@pytest.fixture(params=sorted(OF_THE_SERVICE))
async def rig(request) -> AsyncIterator[Rig]:
    async with RIGS[request.param]() as one:
        yield one


@pytest.fixture(params=sorted(RIGS), scope="module")
def arrangement(request) -> tuple[str, list[QueueService]]:
    return request.param, [request.getfixturevalue("facility")] if request.param == "queueserver" else []


@pytest.fixture
async def any_rig(arrangement) -> AsyncIterator[Rig]:
    """What does not depend on whose RunEngine measures."""
    kind, peers = arrangement
    async with RIGS[kind](*peers) as one:
        yield one


def order(uid: str = "s1", plan: str = "acquire", **changes: Any) -> PlanOrder:
    given = {"point": {"motor": 1.5}, "actuators": ("motor",), "sensors": ("det",)} | changes
    return PlanOrder(suggestion_id=uid, agent="aligner", plan=plan, **given)


def spec(**changes: Any) -> AgentSpec:
    given = {"actuators": ["motor"], "sensors": ["det"], "outcome": "det"} | changes
    return AgentSpec(name="aligner", type="sobol", **given)


def test_each_kind_that_a_configuration_may_name_is_composed_and_held_to_this() -> None:
    sections = (SinkSection, QueueServerSection, BlueapiSection)
    kinds = [kind for section in sections for kind in get_args(section.model_fields["kind"].annotation)]
    assert set(kinds) == set(SINKS) == {name.partition(" ")[0] for name in RIGS}


def test_it_is_a_plan_sink() -> None:
    sinks: list[PlanSink] = [
        RunEngineSink(RunEngineDriver(DocumentIntake(None)), Namespace({}, source="nothing"), {}),
        ClaimSink({}, DocumentIntake(None), may_begin=lambda order: True),
        QueueServerSink(HttpClient("http://127.0.0.1:9", api_key=""), {}, may_begin=lambda order: True),
    ]
    for sink in sinks:
        assert (sink.status.kind, sink.status.state) == (sink.kind, QueueState.IDLE)


async def test_devices_are_listed_by_names_that_a_specification_may_have(any_rig: Rig) -> None:
    sink = any_rig.sink
    if sink.kind == "claim":
        with pytest.raises(BackendUnavailable, match="only whoever claims"):
            await asyncio.to_thread(sink.list_devices)
        return
    listed = {device.name: device for device in await asyncio.to_thread(sink.list_devices)}
    assert (listed["motor"].moves, listed["motor"].reads) == (True, True)
    assert listed["det"].reads
    assert list(listed) == sorted(listed)
    actuators = [name for name, device in listed.items() if device.moves]
    sensors = [name for name, device in listed.items() if device.reads]
    await asyncio.to_thread(sink.check, spec(actuators=actuators, sensors=sensors))


async def test_what_was_in_a_sink_that_began_anew_is_there_no_more(any_rig: Rig, monkeypatch) -> None:
    monkeypatch.setattr(unknown_fate, "UNKNOWN_AFTER_S", 0.5)
    found = await any_rig.sink.reattach([order("s1"), order("s2")])
    assert sorted(found) == (["s1", "s2"] if any_rig.sink.reattaches else [])
    for ended in found.values():
        if any_rig.sink.kind == "claim":  # nobody had claimed them, so they wait for somebody
            assert (await ended).exit_status == "success"
            continue
        assert await ended == PlanResult("expired", (await ended).reason)
        assert "unknown whether it was measured" in (await ended).reason
    assert any_rig.sink.status.pending == 0
    assert (await any_rig.sink.run(order("s1"))).exit_status == "success", "it may be handed over once more"


async def test_documents_and_facts_that_are_nothing_to_it_change_nothing(any_rig: Rig) -> None:
    before = any_rig.sink.status
    for name, document in (
        ("start", {"uid": "r", "agent_suggestion_uid": "somebody else's"}),
        ("descriptor", {"uid": "d", "run_start": "r"}),
        ("event", {"descriptor": "d"}),
        ("stop", {"run_start": "r", "exit_status": "success"}),
        ("stop", {}),
    ):
        any_rig.sink.observe(name, document, "r")
    for kind, data in ((EventKind.SUGGESTION_STATE, {"id": "s", "state": "rejected"}), (EventKind.AGENT_STATE, {})):
        any_rig.sink.apply(Event(seq=1, time=utcnow(), kind=kind, agent="aligner", data=data))
    assert any_rig.sink.status == before


async def test_it_says_whether_it_moves(any_rig: Rig) -> None:
    where = any_rig.beamline["motor"].position
    if any_rig.sink.moves:
        assert (await any_rig.sink.move({"motor": where + 1.0})).exit_status is ExitStatus.SUCCESS
        return
    with pytest.raises(Conflict, match="moves nothing itself"):
        await any_rig.sink.move({"motor": where + 1.0})
    assert any_rig.beamline["motor"].position == where


async def test_an_agents_waiting_plans_are_taken_back(any_rig: Rig) -> None:
    await any_rig.sink.pause()
    mine = asyncio.create_task(any_rig.sink.run(order("s1", "remembers")))
    other = asyncio.create_task(any_rig.sink.run(dataclasses.replace(order("s2", "remembers"), agent="other")))
    await until(lambda: any_rig.sink.status.pending == 2)
    any_rig.sink.withdraw("aligner", "stopped")
    assert await mine == PlanResult("abort", "stopped")
    await any_rig.sink.resume()
    assert (await other).exit_status == "success"
    assert any_rig.beamline["started"] == ["s2"]


async def test_success(any_rig: Rig) -> None:
    result = await any_rig.sink.run(order(md={"sample": "gold"}))
    assert (result.exit_status, result.reason) == ("success", "")
    # whoever hears of the end has the documents already
    (start,), (event,), (stop,) = any_rig.all("start"), any_rig.all("event"), any_rig.all("stop")
    assert result.run_uids == (start["uid"],)
    assert (event["data"]["motor"], event["data"]["det"]) == (1.5, -2.25)
    assert stop["exit_status"] == "success"
    assert any_rig.sink.status.state is QueueState.IDLE


async def test_metadata_is_in_every_start_document(any_rig: Rig) -> None:
    result = await any_rig.sink.run(order(plan="two_runs", md={"sample": "gold"}))
    starts = any_rig.all("start")
    uids = [start["uid"] for start in starts]
    # the first run of a claim is the suggestion's; of another nobody there needs to hear
    assert list(result.run_uids) == (uids[:1] if any_rig.sink.measured_by == "claimer" else uids)
    for start in starts:
        assert start["proposal"] == "P-1"
        assert start["sample"] == "gold"
        assert start["agent_name"] == "aligner"
        assert start["agent_suggestion_uid"] == "s1"
        assert start["plan_name"] == "count"
    first = starts[0]["scan_id"]  # a facility counts over all of its plans
    assert [start["scan_id"] for start in starts] == [first, first + 1]
    assert first == 42 or isinstance(any_rig, ProcessRig) or any_rig.sink.measured_by == "facility"


@pytest.mark.parametrize(
    ("plan", "status", "reason", "runs"),
    [
        ("raises", "fail", "ValueError: the shutter is closed, says the plan", 0),
        ("raises_in_run", "fail", "ValueError: beam lost", 1),
        ("exits", "fail", "RuntimeError: the plan raised SystemExit: 3", 0),
        ("breaks_out", "fail", "RuntimeError: the plan raised NoException: time is up", 0),
        ("device_exits", "fail", "RuntimeError: trigger of exiting raised SystemExit: 3", 1),
        ("says_fail", "fail", "the sample is gone", 1),
        ("no_run", "fail", "the plan made no run", 0),
        ("no_plan", "fail", "plan 'no_plan' returned NoneType, not messages; write it as a generator function", 0),
        ("cannot_pause", "abort", "the plan asked for a pause where it cannot be resumed", 1),
        ("nowhere", "fail", "there is no plan 'nowhere'", 0),
    ],
)
async def test_a_plan_that_does_not_succeed(rig: Rig, plan: str, status: str, reason: str, runs: int) -> None:
    result = await rig.sink.run(order(plan=plan))
    assert result.exit_status == status
    assert result.reason.startswith(reason)
    assert "\n" not in result.reason
    assert len(result.run_uids) == runs == len(rig.all("stop"))
    if plan.startswith("raises"):
        assert "raise ValueError(" in result.traceback, "where it was can be looked at"
        assert "own_run_engine.py" not in result.traceback.splitlines()[1], "and not what called it"
    assert (await rig.sink.run(order("s2"))).exit_status == "success", "the next plan does not suffer for it"


@pytest.mark.parametrize(
    ("plan", "reason", "runs"), [("raises", "shutter is closed", 0), ("says_fail", "the sample is gone", 1)]
)
async def test_a_failure_is_told_whoever_measures(any_rig: Rig, plan: str, reason: str, runs: int) -> None:
    result = await any_rig.sink.run(order(plan=plan))
    assert (result.exit_status, len(result.run_uids)) == ("fail", runs)
    assert reason in result.reason
    assert (await any_rig.sink.run(order("s2"))).exit_status == "success", "the next plan does not suffer for it"


async def test_a_device_is_looked_up_when_its_turn_has_come(rig: Rig) -> None:
    assert (await rig.sink.run(order(sensors=("doomed",)))).exit_status == "success"
    del rig.beamline["doomed"]
    result = await rig.sink.run(order(sensors=("doomed",)))
    assert result.exit_status == "fail"
    assert result.reason.startswith("there is no device 'doomed'")
    assert result.run_uids == ()


async def test_nan(rig: Rig) -> None:
    where = rig.beamline["motor"].position
    result = await rig.sink.run(order(point={"motor": float("nan")}))
    assert result.exit_status == "fail"
    assert "not a finite number" in result.reason
    assert rig.beamline["motor"].position == where
    # what a sensor reads is the outcome's business
    assert (await rig.sink.run(order(sensors=("nothing",)))).exit_status == "success"


def test_check() -> None:
    sink = RunEngineSink(RunEngineDriver(DocumentIntake(None)), load(STARTUP, default=dict), {})
    sink.check(spec())
    with pytest.raises(UnknownPlan, match="did you mean 'raises'"):
        sink.check(spec(plan="raisess"))
    with pytest.raises(UnknownDevice, match="did you mean 'motor'"):
        sink.check(spec(actuators=["motr"]))
    with pytest.raises(UnknownDevice, match="no set, so it cannot be an actuator"):
        sink.check(spec(actuators=["camera"]))
    with pytest.raises(UnknownDevice, match="calls itself 'its_own_name'"):
        sink.check(spec(actuators=["misnamed"]))
    with pytest.raises(UnknownDevice, match="no device 'dat'"):
        sink.check(spec(sensors=["dat"]))


async def test_move(rig: Rig) -> None:
    result = await rig.sink.move({"motor": 3.0, "other_axis": -1.0})
    assert (result.exit_status, result.run_uids) == ("success", ())
    assert (rig.beamline["motor"].position, rig.beamline["other_axis"].position) == (3.0, -1.0)
    assert rig.documents == []
    assert (await rig.sink.move({"nowhere": 1.0})).reason.startswith("there is no device 'nowhere'")


async def test_order_is_kept(any_rig: Rig) -> None:
    ids = [f"s{number}" for number in range(6)]
    await asyncio.gather(*(any_rig.sink.run(order(uid, "remembers")) for uid in ids))
    assert any_rig.beamline["started"] == ids


async def test_status_and_changes(rig: Rig) -> None:
    first = asyncio.create_task(rig.sink.run(order("s1", "waits")))
    second = asyncio.create_task(rig.sink.run(order("s2")))
    await rig.inside()
    status = rig.sink.status
    assert (status.kind, status.state, status.current, status.pending) == (rig.sink.kind, "running", "s1", 1)
    rig.beamline["leave"].set()
    await asyncio.gather(first, second)
    await until(lambda: rig.changes[-1] is QueueState.IDLE)
    assert QueueState.RUNNING in rig.changes


async def test_pause_and_resume_in_a_run(rig: Rig) -> None:
    running = asyncio.create_task(rig.sink.run(order(plan="waits")))
    await rig.inside()
    await rig.sink.pause()
    assert rig.sink.status.state is QueueState.PAUSED
    waiting = asyncio.create_task(rig.sink.run(order("s2")))
    await until(lambda: rig.paused)
    rig.beamline["leave"].set()
    assert not running.done()
    assert (rig.sink.status.current, rig.sink.status.pending) == ("s1", 1)
    await rig.sink.resume()
    assert (await running).exit_status == "success"
    assert (await waiting).exit_status == "success"
    assert len(rig.all("start")) == 2, "a pause does not make a second run"


async def test_a_resume_before_the_checkpoint_takes_the_pause_back(rig: Rig) -> None:
    running = asyncio.create_task(rig.sink.run(order(plan="waits")))
    await rig.inside()
    for _ in range(3):
        await rig.sink.pause()
        await rig.sink.resume()
    rig.beamline["leave"].set()
    assert (await running).exit_status == "success"
    assert rig.sink.status.state is QueueState.IDLE


async def test_pause_when_idle_holds_the_next_plan_back(any_rig: Rig) -> None:
    await any_rig.sink.pause()
    waiting = asyncio.create_task(any_rig.sink.run(order()))
    await until(lambda: any_rig.sink.status.pending == 1)
    assert any_rig.sink.status.state is QueueState.PAUSED
    await any_rig.sink.resume()
    assert (await waiting).exit_status == "success"


async def test_a_plan_that_pauses_itself_waits_for_somebody(rig: Rig) -> None:
    running = asyncio.create_task(rig.sink.run(order(plan="pauses_itself")))
    await until(lambda: rig.sink.status.state is QueueState.PAUSED)
    assert rig.sink.status.reason == "the plan paused itself"
    await rig.sink.resume()
    assert (await running).exit_status == "success"


@pytest.mark.parametrize("plan", ["waits", "sleeps"])
async def test_abort_in_a_run_latches(rig: Rig, plan: str) -> None:
    running = asyncio.create_task(rig.sink.run(order(plan=plan)))
    waiting = asyncio.create_task(rig.sink.run(order("s2")))
    await rig.inside()
    await rig.sink.abort("smoke in the hutch")
    result, withdrawn = await running, await waiting
    (start,), (stop,) = rig.all("start"), rig.all("stop")
    assert (result.exit_status, result.reason, result.run_uids) == ("abort", "smoke in the hutch", (start["uid"],))
    assert (withdrawn.exit_status, withdrawn.reason, withdrawn.run_uids) == ("abort", "smoke in the hutch", ())
    assert (stop["exit_status"], stop["reason"]) == ("abort", "smoke in the hutch")
    status = rig.sink.status
    assert (status.state, status.reason, status.pending) == (QueueState.HELD, "smoke in the hutch", 0)
    with pytest.raises(QueueHeld, match="smoke in the hutch"):
        await rig.sink.run(order("s3"))
    with pytest.raises(QueueHeld):
        await rig.sink.move({"motor": 0.0})
    await rig.sink.resume()
    assert (await rig.sink.run(order("s4"))).exit_status == "success"


async def test_abort_while_paused(rig: Rig) -> None:
    running = asyncio.create_task(rig.sink.run(order(plan="waits")))
    await rig.inside()
    await rig.sink.pause()
    await until(lambda: rig.paused)
    await rig.sink.abort("enough")
    assert (await running).exit_status == "abort"
    assert rig.all("stop")[0]["exit_status"] == "abort"
    assert rig.sink.status.state is QueueState.HELD


async def test_abort_while_pausing(rig: Rig) -> None:
    running = asyncio.create_task(rig.sink.run(order(plan="waits")))
    await rig.inside()
    await rig.sink.pause()
    await rig.sink.abort("enough")
    assert (await running).exit_status == "abort"
    assert rig.all("stop")[0]["exit_status"] == "abort"


async def test_abort_before_the_first_message(rig: Rig) -> None:
    running = asyncio.create_task(rig.sink.run(order(plan="slow_to_build")))
    await until(rig.beamline["inside"].is_set)
    aborting = asyncio.create_task(rig.sink.abort("enough"))
    await until(lambda: rig.sink.status.state is QueueState.HELD)
    rig.beamline["leave"].set()
    await aborting
    result = await running
    assert (result.exit_status, result.reason, result.run_uids) == ("abort", "enough", ())
    assert rig.documents == []


async def test_pause_before_the_first_message(rig: Rig) -> None:
    running = asyncio.create_task(rig.sink.run(order(plan="slow_to_build")))
    await until(rig.beamline["inside"].is_set)
    await rig.sink.pause()
    await rig.heard()
    rig.beamline["leave"].set()
    await until(lambda: rig.paused)
    assert rig.documents == []
    await rig.sink.resume()
    assert (await running).exit_status == "success"


async def test_abort_when_idle_latches_too(any_rig: Rig) -> None:
    await any_rig.sink.abort("not now")
    assert any_rig.sink.status.state is QueueState.HELD
    with pytest.raises(QueueHeld):
        await any_rig.sink.run(order())
    await any_rig.sink.pause()
    assert any_rig.sink.status.state is QueueState.HELD
    await any_rig.sink.resume()
    assert any_rig.sink.status.state is QueueState.IDLE
    assert (await any_rig.sink.run(order())).exit_status == "success"


async def test_abort_at_any_moment(rig: Rig) -> None:
    """Whenever an abort comes, the plan ends, no run is left open, and the sink works on."""
    for delay in range(0, 24, 2):
        running = asyncio.create_task(rig.sink.run(order(f"s{delay}")))
        await asyncio.sleep(delay / 1000)
        await rig.sink.abort("now")
        try:
            result = await asyncio.wait_for(running, 20)
        except QueueHeld:
            result = None
        assert result is None or result.exit_status in {"abort", "success"}
        await rig.sink.resume()
    assert (await rig.sink.run(order("last"))).exit_status == "success"
    assert len(rig.all("start")) == len(rig.all("stop"))


async def test_a_cancelled_caller_withdraws_what_waits(rig: Rig) -> None:
    running = asyncio.create_task(rig.sink.run(order("s1", "waits")))
    waiting = asyncio.create_task(rig.sink.run(order("s2", "remembers")))
    await rig.inside()
    waiting.cancel()
    await until(lambda: rig.sink.status.pending == 0)
    rig.beamline["leave"].set()
    await running
    await rig.sink.run(order("s3", "remembers"))
    assert rig.beamline["started"] == ["s1", "s3"]


async def test_a_cancelled_caller_lets_a_run_finish(rig: Rig) -> None:
    running = asyncio.create_task(rig.sink.run(order("s1", "waits")))
    await rig.inside()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert rig.sink.status.current == "s1"
    rig.beamline["leave"].set()
    await until(lambda: rig.all("stop"))
    assert rig.all("stop")[0]["exit_status"] == "success"


@pytest.mark.parametrize("paused", [False, True])
async def test_stop_in_a_run_writes_the_stop_document(rig: Rig, *, paused: bool) -> None:
    running = asyncio.create_task(rig.sink.run(order(plan="waits")))
    waiting = asyncio.create_task(rig.sink.run(order("s2")))
    await rig.inside()
    if paused:
        await rig.sink.pause()
        await until(lambda: rig.paused)
    await rig.sink.stop(10)
    assert (await running).exit_status == "abort"
    assert (await waiting).exit_status == "abort"
    assert rig.all("stop")[0]["exit_status"] == "abort"
    assert [name for name in our_threads() if name != "document-intake"] == []
    assert (await rig.sink.run(order("s3"))).reason == "the service stops"


async def test_a_sink_that_was_held_starts_held(any_rig: Rig) -> None:
    any_rig.sink.latch("aborted before the restart")
    assert any_rig.sink.status.reason == "aborted before the restart"
    with pytest.raises(QueueHeld):
        await any_rig.sink.run(order())
