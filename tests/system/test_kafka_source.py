"""A service that hears a Kafka broker as NSLS-II has it: with the site's file, and with the broker away."""

import errno
import json
import signal
import time
import uuid

import peers
import pytest
from confluent_kafka import Consumer, KafkaError
from services import wait_until

from agent_service.documents import spool
from agent_service.documents.sources import acknowledged, connection, kafka
from agent_service.documents.sources.connection import Connection
from agent_service.documents.sources.kafka import KafkaSource, site_configuration
from agent_service.documents.sources.presence import Presence
from agent_service.errors import UsageError

CLAIM = {"kind": "claim"}


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    with peers.kafka_broker(tmp_path_factory.mktemp("kafka")) as one:
        yield one


@pytest.fixture
def site(tmp_path, broker, monkeypatch):
    """What NSLS-II's publishers are configured by."""
    producer = {"acks": 1, "message.timeout.ms": 3000, "compression.codec": "snappy", "client.id": "bl"}
    found = {"bootstrap_servers": [broker.servers], "runengine_producer_config": producer}
    (tmp_path / "kafka.yml").write_text(json.dumps(found))  # JSON is YAML too
    monkeypatch.setenv("BLUESKY_KAFKA_CONFIG_PATH", str(tmp_path / "kafka.yml"))
    return broker


def source(service):
    return service.get("service")["sources"][0]


def test_a_run_is_ingested_by_the_site_s_configuration_and_a_broker_that_is_away_is_said(start, site):
    service = start(sink=CLAIM, sources=[{"kind": "kafka", "topics": [site.topic]}])
    wait_until(lambda: source(service)["state"] == "connected", within_s=60)
    service.create("walker", loop={"max_runs": 1})
    service.post("agents/walker/start")
    found = service.post("suggestions/claim", {"agent": "walker", "wait_s": 10})
    publish = peers.KafkaPublisher(site.servers, site.topic)
    publish("poison", {})
    for pair in peers.run_documents(2, **found["md"]):
        publish(*pair)
    publish.flush()
    ended = wait_until(lambda: (one := service.get(f"suggestions/{found['id']}"))["state"] == "ingested" and one)
    assert ended["outcome"] == {"signal": 2.5}
    assert source(service)["reason"] == "it publishes something that is no Bluesky document"
    site.kill()
    wait_until(lambda: source(service)["reason"] == "none of its brokers answers", within_s=60)
    assert source(service)["state"] == "reconnecting"
    assert service.http.get("/readyz").json()["parts"]["sources"]["ready"] is False
    site.start()


def test_brokers_that_are_away_are_said_in_one_way():
    """However their library says it, and whichever broker it says last."""
    here = KafkaSource(["t"], servers="127.0.0.1:9", group="g", options={})
    here.presence.connected()
    one, every = KafkaError(KafkaError._TRANSPORT, "refused"), KafkaError(KafkaError._ALL_BROKERS_DOWN, "2/2")
    here._say([one])
    assert here.presence.is_connected, "another one answers"
    here._say([every, one])
    assert here.status.reason == "none of its brokers answers"
    here._say([KafkaError(KafkaError._SSL, "certificate verify failed")])
    assert here.status.reason == "certificate verify failed"


def test_who_takes_over_hears_what_is_needed_once_the_one_before_has_let_go(broker):
    """A service that is paused is a member of the group for a while yet, and has its partitions."""
    topic, began = peers.new_topic(broker), time.time()
    publish = peers.KafkaPublisher(broker.servers, topic)
    for pair in (documents := peers.run_documents(2)):
        publish(*pair)
    publish.flush()
    first, second = {"client.id": "a"}, {"client.id": "b"}  # the only partition is given to the first by name
    where = {"bootstrap.servers": broker.servers, "group.id": topic, "session.timeout.ms": 6000}
    before = Consumer({**where, **first, "auto.offset.reset": "earliest"})
    before.subscribe([topic])
    heard = wait_until(lambda: before.consume(len(documents), timeout=1), within_s=60)
    before.commit(heard[-1], asynchronous=False)
    needed = {"needed_since": lambda: began - 60}
    source = KafkaSource([topic], servers=broker.servers, group=topic, options=second, **needed)
    source.start(kept := peers.Kept())
    try:
        wait_until(lambda: not before.poll(0.05) and "another consumer" in str(source.status.reason), within_s=60)
        before.close()
        wait_until(lambda: kept == [name for name, _ in documents], within_s=60, what=lambda: source.status)
        assert source.presence.is_connected
    finally:
        source.stop()


