"""Panels against a real service: what they show, and what their buttons do to the service."""

import pytest
import rig
from services import wait_until

from agent_service.client import Client
from agent_service.errors import InvalidInput
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


def shows(panel, state):
    wait_until(lambda: panel.agent.get("state") == state, what=f"the panel {state}")


def until(condition, what="the panel to show it"):
    return wait_until(condition, what=what)


def press(panel, action, **arguments):
    """Do as the page does: a message, whose answer is in the traits."""
    assert panel.act(action, **arguments).result(20), panel.notice


def refused(panel, action, **arguments):
    assert not panel.act(action, **arguments).result(20)
    assert panel.notice["kind"] == "error"
    assert "\n" not in panel.notice["text"]
    return panel.notice["text"]


def test_the_buttons_are_the_service_s_commands(served, panels):
    served.create("life", loop={"approval": "required"})
    panel = panels(AgentPanel, "life")
    shows(panel, "created")
    assert "start" in panel.agent["legal"]
    assert (panel.agent["type"], panel.agent["executor"]) == ("brainbox:Walker", "thread")
    for command, state in [
        ("start", "running"),
        ("pause", "paused"),
        ("resume", "running"),
        ("restart", "running"),
        ("stop", "stopped"),
    ]:
        press(panel, command)
        assert served.status("life")["state"] == state
        shows(panel, state)
    assert panel.agent["reason"] == "stopped by a person"
    assert "cannot stop; it can start" in refused(panel, "stop")
    press(panel, "start")
    assert panel.notice == {}


def test_a_message_of_the_page_is_an_action(served, panels):
    served.create("message")
    panel = panels(AgentPanel, "message")
    shows(panel, "created")
    panel._handle_custom_msg({"action": "start"}, [])
    wait_until(lambda: served.status("message")["state"] == "running", what="running")
    panel._handle_custom_msg({"action": "fly"}, [])
    assert "no action 'fly'; it has stop-everything" in panel.notice["text"]
    panel._handle_custom_msg({"action": "approve", "colour": "red"}, [])
    until(lambda: panel.notice["text"].startswith("approve: "))
    with pytest.raises(InvalidInput, match="no action"):
        panel.act("fly")


def test_each_press_is_answered_and_one_that_waited_behind_a_cell_is_not_done(served, panels, monkeypatch):
    served.create("pressed")
    panel = panels(AgentPanel, "pressed")
    shows(panel, "created")
    said = []
    monkeypatch.setattr(panel, "send", said.append)
    now = Heartbeat.now()
    panel._handle_custom_msg({"action": "start", "press": "1", "beat": now - 60}, [])
    assert [{**one, "beat": 0} for one in said] == [{"late": "1", "beat": 0}]
    panel._handle_custom_msg({"action": "pause", "press": "2", "beat": Heartbeat.now()}, [])
    until(lambda: said[1:] == [{"heard": "2"}, {"done": "2"}], "the answers")
    assert panel.notice["kind"] == "error"
    assert served.status("pressed")["state"] == "created", "the late one was not done"
    panel._handle_custom_msg({"action": "start", "press": "3", "beat": said[0]["beat"]}, [])
    until(lambda: {"done": "3"} in said or {"late": "3"} in [{"late": one.get("late")} for one in said], "an answer")
    panel._handle_custom_msg({"press": "4"}, [])
    assert said[-2:] == [{"heard": "4"}, {"done": "4"}]


def test_pages_get_beats_and_a_key_that_is_no_trait(served, panels):
    served.create("paged")
    panel = panels(AgentPanel, "paged")
    shows(panel, "created")
    said = []
    panel._heartbeat._say = said.append
    panel._handle_custom_msg({"here": "http://127.0.0.1:8888"}, [])
    way = until(lambda: next((one["way"] for one in said if "way" in one), None))
    assert (way["origin"], way["url"]) == ("http://127.0.0.1:8888", served.url)
    until(lambda: any("beat" in one for one in said))
    assert way["key"] not in str(panel.get_state())
    panel._handle_custom_msg({"here": "vscode-webview://1234"}, [])  # no page of the web: beats, and no key
    panel._handle_custom_msg({"here": "https://hub.example.org"}, [])
    until(lambda: any(one.get("way", {}).get("origin") == "https://hub.example.org" for one in said))


