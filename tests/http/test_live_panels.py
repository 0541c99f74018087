"""Panels against a real service: what their page is told, and what it may ask by its kernel."""

import pytest
from services import wait_until

from agent_service.client import Client
from agent_service.errors import Conflict, InvalidInput
from notebook_widgets import AgentPanel, ServicePanel, SuggestionsPanel
from notebook_widgets.panels.heartbeat import Heartbeat


@pytest.fixture
def client(served):
    with Client(served.url, api_key=served.server.api_key) as one:
        yield one


@pytest.fixture(autouse=True)
def _still(served):
    """Let no agent of an earlier test move what a later one looks at."""
    yield
    for one in served.get("agents")["items"]:
        if "stop" in one["legal"]:
            served.post(f"agents/{one['name']}/stop")


@pytest.fixture
def panels(client):
    made = []

    def make(kind, *args):
        made.append(kind(client, *args))
        return made[-1]

    yield make
    for one in made:
        one.close()


def told(panel, path):
    return panel.answers.get(path, {})


def shows(panel, state):
    wait_until(lambda: told(panel, f"agents/{panel.name}").get("state") == state, what=f"the panel told {state}")


@pytest.fixture
def said(monkeypatch):
    """Collect what a panel says to its page, beats left out."""

    def listen(panel):
        messages = []
        monkeypatch.setattr(panel, "send", lambda one: None if set(one) == {"beat"} else messages.append(one))
        return messages

    return listen


def test_a_page_is_told_events_and_what_the_service_answers(served, panels, said):
    served.create("told", loop={"max_runs": 1})
    panel = panels(AgentPanel, "told")
    shows(panel, "created")
    messages = said(panel)
    panel.ask("POST", "agents/told/start").result(20)
    shows(panel, "stopped")
    assert told(panel, "service")["scopes"] == ["read", "propose", "control", "approve", "admin"]
    events = [event for one in messages for event in one["events"]]
    assert {event["agent"] for event in events} <= {"told", None}
    states = [event["data"]["state"] for event in events if event["kind"] == "suggestion.state"]
    assert states[0] == "proposed"
    assert states[-1] == "ingested"


def test_a_question_of_the_page_is_answered(served, panels, said):
    served.create("asked")
    panel = panels(AgentPanel, "asked")
    shows(panel, "created")
    messages = said(panel)
    panel._handle_custom_msg({"ask": "1", "method": "POST", "path": "agents/asked/start", "body": None}, [])
    panel._handle_custom_msg({"ask": "2", "method": "GET", "path": "agents/asked/suggestions?limit=1"}, [])
    panel._handle_custom_msg({"ask": "3", "method": "POST", "path": "suggestions/nobody/reject", "body": {}}, [])
    answers = lambda: {one["answer"]: one for one in messages if "answer" in one}  # noqa: E731
    wait_until(lambda: answers().keys() == {"1", "2", "3"}, what="the answers")
    assert served.status("asked")["state"] == "running"
    assert answers()["1"]["said"]["name"] == "asked"
    assert len(answers()["2"]["said"]["items"]) <= 1
    problem = answers()["3"]["problem"]
    assert (problem["status"], problem["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "agents"),
        ("DELETE", "agents/safe"),
        ("POST", "panel-keys"),
        ("POST", "agents/safe/methods/reset"),
        ("GET", "jobs"),
        ("GET", "agents/../service"),
        ("PUT", "agents/safe/variables/a/b"),
        ("TRACE", "service"),
    ],
)
def test_a_page_asks_no_more_than_its_buttons_do(served, panels, said, method, path):
    """Everybody who sees a Voila page may send its kernel messages, and the kernel's key may do more."""
    panel = panels(AgentPanel, "safe")
    with pytest.raises(InvalidInput, match="a panel asks no"):
        panel.ask(method, path)
    messages = said(panel)
    panel._handle_custom_msg({"ask": "1", "method": method, "path": path}, [])
    assert next(one for one in messages if "answer" in one)["problem"]["status"] == 422


def test_a_press_is_answered_and_one_that_waited_behind_a_cell_is_not_done(served, panels, said):
    served.create("pressed")
    panel = panels(AgentPanel, "pressed")
    shows(panel, "created")
    messages = said(panel)
    now = Heartbeat.now()
    start = {"method": "POST", "path": "agents/pressed/start"}
    panel._handle_custom_msg({"ask": "1", "beat": now - 60, **start}, [])
    assert [{**one, "beat": 0} for one in messages] == [{"late": "1", "beat": 0}]
    panel._handle_custom_msg({"ask": "2", "beat": Heartbeat.now(), **start, "path": "agents/pressed/pause"}, [])
    wait_until(lambda: any(one.get("answer") == "2" for one in messages), what="the answer")
    assert {"heard": "2"} in messages
    assert served.status("pressed")["state"] == "created", "the late one was not done"


def test_pages_get_beats_and_a_key_that_is_no_trait(served, panels):
    served.create("paged")
    panel = panels(AgentPanel, "paged")
    shows(panel, "created")
    said = []
    panel._heartbeat._say = said.append
    panel._handle_custom_msg({"here": "http://127.0.0.1:8888"}, [])
    way = wait_until(lambda: next((one["way"] for one in said if "way" in one), None), what="a key")
    assert (way["origin"], way["url"]) == ("http://127.0.0.1:8888", served.url)
    wait_until(lambda: any("beat" in one for one in said), what="a beat")
    assert way["key"] not in str(panel.get_state())
    panel._handle_custom_msg({"here": "vscode-webview://1234"}, [])  # no page of the web: beats, and no key
    panel._handle_custom_msg({"here": "https://hub.example.org"}, [])
    wait_until(lambda: any(one.get("way", {}).get("origin") == "https://hub.example.org" for one in said), what="a key")


def test_an_unknown_agent_a_new_one_and_a_removed_one(served, panels):
    panel = panels(AgentPanel, "later")
    missing = lambda: "no agent 'later'" in told(panel, "agents/later").get("problem", {}).get("detail", "")  # noqa: E731
    wait_until(missing, what="that there is none")
    served.create("later")
    shows(panel, "created")
    with pytest.raises(Conflict, match="cannot pause"):
        panel.ask("POST", "agents/later/pause").result(20)
    assert served.http.delete("/api/v1/agents/later").status_code == 204
    wait_until(missing, what="that it is gone")
    panel.close()
    with pytest.raises(InvalidInput, match="was closed"):
        panel.ask("POST", "agents/later/start")


def test_what_is_shown_without_a_front_end(served, panels):
    served.create("text")
    panel, service = panels(AgentPanel, "text"), panels(ServicePanel)
    shows(panel, "created")
    wait_until(lambda: "text created" in repr(service), what="the agent in the service's panel")
    bundle = panel._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert data["text/plain"] == f"<AgentPanel 'text' of {served.url}: created>"
    assert "application/vnd.jupyter.widget-view+json" in data
    assert repr(service).startswith(f"<ServicePanel of {served.url}: ")
    assert repr(panels(SuggestionsPanel)).startswith("<SuggestionsPanel of http://")
