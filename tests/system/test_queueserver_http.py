"""A service whose plans go to a queue server over HTTP: what its key may not do, a lock, a Redis that is gone."""

import signal

import httpx
import pytest
from queue_rig import emptied, ended, fates, reason, serving, start, where
from queue_service import API_KEY, Forwarder, QueueService
from services import wait_until

from agent_service.errors import UsageError
from agent_service.service.check import check
from agent_service.service.config import ServiceConfig

LOCK = {"lock_key": "key", "user": "Ada", "note": "aligning"}


@pytest.fixture(scope="module")
def queue(tmp_path_factory):
    one = QueueService(tmp_path_factory.mktemp("queue"), http=True)
    yield one
    one.close()


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("QSERVER_HTTP_SERVER_API_KEY", API_KEY)


@pytest.fixture
def opened(queue):
    with Forwarder(queue, where):
        yield emptied(queue)


@pytest.fixture(params=["0MQ", "HTTP"])
def service(opened, tmp_path, request):
    way = {"control": None, "url": opened.url} if request.param == "HTTP" else {}
    with serving(opened, tmp_path / "state", **way) as one:
        yield one


def measured(service):
    service.until("aligner", "stopped", within_s=60)
    assert [(one["state"], one["reason"]) for one in service.suggestions("aligner")] == [("ingested", None)]
    return True


def test_where_nothing_is_named_the_environment_says_where_the_http_server_is(opened, tmp_path, monkeypatch):
    monkeypatch.setenv("QSERVER_HTTP_SERVER_URI", opened.url)
    with serving(opened, tmp_path / "state", control=None) as service:
        start(service, "aligner", loop={"max_runs": 1})
        assert measured(service)
    opened.until("idle")
    assert ended(opened)[-1]["user"] == "UNAUTHENTICATED_SINGLE_USER", "it came over HTTP, with the key"


def test_the_address_by_0mq_counts_before_that_by_http(opened, tmp_path, monkeypatch):
    monkeypatch.setenv("QSERVER_HTTP_SERVER_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("QSERVER_ZMQ_CONTROL_ADDRESS", opened.control)
    with serving(opened, tmp_path / "state", control=None) as service:
        start(service, "aligner", loop={"max_runs": 1})
        assert measured(service)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("127.0.0.1:60610", "QSERVER_HTTP_SERVER_URI .* it says '127.0.0.1:60610'"),
        ("tcp://*:60615", "QSERVER_ZMQ_CONTROL_ADDRESS must name the machine"),
        ("short", "QSERVER_ZMQ_PUBLIC_KEY must be a public key of CURVE"),
    ],
)
def test_an_environment_that_names_no_address_is_refused(queue, tmp_path, monkeypatch, value, says):
    monkeypatch.setenv(says.split()[0], value)
    with pytest.raises(UsageError, match=says), serving(queue, tmp_path / "state", control=None):
        pass


@pytest.mark.parametrize("what", [{"environment": True, "queue": False}, {"environment": False, "queue": True}])
def test_a_lock_of_the_queue_or_of_all_is_a_persons_word_and_is_said_with_whose_it_is(opened, service, what):
    """Of a lock of the queue alone the manager holds nothing back that is executed by itself."""
    assert opened.ask("lock", **what, **LOCK)["success"]
    try:
        about = {"headers": {"Authorization": f"ApiKey {API_KEY}"}}
        # the HTTP server tells a status for half a second, and what is sent meanwhile is measured
        wait_until(lambda: httpx.get(f"{opened.url}/api/status", **about).json()["lock"] == what, what="the lock")
        start(service, "aligner", loop={"max_runs": 1})
        said = wait_until(lambda: "is locked by Ada (aligning)" in (why := reason(service)) and why, what="whose lock")
        assert said.startswith("the queue of" if what["queue"] else "the queue server")
        assert (service.get("queue")["state"], fates(service, "aligner")) == ("suspended", ["submitted"])
    finally:
        opened.ask("unlock", lock_key="key")
    assert measured(service)


@pytest.mark.parametrize("items", [0, 1], ids=["an empty queue", "an item in it"])
def test_a_redis_that_is_gone_is_said_by_a_service_that_has_nothing_to_do(opened, service, items):
    """The manager says that it is idle, and the HTTP server tells the queue from its memory."""
    for _ in range(items):
        assert opened.person()["success"]
    key = {"Authorization": f"ApiKey {API_KEY}"}
    url = f"{opened.url}/api/queue/get"
    wait_until(lambda: len(httpx.get(url, headers=key).json()["items"]) == items, what="what it remembers from now on")
    opened.redis.end(signal.SIGKILL)
    try:
        wait_until(lambda: "its Redis is gone perhaps" in reason(service), what="what is wrong")
        assert service.get("queue")["state"] == "suspended"
    finally:
        opened.redis = opened._start_redis()
    wait_until(lambda: (service.get("queue")["state"], reason(service)) == ("idle", ""), what="its return")


