"""The magics in a shell of their own, on a real service."""

import re

import pytest
from IPython.core.interactiveshell import InteractiveShell
from services import wait_until
from traitlets.config import Config

from agent_service import live
from notebook_widgets.live import LiveThread

SERVICE = "--startup rig --catalog none --port 0"
WALKER = "--actuators x,y --outcome signal"


class Shell:
    """A shell with the extension loaded, and what its cells print."""

    def __init__(self, capsys):
        self.shell = InteractiveShell(config=Config(HistoryManager={"enabled": False}))
        self.names = self.shell.user_ns
        self._capsys = capsys
        self.run("%load_ext agent_service")

    def run(self, cell):
        """Run a cell that works; return what it printed."""
        self._capsys.readouterr()
        result = self.shell.run_cell(cell)
        said, wrong = self._capsys.readouterr()
        assert result.success, wrong
        assert not wrong
        return said

    def refused(self, cell):
        """Run a cell that does not; return the one line that says why."""
        self._capsys.readouterr()
        result = self.shell.run_cell(cell)
        said, wrong = self._capsys.readouterr()
        assert not result.success
        assert not said, "nothing but the error"
        assert wrong.startswith("UsageError: ")
        assert wrong.count("\n") == 1, "one line"
        assert "Traceback" not in wrong
        return wrong.removeprefix("UsageError: ").strip()

    @property
    def client(self):
        return self.names["service"].client

    @property
    def panels(self):
        return self.shell.find_line_magic("agent_serve").__self__.session._panels


@pytest.fixture
def shell(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one = Shell(capsys)
    one.run("import brainbox, rig\nfrom brainbox import Walker\nwalker = Walker()")
    yield one
    one.shell.run_line_magic("unload_ext", "agent_service")
    assert not live.services()
    assert not live._things, "live objects were left behind"
    assert LiveThread._shared is None, "a panel was left behind"


def until(shell, name, state):
    return wait_until(lambda: (one := shell.client.agent(name)).state == state and one)


def test_an_object_is_served_and_waits_for_start(shell):
    said = shell.run(f"%agent_serve walker {SERVICE} {WALKER} --max-runs 3 --sensors signal # mine")
    url = shell.names["service"].url
    assert said.splitlines() == [
        f"serving walker at {url} (service.client speaks to it); nothing moves until you press Start",
        f"<AgentPanel 'walker' of {url}: connecting>",
    ]
    status = shell.client.agent("walker")
    assert (status.state, status.progress.total) == ("created", 3)
    assert (status.spec.actuators, status.spec.sensors, status.spec.outcome) == (["x", "y"], ["signal"], "signal")
    assert list(shell.panels) == ["walker"]


def test_running_the_cell_again_replaces_the_agent(shell):
    shell.run(f"%agent_serve walker {SERVICE} {WALKER} --max-runs 3")
    shell.client.start("walker")
    until(shell, "walker", "stopped")
    panel = shell.panels["walker"]
    shell.run("class Walker(brainbox.Walker):\n    edited = True\nwalker = Walker()")
    said = shell.run(f"%agent_serve walker {WALKER} --no-panel")
    assert said == 'replaced walker: 3 outcomes ingested; nothing moves until service.client.resume("walker")\n'
    assert len(shell.names["walker"].points) == 3
    assert shell.panels["walker"] is panel
    assert shell.run(f"%agent_serve walker {WALKER} --fresh").startswith(
        "replaced walker: it begins from nothing; nothing moves until you press Start\n"
    )
    assert shell.panels["walker"] is not panel
    assert panel.comm is None, "closed"


def test_a_name_that_is_not_defined(shell):
    assert shell.refused("%agent_serve wlker") == "the name 'wlker' is not defined; did you mean walker or Walker?"
    assert "service" not in shell.names
    assert re.fullmatch(r"the name 'q' is not defined; run the cell .*", shell.refused("%agent_serve q"))