def test_stop_everything_latches(served, panels):
    rig.gate.clear()
    rig.measuring.clear()
    served.create("hold", plan="gated")
    panel = panels(AgentPanel, "hold")
    shows(panel, "created")
    press(panel, "start")
    assert rig.measuring.wait(20)
    until(lambda: (panel.progress.get("measuring") or {}).get("point") == {"x": 0.0, "y": 0.0}, "what is measured")
    press(panel, "stop-everything")
    try:
        assert served.get("queue")["state"] == "held"
        until(lambda: panel.service["queue"]["state"] == "held")
        shows(panel, "paused")
        assert "held" in panel.agent["reason"]
        press(panel, "stop-everything")  # twice is once
        assert "queue is held" in refused(panel, "resume")
    finally:
        rig.gate.set()
        press(panel, "resume-queue")
    until(lambda: panel.service["queue"]["state"] != "held")
    shows(panel, "running")
    press(panel, "stop")


def test_what_was_measured_is_plotted(served, panels):
    served.create("plot", loop={"max_runs": 3}, guardrails={"bounds": {"x": [-5, 5]}})
    panel = panels(AgentPanel, "plot")
    shows(panel, "created")
    press(panel, "start")
    shows(panel, "stopped")
    until(lambda: len(panel.plot["rows"]) == 3)
    assert panel.plot["rows"] == [[0.0, 0.0, -0.25], [1.0, 0.0, 0.75], [2.0, 0.0, -0.25]]
    assert panel.plot["allowed"] == [[-5.0, 5.0], None]
    until(lambda: panel.best == {"point": {"x": 1.0, "y": 0.0}, "outcome": {"signal": 0.75}})
    until(lambda: (panel.progress["done"], panel.progress["total"]) == (3, 3))
    assert panel.agent["reason"] == "max_runs reached (3 of 3)"
    again = panels(AgentPanel, "plot")  # from the service's answers alone
    until(lambda: again.plot.get("rows") == panel.plot["rows"])
    until(lambda: again.lines.get("history") == panel.lines["history"], "the same history")
    until(lambda: "approve" in panel.service["scopes"], "what the key may do: without approve no button is offered")
    press(panel, "go-to-best")
    assert panel.notice["text"] == "moved to x 1, y 0"
    until(
        lambda: any("moved to x 1, y 0" in line["text"] for line in panel.lines["history"]), "the move in the history"
    )
    assert rig.x.readback.get() == 1.0


def test_the_inbox(served, panels):
    served.create("inbox", loop={"approval": "required", "n_points": 3}, guardrails={"bounds": {"x": [-1, 5]}})
    panel, everyone = panels(AgentPanel, "inbox"), panels(SuggestionsPanel)
    shows(panel, "created")
    press(panel, "start")
    until(lambda: len(panel.inbox) == 3)
    first, second, third = [one["id"] for one in panel.inbox]
    until(lambda: {first, second, third} <= {one["id"] for one in everyone.inbox})
    press(panel, "approve", id=first)
    press(everyone, "reject", id=second)
    assert "must be a number" in refused(panel, "approve", id=third, point={"x": "", "y": "0"})
    assert "outside [-1, 5]" in refused(panel, "approve", id=third, point={"x": "9", "y": "0"})
    until(
        lambda: [one for one in panel.inbox if one["id"] == third and "outside [-1, 5]" in one["note"]],
        "the reason, in place",
    )
    press(panel, "approve", id=third, point={"x": "1.0", "y": "-0.5"})
    found = {one["id"]: one for one in served.suggestions("inbox")}
    assert found[second]["state"] == "rejected"
    until(lambda: [1.0, -0.5, 1.0] in panel.plot["rows"], "the edited point measured")
    until(lambda: not {first, second, third} & {one["id"] for one in everyone.inbox})
    assert "no suggestion" in refused(everyone, "reject", id="nobody")
    press(panel, "stop")


def test_the_form_changes_the_agent(served, panels):
    served.create("form", config={"step": 1.0})
    panel = panels(AgentPanel, "form")
    until(lambda: panel.form)
    press(panel, "configure", values={"loop.max_runs": "7", "config.step": "2.5", "guardrails.bounds.x": ["-3", "3"]})
    spec = served.status("form")["spec"]
    assert (spec["loop"]["max_runs"], spec["config"]) == (7, {"step": 2.5})
    assert spec["guardrails"]["bounds"] == {"x": [-3, 3]}
    fields = lambda: {field["path"]: field["value"] for group in panel.form for field in group["fields"]}  # noqa: E731
    until(lambda: fields()["loop.max_runs"] == 7 and fields()["guardrails.bounds.x"] == [-3, 3])
    press(panel, "configure", values={"loop.max_runs": "7"})
    assert panel.notice["text"] == "nothing to change"


