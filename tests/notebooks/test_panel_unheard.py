"""What a panel shows, and its buttons do, when its kernel, its service or the network is gone: each in a browser."""

import contextlib
import itertools
import json
import os
import shlex
import signal
import subprocess
import sys

import httpx
import kernels
import lab
import pytest
from panel_cells import WALKER, Notebook, Screen
from remote import KEY, Relay
from services import wait_until

from agent_service.client import Client

PID = "import os\n(HERE / 'pid').write_text(str(os.getpid()))"
PANEL = """
from agent_service import Client
from notebook_widgets import AgentPanel
AgentPanel(Client({url!r}, api_key={key!r}), {name!r})
"""
RESTART = "() => { window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart() }"
BY_PAGE = "without the kernel"
UNHEARD = "not heard"
BLOCKS = 4
_numbers = itertools.count(1)
SAVE = """async () => {
  const widget = window.jupyterapp.shell.currentWidget;
  await window.jupyterapp.commands.execute('@jupyter-widgets/jupyterlab-manager:saveWidgetState');
  await widget.context.save();
}"""


@pytest.fixture(scope="module")
def client(remote):
    with Client(remote.url, api_key=KEY) as one:
        yield one


@pytest.fixture
def agent(client):
    """An agent of the test's own, that waits for a person's word on each point."""
    name = f"far-{next(_numbers)}"
    fields = {"actuators": ["x", "y"], "sensors": ["signal"], "outcome": "signal"}
    client.create(name=name, type="brainbox:Walker", loop={"approval": "required"}, **fields)
    client.start(name)
    yield name
    if client.queue().state == "held":
        client.resume_queue()
    if "stop" in client.agent(name).legal:
        client.stop(name)


@pytest.fixture
def shown(jupyter, browser, client, agent):
    """Show the agent's panel in a notebook, from a kernel that is not the service's."""

    @contextlib.contextmanager
    def show(front_end="lab", *cells, server=jupyter, kernel="python3", reached=True, **how):
        notebook = Notebook(
            jupyter, agent, PID, PANEL.format(url=client.url, key=KEY, name=agent), *cells, kernel=kernel
        )
        with lab.opened(browser, server, notebook.name, front_end, **how) as page:
            if front_end != "voila":
                for index in range(BLOCKS):
                    page.run_cell(index)
            panel = Screen(page, agent)
            panel.state("running")
            if reached:
                panel.reaches()
            panel.notebook = notebook
            yield panel

    yield show
    jupyter.end_kernels()


def kill(panel):
    """Kill the kernel, as the kernel's machine does when it has no memory left."""
    os.kill(int((panel.notebook.directory / "pid").read_text()), signal.SIGKILL)


def shut_down(jupyter):
    jupyter.end_kernels()


def until(client, agent, state):
    wait_until(lambda: client.agent(agent).state == state, what=f"the agent {state}")


# the kernel -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("front_end", ["lab", "notebook"])
def test_restarted_the_panel_says_so_and_steers_the_service_itself(client, agent, shown, front_end):
    with shown(front_end) as panel:
        panel.page.page.evaluate(RESTART)
        panel.link(BY_PAGE)
        panel.says("has ended or was restarted: run its cell again")
        assert panel.enabled() == ["Pause", "Stop", "Stop everything"]
        panel.tab("Configure")
        panel.field("runs at most").fill("25")
        panel.press("Apply")
        wait_until(lambda: client.agent(agent).spec.loop.max_runs == 25, what="the new limit")
        panel.press("Pause")
        until(client, agent, "paused")
        panel.state("paused")
        panel.press("Stop everything")
        wait_until(lambda: client.queue().state == "held", what="a held queue")
        panel.says("Nothing moves: Stop everything was pressed in a panel.")
        assert client.history(agent, newest_first=True)[0].data["by"] == "owner"


