"""A service that takes runs from a facility's Tiled catalogue, alone and beside a bus that loses documents."""

import contextlib
from http import HTTPStatus

import peers
import pytest
from blueapi_peer import Broker, StompPublisher, needs_blueapi
from services import wait_until

from agent_service.documents.sources import tiled
from agent_service.journal import reader

CLAIM = {"kind": "claim"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with peers.tiled_server(tmp_path_factory.mktemp("tiled")) as one:
        yield one


@pytest.fixture(scope="module")
def catalogue(server):
    with contextlib.closing(peers.Catalogue(server)) as one:
        yield one


class ZmqBus:
    """A 0MQ proxy, and a publisher; what nobody hears is lost."""

    def __init__(self, folder, stack):
        self._proxy = stack.enter_context(peers.zmq_proxy(folder))
        self.kind, self.section = "zmq", {"kind": "zmq", "address": f"127.0.0.1:{self._proxy.out}"}
        self.kill, self.start = self._proxy.kill, self._proxy.start
        self.publish = peers.ZmqPublisher(self._proxy)
        stack.callback(self.publish.close)


class StompBus:
    """A STOMP broker, and a blueapi that sends to it; what nobody hears is lost."""

    def __init__(self, folder, stack):
        needs_blueapi()
        self._broker = Broker(folder)
        stack.callback(self._broker.kill)
        self.kind, self.section = "stomp", {"kind": "stomp", "port": self._broker.port}
        self.kill, self.start = self._broker.kill, self._broker.start
        self.publish = StompPublisher(self._broker)


@pytest.fixture(params=[ZmqBus, StompBus])
def bus(request, tmp_path):
    """Buses that lose documents; none does when a test does not ask it to."""
    with contextlib.ExitStack() as stack:
        yield request.param(tmp_path, stack)


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("TILED_API_KEY", peers.KEY)


def source(service, kind="tiled"):
    return next(one for one in service.get("service")["sources"] if one["kind"] == kind)


def connected(service, kind="tiled"):
    return wait_until(lambda: source(service, kind)["state"] == "connected", within_s=60, what="the source")


def hearing(start, server, *more, **options):
    service = start(sink=CLAIM, sources=[{"kind": "tiled", "uri": server.uri}, *more], **options)
    for one in service.get("service")["sources"]:
        connected(service, one["kind"])
    return service


def claimed(service, name="walker"):
    service.create(name, loop={"max_runs": 1})
    service.post(f"agents/{name}/start")
    return service.post("suggestions/claim", {"agent": name, "wait_s": 10})


def listening(service):
    service.create("listener", listen="all")
    service.post("agents/listener/start")


def fate(service, found, state):
    return wait_until(
        lambda: (one := service.get(f"suggestions/{found['id']}"))["state"] == state and one, within_s=40, what=state
    )


def ingested(service, agent="listener"):
    facts = reader(f"sqlite:///{service.get('service')['state_dir']}/journal.db").read(agent=agent)
    return [uid for fact in facts if fact.kind == "ingest" for uid in fact.data["run_uids"]]


def test_a_catalogue_alone_suffices(start, server, catalogue):
    service = hearing(start, server)
    found = claimed(service)
    run = peers.run_documents(3, **found["md"])
    catalogue.write(run)
    ended = fate(service, found, "ingested")
    assert (ended["run_uid"], ended["outcome"]) == (run[0][1]["uid"], {"signal": 3.0})


@pytest.mark.parametrize("more", [0, 60])
def test_what_nobody_suggested_is_heard_however_many_runs_there_are(start, tmp_path, more):
    with peers.tiled_server(tmp_path) as server, contextlib.closing(peers.Catalogue(server)) as catalogue:
        for number in range(more):  # more than a page of its listing
            catalogue.root.create_container(
                metadata={"start": {"uid": f"{number:032x}", "time": 1.0}}, key=f"old-{number}"
            )
        catalogue.root.create_container(key="not-a-run")
        service = hearing(start, server)
        listening(service)
        run = peers.run_documents(2)
        catalogue.write(run)
        wait_until(lambda: ingested(service) == [run[0][1]["uid"]], within_s=40, what="the run")


def test_a_burst_that_a_bus_lost_is_completed_from_the_catalogue_and_counts_once(start, server, catalogue, bus):
    service = hearing(start, server, bus.section)
    listening(service)
    found = claimed(service)
    run = peers.run_documents(9, **found["md"])
    uid = run[0][1]["uid"]

    def suspect():
        for pair in run[:3] + run[8:]:
            bus.publish(*pair)
        return service.get("service")["suspects"]

    (one,) = wait_until(suspect)
    assert (one["uid"], one["suggestion_id"]) == (uid, found["id"])
    catalogue.write(run)
    ended = fate(service, found, "ingested")
    assert ended["outcome"] == {"signal": 6.0}
    assert service.get("service")["suspects"] == []
    assert ingested(service, "walker") == [uid]
    other = peers.run_documents(2)
    for pair in other:
        bus.publish(*pair)
    catalogue.write(other)
    wait_until(lambda: ingested(service) == [uid, other[0][1]["uid"]], within_s=40)


def test_a_run_whose_end_a_bus_lost_is_completed_from_the_catalogue(start, server, catalogue, bus):
    service = hearing(start, server, bus.section)
    found = claimed(service)
    run = peers.run_documents(3, **found["md"])

    def heard():
        for pair in run[:-1]:
            bus.publish(*pair)
        return service.get(f"suggestions/{found['id']}")["state"] != "submitted"

    wait_until(heard)
    catalogue.write(run)
    ended = fate(service, found, "ingested")
    assert (ended["run_uid"], ended["outcome"]) == (run[0][1]["uid"], {"signal": 3.0})


def test_a_run_of_which_a_bus_said_nothing_is_found_by_its_suggestion_without_any_hint(
    start, server, catalogue, bus, monkeypatch
):
    monkeypatch.setattr(tiled, "LOOKS_EVERY_S", 0.3)
    monkeypatch.setattr(tiled, "_is_about_runs", lambda message: False)
    service = hearing(start, server, bus.section)
    found = claimed(service)
    catalogue.write(peers.run_documents(1, **found["md"]))
    assert fate(service, found, "ingested")["outcome"] == {"signal": 2.0}


def test_what_a_bus_lost_while_it_was_away_is_looked_for_as_soon_as_it_is_back(
    start, server, catalogue, bus, monkeypatch
):
    monkeypatch.setattr(tiled, "LOOKS_EVERY_S", 1000.0)
    monkeypatch.setattr(tiled, "_is_about_runs", lambda message: False)
    service = hearing(start, server, bus.section)
    found = claimed(service)
    bus.kill()
    wait_until(lambda: source(service, bus.kind)["state"] == "reconnecting")
    catalogue.write(peers.run_documents(1, **found["md"]))
    assert service.get(f"suggestions/{found['id']}")["state"] in ("submitted", "running")
    bus.start()
    assert fate(service, found, "ingested")["outcome"] == {"signal": 2.0}


def test_runs_of_a_time_away_are_taken_after_it_once_and_none_from_before_the_first_start(
    start, server, catalogue, tmp_path
):
    catalogue.write(peers.run_documents(1))
    with_state = {"state": tmp_path / "kept"}
    service = hearing(start, server, **with_state)
    listening(service)
    first = peers.run_documents(1)
    catalogue.write(first)
    wait_until(lambda: ingested(service) == [first[0][1]["uid"]], within_s=40)
    service.close()
    away = peers.run_documents(1)
    catalogue.write(away)
    service = hearing(start, server, **with_state)
    wait_until(lambda: len(ingested(service)) > 1, within_s=40)
    last = peers.run_documents(1)
    catalogue.write(last)
    expected = [run[0][1]["uid"] for run in (first, away, last)]
    wait_until(lambda: ingested(service) == expected, within_s=40)


def test_nothing_in_the_catalogue_is_changed(start, server, catalogue):
    before = catalogue.runs()
    service = start(
        sink=CLAIM,
        service={"catalog": "embedded"},
        sources=[{"kind": "tiled", "uri": server.uri}],
    )
    connected(service)
    found = claimed(service)
    run = peers.run_documents(2, **found["md"])
    catalogue.write(run)
    fate(service, found, "ingested")
    service.close()
    after = catalogue.runs()
    assert {uid: after[uid] for uid in before} == before
    assert after.keys() - before.keys() == {run[0][1]["uid"]}
    assert [name for name, _ in after[run[0][1]["uid"]]] == ["start", "descriptor", "event", "event", "stop"]


def test_a_key_that_is_refused_is_said(start, server, monkeypatch):
    monkeypatch.setenv("TILED_API_KEY", "wrong")
    service = start(sink=CLAIM, sources=[{"kind": "tiled", "uri": server.uri}])
    reason = wait_until(lambda: "key" in str(source(service)["reason"]) and source(service)["reason"])
    assert "it refuses this key (401)" in reason
    assert source(service)["state"] == "reconnecting"
    ready = service.http.get("/readyz")
    assert (ready.status_code, ready.json()["parts"]["sources"]["ready"]) == (HTTPStatus.OK, False)


def test_an_address_that_is_no_tiled_server_and_a_path_that_is_not_there_are_said(start, server):
    wrong = {"api_key_from": "TILED_API_KEY", "kind": "tiled"}
    service = start(
        sink=CLAIM, sources=[{**wrong, "uri": f"{server.uri}/elsewhere"}, {**wrong, "uri": server.uri, "path": "raw"}]
    )
    said = ["what answers there is no Tiled server: see uri in [[sources]]"]
    said.append("there is no such path in its tree: see path in [[sources]]")
    wait_until(lambda: [one["reason"] for one in service.get("service")["sources"]] == said)


def test_a_server_that_is_away_is_said_and_what_was_written_meanwhile_is_taken(start, server, catalogue):
    service = hearing(start, server)
    found = claimed(service)
    server.kill()
    wait_until(lambda: source(service)["reason"] == "nobody answers there", within_s=30)
    assert source(service)["state"] == "reconnecting"
    server.start()
    catalogue.write(peers.run_documents(1, **found["md"]))
    fate(service, found, "ingested")
    connected(service)
