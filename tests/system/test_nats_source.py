"""A service that hears NATS JetStream, with the server and the stream away."""

import asyncio
import contextlib
import socket
import threading
import time
from collections import Counter
from types import SimpleNamespace

import certificates
import nats as nats_py
import peers
import pytest
from nats.js.api import ConsumerConfig, StreamConfig
from services import wait_until

from agent_service.documents.sources import acknowledged, connection, nats
from agent_service.documents.sources.nats_client import NatsClient
from agent_service.errors import BackendUnavailable, UsageError

CLAIM = {"kind": "claim"}


def source(service):
    return service.get("service")["sources"][0]


def connected(service):
    wait_until(lambda: source(service)["state"] == "connected", within_s=40, what="the source")


def test_a_server_that_is_away_is_said_and_what_it_kept_is_heard(start, tmp_path):
    with peers.nats_server(tmp_path) as server:
        service = start(sink=CLAIM, sources=[{"kind": "nats", "servers": server.servers}])
        reason = wait_until(lambda: "no stream" in str(source(service)["reason"]) and source(service)["reason"])
        assert reason == "there is no stream bluesky in its JetStream"
        with contextlib.closing(peers.NatsPublisher(server.servers)) as publish:
            connected(service)
            service.create("walker", loop={"max_runs": 1})
            service.post("agents/walker/start")
            found = service.post("suggestions/claim", {"agent": "walker", "wait_s": 10})
            run = peers.run_documents(2, **found["md"])
            for pair in run[:2]:
                publish(*pair)
            publish.flush()
            wait_until(lambda: service.get(f"suggestions/{found['id']}")["state"] == "running")
        server.kill()
        wait_until(lambda: source(service)["state"] == "reconnecting", within_s=40)
        server.start()
        with contextlib.closing(peers.NatsPublisher(server.servers)) as publish:
            for pair in run[2:]:
                publish(*pair)
            publish.flush()
        ended = wait_until(
            lambda: (one := service.get(f"suggestions/{found['id']}"))["state"] == "ingested" and one, within_s=40
        )
        assert (ended["run_uid"], ended["outcome"]) == (run[0][1]["uid"], {"signal": 2.5})


def test_a_new_consumer_hears_what_is_published_from_its_start_on(tmp_path):
    """The first plan may run before there is a stream, or a connection."""
    with peers.nats_server(tmp_path) as server:
        source = nats.NatsSource(NatsClient(server.servers), stream="bluesky", subject="events.>", durable="ours")
        source.start(kept := peers.Kept())
        try:
            wait_until(lambda: "no stream" in str(source.status.reason))
            with contextlib.closing(peers.NatsPublisher(server.servers)) as publish:
                names = peers.published_run(publish)
            wait_until(lambda: kept == names, within_s=40, what=lambda: kept)
        finally:
            source.stop()


@pytest.fixture
def server(tmp_path):
    with peers.nats_server(tmp_path) as one:
        yield one


@pytest.fixture
def publish(server):
    with contextlib.closing(peers.NatsPublisher(server.servers)) as one:
        yield one


@contextlib.contextmanager
def hears(server, kept=None, **options):
    """A source, and what it gave so far."""
    client = server if isinstance(server, NatsClient) else NatsClient(server.servers)
    source = nats.NatsSource(client, **{"stream": "bluesky", "subject": "events.>", **options})
    kept = peers.Kept() if kept is None else kept
    source.start(kept)
    try:
        yield source, kept
    finally:
        source.stop()


def heard_by(server, durable, names):
    """Let another service hear, and acknowledge, a run's documents as consumer of that name; it has ended then."""
    with hears(server, durable=durable) as (source, kept):
        wait_until(lambda: kept == names, within_s=40, what=lambda: (kept, source.status))
        acknowledged = lambda: consumers(server)[durable].num_ack_pending == 0  # noqa: E731
        wait_until(acknowledged, within_s=40)


def consumers(server):
    """The consumers of the stream, by name."""
    return {one.name: one for one in asked(server, lambda context: context.consumers_info("bluesky"))}


def asked(server, question):
    """What a JetStream answers."""

    async def ask():
        client = await nats_py.connect(server.servers)
        try:
            return await question(client.jetstream())
        finally:
            await client.close()

    return asyncio.run(ask())


