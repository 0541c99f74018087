"""Before the service is there: it listens, answers health, and tells everybody else to come again."""

from __future__ import annotations

import threading

import httpx
import pytest
from services import wait_until

from agent_service.errors import UsageError
from agent_service.launch.background import BackgroundServer
from agent_service.models import Problem, Readiness
from agent_service.service.config import ServiceConfig

STARTUP = """
import time
from pathlib import Path
here = Path(__file__).parent
(here / "loading").touch()
while not (here / "go").exists():
    time.sleep(0.01)
{then}
"""


@pytest.fixture
def slow(tmp_path):
    """Return a function that begins to start a service whose startup script waits for the file ``go``."""
    threads = []

    def start(then: str = ""):
        (tmp_path / "lab.py").write_text(STARTUP.format(then=then))
        section = {"port": 0, "catalog": "none", "state": tmp_path / "state"}
        config = ServiceConfig(service=section, run_engine={"startup": str(tmp_path / "lab.py")})
        server, errors = BackgroundServer(config), []

        def run():
            try:
                server.start()
            except UsageError as error:
                errors.append(error)

        threads.append((threading.Thread(target=run), server))
        threads[-1][0].start()
        wait_until(lambda: (tmp_path / "loading").exists() or errors)
        assert errors == []
        return server.url, lambda: finish(threads[-1][0]), errors

    def finish(thread):
        (tmp_path / "go").touch()
        thread.join(30)

    yield start
    for thread, server in threads:
        finish(thread)
        server.close()


def test_health_is_answered_and_work_is_put_off_until_the_startup_script_ends(slow):
    url, finish, errors = slow()
    with httpx.Client(base_url=url) as http:
        assert http.get("/healthz").json() == {"status": "ok"}
        ready = http.get("/readyz")
        assert ready.status_code == 503
        assert Readiness.model_validate_json(ready.content).parts["service"].reason == "starting"
        for method, path in (("GET", "/api/v1/agents"), ("POST", "/api/v1/agents"), ("GET", "/docs")):
            refused = http.request(method, path)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            assert refused.headers["content-type"] == "application/problem+json"
            problem = Problem.model_validate_json(refused.content)
            assert problem.code == "backend_unavailable"
            assert problem.request_id == refused.headers["x-request-id"]
            assert "starting" in problem.detail
        assert http.get("/readyz", headers={"X-Request-ID": "mine-1"}).headers["x-request-id"] == "mine-1"
        assert http.get("/readyz", headers={"X-Request-ID": "mine 1"}).headers["x-request-id"] != "mine 1"
        for path in ("/healthz", "/readyz", "/api/v1/agents"):
            rebound = http.get(path, headers={"Host": "evil.example"})
            assert (rebound.status_code, rebound.json()["code"]) == (403, "forbidden"), path
        finish()
        assert errors == []
        assert http.get("/readyz").status_code == 200
        assert http.get("/api/v1/agents").status_code == 401


def test_a_startup_that_fails_ends_the_listening(slow, tmp_path):
    url, finish, errors = slow("raise RuntimeError('no beam')")
    assert httpx.get(f"{url}/healthz").status_code == 200
    finish()
    assert "no beam" in errors[0].detail
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/healthz")
    assert not (tmp_path / "state" / "service.json").exists()
