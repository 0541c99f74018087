"""A service that hears a 0MQ proxy of Bluesky's: what it takes, what it refuses, and what it says of itself."""

import pickle
import shutil

import peers
import pytest
import zmq
import zmq.auth
from services import wait_until

from agent_service.journal import reader
from agent_service.service import compose_sources
from agent_service.service.check import check
from agent_service.service.config import ServiceConfig

CLAIM = {"kind": "claim"}


@pytest.fixture(scope="module")
def proxy(tmp_path_factory):
    with peers.zmq_proxy(tmp_path_factory.mktemp("proxy")) as one:
        yield one


@pytest.fixture
def publisher():
    """Make publishers that are closed with the test."""
    made = []

    def make(proxy, **options):
        made.append(peers.ZmqPublisher(proxy, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def source(service, kind="zmq"):
    return next(one for one in service.get("service")["sources"] if one["kind"] == kind)


def connected(service):
    return wait_until(lambda: (one := source(service))["state"] == "connected" and one, what="the source")


def hearing(start, proxy, *more, **options):
    sources = [{"kind": "zmq", "address": f"127.0.0.1:{proxy.out}", **options}, *more]
    service = start(sink=CLAIM, sources=sources)
    connected(service)
    return service


def claimed(service):
    service.create("walker", loop={"max_runs": 1})
    service.post("agents/walker/start")
    found = service.post("suggestions/claim", {"agent": "walker", "wait_s": 10})
    return found, peers.run_documents(1, **found["md"])


def publish_until_heard(publish, service, run):
    """Publish a run until all of it came: what is published right after a connection stands may be dropped."""
    wanted = source(service)["documents"] + len(run)

    def came():
        for pair in run:
            publish(*pair)
        return source(service)["documents"] >= wanted

    wait_until(came)


def test_a_run_that_is_published_is_ingested_and_the_service_says_where_documents_come_from(start, publisher, proxy):
    service = hearing(start, proxy)
    publish = publisher(proxy)
    found, run = claimed(service)
    publish_until_heard(publish, service, run)
    ended = wait_until(lambda: (one := service.get(f"suggestions/{found['id']}"))["state"] == "ingested" and one)
    assert (ended["run_uid"], ended["outcome"]) == (run[0][1]["uid"], {"signal": 2.0})
    one = source(service)
    assert (one["where"], one["reason"], one["lag"]) == (f"tcp://127.0.0.1:{proxy.out}", None, None)
    assert one["last_document"] > one["since"]
    ready = service.http.get("/readyz").json()
    assert ready["parts"]["sources"] == {"ready": True, "reason": None}
    metrics = service.http.get("/metrics").text
    assert f'agent_service_source_connected{{kind="zmq",where="tcp://127.0.0.1:{proxy.out}"}} 1.0' in metrics
    assert "agent_service_suspect_runs 0.0" in metrics


def test_the_same_run_from_two_sources_counts_once(start, publisher, proxy):
    service = hearing(start, proxy, {"kind": "posted"}, {"kind": "zmq", "address": f"localhost:{proxy.out}"})
    service.create("listener", listen="all")
    service.post("agents/listener/start")
    publish = publisher(proxy)
    found, run = claimed(service)
    service.post("documents", {"documents": run[:1]})
    publish_until_heard(publish, service, run)
    service.post("documents", {"documents": run[1:]})
    wait_until(lambda: service.get(f"suggestions/{found['id']}")["state"] == "ingested")
    _, other = found, peers.run_documents(1)
    publish_until_heard(publish, service, other)
    uids = [run[0][1]["uid"], other[0][1]["uid"]]
    wait_until(lambda: _ingested(service, "listener") == uids)


def _ingested(service, agent):
    facts = reader(f"sqlite:///{service.get('service')['state_dir']}/journal.db").read(agent=agent)
    return [uid for fact in facts if fact.kind == "ingest" for uid in fact.data["run_uids"]]


def test_a_lost_event_makes_the_run_suspect_and_it_is_never_quietly_short(start, publisher, proxy, monkeypatch):
    service = hearing(start, proxy)
    publish = publisher(proxy)
    found, _ = claimed(service)
    lost = peers.run_documents(3, **found["md"])
    publish_until_heard(publish, service, [pair for pair in lost if pair[1].get("seq_num") != 2])
    suspect = wait_until(lambda: service.get("service")["suspects"])
    assert [(one["uid"], one["suggestion_id"]) for one in suspect] == [(lost[0][1]["uid"], found["id"])]
    assert "2 of 3 events of stream primary did not come" in suspect[0]["reason"]
    assert "1 run did not arrive whole" in service.http.get("/readyz").json()["parts"]["sources"]["reason"]
    wait_until(lambda: service.get(f"suggestions/{found['id']}")["state"] == "running")
    monkeypatch.setattr("agent_service.documents.gate_watch.GIVES_UP_AFTER_S", 0)
    ended = wait_until(lambda: (one := service.get(f"suggestions/{found['id']}"))["state"] == "failed" and one)
    assert "did not arrive whole" in ended["reason"]


def test_a_publisher_that_pickles_is_refused_and_told_what_to_do(start, publisher, proxy, tmp_path):
    service = hearing(start, proxy)
    made = tmp_path / "made"

    class Evil:
        def __reduce__(self):
            return made.mkdir, ()

    context = zmq.Context()
    publish = context.socket(zmq.PUB)
    publish.connect(f"tcp://127.0.0.1:{proxy.into}")
    message = b" ".join([b"", b"start", pickle.dumps({"uid": Evil()})])  # as a Publisher sends that was not asked
    reason = wait_until(lambda: publish.send(message) or source(service)["reason"])
    assert "never loaded" in reason
    assert "agent_service.plans.publish" in reason
    assert source(service)["state"] == "connected"
    assert not made.exists()
    context.destroy(linger=0)


def test_a_prefix_is_heard_exactly(start, publisher, proxy):
    service = hearing(start, proxy, prefix="bl1")
    right, wrong = publisher(proxy, heard=False, prefix="bl1"), publisher(proxy, prefix="bl10")
    for pair in peers.run_documents(6):
        wrong(*pair)
    run = peers.run_documents(1)
    publish_until_heard(right, service, run)
    assert source(service)["documents"] % len(run) == 0


def test_a_proxy_that_is_away_is_said_and_is_heard_again_when_it_is_back(start, publisher, tmp_path):
    with peers.zmq_proxy(tmp_path) as own:
        service = hearing(start, own)
        publish = publisher(own)
        publish_until_heard(publish, service, peers.run_documents(1))
        own.kill()
        wait_until(lambda: source(service)["state"] == "reconnecting")
        ready = service.http.get("/readyz")
        assert ready.status_code == 200
        assert ready.json()["parts"]["sources"]["ready"] is False
        assert "is away: nobody answers there" in ready.json()["parts"]["sources"]["reason"]
        own.start()
        connected(service)
        publish_until_heard(publish, service, peers.run_documents(1))


def test_a_proxy_with_curve_is_heard_with_its_key_and_says_what_is_missing_without(start, publisher, tmp_path):
    server, secret = zmq.auth.create_certificates(tmp_path, "server")
    (tmp_path / "clients").mkdir()
    public, own = zmq.auth.create_certificates(tmp_path, "client")
    shutil.copy(public, tmp_path / "clients")
    arguments = ["--out-curve-secret", secret, "--out-curve-client-keys", tmp_path / "clients"]
    with peers.zmq_proxy(tmp_path, *arguments) as locked:
        keys = {"public_key": server, "secret_file": own}
        without = {"kind": "zmq", "address": f"localhost:{locked.out}"}
        service = hearing(start, locked, without, **keys)
        publish_until_heard(publisher(locked, heard=False), service, peers.run_documents(1))
        reason = wait_until(
            lambda: next(
                (one["reason"] for one in service.get("service")["sources"] if "CURVE" in str(one["reason"])), 0
            )
        )
        assert "give public_key" in reason
        assert [one["documents"] > 0 for one in service.get("service")["sources"]] == [True, False]


@pytest.mark.parametrize("key", ["short", "missing/server.key"])
def test_a_key_that_is_none_is_refused_before_the_start(start, key):
    with pytest.raises(Exception, match=r"public_key\n.*must be the 40 letters of a public key of CURVE, or the file"):
        start(sink=CLAIM, sources=[{"kind": "zmq", "address": "127.0.0.1:9", "public_key": key}])


def test_a_missing_library_is_one_line_that_names_the_extra(start, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "zmq", None)
    with pytest.raises(Exception, match=r'pip install "bluesky-agent-service\[zmq\]"'):
        start(sink=CLAIM, sources=[{"kind": "zmq", "address": "127.0.0.1:9"}])


def test_check_with_devices_asks_whether_a_source_is_there_and_says_nothing_else(proxy, monkeypatch, caplog):
    def wrong(port, *, devices=True):
        config = ServiceConfig(sink=CLAIM, sources=[{"kind": "zmq", "address": f"127.0.0.1:{port}"}])
        return [(one.field, one.message) for one in check(config, devices=devices)]

    assert wrong(proxy.out) == []
    monkeypatch.setattr(compose_sources, "_THERE_WITHIN_S", 1.0)
    assert wrong(9) == [("sources.0", "tcp://127.0.0.1:9: nobody answers there")]
    assert wrong(9, devices=False) == []
    assert caplog.records == []
