"""Sessions at a real queue server that a person locks: a lock is that person's word, of whichever part it is."""

import contextlib
import time

import pytest
from queue_rig import WORKER, emptied, ended, fates, ids, reason, serving, start, where
from queue_service import API_KEY, Forwarder, QueueService
from services import wait_until

from agent_service.plans.sinks.queue_server.peoples_turn import START_WITHIN_S

LOCK = {"lock_key": "key", "user": "Ada", "note": "aligning"}
OF_QUEUE = {"environment": False, "queue": True}
OF_ENVIRONMENT = {"environment": True, "queue": False}
OF_BOTH = {"environment": True, "queue": True}


@pytest.fixture(scope="module")
def queue(tmp_path_factory):
    one = QueueService(tmp_path_factory.mktemp("queue"), http=True, env=WORKER)
    yield one
    one.close()


@pytest.fixture
def opened(queue, monkeypatch):
    monkeypatch.setenv("QSERVER_HTTP_SERVER_API_KEY", API_KEY)
    with Forwarder(queue, where):
        yield emptied(queue)


@contextlib.contextmanager
def locked(opened, what):
    assert opened.ask("lock", **what, **LOCK)["success"]
    try:
        yield "the queue of the queue server" if what is OF_QUEUE else "the queue server"
    finally:
        opened.ask("unlock", lock_key="key")


def names(opened, since):
    return [item["name"] for item in ended(opened)[since:]]


@pytest.mark.parametrize(
    ("what", "waits", "way"),
    [
        pytest.param(OF_QUEUE, False, "0MQ", id="queue"),
        pytest.param(OF_BOTH, True, "HTTP", id="both, an item waits, HTTP"),
        *[
            pytest.param(what, waits, way, id=f"{name}{', an item waits' * waits}, {way}", marks=pytest.mark.long)
            for name, what in {"queue": OF_QUEUE, "environment": OF_ENVIRONMENT, "both": OF_BOTH}.items()
            for waits in (False, True)
            for way in ("0MQ", "HTTP")
            if (name, waits, way) not in {("queue", False, "0MQ"), ("both", True, "HTTP")}
        ],
    ],
)
def test_a_session_ends_for_a_lock_and_another_follows(opened, tmp_path, what, waits, way):
    """Its run ends whole, what was not measured waits and says whose lock there is, and nobody's item is started."""
    before = len(ended(opened))
    by_http = {"control": None, "url": opened.url} if way == "HTTP" else {}
    if waits:
        assert opened.person()["success"]
    with serving(opened, tmp_path / "state", per_item="session", **by_http) as service:
        start(service, "aligner", plan="unhurried", loop={"max_runs": 4})
        wait_until(lambda: fates(service, "aligner") == ["running"], what="a run")
        with locked(opened, what) as part:
            wait_until(lambda: f"{part} is locked by Ada (aligning)" in reason(service), what="whose lock it is")
            [session] = ended(opened)[before:]
            assert (session["name"], session["result"]["exit_status"]) == ("run_session", "completed")
            assert len(session["result"]["run_uids"]) in (1, 2), "one more may have begun before the manager was asked"
            assert (opened.status()["manager_state"], service.get("queue")["state"]) == ("idle", "suspended")
            *measured, waiting = fates(service, "aligner")
            assert (set(measured), waiting) == ({"ingested"}, "submitted")
            assert service.get("agents/aligner")["state"] == "running"
        service.until("aligner", "stopped", within_s=60)
        assert fates(service, "aligner") == ["ingested"] * 4
        assert [opened.heard[one] for one in ids(service, "aligner")] == [1] * 4
        opened.until("idle")
    assert names(opened, before) == ["run_session"] * 2
    assert [item["user"] for item in opened.ask("queue_get")["items"]] == ["a person"] * waits


def test_whoever_takes_a_lock_away_has_time_to_start_the_queue(opened, tmp_path):
    """People lock a queue to fill it, and start it after that."""
    before = len(ended(opened))
    with serving(opened, tmp_path / "state", per_item="session") as service:
        start(service, "aligner", plan="unhurried", loop={"max_runs": 3})
        wait_until(lambda: fates(service, "aligner") == ["running"], what="a run")
        with locked(opened, OF_QUEUE):
            wait_until(lambda: "is locked by Ada" in reason(service), what="whose lock it is")
            assert opened.person(lock="key")["success"]
            over = time.monotonic() + START_WITHIN_S
            wait_until(lambda: time.monotonic() > over, what="a lock that outlives the time after a session")
        wait_until(lambda: "an item of somebody waits in the queue" in reason(service), what="that it goes first")
        opened.begin_queue()
        service.until("aligner", "stopped", within_s=60)
        opened.until("idle")
    assert names(opened, before) == ["run_session", "by_hand", "run_session"]


def test_a_session_that_gives_no_way_to_items_ends_for_a_lock(opened, tmp_path):
    before = len(ended(opened))
    with serving(opened, tmp_path / "state", per_item="session", gives_way=False) as service:
        start(service, "aligner", plan="unhurried", loop={"max_runs": 3})
        wait_until(lambda: fates(service, "aligner") == ["running"], what="a run")
        with locked(opened, OF_ENVIRONMENT):
            wait_until(lambda: "is locked by Ada" in reason(service), what="whose lock it is")
            assert names(opened, before) == ["run_session"]
        service.until("aligner", "stopped", within_s=60)
        assert fates(service, "aligner") == ["ingested"] * 3


def test_a_session_taken_up_after_a_restart_ends_for_a_lock(opened, tmp_path):
    state, before = tmp_path / "state", len(ended(opened))
    with serving(opened, state, per_item="session") as service:
        start(service, "aligner", plan="leisurely", loop={"max_runs": 3})
        wait_until(lambda: fates(service, "aligner") == ["running"], what="a run")
    with locked(opened, OF_BOTH):
        for _ in range(2):  # the second time none runs
            with serving(opened, state, per_item="session") as service:
                wait_until(lambda: "is locked by Ada" in reason(service), what="whose lock it is")
                assert (fates(service, "aligner"), names(opened, before)) == (
                    ["ingested", "submitted"],
                    ["run_session"],
                )
    with serving(opened, state, per_item="session") as service:
        service.until("aligner", "stopped", within_s=60)
        assert [opened.heard[one] for one in ids(service, "aligner")] == [1] * 3
        opened.until("idle")
    assert names(opened, before) == ["run_session"] * 2
