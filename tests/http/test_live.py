"""The live thread against a real service: one stream, gathered, back after a restart, gone with the last panel."""

import subprocess
import sys
import threading
import time

import pytest
from services import wait_until

from agent_service.client import Client
from agent_service.errors import BackendUnavailable, InvalidInput, Unauthenticated
from notebook_widgets import AgentPanel, ServicePanel, SuggestionsPanel
from notebook_widgets.panels.event_feed import UPDATE_EVERY_S, LiveThread

PROPOSED = "suggestions?state=proposed&limit=1000"


@pytest.fixture
def panels():
    """Make panels that are closed with the test."""
    made = []

    def make(kind, *args):
        made.append(kind(*args))
        return made[-1]

    yield make
    for one in made:
        one.close()
    assert not [one for one in threading.enumerate() if one.name == "agent-panels"]


@pytest.fixture
def client(start):
    served = start()
    with Client(served.url, api_key=served.server.api_key) as one:
        one.served = served
        yield one


def state_of(panel):
    """Return what the page is told of the panel's agent."""
    answer = panel.answers.get(f"agents/{panel.name}", {})
    return "missing" if "problem" in answer else answer.get("state")


def press(panel, command):
    return panel.ask("POST", f"agents/{panel.name}/{command}").result(20)


def done(panel):
    return panel.answers[f"agents/{panel.name}"]["progress"]["done"]


def linked(panel, state, **kwargs):
    wait_until(lambda: panel.link["state"] == state, what=f"the link {state}", **kwargs)


def in_state(panel, state):
    wait_until(lambda: state_of(panel) == state, what=f"the panel {state}")


def test_all_panels_share_one_thread_and_one_stream(client, panels):
    client.served.create("a")
    first, second = panels(AgentPanel, client, "a"), panels(AgentPanel, client, "a")
    panels(SuggestionsPanel, client)
    panels(ServicePanel, client)
    in_state(first, "created")
    in_state(second, "created")
    assert len([one for one in threading.enumerate() if one.name == "agent-panels"]) == 1
    (feed,) = LiveThread._shared._feeds.values()
    assert len(feed.subscriptions) == 4
    first.close()
    assert len(feed.subscriptions) == 3
    press(second, "start")
    in_state(second, "running")


def test_updates_are_gathered(client, panels):
    """Hundreds of events become at most ten messages to the page a second, and the last one tells all."""
    client.served.create("busy", loop={"max_runs": 40})
    panel = panels(AgentPanel, client, "busy")
    in_state(panel, "created")
    sent = []
    panel.comm.publish_msg = lambda kind, *args, **kwargs: sent.append(kind)
    begun = time.monotonic()
    press(panel, "start")
    wait_until(lambda: done(panel) == 40, what="all runs in the panel")
    in_state(panel, "stopped")
    took_s = time.monotonic() - begun
    assert client.history("busy")[-1].seq > 200
    assert 0 < len(sent) <= 2 * (took_s / UPDATE_EVERY_S + 3), "the events of an update, and the answers after them"


def test_a_restarted_service_is_shown_and_the_panel_recovers(start, panels, tmp_path):
    first = start(tmp_path / "state")
    first.create("a", loop={"approval": "required"})
    with Client(first.url, api_key=first.server.api_key) as client:
        panel, inbox = panels(AgentPanel, client, "a"), panels(SuggestionsPanel, client)
        in_state(panel, "created")
        press(panel, "start")
        wait_until(lambda: inbox.answers.get(PROPOSED, {}).get("items"), what="a suggestion")
        first.close()
        linked(panel, "reconnecting")
        assert "no service answers" in panel.link["message"]
        with pytest.raises(BackendUnavailable):
            press(panel, "pause")
        again = start(tmp_path / "state", service={"port": int(first.url.rpartition(":")[2])})
        linked(panel, "live")
        linked(inbox, "live")
        in_state(panel, "running")
        press(panel, "stop")
        in_state(panel, "stopped")
        assert again.status("a")["state"] == "stopped"


def test_another_service_on_the_same_address(start, panels, tmp_path):
    """A journal that begins anew: what the panel knew is forgotten."""
    first = start(tmp_path / "one")
    first.create("a", loop={"max_runs": 3})
    key = first.server.api_key
    (tmp_path / "two").mkdir(mode=0o700)
    (tmp_path / "two" / "api_key").write_text(key)
    (tmp_path / "two" / "api_key").chmod(0o600)
    with Client(first.url, api_key=key) as client:
        panel = panels(AgentPanel, client, "a")
        in_state(panel, "created")
        press(panel, "start")
        wait_until(lambda: done(panel) == 3, what="three outcomes")
        first.close()
        linked(panel, "reconnecting")
        start(tmp_path / "two", service={"port": int(first.url.rpartition(":")[2])})
        linked(panel, "live")
        in_state(panel, "missing")
        client.create(name="a", type="brainbox:Walker", actuators=["x", "y"], sensors=["signal"], outcome="signal")
        in_state(panel, "created")
        assert done(panel) == 0


def test_a_wrong_key_is_one_clear_line(client, panels):
    panel = panels(AgentPanel, Client(client.url, api_key="wrong"), "a")
    linked(panel, "refused")
    assert "key" in panel.link["message"]
    assert "\n" not in panel.link["message"]
    with pytest.raises(Unauthenticated):
        press(panel, "start")


def test_nobody_there(panels):
    panel = panels(AgentPanel, "http://127.0.0.1:9", "a")
    linked(panel, "reconnecting")
    assert "no service answers at http://127.0.0.1:9" in panel.link["message"]
    overview = panels(ServicePanel, "http://127.0.0.1:9")
    linked(overview, "reconnecting")


def test_a_closed_panel_says_so_and_closing_twice_is_fine(client):
    panel = AgentPanel(client, "a")
    panel.close()
    panel.close()
    with pytest.raises(InvalidInput, match="was closed"):
        panel.ask("POST", "agents/a/start")


def test_panels_come_and_go_while_events_stream(client, panels):
    """Closing meets an event at every moment there is: asyncio.wait_for of 3.11 swallowed one cancellation in ten."""
    client.served.create("a")
    client.start("a")
    for i in range(25):
        panel = panels(AgentPanel, client, "a")
        in_state(panel, "running")
        seen = done(panel)
        wait_until(lambda p=panel, n=seen + i % 3: done(p) >= n, what="more runs")
        panel.close()
        assert LiveThread._shared is None
        assert not [one for one in threading.enumerate() if one.name == "agent-panels"]


SCRIPT = """
import asyncio, sys, time
import nest_asyncio
nest_asyncio.apply()
from agent_service.client import Client
from notebook_widgets import AgentPanel

async def main():
    panel = AgentPanel(Client(sys.argv[1], api_key=sys.argv[2]), "a")
    deadline = time.monotonic() + 20
    while panel.answers.get("agents/a", {}).get("state") != "created" and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    started = await asyncio.wrap_future(panel.ask("POST", "agents/a/start"))
    asyncio.get_event_loop().run_until_complete(asyncio.sleep(0))  # what nest_asyncio is there for
    print(started["name"], started["state"])
    panel.close()

asyncio.run(main())
"""


def test_after_nest_asyncio(client):
    client.served.create("a")
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, client.url, client.served.server.api_key],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.stdout.split() == ["a", "running"], ran.stderr
    assert client.served.status("a")["state"] == "running"
