"""What every document source does, and the intake for each of them. Another source is a line in `SOURCES`."""

import asyncio
import contextlib
import inspect
import itertools
import tempfile
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import peers
import pytest
from archive_rig import run_engine
from blueapi_peer import Broker, StompPublisher, needs_blueapi
from bluesky.plans import count
from ophyd.sim import SynAxis, SynSignal, det

from agent_service.documents.intake import DocumentIntake
from agent_service.documents.sources.engine_process import EngineProcessSource
from agent_service.documents.sources.kafka import KafkaSource
from agent_service.documents.sources.nats import NatsSource
from agent_service.documents.sources.nats_client import NatsClient
from agent_service.documents.sources.posted import PostedSource
from agent_service.documents.sources.run_engine import ReplaceableEngine, RunEngineSource
from agent_service.documents.sources.stomp import StompSource
from agent_service.documents.sources.tiled import TiledSource
from agent_service.documents.sources.tiled_catalogue import TiledCatalogue
from agent_service.documents.sources.zmq import ZmqSource
from agent_service.errors import Forbidden
from agent_service.models import SourceState, SourceStatus
from agent_service.plans.namespace import Namespace
from agent_service.plans.sinks.run_engine import RunEngineSink
from agent_service.plans.sinks.run_engine_driver import RunEngineDriver
from agent_service.protocols import Document, DocumentSource, Intake, PlanOrder

NAMES = ["start", "descriptor", "event", "stop"]


@dataclass
class Emitter:
    """A source, and who measures one run; whoever calls that waits for its end."""

    source: DocumentSource
    measure: Callable[[], Any]


@contextlib.asynccontextmanager
async def a_users_run_engine(intake: DocumentIntake) -> AsyncIterator[Emitter]:
    with run_engine() as engine:
        yield Emitter(RunEngineSource(engine), lambda: asyncio.to_thread(engine, count([det])))


@contextlib.asynccontextmanager
async def one_that_is_replaced(intake: DocumentIntake) -> AsyncIterator[Emitter]:
    with run_engine() as first, run_engine() as second:
        present = ReplaceableEngine(first)

        async def measure() -> None:
            present.replace(second if present.engine is first else first)
            await asyncio.to_thread(present.engine, count([det]))

        yield Emitter(RunEngineSource(present), measure)


@contextlib.asynccontextmanager
async def the_services_own(intake: DocumentIntake) -> AsyncIterator[Emitter]:
    ends = DocumentIntake(None)  # a plan's end is to be heard of, whatever becomes of the documents
    ends.start(lambda name, document, run: None)
    driver = RunEngineDriver(ends)
    axis = SynAxis(name="axis")
    devices = {"axis": axis, "det": SynSignal(name="det", func=lambda: axis.position)}
    sink = RunEngineSink(driver, Namespace(devices, source="the test"), {})
    sink.start(lambda: None)

    async def measure() -> None:
        order = PlanOrder("s", "aligner", {"axis": 1.0}, "acquire", ("axis",), ("det",))
        await sink.run(order)

    try:
        yield Emitter(RunEngineSource(driver.engine), measure)
    finally:
        await sink.stop(10)
        await ends.stop()


@contextlib.asynccontextmanager
async def those_who_post(intake: DocumentIntake) -> AsyncIterator[Emitter]:
    source, numbers = PostedSource(lambda suggestion_id, by: None), iter(range(100))

    async def measure() -> None:
        uid = f"run-{next(numbers)}"
        documents: list[tuple[str, Document]] = [
            ("start", {"uid": uid, "time": 1.0}),
            ("descriptor", {"uid": f"{uid}-d", "run_start": uid, "name": "primary", "data_keys": {}}),
            ("event", {"uid": f"{uid}-e", "descriptor": f"{uid}-d", "seq_num": 1, "data": {}}),
            ("stop", {"uid": f"{uid}-s", "run_start": uid, "exit_status": "success"}),
        ]
        with contextlib.suppress(Forbidden):  # it has stopped
            source.post(documents, "somebody")

    yield Emitter(source, measure)


