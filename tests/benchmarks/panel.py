"""The longest task of a browser that shows 5,000 runs, 12 actuators, 4 outcomes and 40 agents, while more come.

The modules of the view in Chromium, over a source in the page: what service and network take is not in it.
"""

import functools
import http.server
import json
import sys
import threading
from pathlib import Path

TESTS = Path(__file__).parents[1]
VIEW = TESTS.parent / "agent_service" / "server" / "static" / "view"
sys.path[:0] = [str(TESTS / "support"), str(TESTS / "notebooks")]

import lab  # noqa: E402

WANTED = "no task over 50 ms an update"
RUNS, AGENTS, UPDATES = 5000, 40, 8
VIEWS = {"an agent": None, "its history": "History", "its configuration": "Configure", "40 agents": "agents"}


class Files(http.server.SimpleHTTPRequestHandler):
    """The modules, quietly."""

    def log_message(self, *arguments):
        """Say nothing."""


def measure(folder):
    """Yield a line for each view: its longest task, in ms of the thread that draws, and by the clock."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Files, directory=str(VIEW)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with lab.chromium() as browser:
            for name, what in VIEWS.items():
                with browser.new_context(viewport={"width": 1440, "height": 1000}) as context:
                    page = context.new_page()
                    page.goto(f"http://127.0.0.1:{server.server_port}/fold.js")
                    page.evaluate((Path(__file__).parent / "panel.js").read_text(), [RUNS, AGENTS, what])
                    yield f"{name}: {_longest(browser, page)}"
    finally:
        server.shutdown()


def _longest(browser, page):
    browser.start_tracing(page=page, categories=["toplevel"])
    for _ in range(UPDATES):
        page.evaluate("() => setTimeout(window.update)")
        page.wait_for_timeout(1000)
    events = json.loads(browser.stop_tracing())["traceEvents"]
    main = {(one["pid"], one["tid"]) for one in events if one.get("args", {}).get("name") == "CrRendererMain"}
    tasks = [one for one in events if one["name"].endswith("RunTask") and (one["pid"], one["tid"]) in main]
    took = [max(one.get(duration, 0) for one in tasks) / 1000 for duration in ("tdur", "dur")]
    return f"{took[0]:.0f} ms of its thread, {took[1]:.0f} ms by the clock"
