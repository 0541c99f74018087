"""What the notebooks of the panel tests hold, and what a person would look at: the screen of a panel."""

import json
import pathlib

import lab
import wanted

from agent_service.client import Client

CELLS = (pathlib.Path(__file__).parent / "busy_cells.py").read_text()
WALKER = """
import json
import agent_service
from agent_service import Client
from notebook_widgets import AgentPanel, ServicePanel

def walker(**changes):
    told = {"type": "brainbox:Walker", "actuators": ["x", "y"], "sensors": ["signal"], "outcome": "signal"}
    return {**told, "guardrails": {"bounds": {"x": [-5, 50]}}, **changes}

asks = walker(config={"step": 1.0}, loop={"approval": "required", "n_points": 2})
service = agent_service.serve({"asked": asks}, startup="rig", catalog="none", state=HERE / "state")
address = {"url": service.url, "api_key": (HERE / "state" / "api_key").read_text().strip()}
(HERE / "address.tmp").write_text(json.dumps(address))
(HERE / "address.tmp").replace(HERE / "address.json")
service
"""


_REACHED = """() => performance.getEntriesByType("resource").some(
  (one) => one.name.endsWith("/api/v1/service") && one.responseStatus === 200)"""


IN_MENU = ("Restart", "Suggest a point", "Ask for a report")
SHOWN = {"created": "not started", "missing": "not there"}
"""States as a panel says them, where it says them otherwise."""


class Notebook:
    """A notebook in a directory of its own, whose cells know that as ``HERE`` and write lines into a file."""

    def __init__(self, jupyter, name, *cells, kernel="python3"):
        self.directory = jupyter.root / name
        self.name = f"{name}/{name}.ipynb"
        self.log, self.go = self.directory / "log.txt", self.directory / "go"
        here = f"import pathlib, time\nHERE = pathlib.Path({str(self.directory)!r})\n"
        files = "LOG, GO = HERE / 'log.txt', HERE / 'go'\n"
        jupyter.write(self.name, here + files + CELLS, "%load_ext agent_service", *cells, kernel=kernel)
        self.log.write_text("")

    def lines(self):
        """Return what its cells wrote."""
        return self.log.read_text().split()

    def client(self):
        """Return a client of the service that it serves, None as long as there is none."""
        address = self.directory / "address.json"
        return Client(**json.loads(address.read_text())) if address.exists() else None


class Screen:
    """A panel as it is on the screen."""

    def __init__(self, page, title):
        self.page = page
        heads = page.page.locator("h3", has_text=title)
        self.root = page.page.locator(".as-host > section.as-panel", has=heads)
        self._expect = wanted.module("playwright.sync_api").expect

    def button(self, name):
        return self.root.get_by_role("button", name=name, exact=True)

    def press(self, name):
        if name in IN_MENU:
            self.menu.click()
        self.button(name).click()

    @property
    def menu(self):
        """What opens the other commands; its role is the browser's affair."""
        return self.root.locator("summary", has_text="More")

    def tab(self, name):
        self.root.get_by_role("tab", name=name).click()

    def pane(self, name):
        return self.root.get_by_role("tabpanel", name=name)

    def field(self, label):
        return self.root.get_by_label(label, exact=True)

    def row(self, suggestion):
        """Return the line of a suggestion in the inbox."""
        return self.pane("Inbox").locator(f'tr[data-key="{suggestion.id}"]')

    def state(self, state):
        """Wait until the badge in the head says so."""
        self._expect(self.root.locator(".as-title .as-badge")).to_have_text(
            SHOWN.get(state, state), timeout=lab.SHOWS_WITHIN_MS
        )

    def says(self, text, where=None):
        """Wait until the panel, or a part of it, holds this text."""
        self._expect(self.root if where is None else where).to_contain_text(text, timeout=lab.SHOWS_WITHIN_MS)

    def link(self, text):
        """Wait until the foot says by what the panel is connected."""
        self._expect(self.root.locator(".as-link")).to_have_text(text, timeout=lab.SHOWS_WITHIN_MS)

    def reaches(self):
        """Wait until the page has found a way of its own to the service."""
        self.page.page.wait_for_function(_REACHED, timeout=lab.SHOWS_WITHIN_MS)

    def enabled(self):
        """Return the names of the commands on the screen that can be pressed; those of the menu are not looked at."""
        names = ("Start", "Pause", "Resume", "Stop", "Stop everything", "Go to best")
        return [name for name in names if (found := self.button(name)).count() and found.is_enabled()]