class Heard:
    """A source that hears another machine, and how many documents have come of it."""

    def __init__(self, source: DocumentSource) -> None:
        self.source = source
        self.ended: set[str] = set()

    @property
    def status(self) -> SourceStatus:
        return self.source.status

    def start(self, intake: Intake) -> None:
        def put(name: str, document: Document, stored: Callable[[], None] | None = None) -> None:
            if name == "stop":
                self.ended.add(document["run_start"])
            intake.put(name, document, stored)

        self.source.start(SimpleNamespace(put=put))

    def stop(self) -> None:
        self.source.stop()

    async def after(self, publish: Callable[[list[tuple[str, Document]]], Any]) -> None:
        """Publish a run, and return when all of it came; at once where nobody listens."""
        run = peers.run_documents(1)
        await asyncio.to_thread(publish, run)
        if self.status.state is not SourceState.STOPPED:
            await until(lambda: run[0][1]["uid"] in self.ended)


@contextlib.asynccontextmanager
async def a_zmq_proxy(intake: DocumentIntake, proxy: peers.Peer) -> AsyncIterator[Emitter]:
    publish, heard = peers.ZmqPublisher(proxy), Heard(ZmqSource(f"127.0.0.1:{proxy.out}"))

    async def measure() -> None:
        if heard.status.state is not SourceState.STOPPED:  # 0MQ drops what comes before its connections stand
            await until(lambda: publish("probe", {}) or "no Bluesky document" in str(heard.status.reason))
        await heard.after(lambda run: [publish(*pair) for pair in run])

    try:
        yield Emitter(heard, measure)
    finally:
        heard.stop()
        publish.close()


@contextlib.asynccontextmanager
async def a_tiled_catalogue(intake: DocumentIntake, catalogue: peers.Catalogue) -> AsyncIterator[Emitter]:
    with tempfile.TemporaryDirectory() as folder:
        ended: set[str] = set()
        cursor = Path(folder) / "cursor.json"
        opened = partial(TiledCatalogue, catalogue.uri, api_key=peers.KEY)
        heard = Heard(TiledSource(opened, where=catalogue.uri, has_ended=ended.__contains__, cursor=cursor))
        heard.ended = ended

        async def measure() -> None:
            if heard.status.state is not SourceState.STOPPED:
                await until(lambda: heard.status.state is SourceState.CONNECTED)
            await heard.after(catalogue.write)

        try:
            yield Emitter(heard, measure)
        finally:
            heard.stop()


@contextlib.asynccontextmanager
async def a_stomp_broker(intake: DocumentIntake, broker: Broker) -> AsyncIterator[Emitter]:
    publish, heard = StompPublisher(broker), Heard(StompSource("127.0.0.1", broker.port))

    async def measure() -> None:
        if heard.status.state is not SourceState.STOPPED:  # a topic drops what comes before somebody subscribed
            await until(lambda: publish("probe", {}) or "no Bluesky document" in str(heard.status.reason))
        await heard.after(lambda run: [publish(*pair) for pair in run])

    try:
        yield Emitter(heard, measure)
    finally:
        heard.stop()
        publish.close()


@contextlib.asynccontextmanager
async def a_kafka_topic(intake: DocumentIntake, kafka: peers.Peer) -> AsyncIterator[Emitter]:
    topic = peers.new_topic(kafka)  # the broker of the tests says wrong where the end of one is
    publish = peers.KafkaPublisher(kafka.servers, topic)
    heard = Heard(KafkaSource([topic], servers=kafka.servers, group=str(uuid.uuid4()), options={}))

    async def measure() -> None:
        if heard.status.state is not SourceState.STOPPED:
            await until(lambda: heard.status.state is SourceState.CONNECTED, 60)
        await heard.after(lambda run: [publish(*pair) for pair in run] and publish.flush())

    try:
        yield Emitter(heard, measure)
    finally:
        heard.stop()


@contextlib.asynccontextmanager
async def a_nats_stream(intake: DocumentIntake, nats: peers.Peer) -> AsyncIterator[Emitter]:
    publish = await asyncio.to_thread(peers.NatsPublisher, nats.servers)
    heard = Heard(NatsSource(NatsClient(nats.servers), stream="bluesky", subject="events.>", durable=uuid.uuid4().hex))

    async def measure() -> None:
        if heard.status.state is not SourceState.STOPPED:
            await until(lambda: heard.status.state is SourceState.CONNECTED)
        await heard.after(lambda run: [publish(*pair) for pair in run] and publish.flush())

    try:
        yield Emitter(heard, measure)
    finally:
        heard.stop()
        await asyncio.to_thread(publish.close)


