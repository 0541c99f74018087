"""The event stream: live, resumable, without gaps or repeats."""

import contextlib
import json

import pytest
from httpx_sse import connect_sse


@contextlib.contextmanager
def stream(served, *, last=None, **params):
    headers = {} if last is None else {"Last-Event-ID": str(last)}
    with connect_sse(served.http, "GET", "/api/v1/events", params=params, headers=headers) as source:
        events = source.iter_sse()
        if last is None or last < 10**9:
            first = next(events)
            assert (first.event, first.id.isdigit()) == ("heartbeat", True)
        yield events


def take(events, until):
    found = []
    for event in events:
        found.append(event)
        if until(event):
            return found
    pytest.fail("the stream ended")


def stopped(event):
    return event.event == "agent.state" and json.loads(event.data)["data"]["state"] == "stopped"


def test_what_happens_is_seen_live_and_in_order(served):
    served.create("live", loop={"max_runs": 2})
    with stream(served, agent="live") as events:
        served.post("agents/live/start")
        found = take(events, stopped)
    facts = [one for one in found if json.loads(one.data)["seq"]]
    history = served.get("agents/live/history", limit=1000)["items"]
    after_creation = [str(one["seq"]) for one in history[1:]]
    assert [one.id for one in facts] == after_creation
    body = json.loads(facts[0].data)
    assert set(body) == {"seq", "time", "agent", "kind", "data"}
    assert body["kind"] == facts[0].event


def test_a_reader_that_comes_back_misses_and_repeats_nothing(served):
    served.create("back", loop={"max_runs": 5})
    served.post("agents/back/start")
    served.until("back", "stopped")
    everything = [str(one["seq"]) for one in served.get("agents/back/history", limit=1000)["items"]]
    seen, last = [], int(everything[0]) - 1
    while len(seen) < len(everything):
        with stream(served, last=last, agent="back") as events:
            for event in (next(events) for _ in range(min(7, len(everything) - len(seen)))):
                seen.append(event.id)
                last = int(event.id)
    assert seen == everything


@pytest.mark.parametrize("last", [None, 0])
def test_only_the_kinds_that_are_asked_for_live_and_from_the_past(served, last):
    name = f"kinds-{last}"
    served.create(name, loop={"max_runs": 1})
    with stream(served, agent=name, kind=["agent.state", "ingest"], last=last) as events:
        served.post(f"agents/{name}/start")
        found = [one for one in take(events, stopped) if one.event != "heartbeat"]
    history = served.get(f"agents/{name}/history", limit=1000)["items"]
    asked = [str(one["seq"]) for one in history if one["kind"] in ("agent.state", "ingest")]
    seen = [one.id for one in found if json.loads(one.data)["agent"] == name]
    assert {one["kind"] for one in history} > {"agent.state", "ingest"}
    assert "ingest" in [one.event for one in found]
    assert seen == [one for one in asked if one in seen]
    assert asked[-3:] == seen[-3:]


def test_a_kind_that_there_is_not(served):
    assert "agent.state" in served.problem("GET", "events?kind=agent", 422, "invalid_input")["detail"]


def test_a_cursor_of_another_journal_gets_reset(served):
    with stream(served, last=10**9) as events:
        event = next(events)
        assert event.event == "reset"
        assert json.loads(event.data)["data"]["last_seq"] < 10**9
        assert next(events).event == "heartbeat"
        served.create("after-reset")
        assert next(events).event == "agent.state"


def test_a_silly_cursor(served):
    served.problem("GET", "events", 422, "invalid_input", headers={"Last-Event-ID": "yesterday"})


def test_streams_end_when_the_service_stops(start):
    service = start()
    with stream(service) as events:
        service.create("x")
        next(events)
        service.server.close()
        assert "agent.state" not in [one.event for one in events]  # the stream ends, it does not hang