def test_a_new_group_hears_what_is_published_from_its_start_on_and_nothing_older(broker):
    """It takes seconds until a broker gives a group its partitions, and the first plan may run by then."""
    topic = peers.new_topic(broker)
    publish = peers.KafkaPublisher(broker.servers, topic)
    publish("start", {"uid": "older"})
    publish.flush()
    source = KafkaSource([topic], servers=broker.servers, group=topic, options={})
    source.start(kept := peers.Kept())
    try:
        source._wants_since = time.time()  # there is one clock here, so none can be behind
        names = peers.published_run(publish)
        wait_until(lambda: kept == names, within_s=60, what=lambda: kept)
    finally:
        source.stop()


@pytest.mark.parametrize("pattern", ["{}", "^{}$"])
def test_a_topic_that_is_made_later_is_heard_from_its_beginning(broker, pattern):
    """The first publisher of a new beamline makes it; librdkafka looks for it every five minutes by itself."""
    topic = f"later{uuid.uuid4().hex[:8]}"
    source = KafkaSource([pattern.format(topic)], servers=broker.servers, group=topic, options={})
    source.start(kept := peers.Kept())
    try:
        wait_until(lambda: "there is no topic" in str(source.status.reason), within_s=60)
        names = peers.published_run(peers.KafkaPublisher(broker.servers, peers.new_topic(broker, topic)))
        wait_until(lambda: kept == names, within_s=60, what=lambda: source.status)
        assert source.status.reason is None
    finally:
        source.stop()


def test_what_another_of_its_group_heard_in_between_is_heard_here_too(broker):
    """A service that was taken over from while it was paused has the topics once more when it wakes, until it ends."""
    topic = peers.new_topic(broker)
    publish = peers.KafkaPublisher(broker.servers, topic)
    where = {"bootstrap.servers": broker.servers, "group.id": topic, "session.timeout.ms": 6000}
    source = KafkaSource([topic], servers=broker.servers, group=topic, options={"client.id": "b"})
    source.start(kept := peers.Kept())
    try:
        wait_until(lambda: source.presence.is_connected, within_s=60)
        names = peers.published_run(publish)
        wait_until(lambda: kept == names, within_s=60)
        woken = Consumer({**where, "client.id": "a"})  # the only partition is given to the first by name
        woken.subscribe([topic])
        wait_until(lambda: not woken.poll(0.05) and woken.assignment(), within_s=60)
        peers.published_run(publish)
        heard = wait_until(lambda: woken.consume(len(names), timeout=1), within_s=60)
        woken.commit(heard[-1], asynchronous=False)
        assert kept == names
        woken.close()
        wait_until(lambda: kept == names * 2, within_s=60, what=lambda: kept)
    finally:
        source.stop()


@pytest.mark.parametrize(("limit", "most"), [("MOST_UNSTORED", 10), ("MOST_UNSTORED_BYTES", 1500)])
def test_while_the_disk_is_full_no_more_is_taken_than_there_is_room_for(broker, monkeypatch, limit, most):
    monkeypatch.setattr(acknowledged, limit, most)
    monkeypatch.setattr(kafka, "_BATCH", 2)
    topic = peers.new_topic(broker)
    publish = peers.KafkaPublisher(broker.servers, topic)
    source = KafkaSource([topic], servers=broker.servers, group=topic, options={})
    source.start(kept := peers.FullDisk())
    try:
        wait_until(lambda: source.presence.is_connected, within_s=60)
        numbers = peers.published_data(publish, range(200))
        wait_until(lambda: source.presence.lag == len(numbers), within_s=60)
        assert kept == numbers[: len(kept)]
        assert len(kept) in range(8, 13)
        wait_until(lambda: kept.room() or len(kept) >= len(numbers), within_s=60, what=lambda: kept)
        assert kept == numbers
    finally:
        source.stop()


