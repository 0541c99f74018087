"""Each facility's service.toml of docs/beamline.md, served beside the real peers, one of which dies in the middle."""

import contextlib
import json
import re
import signal
import threading
from collections import Counter
from pathlib import Path

import archive_rig
import peers
import pytest
from queue_service import QueueService
from services import wait_until

from agent_service import Client, run_agent
from agent_service.journal import reader

PAGE = Path(__file__).parents[2] / "docs" / "beamline.md"
BOX = {"type": "sobol", "config": {"bounds": {"motor": [-5, 5]}}, "guardrails": {"bounds": {"motor": [-5, 5]}}}
SPEC = {**BOX, "actuators": ["motor"], "sensors": ["det"], "outcome": "det", "plan": "unhurried"}
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("facility")


@pytest.fixture(scope="module")
def proxy(folder):
    with peers.zmq_proxy(folder) as one:
        yield one


@pytest.fixture(scope="module")
def broker(folder):
    with peers.kafka_broker(folder) as one:
        yield one


@pytest.fixture(scope="module")
def queue(folder, proxy, broker):
    """A queue server whose profile publishes as those of APS and NSLS-II do."""
    env = {"PUBLISHES_ZMQ": f"127.0.0.1:{proxy.into}", "PUBLISHES_KAFKA": f"{broker.servers} {broker.topic}"}
    with contextlib.closing(QueueService(folder / "queue", env=env)) as one:
        one.open()
        yield one


class Service:
    """A service of one of the page's files."""

    def __init__(self, process, facility, **places):
        [text] = re.findall(rf"### {facility}:.*?```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
        for there, here in places.values():
            assert there in text, f"the page has no {there}"
            text = text.replace(there, here)
        (process.folder / "service.toml").write_text(text)
        self._process = process
        self.client = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *error):
        self.end()

    def start(self):
        self.client = self._process.start()
        self.until(lambda: {one.state for one in self.client.service().sources} == {"connected"}, "its sources")

    def end(self, number=signal.SIGTERM):
        self.client.close()
        self._process.end(number)

    def until(self, condition, what):
        return wait_until(condition, within_s=90, what=what)

    def source(self, kind):
        return next(one for one in self.client.service().sources if one.kind == kind)

    def away(self, kind):
        self.until(lambda: self.source(kind).state == "reconnecting", f"{kind}, away")

    def back(self, kind):
        self.until(lambda: self.source(kind).state == "connected", f"{kind}, back")

    def begin(self, name, runs, **changes):
        self.client.create(**{**SPEC, **changes}, name=name, loop={"max_runs": runs})
        self.client.start(name)

    def fates(self, name):
        return Counter(str(one.state) for one in self.client.suggestions(name))

    def until_it_runs(self, name):
        self.until(lambda: self.fates(name)["running"], "a run")

    def measured(self, name, runs):
        """Wait for the last run, and return the runs by suggestion: each was ingested once."""
        self.until(lambda: self.client.agent(name).state in ("stopped", "failed"), "the last run")
        assert self.fates(name) == {"ingested": runs}, self.client.agent(name).reason
        facts = reader(f"sqlite:///{self._process.state}/journal.db").read(agent=name)
        ingested = [point["_id"] for fact in facts if fact.kind == "ingest" for point in fact.data["points"]]
        suggestions = self.client.suggestions(name)
        assert [one.outcome["det"] + one.point["motor"] ** 2 for one in suggestions] == pytest.approx([0.0] * runs)
        found = {one.id: one.run_uid for one in suggestions}
        assert sorted(ingested) == sorted(found)
        return found

    def catalogued(self):
        """Return the runs of agents in the service's own catalogue, by suggestion, when all are written."""
        self.until(lambda: (one := self.client.service().archive).state == "ready" and not one.runs_behind, "the runs")
        [starts] = archive_rig.ask(self._process.state, "[run.start for uid, run in runs.items() if uid != 'agents']")
        return {one["agent_suggestion_uid"]: one["uid"] for one in starts if "agent_suggestion_uid" in one}


@pytest.fixture(autouse=True)
def _any_port(monkeypatch):
    monkeypatch.setenv("AGENT_SERVICE_SERVICE__PORT", "0")


def test_aps_through_the_death_of_its_manager_and_its_proxy(queue, proxy, process):
    control, out = ("tcp://127.0.0.1:60615", queue.control), ("127.0.0.1:5568", f"127.0.0.1:{proxy.out}")
    with Service(process, "APS", control=control, out=out) as service:
        service.begin("before", 3)
        service.until_it_runs("before")
        queue.kill(queue.manager_pid)
        runs = service.measured("before", 3)
        proxy.kill()
        service.away("zmq")
        proxy.start()
        service.back("zmq")
        heard = service.source("zmq").documents
        while service.source("zmq").documents == heard:  # 0MQ drops what comes before the worker has found it again
            queue.person()
            queue.ask("queue_start")
            queue.until("idle")
        service.begin("after", 2)
        runs |= service.measured("after", 2)
        service.until(lambda: service.catalogued() == runs, "all runs in the catalogue")
        assert {uid: queue.heard[uid] for uid in runs} == dict.fromkeys(runs, 1)