@pytest.mark.parametrize("before", ["site", "own"])
def test_who_takes_over_hears_what_is_needed_though_another_acknowledged_it(server, publish, before):
    """Whether the two have one consumer, or this service had its own when it led before."""
    began = time.time()
    with hears(server, durable="beamline"):  # the one of the service that died, and so of whoever has its name
        names = peers.published_run(publish)
        heard_by(server, "own", names)
    name = {"durable": "beamline"} if before == "site" else {"own": "own"}
    with hears(server, needed_since=lambda: began - 60, **name) as (source, kept):
        wait_until(lambda: source.presence.is_connected, within_s=40)
        assert kept == names
        again = peers.published_run(publish)
        wait_until(lambda: kept == names + again, within_s=40, what=lambda: kept)
        assert source.status.reason is None
        assert consumers(server).keys() == {"beamline", "own"}, "one is left behind"


def test_a_consumer_that_is_new_begins_where_documents_are_needed(server, publish, monkeypatch):
    """As after a move of the journal to another machine, with a plan under way."""
    monkeypatch.setattr(connection, "_CLOCKS_DIFFER_S", -60)  # all that there is was published long before it started
    names, needed = peers.published_run(publish), {"needed_since": lambda: time.time() - 60, "again": False}
    with hears(server, own="own", **needed) as (_, kept):
        wait_until(lambda: kept == names, within_s=40, what=lambda: kept)
        wait_until(lambda: not consumers(server)["own"].num_ack_pending, within_s=40)
    with hears(server, own="own", **needed) as (_, kept):
        assert peers.published_run(publish)
        wait_until(lambda: len(kept) >= len(names), within_s=40, what=lambda: kept)
        wait_until(lambda: not consumers(server)["own"].num_pending, within_s=40)
        assert kept == names, "the first run is heard once more"


@pytest.mark.parametrize("then", ["nothing", "more"])
def test_what_another_consumer_of_its_name_is_given_is_heard_here_too(server, publish, monkeypatch, then):
    """A service that was taken over from while it was paused has the consumer once more when it wakes."""
    monkeypatch.setattr(nats, "_LAG_EVERY_S", 0)
    with hears(server, durable="beamline") as (source, kept):
        names = peers.published_run(publish)
        wait_until(lambda: kept == names, within_s=40, what=lambda: source.status)
        fetched, rests, goes_on = source._fetched, threading.Event(), threading.Event()

        async def rest(subscription):
            rests.set()
            await asyncio.to_thread(goes_on.wait, 40)
            return await fetched(subscription)

        monkeypatch.setattr(source, "_fetched", rest)
        assert rests.wait(40)
        names += (others := peers.published_run(publish))
        asked(server, lambda context: take(context, len(others)))
        if then == "more":
            names += peers.published_run(publish)
        goes_on.set()
        wait_until(lambda: not Counter(names) - Counter(kept), within_s=40, what=lambda: (names, kept))
        assert "another service takes messages of its consumer beamline" in source.status.reason


async def take(context, number):
    """Take, and acknowledge, messages of the site's consumer as another service of its name does."""
    subscription = await context.pull_subscribe_bind(consumer="beamline", stream="bluesky")
    while number:
        for message in await subscription.fetch(number, timeout=20):
            await message.ack_sync()
            number -= 1


def test_a_consumer_of_its_own_is_forgotten_in_the_end_and_the_site_s_is_left_as_it_is(server, publish):
    about = {"durable_name": "site", "ack_policy": "explicit", "ack_wait": 9, "filter_subject": "events.volatile.*"}
    asked(server, lambda context: context.add_consumer("bluesky", ConsumerConfig(**about)))
    was = consumers(server)["site"].config
    for name in ({"own": "own"}, {"own": "own", "subject": "events.volatile.>"}, {"durable": "site"}):
        with hears(server, **name) as (source, kept):
            wait_until(lambda source=source: source.presence.is_connected, within_s=40, what=lambda: source.status)
            names = peers.published_run(publish)
            wait_until(lambda kept=kept, names=names: kept[-len(names) :] == names, within_s=40)
    found = consumers(server)
    assert found["site"].config == was
    assert found["own"].config.inactive_threshold == nats.FORGOTTEN_AFTER_S
    assert found["own"].config.filter_subject == "events.volatile.>"