def test_a_broker_that_dies_with_a_commit_under_way_holds_nothing_up(tmp_path):
    with peers.kafka_broker(tmp_path) as broker:
        source = KafkaSource([broker.topic], servers=broker.servers, group=broker.topic, options={})
        commit = source._commit

        def commits_at_a_broker_that_says_nothing(consumer):
            if "stop" in kept:
                broker.signal(signal.SIGSTOP)
            commit(consumer)

        source._commit = commits_at_a_broker_that_says_nothing
        source.start(kept := peers.Kept())
        try:
            wait_until(lambda: source.presence.is_connected, within_s=60)
            publish = peers.KafkaPublisher(broker.servers, broker.topic)
            for pair in peers.run_documents(1):
                publish(*pair)
            publish.flush()
            wait_until(lambda: "stop" in kept, within_s=60)
            # its partition may have been taken back just before, and then there is nothing to commit
            commits = lambda: source.commits_until is not None or not source.presence.is_connected  # noqa: E731
            wait_until(commits, within_s=60, what=lambda: f"{source.status}, {source._partitions}")
            source._commit = commit
            broker.kill()
            wait_until(lambda: source.status.reason == "none of its brokers answers", within_s=60)
            broker.start()
            wait_until(lambda: source.presence.is_connected, within_s=60)
        finally:
            source.stop()


def test_a_source_is_tried_again_whatever_its_library_raises(monkeypatch):
    """An error of confluent_kafka may be no exception at all, as one of a callback is."""
    presence, tries = Presence("kafka"), []
    monkeypatch.setattr(connection, "FIRST_PAUSE_S", 0)

    class Odd(BaseException):
        """As odd as can be made here."""

    def work(stopping):
        tries.append(1)
        raise Odd("the group is away")

    one = Connection(presence, work)
    one.start()
    wait_until(lambda: len(tries) > 1 and "the group is away" in str(presence.status.reason))
    one.stop()


@pytest.mark.long
def test_how_far_it_is_behind_is_said_everywhere(start, site, monkeypatch):
    hears = {"kind": "kafka", "topics": [topic := peers.new_topic(site)]}
    keeps = {"catalog": f"http://127.0.0.1:{peers.free_port()}"}  # documents, and there is none
    service = start(sink=CLAIM, sources=[hears], service=keeps)
    wait_until(lambda: source(service)["state"] == "connected", within_s=60)
    publish = peers.KafkaPublisher(site.servers, topic)

    def full(*_):
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as disk:
        disk.setattr(spool, "append", full)
        run = peers.run_documents(2)
        for pair in run:
            publish(*pair)
        publish.flush()
        wait_until(lambda: source(service)["lag"] == len(run), within_s=60, what=lambda: source(service))
        where = f"kafka {site.servers}"
        assert service.http.get("/readyz").json()["parts"]["sources"] == {
            "ready": True,
            "reason": f"{where} is {len(run)} behind",
        }
        labels = f'{{kind="kafka",where="{site.servers}"}}'
        assert f"agent_service_source_lag{labels} {float(len(run))}" in service.http.get("/metrics").text
    wait_until(lambda: source(service)["lag"] == 0, within_s=60)
    assert service.http.get("/readyz").json()["parts"]["sources"]["reason"] is None


def test_a_consumer_takes_no_more_of_the_site_s_file_than_it_knows(site):
    assert site_configuration() == {"client.id": "bl", "bootstrap.servers": site.servers}


def test_a_site_s_file_without_servers_is_refused_with_its_name(tmp_path, monkeypatch):
    (tmp_path / "kafka.yml").write_text("{}")
    monkeypatch.setenv("BLUESKY_KAFKA_CONFIG_PATH", str(tmp_path / "kafka.yml"))
    with pytest.raises(UsageError, match=r"kafka\.yml has no bootstrap_servers"):
        site_configuration()


def test_without_servers_and_without_a_file_it_says_what_is_missing(start, monkeypatch, tmp_path):
    monkeypatch.setenv("BLUESKY_KAFKA_CONFIG_PATH", str(tmp_path / "none.yml"))
    with pytest.raises(UsageError, match="the source kafka needs servers"):
        start(sink=CLAIM, sources=[{"kind": "kafka", "topics": ["t"]}])


def test_a_missing_library_is_one_line_that_names_the_extra(start, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "confluent_kafka", None)
    with pytest.raises(UsageError, match=r'pip install "bluesky-agent-service\[kafka\]"'):
        start(sink=CLAIM, sources=[{"kind": "kafka", "topics": ["t"], "servers": "127.0.0.1:9"}])
