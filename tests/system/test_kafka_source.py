"""A service that hears a Kafka broker as NSLS-II has it: with the site's file, and with the broker away."""

import errno
import json

import peers
import pytest
from confluent_kafka import KafkaError
from services import wait_until

from agent_service.documents import spool
from agent_service.documents.sources.kafka import KafkaSource, site_configuration
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


@pytest.mark.long
def test_how_far_it_is_behind_is_said_everywhere(start, site, monkeypatch):
    service = start(sink=CLAIM, sources=[{"kind": "kafka", "topics": [topic := peers.new_topic(site)]}])
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
        wait_until(lambda: source(service)["lag"] == len(run), within_s=60)
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