PUSHES = ConsumerConfig(durable_name="site", ack_policy="explicit", deliver_subject="somewhere")
UNSAFE = ConsumerConfig(durable_name="site", ack_policy="all")


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (PUSHES, "its consumer site is one that pushes; make it one to pull from"),
        (UNSAFE, "its consumer site must have the acknowledgement policy explicit"),
    ],
)
def test_a_consumer_that_nothing_can_be_heard_by_is_said(server, publish, config, reason):
    asked(server, lambda context: context.add_consumer("bluesky", config))
    with hears(server, durable="site") as (source, _):
        wait_until(lambda: source.status.reason == reason, within_s=40, what=lambda: source.status)
        assert not source.presence.is_connected


@pytest.mark.parametrize(("limit", "most"), [("MOST_UNSTORED", 10), ("MOST_UNSTORED_BYTES", 1500)])
def test_while_the_disk_is_full_no_more_is_taken_than_there_is_room_for(server, publish, monkeypatch, limit, most):
    monkeypatch.setattr(acknowledged, limit, most)
    monkeypatch.setattr(nats, "_BATCH", 2)
    monkeypatch.setattr(nats, "_LAG_EVERY_S", 0)
    with hears(server, peers.FullDisk(), own="own") as (source, kept):
        numbers = peers.published_data(publish, range(40))
        wait_until(lambda: source._unstored.full and source.presence.lag == len(numbers), within_s=40)
        assert kept == numbers[: len(kept)]
        assert len(kept) in range(8, 13)
        all_came = lambda: kept.room() or set(kept) == set(numbers)  # noqa: E731
        wait_until(all_came, within_s=40, what=lambda: kept)


def test_what_comes_again_before_the_disk_has_it_is_not_taken_once_more(server, publish, monkeypatch):
    """The server gives again and again what nobody acknowledges, as while the disk is full."""
    monkeypatch.setattr(nats, "_COMES_AGAIN_S", 0.2)
    with hears(server, peers.FullDisk(), own="own") as (_, kept):
        numbers = peers.published_data(publish, range(3))
        wait_until(lambda: "own" in consumers(server), within_s=40)
        wait_until(lambda: consumers(server)["own"].delivered.consumer_seq > 20, within_s=40)
        assert kept == numbers
        kept.room()
        wait_until(lambda: kept.room() or not consumers(server)["own"].num_ack_pending, within_s=40)


@pytest.mark.parametrize("deleted", ["stream", "consumer"])
def test_a_stream_or_consumer_that_was_deleted_and_made_anew_is_heard(server, publish, deleted):
    """A stream's messages begin with number 1 again, and its consumer's, too."""
    with hears(server, own="own") as (source, kept):
        names = peers.published_run(publish) + peers.published_run(publish)
        wait_until(lambda: kept == names, within_s=40, what=lambda: source.status)
        if deleted == "consumer":
            asked(server, lambda context: context.delete_consumer("bluesky", "own"))
        else:
            asked(server, lambda context: context.delete_stream("bluesky"))
            wait_until(lambda: "no stream" in str(source.status.reason), within_s=40, what=lambda: source.status)
            about = StreamConfig(name="bluesky", subjects=["events.>"])
            asked(server, lambda context: context.add_stream(about))
            names = []
            kept.clear()
        names += peers.published_run(publish)
        wait_until(lambda: kept[-len(names) :] == names, within_s=40, what=lambda: (kept, source.status))
        assert source.status.reason is None


def test_it_ends_at_once_and_says_who_is_away_however_its_server_died(server):
    with hears(server, own="own") as (source, _):
        wait_until(lambda: "no stream" in str(source.status.reason), within_s=40)
        server.kill()
        wait_until(lambda: "nobody answers there" in str(source.status.reason), within_s=40, what=lambda: source.status)
        source.stop()
        assert not [thread for thread in threading.enumerate() if thread.name == "source-nats"]


