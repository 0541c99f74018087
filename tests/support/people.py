"""People and programs with keys of their own, each with the scopes that it was given."""

import contextlib
from pathlib import Path

import httpx

from agent_service.service.keys import KeyFile, scopes_of


@contextlib.contextmanager
def person(service, name, scopes):
    """Make a key for a running service, and yield an HTTP client with it."""
    state = Path(service.get("service")["state_dir"])
    _, secret = KeyFile(state / "keys.jsonl").create(name, scopes_of(scopes))
    headers = {"Authorization": f"Apikey {secret}"}
    with httpx.Client(base_url=f"{service.url}/api/v1/", headers=headers, timeout=30) as client:
        yield client


def problem(answer):
    """Return code and detail of what was refused."""
    found = answer.json()
    return found["status"], found["code"], found["detail"]
