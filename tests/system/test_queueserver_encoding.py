"""A service and a real RE Manager that speaks msgpack: what each says to the other, and where they differ."""

import pytest
from queue_rig import SPEC, emptied, ended, fates, ids, reason, serving, start, where
from queue_service import API_KEY, Forwarder, QueueService
from services import wait_until

from agent_service.errors import UsageError
from agent_service.service.check import check
from agent_service.service.config import ServiceConfig

LOCK = {"lock_key": "key", "user": "Ada", "note": "aligning"}
SAYS = 'speaks msgpack and was asked in json: write encoding = "msgpack" below [sink] in service.toml, or set'


@pytest.fixture(scope="module")
def queue(tmp_path_factory):
    one = QueueService(tmp_path_factory.mktemp("queue"), encoding="msgpack", http=True)
    yield one
    one.close()


@pytest.fixture
def opened(queue):
    with Forwarder(queue, where):
        yield emptied(queue)


@pytest.mark.parametrize("by", ["service.toml", "environment"])
def test_a_manager_that_speaks_msgpack_measures_and_is_steered(opened, tmp_path, monkeypatch, by):
    monkeypatch.setenv("QSERVER_ZMQ_ENCODING", "json" if by == "service.toml" else "MSGPACK")
    said = {"encoding": "msgpack"} if by == "service.toml" else {}
    with serving(opened, tmp_path / "state", **said) as service:
        assert opened.ask("lock", environment=True, **LOCK)["success"]
        start(service, "aligner", plan="leisurely", loop={"max_runs": 1})
        wait_until(lambda: "is locked by Ada (aligning)" in reason(service), what="whose lock it is")
        assert opened.ask("unlock", lock_key="key")["success"]
        wait_until(lambda: fates(service, "aligner") == ["running"], what="a run")
        service.post("queue/pause")
        opened.until("paused")
        service.post("queue/resume")
        service.until("aligner", "stopped", within_s=30)
        assert fates(service, "aligner") == ["ingested"]
        assert [opened.heard[one] for one in ids(service, "aligner")] == [1]
        assert ended(opened)[-1]["result"]["exit_status"] == "completed"


def test_over_http_nobody_need_know_what_the_manager_speaks(opened, tmp_path, monkeypatch):
    monkeypatch.setenv("QSERVER_HTTP_SERVER_API_KEY", API_KEY)
    with serving(opened, tmp_path / "state", control=None, url=opened.url) as service:
        start(service, "aligner", loop={"max_runs": 1})
        service.until("aligner", "stopped", within_s=30)
        assert fates(service, "aligner") == ["ingested"]


def test_a_manager_that_speaks_otherwise_is_said_with_what_to_write(opened, tmp_path):
    with serving(opened, tmp_path / "state") as service:
        start(service, "aligner", loop={"max_runs": 1})
        wait_until(lambda: SAYS in reason(service), what="what to write")
        wait_until(lambda: fates(service, "aligner") == ["submitted"], what="a suggestion that waits for its answer")
        assert service.get("queue")["state"] == "suspended"
        assert opened.status()["manager_state"] == "idle"
    section = {"kind": "queueserver", "control": opened.control}
    given = {"agents": [{**SPEC, "name": "aligner"}], "sources": [{"kind": "posted"}]}
    [wrong] = check(ServiceConfig(sink=section, **given), devices=True)
    assert (wrong.field, SAYS in wrong.message) == ("sink", True)
    assert wrong.message.endswith("QSERVER_ZMQ_ENCODING=msgpack for this service"), "it runs, and its address is right"
    assert check(ServiceConfig(sink={**section, "encoding": "msgpack"}, **given), devices=True) == []


def test_an_environment_that_names_no_encoding_is_refused(queue, tmp_path, monkeypatch):
    monkeypatch.setenv("QSERVER_ZMQ_ENCODING", "pickle")
    with pytest.raises(UsageError, match="must be json or msgpack; it says 'pickle'"), serving(queue, tmp_path / "s"):
        pass