@pytest.mark.parametrize("front_end", ["lab", "voila"])
def test_killed_a_person_still_approves_edits_and_rejects(client, agent, shown, front_end):
    with shown(front_end) as panel:
        first = wait_until(lambda: client.suggestions(agent, state="proposed"), what="a suggestion")[0]
        panel.row(first).get_by_role("button", name="Edit").click()
        panel.row(first).get_by_label("x", exact=True).fill("0.5")
        kill(panel)
        panel.link(BY_PAGE)
        panel.row(first).get_by_role("button", name="Approve").click()
        wait_until(lambda: client.suggestion(first.id).state == "ingested", what="the edited point measured")
        assert client.suggestion(first.id).point == {"x": 0.5, "y": first.point["y"]}
        second = wait_until(lambda: client.suggestions(agent, state="proposed"), what="another one")[0]
        panel.row(second).get_by_role("button", name="Reject").click()
        wait_until(lambda: client.suggestion(second.id).state == "rejected", what="it rejected")


@pytest.mark.long
def test_shut_down_and_what_the_service_refuses_is_said(client, agent, jupyter, shown):
    with shown() as panel:
        jupyter.end_kernels()
        panel.link(BY_PAGE)
        panel.press("Stop")
        until(client, agent, "stopped")
        panel.state("stopped")
        client.delete(agent)
        panel.says(f"there is no agent '{agent}'")
        assert panel.button("Start").is_disabled()
        client.create(name=agent, type="brainbox:Walker", actuators=["x"], outcome="signal")  # for the end of the test


def test_interrupted_it_is_heard_as_ever(client, agent, shown):
    with shown("lab", "blocks()") as panel:
        panel.page.run_cell(BLOCKS)
        wait_until(lambda: "cell:begin" in panel.notebook.lines(), what="the cell")
        panel.page.command("notebook:interrupt-kernel")
        wait_until(lambda: panel.page.kernel_status() == "idle", what="the end of the cell")
        panel.press("Pause")
        until(client, agent, "paused")
        panel.link("live")
        assert "without the kernel" not in panel.root.inner_text()


def test_busy_a_press_goes_straight_and_is_not_done_again_when_the_cell_ends(client, agent, shown):
    """ipykernel 6.31 has no subshells: while a cell sleeps it hears nothing, but it lives."""
    kernels.python_path("6.31.0")  # or skip
    with shown("lab", "blocks()", "note('next')", kernel="ipykernel-6.31.0") as panel:
        panel.page.run_cell(BLOCKS)
        panel.page.run_cell(BLOCKS + 1)
        wait_until(lambda: "cell:begin" in panel.notebook.lines(), what="the cell")
        panel.press("Pause")
        until(client, agent, "paused")
        panel.says("Pause went straight to the service")
        panel.press("Resume")
        until(client, agent, "running")
        panel.says("Resume went straight to the service")
        panel.link("live")
        client.pause(agent)
        panel.notebook.go.touch()
        wait_until(lambda: "next" in panel.notebook.lines(), what="the next cell")
        panel.page.button("Stop everything").click()  # heard after the two presses that waited for the cell
        wait_until(lambda: client.queue().state == "held", what="a held queue")
        states = [one.data["state"] for one in client.history(agent) if one.kind == "agent.state"]
        assert states.count("running") == 2, "by start and by Resume, which was not done again"


@pytest.mark.long
def test_the_service_of_a_killed_kernel_ends_with_it(jupyter, browser):
    notebook = Notebook(jupyter, "own", PID, WALKER, "from notebook_widgets import ServicePanel\nServicePanel(service)")
    with lab.opened(browser, jupyter, notebook.name) as page:
        page.run_all()
        panel = Screen(page, "Agent service")
        panel.link("live")
        panel.reaches()
        panel.notebook = notebook
        kill(panel)
        panel.link(UNHEARD)
        panel.says("The service ended with its kernel: it begins no other move")
        for name in ("Stop everything", "Start asked", "Open asked"):
            assert panel.button(name).is_disabled()
    jupyter.end_kernels()


def test_without_any_way_it_says_so_and_which_command_stops(client, agent, remote, jupyter, shown):
    with shown("lab", server=jupyter.elsewhere(), missing="**/proxy/**", reached=False) as panel:
        panel.page.page.evaluate(RESTART)
        panel.link(UNHEARD)
        panel.says("No way leads from this page to the service.")
        assert panel.enabled() == []
        run_what_it_names(panel, remote)
        wait_until(lambda: client.queue().state == "held", what="a held queue")