class FacilitysWriter:
    """Writes what comes by Kafka into the facility's Tiled, when that is there."""

    def __init__(self, broker, catalogue, tiled):
        self._arguments = broker, catalogue, tiled
        self._ended = threading.Event()
        self.writes = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="the facility's writer")

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._ended.set()
        self._thread.join(20)

    def _work(self):
        import msgpack
        from confluent_kafka import Consumer

        broker, catalogue, tiled = self._arguments
        group = {"group.id": "writer", "auto.offset.reset": "earliest", "session.timeout.ms": 6000}
        consumer, run = Consumer({"bootstrap.servers": broker.servers, **group}), []
        consumer.subscribe([broker.topic])
        while not self._ended.is_set():
            message = consumer.poll(0.1)
            if message is None or message.error():
                continue
            run.append(tuple(msgpack.unpackb(message.value())))
            if run[-1][0] == "stop":
                while not self._written(catalogue, tiled, run) and not self._ended.wait(0.1):
                    pass
                run.clear()
        consumer.close()

    def _written(self, catalogue, tiled, run):
        with self.writes:
            if not all(map(peers.answers, tiled.ports)):
                return False
            catalogue.write(run)
        return True


def test_nsls_ii_through_the_death_of_the_service_and_of_tiled(queue, broker, process, folder, monkeypatch):
    (folder / "kafka.yml").write_text(json.dumps({"bootstrap_servers": broker.servers}))
    monkeypatch.setenv("BLUESKY_KAFKA_CONFIG_PATH", str(folder / "kafka.yml"))
    monkeypatch.setenv("TILED_API_KEY", peers.KEY)
    places = {
        "control": ("tcp://127.0.0.1:60615", queue.control),
        "topic": ("bl.bluesky.runengine.documents", broker.topic),
    }
    with (
        peers.tiled_server(folder) as tiled,
        contextlib.closing(peers.Catalogue(tiled)) as catalogue,
        FacilitysWriter(broker, catalogue, tiled) as writer,
        Service(process, "NSLS-II", **places, uri=("http://tiled.example.org:8000", tiled.uri)) as service,
    ):
        service.begin("first", 3)
        service.until_it_runs("first")
        service.end(signal.SIGKILL)
        service.start()
        runs = service.measured("first", 3)
        with writer.writes:
            tiled.kill()
        service.away("tiled")
        service.begin("second", 2)
        runs |= service.measured("second", 2)  # they come by Kafka
        tiled.start()
        service.back("tiled")
        service.until(lambda: set(runs.values()) <= set(catalogue.root), "the runs in the facility's Tiled")
        for uid in runs.values():
            names = Counter(name for name, _ in catalogue.root[uid].documents())
            assert names == {"start": 1, "descriptor": 1, "event": 1, "stop": 1}
        assert {uid: queue.heard[uid] for uid in runs} == dict.fromkeys(runs, 1)


@pytest.mark.parametrize("dies", ["the NATS server", "the service"])
def test_cls_through_a_death_in_the_middle_of_a_run(tmp_path, process, monkeypatch, dies):
    """Of the service, too: a session's claim outlives it, and nothing is measured a second time."""
    import bluesky.plan_stubs as bps
    import bluesky.preprocessors as bpp
    from ophyd.sim import SynAxis, SynSignal

    monkeypatch.setenv("AGENT_SERVICE_SERVICE__PORT", str(peers.free_port()))  # the session finds it there again
    under_way, go = threading.Event(), threading.Event()
    motor = SynAxis(name="motor")
    det = SynSignal(name="det", func=lambda: -(motor.position**2))

    def waits(suggestions, actuators, sensors, md=None):
        @bpp.run_decorator(md=md)
        def inner():
            yield from bps.mv(motor, suggestions[0]["motor"])
            under_way.set()
            while not go.is_set():
                yield from bps.sleep(0.02)
            yield from bps.trigger_and_read([det, motor])

        return (yield from inner())

    with (
        contextlib.ExitStack() as stack,
        peers.nats_server(tmp_path) as server,
        contextlib.closing(peers.NatsThread(server.servers)) as publish,
        archive_rig.run_engine() as engine,
        Service(process, "CLS", servers=("nats://127.0.0.1:4222", server.servers)) as service,
    ):
        engine.subscribe(publish)
        service.begin("aligner", 5, plan="acquire")
        theirs = stack.enter_context(Client(service.client.url, api_key=service.client.api_key))
        measures = run_agent("aligner", devices=[motor, det], client_or_url=theirs, plan=waits)
        session = threading.Thread(target=engine, args=(measures,))
        session.start()
        try:
            assert under_way.wait(30)
            service.until_it_runs("aligner")
            if dies == "the service":
                service.end(signal.SIGKILL)
                service.start()
                assert service.fates("aligner")["running"] == 1
                go.set()
            else:
                server.kill()
                go.set()
                service.away("nats")
                assert service.fates("aligner")["running"] == 1
                server.start()
                service.back("nats")
            runs = service.measured("aligner", 5)
            assert len(service.client.suggestions("aligner")) == 5, "nothing came back to be measured again"
        finally:
            go.set()
            session.join(30)
        service.until(lambda: service.catalogued() == runs, "all runs in the catalogue")
