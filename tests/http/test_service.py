"""The service as a whole: its page, its types, its memory across a restart."""

import os
import re
import socket
import subprocess
import sys

import pytest
from services import running, wait_until


def test_service_status(served):
    found = served.get("service")
    assert found["queue"]["kind"] == "run_engine"
    assert found["archive"]["catalog"] == "none"
    assert found["uptime_s"] >= 0
    assert found["version"]


def test_no_acknowledged_fact_is_missing_in_what_is_behind(start):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen: nothing is ever written
        service = start(service={"catalog": f"http://127.0.0.1:{nobody.getsockname()[1]}/api/v1"})
        behind = service.get("service")["archive"]["facts_behind"]
        assert behind > 0
        for count in range(1, 6):
            service.create(f"agent-{count}")
            assert service.get("service")["archive"]["facts_behind"] == behind + count


def test_readyz_says_which_part(served):
    parts = served.http.get("/readyz").json()["parts"]
    assert parts["service"] == {"ready": True, "reason": None}
    assert set(parts) == {"service", "journal", "queue", "conditions", "spool", "catalogue", "sources"}


def test_shipped_types_with_their_schema(served):
    items = {one["name"]: one for one in served.get("agent-types")["items"]}
    assert {"sequence", "sobol", "bayes"} <= set(items)
    assert "bounds" in items["bayes"]["config_schema"]["properties"]
    assert items["bayes"]["summary"]


def test_the_openapi_document_is_whole(served):
    document = served.http.get("/openapi.json").json()
    paths = set(document["paths"])
    for path in (
        "/api/v1/agents/{name}/start",
        "/api/v1/agents/{name}/suggest",
        "/api/v1/suggestions/{suggestion_id}/approve",
        "/api/v1/queue/abort",
        "/api/v1/documents",
        "/api/v1/events",
    ):
        assert path in paths
    assert "Problem" in document["components"]["schemas"]


def test_the_api_page_comes_whole_from_the_service(served):
    """Many beamlines have no internet: nothing that the page loads is elsewhere."""
    page = served.http.get("/docs", headers={"Authorization": ""})
    assert "default-src 'self'" in page.headers["content-security-policy"]
    loads = re.findall(r'(?:src|href)="(?!data:)([^"]+)"', page.text)
    assert len(loads) == 3
    for path in loads:
        assert not path.startswith(("/", "http")), "a path in front, as of a proxy, would be lost"
        answer = served.http.get(f"/{path}", headers={"Authorization": ""})
        assert answer.status_code == 200
        assert answer.headers["content-type"].split(";")[0] in {"text/javascript", "text/css"}
        assert len(answer.content) > 300
    served.problem("GET", "/docs-assets/app.py", 404, "not_found")


def test_memory_survives_a_restart(tmp_path):
    with running(tmp_path / "state") as service:
        service.create("walker", loop={"max_runs": 3})
        service.post("agents/walker/start")
        before = service.until("walker", "stopped")
        measured = service.suggestions("walker")
        session = service.get("service")["session"]
    with running(tmp_path / "state") as service:
        after = service.status("walker")
        # where it lives, and times since its last start or the service's
        anew = dict.fromkeys(("executor", "beam_idle", "think_s"))
        assert {**after, **anew} == {**before, **anew}
        assert service.suggestions("walker") == measured
        assert service.get("service")["session"] != session
        service.http.patch("/api/v1/agents/walker", json={"loop": {"max_runs": 4}})
        service.post("agents/walker/start")
        service.until("walker", "stopped")
        assert [one["point"]["x"] for one in service.suggestions("walker")] == [0, 1, 2, 3]


@pytest.mark.parametrize("recover", ["resume", "paused"])
def test_an_agent_that_was_alive_comes_back(tmp_path, recover):
    with running(tmp_path / "state") as service:
        service.create("alive", recover=recover, loop={"approval": "required"})
        service.post("agents/alive/start")
        wait_until(lambda: service.suggestions("alive", state="proposed"))
    with running(tmp_path / "state") as service:
        status = service.until("alive", "running" if recover == "resume" else "paused")
        assert status["counts"]["pending"] == 1
        assert status["last_error"] is None


def test_agents_of_the_configuration_are_made_once(tmp_path):
    agent = {
        "name": "configured",
        "type": "brainbox:Walker",
        "actuators": ["x", "y"],
        "sensors": ["signal"],
        "outcome": "signal",
    }
    for _ in range(2):
        with running(tmp_path / "state", agents=[agent]) as service:
            assert [one["name"] for one in service.get("agents")["items"]] == ["configured"]
            assert len(service.get("agents/configured/history")["items"]) == 1


def test_the_service_s_own_process_imports_neither_tiled_nor_pandas(tmp_path):
    """The loop of a Gaussian-process agent, from start to stop, with the catalogue on; seen in a process of its own."""
    script = """
import sys, time, httpx
from agent_service.service.config import ServiceConfig
from agent_service.launch.background import BackgroundServer
section = {"port": 0, "state": sys.argv[1]}
with BackgroundServer(ServiceConfig(service=section), headless=True) as server:
    auth = {"Authorization": "Apikey " + server.api_key}
    with httpx.Client(base_url=server.url + "/api/v1", headers=auth, timeout=60) as http:
        spec = {"name": "s", "type": "bayes",
                "config": {"bounds": {"mirror_x": [-1, 1]}, "objective": "flux", "n_initial": 2},
                "actuators": ["mirror_x"], "sensors": ["flux"], "outcome": "flux", "loop": {"max_runs": 4}}
        http.post("/agents", json=spec).raise_for_status()
        http.post("/agents/s/start").raise_for_status()
        deadline = time.monotonic() + 60
        while http.get("/agents/s").json()["state"] != "stopped":
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert http.get("/agents/s").json()["progress"]["done"] == 4
heavy = {"tiled", "pandas", "databroker", "scipy.stats", "sklearn", "bayes_opt", "matplotlib"} & set(sys.modules)
print("heavy:", sorted(heavy))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "state")],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONWARNINGS": "default"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "heavy: []"
