"""Real services for tests, in this process, and a way to wait for what they do."""

import contextlib
import time

import httpx
import pytest

from agent_service.launch.background import BackgroundServer
from agent_service.service.config import ServiceConfig
from agent_service.service.keys import KeyFile, Scope


def wait_until(condition, *, within_s=20.0, what="the condition", every_s=0.01):
    """Poll until ``condition()`` is true and return its value; fail after a deadline."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(every_s)
    what = what() if callable(what) else what
    pytest.fail(f"{what} did not come within {within_s:g} s")


class Served:
    """A running service and a client with its key."""

    def __init__(self, server: BackgroundServer) -> None:
        self.server = server
        self.url = server.url
        self.http = httpx.Client(base_url=server.url, headers={"Authorization": f"Apikey {server.api_key}"}, timeout=30)

    def create(self, name, **spec):
        body = {
            "name": name,
            "type": "brainbox:Walker",
            "actuators": ["x", "y"],
            "sensors": ["signal"],
            "outcome": "signal",
            **spec,
        }
        if body.get("evaluate"):
            body.pop("outcome")
        answer = self.http.post("/api/v1/agents", json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def status(self, name):
        return self.get(f"agents/{name}")

    def get(self, path, **params):
        answer = self.http.get(f"/api/v1/{path}", params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path, body=None):
        answer = self.http.post(f"/api/v1/{path}", json=body)
        assert answer.status_code < 300, answer.text
        return answer.json()

    def problem(self, method, path, status, code, **kwargs):
        """Expect a problem+json with this status and code, and return it."""
        answer = self.http.request(method, path if path.startswith("/") else f"/api/v1/{path}", **kwargs)
        assert answer.headers["content-type"] == "application/problem+json", answer.text
        found = answer.json()
        assert (answer.status_code, found["code"]) == (status, code), found
        assert found["status"] == status
        assert found["request_id"] == answer.headers["x-request-id"]
        assert found["detail"]
        return found

    def suggestions(self, name, **params):
        return self.get(f"agents/{name}/suggestions", **params)["items"]

    def until(self, name, *states, within_s=20.0):
        """Wait until an agent is in one of ``states`` and return its status."""
        seen = {}

        def there():
            seen.update(self.status(name))
            return seen["state"] in states

        wait_until(there, within_s=within_s, what=f"{name} in {states}")
        return seen

    def close(self):
        self.http.close()
        self.server.close()


@contextlib.contextmanager
def running(state, **sections):
    """Run a service in this process; ``service=...`` and other sections as in service.toml."""
    service = {"port": 0, "catalog": "none", "state": str(state), **sections.pop("service", {})}
    run_engine = {"startup": "rig", **sections.pop("run_engine", {})}
    served = Served(BackgroundServer(ServiceConfig(service=service, run_engine=run_engine, **sections)).start())
    try:
        yield served
    finally:
        served.close()


def keys_by_scope(state):
    """Make a key for each scope, which may do nothing else, and return them by scope."""
    file = KeyFile(state / "keys.jsonl")
    return {scope: file.create(f"may-{scope}", [scope])[1] for scope in Scope}


@contextlib.contextmanager
def paused_walker(state):
    """Run a service with the agent ``walker``, paused, and a key for each scope."""
    keys = keys_by_scope(state)
    with running(state) as service:
        service.create("walker")
        service.post("agents/walker/start?paused=true")
        service.keys = keys
        yield service