@contextlib.asynccontextmanager
async def the_services_own_in_a_process(intake: DocumentIntake) -> AsyncIterator[Emitter]:
    """What its process sends; that it does is in `tests/system/test_engine_process.py`."""
    source, numbers = EngineProcessSource(asyncio.get_running_loop(), says_stored=True), itertools.count(1)
    stored: list[int] = []
    source.on_stored = stored.append

    async def measure() -> None:
        first = next(numbers)
        uid = f"run-{first}"
        for name, document in (
            ("start", {"uid": uid, "time": 1.0, "scan_id": first}),
            ("descriptor", {"uid": f"{uid}-d", "run_start": uid, "name": "primary", "data_keys": {}}),
            ("event", {"uid": f"{uid}-e", "descriptor": f"{uid}-d", "seq_num": 1, "data": {}}),
            ("stop", {"uid": f"{uid}-s", "run_start": uid, "exit_status": "success"}),
        ):
            source.take(next(numbers), name, document)

    yield Emitter(source, measure)
    assert source.interrupt("the test is over") == [], "a run that ended is not ended once more"


SOURCES = {
    "run_engine of a user": a_users_run_engine,
    "run_engine that is replaced": one_that_is_replaced,
    "run_engine of the service": the_services_own,
    "run_engine in a process": the_services_own_in_a_process,
    "posted": those_who_post,
    "zmq": a_zmq_proxy,
    "kafka": a_kafka_topic,
    "nats": a_nats_stream,
    "tiled": a_tiled_catalogue,
    "stomp": a_stomp_broker,
}