def test_what_an_encrypted_server_needs_and_what_is_said_where_it_is_missing(tmp_path):
    pem, _ = certificates.write(tmp_path)
    tls = f'tls {{ cert_file: "{pem}", key_file: "{pem}" }}\nauthorization {{ user: u, password: p }}'
    (tmp_path / "tls.conf").write_text(tls)
    with peers.nats_server(tmp_path, "-c", tmp_path / "tls.conf") as server:
        machine = server.servers.partition("//")[2]
        trusts = {"tls_ca_file": pem}
        for client, reason in (
            (NatsClient(f"nats://u:p@{machine}"), "its certificate is not trusted (self-signed certificate): give tls"),
            (NatsClient(f"tls://u:x@{machine}", **trusts), "it refuses the user: look at the user and password"),
            (NatsClient(f"tls://u:p@{machine}", **trusts), "there is no stream"),
        ):
            with hears(client, own="own") as (source, _):
                wait_until(lambda: reason in str(source.status.reason), within_s=40, what=lambda: source.status)  # noqa: B023 - at once


@pytest.mark.parametrize("scheme", ["tls", "nats"])
def test_a_password_is_never_sent_in_plain_text_where_encryption_was_asked_for(tmp_path, scheme):
    """By a server that offers none, as one in the place of the right one would."""
    pem, _ = certificates.write(tmp_path)
    heard = []

    def serve(listener):
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b'INFO {"server_id":"x","version":"2.15.1","auth_required":true,"max_payload":100}\r\n')
            while chunk := connection.recv(1000):
                heard.append(chunk)
                connection.sendall(b"PONG\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        servers = f"{scheme}://user:secret@127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(BackendUnavailable, match="it offers no TLS"):
            asyncio.run(NatsClient(servers, tls_ca_file=pem if scheme == "nats" else None).connect())
        thread.join(20)
    assert b"secret" not in b"".join(heard)


def test_a_file_that_is_no_certificate_is_refused(tmp_path):
    (tmp_path / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    with pytest.raises(UsageError, match="cannot use its TLS files"):
        NatsClient("tls://127.0.0.1:4222", tls_ca_file=tmp_path / "ca.pem")


USERS = """
authorization { users = [
    { user: admin, password: a }
    { user: few, password: f, permissions: { subscribe: "_INBOX.>", publish: [
        "$JS.API.CONSUMER.INFO.bluesky.*", "$JS.API.CONSUMER.MSG.NEXT.bluesky.*", "$JS.ACK.>" ] } }
] }
"""


def test_a_user_who_may_make_no_consumer_hears_by_the_site_s_and_is_told_what_is_amiss(tmp_path):
    (tmp_path / "users.conf").write_text(USERS)
    with peers.nats_server(tmp_path, "-c", tmp_path / "users.conf") as server:
        few, server.servers = (server.servers.replace("//", f"//{user}@") for user in ("few:f", "admin:a"))
        with contextlib.closing(peers.NatsPublisher(server.servers)) as publish:
            few = SimpleNamespace(servers=few)
            with hears(few, own="own") as (source, _):
                wait_until(lambda: "not allowed" in str(source.status.reason), within_s=40, what=lambda: source.status)
                assert "consumer.create.bluesky.own" in source.status.reason
            asked(
                server, lambda context: context.add_consumer("bluesky", ConsumerConfig("site", ack_policy="explicit"))
            )
            with hears(few, durable="site", needed_since=lambda: 0.0) as (source, kept):
                names = peers.published_run(publish)
                wait_until(lambda: kept == names, within_s=40, what=lambda: source.status)
                assert source.presence.is_connected
                assert "cannot be heard again: its user is not allowed that" in source.status.reason


def test_a_server_that_has_nothing_new_is_not_away(start, tmp_path, monkeypatch):
    """Whichever of its time-outs the library raises, as on a machine that is busy."""
    monkeypatch.setattr(nats, "_WAITS_S", 0.002)
    with peers.nats_server(tmp_path) as server, contextlib.closing(peers.NatsPublisher(server.servers)) as publish:
        service = start(sink=CLAIM, sources=[{"kind": "nats", "servers": server.servers}])
        connected(service)
        since = source(service)["since"]
        for heard in range(1, 30):
            publish("datum", {"datum_id": str(heard), "resource": "nobody's", "datum_kwargs": {}})
            publish.flush()
            wait_until(lambda heard=heard: source(service)["documents"] >= heard, within_s=40)
        assert (source(service)["state"], source(service)["since"]) == ("connected", since)


def test_a_missing_library_is_one_line_that_names_the_extra(start, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "nats", None)
    with pytest.raises(UsageError, match=r'pip install "bluesky-agent-service\[nats\]"'):
        start(sink=CLAIM, sources=[{"kind": "nats", "servers": "nats://127.0.0.1:9"}])
