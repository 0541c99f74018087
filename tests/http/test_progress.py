"""What an agent's code reports and logs from inside a call: in its status, and in the event stream."""

import logging
import threading

import brainbox
import pytest
from services import wait_until

from agent_service import Client


@pytest.fixture
def thinking():
    brainbox.thinking.clear()
    brainbox.done_thinking.clear()
    yield brainbox
    brainbox.done_thinking.set()


class Watch:
    """Collects the events of an agent in a thread of its own, until the service has answered a last call."""

    def __init__(self, service, agent):
        self.seen = []
        self._client = Client(service.url, api_key=service.server.api_key)
        self._events = self._client.events(agent)
        self._thread = threading.Thread(target=self._work)
        self._open = threading.Event()
        self._thread.start()
        wait_until(self._open.is_set)

    def _work(self):
        for event in self._events:
            self._open.set()  # the first is a heartbeat, at once
            self.seen.append(event)
            if event.kind == "report":
                return

    def until_report(self):
        self._thread.join(30)
        assert not self._thread.is_alive()
        self._client.close()
        return self.seen


def test_progress_and_log_reach_the_event_stream(start):
    service = start()
    service.create("chatty", type="brainbox:Chatty", loop={"approval": "required"})
    service.create("other", loop={"approval": "required"})
    service.post("agents/chatty/start", None)
    service.until("chatty", "running")
    service.post("agents/chatty/pause")
    watch = Watch(service, "chatty")
    service.post("agents/chatty/suggest", {"n_points": 1})
    service.post("agents/chatty/report")
    seen = watch.until_report()
    told = [one.data for one in seen if one.kind == "progress"]
    assert told[-1] == {"call": "suggest", "done": 3, "total": 3, "message": "fitting"}
    lines = [one.data for one in seen if one.kind == "log"]
    assert lines == [{"level": "warning", "message": f"step {n} of 3", "logger": "brainbox.chatty"} for n in (1, 2, 3)]
    assert {one.agent for one in seen if one.kind in ("progress", "log")} == {"chatty"}
    assert all(one.seq is None for one in seen if one.kind in ("progress", "log"))
    kinds = {one["kind"] for one in service.get("agents/chatty/history")["items"]}
    assert not kinds & {"progress", "log"}


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_what_an_agent_logs_is_in_the_log_of_the_service_once(start, caplog, executor):
    service = start()
    service.create("chatty", type="brainbox:Chatty", executor=executor, loop={"approval": "required"})
    service.post("agents/chatty/start?paused=true")
    service.post("agents/chatty/suggest", {"n_points": 1})
    steps = [f"step {n} of 3" for n in (1, 2, 3)]
    found = [one for one in caplog.records if one.name == "brainbox.chatty" and one.getMessage() in steps]
    assert [(one.levelname, one.getMessage()) for one in found] == [("WARNING", one) for one in steps]


def test_the_status_shows_the_progress_of_the_present_call(start, thinking):
    service = start()
    service.create("chatty", type="brainbox:Chatty", config={"hold": True, "steps": 7}, executor="thread")
    service.post("agents/chatty/start")
    wait_until(thinking.thinking.is_set)
    wait_until(lambda: ((service.status("chatty")["busy"] or {}).get("progress") or {}).get("done") == 7)
    busy = service.status("chatty")["busy"]
    assert busy["call"] == "suggest"
    assert (busy["progress"]["done"], busy["progress"]["total"], busy["progress"]["message"]) == (7, 7, "fitting")
    thinking.done_thinking.set()
    wait_until(lambda: service.status("chatty")["busy"] is None)


def test_logging_is_as_it_was_when_the_service_ends(start, tmp_path):
    before = logging.getLogRecordFactory()
    service = start()
    assert logging.getLogRecordFactory() != before
    service.close()
    assert logging.getLogRecordFactory() == before