@pytest.mark.long
def test_a_redis_that_dies_in_the_middle_of_a_plan_is_said(opened, service):
    start(service, "aligner", plan="leisurely", loop={"max_runs": 1})
    wait_until(lambda: fates(service, "aligner") == ["running"], what="a run")
    opened.redis.end(signal.SIGKILL)
    try:
        wait_until(lambda: "its Redis is gone perhaps" in reason(service), what="what is wrong")
        wait_until(lambda: opened.status().get("re_state") == "idle", what="the end of the plan")
    finally:
        opened.redis = opened._start_redis()
    opened.kill(opened.manager_pid)  # what it takes for running has ended; its watchdog starts another one
    assert measured(service)


def test_what_is_to_be_measured_while_redis_is_gone_waits_and_says_why(opened, service):
    """The HTTP server tells the queue from its memory: there it is the refusal that says what is wrong."""
    opened.redis.end(signal.SIGKILL)
    try:
        start(service, "aligner", loop={"max_runs": 1})
        wait_until(lambda: "Error 111 connecting to 127.0.0.1" in reason(service), what="what is wrong")
        assert (service.get("queue")["state"], fates(service, "aligner")) == ("suspended", ["submitted"])
    finally:
        opened.redis = opened._start_redis()
    assert measured(service)
    assert [opened.heard[one["id"]] for one in service.suggestions("aligner")] == [1]


@pytest.mark.long
@pytest.mark.parametrize(
    ("scope", "path"),
    [
        ("read:status", "status"),
        ("read:queue", "queue/item/get"),
        ("read:history", "history/get"),
        ("read:resources", None),
        ("read:lock", None),
        ("write:execute", "queue/item/execute"),
    ],
)
def test_what_the_key_may_not_do_is_said_and_nothing_is_measured_twice(queue, tmp_path, scope, path):
    queue.restart_http(without=[scope])
    try:
        opened = emptied(queue)
        runs = sum(opened.heard.values())
        way = {"control": None, "url": opened.url}
        with Forwarder(opened, where), serving(opened, tmp_path / "state", **way) as service:
            start(service, "aligner", plan="remembers", loop={"max_runs": 1})  # whose end the history tells
            if path is None:  # it can be measured without
                assert measured(service)
                return
            says = f"the key in QSERVER_HTTP_SERVER_API_KEY may not ask {opened.url} for {path}"
            wait_until(lambda: says in reason(service), what=says)
            assert "Redis" not in reason(service)
            assert sum(opened.heard.values()) <= runs + (scope == "read:history")
            if scope == "write:execute":  # a request whose answer is lost with the server would not be sent again
                service.post("queue/pause")
            queue.restart_http()
            service.post("queue/resume")
            wait_until(lambda: says not in reason(service), what="that it may")
            assert measured(service)
            assert max(opened.heard[one["id"]] for one in service.suggestions("aligner")) == 1
    finally:
        queue.restart_http()


def test_check_says_whether_a_key_is_missing_or_unknown_and_that_another_server_is_no_queue_server(queue, monkeypatch):
    def wrong(url=queue.url):
        section = {"kind": "queueserver", "url": url}
        [one] = check(ServiceConfig(sink=section, sources=[{"kind": "posted"}]), devices=True)
        return one.message

    monkeypatch.delenv("QSERVER_HTTP_SERVER_API_KEY", raising=False)
    assert "asks for a key: set QSERVER_HTTP_SERVER_API_KEY in the environment" in wrong()
    monkeypatch.setenv("QSERVER_HTTP_SERVER_API_KEY", "nobodys")
    assert "does not know the key in QSERVER_HTTP_SERVER_API_KEY: set a valid one" in wrong()
    assert "is no queue server; start it, or give its address" in wrong(f"{queue.url}/elsewhere")


@pytest.mark.long
def test_a_key_that_may_steer_no_plan_is_said_as_our_plan_goes_on(queue, tmp_path):
    queue.restart_http(without=["write:plan:control"])
    try:
        opened = emptied(queue)
        way = {"control": None, "url": opened.url}
        with Forwarder(opened, where), serving(opened, tmp_path / "state", **way) as service:
            start(service, "aligner", plan="leisurely", loop={"max_runs": 1})
            wait_until(lambda: fates(service, "aligner") == ["running"], what="a run")
            service.post("queue/pause")
            says = f"our plan goes on all the same: the key in QSERVER_HTTP_SERVER_API_KEY may not ask {opened.url} for"
            wait_until(lambda: f"{says} re/pause" in reason(service), what=says)
            wait_until(lambda: fates(service, "aligner") == ["ingested"], what="its end")
    finally:
        queue.restart_http()