def test_messages_stand_beside_their_fields(served, panels):
    served.create(
        "wrong",
        type="sobol",
        config={"bounds": {"x": [0, 1], "y": [0, 1]}},
    )
    panel = panels(AgentPanel, "wrong")
    until(lambda: panel.form)
    assert "fields marked" in refused(panel, "configure", values={"loop.max_runs": "0"})
    assert list(panel.form_errors) == ["loop.max_runs"]
    refused(panel, "configure", values={"config.bounds.x": ["3", "1"], "config.seed": "-1"})
    assert set(panel.form_errors) == {"config.bounds.x", "config.seed"}
    refused(panel, "configure", values={"config.bounds.x": ["3", ""]})
    assert panel.form_errors == {"config.bounds.x": "needs both ends"}
    assert served.status("wrong")["config"] == {"bounds": {"x": [0, 1], "y": [0, 1]}}
    press(panel, "configure", values={"config.seed": "4"})
    assert panel.form_errors == {}


def test_variables_reports_and_points_by_hand(served, panels):
    served.create("hand", loop={"approval": "required"})
    panel = panels(AgentPanel, "hand")
    shows(panel, "created")
    press(panel, "start")
    until(lambda: {one["name"]: one["writable"] for one in panel.variables} == {"gain": True, "seen": False})
    press(panel, "set-variable", name="gain", value=2.5)
    assert panel.notice["text"] == "gain is 2.5 now"
    until(lambda: {"name": "gain", "value": 2.5, "writable": True} in panel.variables)
    press(panel, "suggest", n_points="2")
    assert len(served.suggestions("hand", state="proposed")) == 3  # and one of its loop
    press(panel, "ingest", point={"x": "1", "y": "2", "signal": "0.5"})
    until(lambda: panel.plot["rows"] == [[1.0, 2.0, 0.5]])
    assert "y must be filled in" in refused(panel, "ingest", point={"x": "1", "y": "", "signal": "2"})
    press(panel, "report")
    until(lambda: panel.reports and panel.reports[0]["report"]["n"] == 1)
    told = {"x 1, y 2, signal 0.5", "gain set to 2.5", "reported"}
    until(lambda: told <= {one["text"] for one in panel.lines["history"]}, "the history")


def test_a_failed_agent_shows_its_error_and_traceback(served, panels):
    served.create("ill", type="brainbox:Faulty", config={"where": "suggest"})
    panel = panels(AgentPanel, "ill")
    shows(panel, "created")
    panel.act("start").result(20)
    shows(panel, "failed")
    assert "singular matrix" in panel.agent["reason"]
    assert "Traceback" in panel.agent["error"]["traceback"]


def test_an_unknown_agent_a_new_one_and_a_removed_one(served, panels):
    panel = panels(AgentPanel, "later")
    shows(panel, "missing")
    assert "no agent 'later'" in panel.agent["reason"]
    assert "no agent 'later'" in refused(panel, "start")
    served.create("later")
    shows(panel, "created")
    assert served.http.delete("/api/v1/agents/later").status_code == 204
    shows(panel, "missing")


def test_a_service_and_its_agents(served, panels):
    served.create("first", loop={"max_runs": 2})
    panel = panels(ServicePanel)

    def row():
        return next((one for one in panel.overview.agents if one["name"] == "first"), None)

    until(row)
    assert panel.act("start", name="first").result(20)
    until(lambda: row()["state"] == "stopped" and row()["done"] == 2)
    assert row()["best"] == {"signal": 0.75}
    assert panel.act("open", name="first").result(20)
    assert panel.overview.opened == ["first"]
    opened = panel.children[1]
    shows(opened, "stopped")
    assert panel.act("open", name="first").result(20)
    assert (panel.overview.opened, len(panel.children)) == ([], 1)
    with pytest.raises(InvalidInput, match="was closed"):
        opened.act("start")
    assert not panel.act("pause", name="first").result(20)
    assert "cannot pause" in panel.overview.notice["text"]


def test_what_is_shown_without_a_front_end(served, panels):
    served.create("text")
    panel, service = panels(AgentPanel, "text"), panels(ServicePanel)
    shows(panel, "created")
    until(lambda: any(one["name"] == "text" for one in service.overview.agents))
    bundle = panel._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert data["text/plain"] == f"<AgentPanel 'text' of {served.url}: created>"
    assert "application/vnd.jupyter.widget-view+json" in data
    assert service._repr_mimebundle_()["text/plain"].startswith(f"<ServicePanel of {served.url}: ")
    assert repr(panels(SuggestionsPanel)).startswith("<SuggestionsPanel of http://")