async def until(condition: Callable[[], Any], timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition was not met in time"
        await asyncio.sleep(0.005)


class Disk:
    """What is written, in order; it may be full, or slow."""

    def __init__(self) -> None:
        self.written: list[tuple[str, str]] = []
        self.full = False
        self.gate = threading.Event()
        self.gate.set()

    def write(self, name: str, document: Document, run: str) -> None:
        self.gate.wait(20)
        if self.full:
            raise OSError(28, "No space left on device")
        self.written.append((name, str(document["uid"])))


class Offsets:
    """An intake as a broker's source uses it: it asks to be told when each document is on disk."""

    def __init__(self, intake: DocumentIntake, stored: Callable[[str], None]) -> None:
        self._intake = intake
        self._stored = stored

    def put(self, name: str, document: Document, stored: Callable[[], None] | None = None) -> None:
        self._intake.put(name, document, lambda: self._stored(str(document["uid"])))


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[peers.Peer]:
    with peers.zmq_proxy(tmp_path_factory.mktemp("proxy")) as one:
        yield one


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[peers.Catalogue]:
    with peers.tiled_server(tmp_path_factory.mktemp("tiled")) as server:
        with contextlib.closing(peers.Catalogue(server)) as one:
            yield one


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    needs_blueapi()
    one = Broker(tmp_path_factory.mktemp("broker"))
    yield one
    one.kill()


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[peers.Peer]:
    with peers.kafka_broker(tmp_path_factory.mktemp("kafka")) as one:
        yield one


@pytest.fixture(scope="module")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[peers.Peer]:
    with peers.nats_server(tmp_path_factory.mktemp("nats")) as one:
        yield one


@pytest.fixture(params=SOURCES.values(), ids=SOURCES.keys())
def of_source(request: pytest.FixtureRequest) -> Any:
    """What makes a source; one that hears somebody else's process is given that, which all tests share."""
    _, *others = inspect.signature(request.param).parameters
    return partial(request.param, **{name: request.getfixturevalue(name) for name in others})


@pytest.fixture
def disk() -> Disk:
    return Disk()


async def test_documents_arrive_in_the_order_of_their_emission_each_with_its_run(of_source, disk) -> None:
    told: list[tuple[str, str, str]] = []
    intake = DocumentIntake(disk.write)
    intake.start(lambda name, document, run: told.append((name, str(document["uid"]), run)))
    async with of_source(intake) as emitter:
        emitter.source.start(intake)
        await emitter.measure()
        await emitter.measure()
        emitter.source.stop()
        await intake.stop()
    assert [name for name, _, _ in told] == NAMES * 2
    assert [pair[:2] for pair in told] == disk.written
    assert [run for _, _, run in told] == [told[0][1]] * 4 + [told[4][1]] * 4


async def test_nothing_is_lost_at_the_high_water_mark_and_nobody_who_measures_waits(of_source, disk) -> None:
    disk.gate.clear()
    told: list[str] = []
    intake = DocumentIntake(disk.write, high_water=2)
    intake.start(lambda name, document, run: told.append(name))
    async with of_source(intake) as emitter:
        emitter.source.start(intake)
        for _ in range(3):
            await emitter.measure()
        assert intake.full
        assert told == []
        room = asyncio.Event()
        intake.when_room(room.set)
        assert not room.is_set()
        disk.gate.set()
        await asyncio.wait_for(room.wait(), 20)
        emitter.source.stop()
        await intake.stop()
    assert told == NAMES * 3
    assert not intake.full


async def test_stored_is_told_when_the_document_is_on_disk_and_not_before(of_source, disk) -> None:
    disk.full = True
    stored: list[str] = []
    errors: list[Exception | None] = []
    intake = DocumentIntake(disk.write, on_error=errors.append)
    intake.start(lambda name, document, run: None)
    async with of_source(intake) as emitter:
        emitter.source.start(Offsets(intake, lambda uid: stored.append(uid) if uid == disk.written[-1][1] else None))
        await emitter.measure()
        await until(lambda: errors)
        assert stored == []
        disk.full = False
        await until(lambda: len(stored) == 4)
        emitter.source.stop()
        await intake.stop()
    assert stored == [uid for _, uid in disk.written]


async def test_what_never_came_to_the_disk_is_neither_stored_nor_told(of_source, disk) -> None:
    disk.full = True
    stored: list[str] = []
    told: list[str] = []
    intake = DocumentIntake(disk.write)
    intake.start(lambda name, document, run: told.append(name))
    async with of_source(intake) as emitter:
        emitter.source.start(Offsets(intake, stored.append))
        await emitter.measure()
        emitter.source.stop()
        await intake.stop()
    assert (stored, told) == ([], [])


async def test_an_error_of_the_spool_is_told_once_and_its_end_too(of_source, disk) -> None:
    disk.full = True
    told: list[str] = []
    errors: list[Any] = []
    intake = DocumentIntake(disk.write, on_error=errors.append)
    intake.start(lambda name, document, run: told.append(name))
    async with of_source(intake) as emitter:
        emitter.source.start(intake)
        await emitter.measure()
        await until(lambda: errors)
        disk.full = False
        await until(lambda: told == NAMES)
        emitter.source.stop()
        await intake.stop()
    assert [error and error.errno for error in errors] == [28, None]


async def test_after_stop_nothing_comes_and_a_second_stop_is_harmless(of_source, disk) -> None:
    told: list[str] = []
    intake = DocumentIntake(disk.write)
    intake.start(lambda name, document, run: told.append(name))
    async with of_source(intake) as emitter:
        emitter.source.stop()
        emitter.source.start(intake)
        await emitter.measure()
        emitter.source.stop()
        emitter.source.stop()
        await emitter.measure()
        await intake.stop()
    assert told == NAMES


async def test_an_intake_that_raises_does_no_harm_to_who_measures(of_source, caplog) -> None:
    class Broken:
        def put(self, name: str, document: Document, stored: Callable[[], None] | None = None) -> None:
            raise ValueError(name)

    intake = DocumentIntake(None)
    async with of_source(intake) as emitter:
        emitter.source.start(Broken())
        if isinstance(emitter.source, PostedSource):  # nobody measures: whoever posts is answered
            with pytest.raises(ValueError, match="start"):
                await emitter.measure()
            return
        await emitter.measure()
        emitter.source.stop()
    assert caplog.text.count("was not taken") == 4


async def test_a_barrier_is_passed_after_the_documents_before_it(disk) -> None:
    disk.gate.clear()
    told: list[str] = []
    intake = DocumentIntake(disk.write)
    intake.start(lambda name, document, run: told.append(name))
    async with those_who_post(intake) as emitter:
        emitter.source.start(intake)
        await emitter.measure()
        intake.barrier(lambda: told.append("the end"))
        await emitter.measure()
        assert told == []
        disk.gate.set()
        await until(lambda: len(told) == 9)
        assert told == [*NAMES, "the end", *NAMES]
        await intake.stop()
    intake.barrier(lambda: told.append("later"))
    assert told[-1] == "later"