def run_what_it_names(panel, remote):
    """Type the command that the panel names into a terminal."""
    said = panel.root.get_by_role("alert").first.inner_text()
    command = shlex.split(said[said.index("agent-service stop") :])
    assert command[:3] == ["agent-service", "stop", "--everything"]
    done = subprocess.run(
        [sys.executable, "-m", "agent_service", *command[1:]],
        cwd=remote.directory,
        env={**os.environ, "AGENT_SERVICE_API_KEY": KEY},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "nothing moves" in done.stdout


# the network ------------------------------------------------------------------------------------------------------


@pytest.fixture
def network(jupyter):
    relay = Relay(int(jupyter.url.rpartition(":")[2].partition("/")[0]))
    relay.server = lab.Jupyter(f"http://127.0.0.1:{relay.port}", jupyter.root)
    yield relay
    relay.close()


@pytest.mark.long
def test_cut_from_the_notebook_server_it_goes_by_the_address(client, agent, network, shown):
    with shown("lab", server=network.server) as panel:
        network.cut()
        panel.link(BY_PAGE)
        panel.says("lost its connection")
        panel.press("Pause")
        until(client, agent, "paused")
        network.mend()
        panel.link("live")
        panel.state("paused")
        panel.press("Resume")
        until(client, agent, "running")
        panel.state("running")


@pytest.mark.long
def test_cut_from_everything_it_says_so_and_comes_back(client, agent, remote, network, shown):
    with shown("lab", server=network.server.elsewhere()) as panel:
        network.cut()
        panel.link(UNHEARD)
        assert panel.enabled() == []
        run_what_it_names(panel, remote)
        assert client.queue().state == "held"
        network.mend()
        panel.link("live")
        panel.says("Nothing moves: Stop everything was said in a terminal.")
        panel.press("Resume queue")
        wait_until(lambda: client.queue().state != "held", what="a queue that goes on")


# the service ------------------------------------------------------------------------------------------------------


def test_a_service_that_hangs_is_not_shown_as_live(client, agent, remote, shown):
    with shown() as panel:
        remote.send(signal.SIGSTOP)
        try:
            panel.link("reconnecting")
            panel.says("has not answered for 2 s")
            assert panel.enabled() == ["Stop everything"]
            panel.press("Stop everything")
            panel.says("nothing was done in 2 s", panel.root.get_by_role("status"))
        finally:
            remote.send(signal.SIGCONT)
        panel.link("live")
        wait_until(lambda: client.queue().state == "held", what="the press done")


@pytest.mark.long
def test_service_and_kernel_gone(client, agent, remote, jupyter, shown):
    with shown() as panel:
        remote.end()
        panel.link("reconnecting")
        jupyter.end_kernels()
        panel.link(UNHEARD)
        assert panel.enabled() == []
        remote.start()
        # it does not know this page's key any more, and nobody is there to ask for another
        panel.says("No way leads from this page to the service.")
        assert panel.enabled() == []


# the key ----------------------------------------------------------------------------------------------------------


def test_the_saved_notebook_holds_no_key(client, agent, shown):
    sent = []
    with shown() as panel:
        panel.page.page.evaluate(SAVE)
        panel.page.page.on("request", lambda one: sent.append(one.headers.get("authorization", "")))
        panel.page.page.evaluate(RESTART)
        panel.link(BY_PAGE)
        keys = set(wait_until(lambda: [*filter(None, sent)], what="a request with a key"))
        assert all(one.startswith("Apikey basp_") for one in keys)
        saved = (panel.notebook.directory / f"{agent}.ipynb").read_text()
    states = json.loads(saved)["metadata"]["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
    assert any(one["state"].get("link", {}).get("url") == client.url for one in states.values()), "it was saved"
    assert "basp_" not in saved
    assert not [one for one in keys if one.partition(" ")[2] in saved]
    for one in keys:
        told = httpx.get(f"{client.url}/api/v1/service", headers={"Authorization": one}).json()
        assert told["scopes"] == ["read", "propose", "control", "approve"]
