"""A journal that grew beyond its limit: what went into a snapshot is gone, and everybody learns of it."""

import asyncio
import json

import pytest
from services import running, wait_until
from test_events import stream

from agent_service.client import Client
from agent_service.journal import reader
from agent_service.models import EventKind
from notebook_widgets.panels.event_feed import Address, Feed

KEEP = 1000


@pytest.fixture(scope="module")
def compacted(tmp_path_factory):
    """A service that compacted its journal when it started."""
    state = tmp_path_factory.mktemp("state")
    with running(state) as one:
        one.create("busy", guardrails={"bounds": {"x": [-9, 9]}})
        one.create("idle")
        one.post("agents/busy/start?paused=true")
        suggested = one.post("agents/busy/suggest", {"n_points": 1000})["suggestions"]
        one.post("agents/busy/ingest", {"points": [{"signal": 1.0, "_id": s["id"]} for s in suggested[:8]]})
        before = one.status("busy")
    with running(state, service={"keep_facts": KEEP}) as served:
        served.until("busy", "paused")
        wait_until(lambda: reader(f"sqlite:///{state}/journal.db").snapshot(), within_s=120, what="a snapshot")
        wait_until(lambda: reader(f"sqlite:///{state}/journal.db").read()[0].seq > 1)
        served.before = before
        yield served


def test_nothing_is_lost_and_memory_is_bounded(compacted):
    status = compacted.status("busy")
    assert {key: status[key] for key in ("counts", "best", "progress", "spec")} == {
        key: compacted.before[key] for key in ("counts", "best", "progress", "spec")
    }
    assert status["counts"]["suggested"] == 1000
    assert compacted.get("agents/busy/variables/seen")["value"] == 8
    assert compacted.get("agents/busy/history", limit=1)["items"][0]["seq"] > 1
    assert compacted.get("agents/idle/history")["items"] == []  # it is there, and what made it is in the snapshot
    compacted.problem("GET", "agents/nobody/history", 404, "not_found")


def test_a_cursor_older_than_what_is_kept_gets_reset(compacted):
    newest = compacted.get("agents/busy/history", newest_first=True, limit=1)["items"][0]["seq"]
    headers = {"Last-Event-ID": "3"}
    with compacted.http.stream("GET", "/api/v1/events", headers=headers) as answer:
        lines = answer.iter_lines()
        assert next(lines) == "event: reset"
        assert json.loads(next(lines).removeprefix("data: "))["data"]["last_seq"] >= newest
    with stream(compacted, last=newest - 1, agent="busy") as events:
        assert next(events).id == str(newest)  # one that is not older goes on without a gap


def test_the_client_goes_on_after_a_reset(compacted):
    with Client(compacted.url, api_key=compacted.server.api_key) as client:
        events = client.events(last_event_id=3)
        assert next(events).kind is EventKind.RESET
        client.create(name="news", type="brainbox:Walker", actuators=["x", "y"], outcome="signal")
        assert next(one for one in events if one.seq).agent == "news"


async def test_a_panel_looks_at_everything_anew(compacted):
    told = []

    class Subscription:
        def note(self, event=None, *, stale=False):
            told.append((event and event.kind, stale))

    feed = Feed(Address(compacted.url, compacted.server.api_key))
    feed._last_seq = 3
    feed.subscriptions = frozenset({Subscription()})
    feed.begin()
    try:
        async with asyncio.timeout(10):
            while (EventKind.RESET, True) not in told:
                await asyncio.sleep(0.01)
    finally:
        await feed.end()
