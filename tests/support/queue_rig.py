"""A service whose plans go to a real queue server, and what its tests ask of both."""

import contextlib

from queue_service import free_ports
from services import running

KEY = "w" * 32
[PORT] = free_ports(1)
URL = f"http://127.0.0.1:{PORT}"
WORKER = {"AGENT_SERVICE_URL": URL, "AGENT_SERVICE_API_KEY": KEY}
"""What the worker's environment says, so that its sessions find the service."""

SPEC = {
    "type": "sobol",
    "config": {"bounds": {"motor": [-5, 5]}},
    "actuators": ["motor"],
    "sensors": ["det"],
    "outcome": "det",
    "guardrails": {"unbounded": ["motor"]},
}


def where():
    """Where what the worker measures is posted to."""
    return URL, KEY


def emptied(queue):
    """Return the queue server with an open environment and nothing in its queue."""
    queue.ask("queue_autostart", enable=False)
    queue.ask("queue_clear")
    queue.open()
    queue.until("idle")
    return queue


@contextlib.contextmanager
def serving(queue, state, *, key=KEY, more=None, **sink):
    """Run a service that gives its plans to a queue server; what is None in ``sink`` is left out."""
    section = {"kind": "queueserver", "control": queue.control, "poll_s": 0.1, **sink}
    given = {name: one for name, one in section.items() if one is not None}
    sections = {"service": {"port": PORT}, "sink": given, "sources": [{"kind": "posted"}], **(more or {})}
    with running(state, api_key=key, **sections) as service:
        yield service


def start(service, name, **changes):
    service.create(name, **{**SPEC, **changes})
    service.post(f"agents/{name}/start")


def fates(service, name):
    return [one["state"] for one in service.suggestions(name)]


def ids(service, name):
    return [one["id"] for one in service.suggestions(name)]


def reason(service):
    return service.get("queue")["reason"] or ""


def ended(queue):
    """The items that have ended, the last one last."""
    return queue.ask("history_get")["items"]
