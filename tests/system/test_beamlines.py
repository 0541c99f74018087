"""docs/scale.md: agents of one service, measured by the RunEngines of two beamlines, one of which is killed."""

import contextlib
import os
import subprocess
import sys

import pytest
from services import wait_until
from test_documentation import blocks

from agent_service import Client


@pytest.fixture
def folder(tmp_path):
    for name in ("beamlines.toml", "subject.py", "runner.py", "pair.py"):
        text = blocks("scale.md")[name].replace("max_runs = 12", "max_runs = 40")
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def run(folder):
    """Start a program in the folder, which ends with the test."""
    with contextlib.ExitStack() as stack:

        def start(*arguments, **environment):
            out = stack.enter_context((folder / f"{'-'.join(arguments)[-20:]}.out").open("a"))
            env = {**os.environ, "AGENT_SERVICE_SERVICE__PORT": "0", **environment}
            env["AGENT_SERVICE_SERVICE__CATALOG"] = "none"
            child = subprocess.Popen([sys.executable, *arguments], cwd=folder, env=env, stdout=out, stderr=out)
            stack.callback(child.wait, 60)
            stack.callback(child.kill)
            return child

        yield start


@pytest.mark.timeout(600)
def test_two_run_engines_and_one_is_killed(folder, run):
    run("-m", "agent_service", "serve", "beamlines.toml")
    wait_until((folder / "beamlines.state/service.json").exists, within_s=150, what="the service")
    with Client.from_state(folder / "beamlines.state") as client:
        there = {"AGENT_SERVICE_URL": client.url, "AGENT_SERVICE_API_KEY": client.api_key}
        client.start("subject")
        pair = run("pair.py", **there)
        killed = run("runner.py", "fast", **there)
        run("runner.py", "fine", **there)
        client.start("monarch")
        wait_until(lambda: client.agent("monarch").progress.done >= 2, within_s=150, what="the first runs")
        killed.kill()
        killed.wait(30)
        before = client.agent("monarch").progress.done
        assert before < 40
        run("runner.py", "fast", **there)
        wait_until(lambda: client.agent("monarch").state == "stopped", within_s=300, what="the end of the monarch")
        assert client.agent("monarch").progress.done == 40
        assert pair.wait(60) == 0
        asked = client.suggestions("subject")
        wait_until(lambda: {one.state for one in client.suggestions("subject")} == {"ingested"}, within_s=150)
        assert asked
        assert all(one.proposed_by and one.outcome for one in client.suggestions("subject"))
        lost = [one for one in client.suggestions("monarch") if one.state != "ingested"]
        assert [one.state for one in lost] in ([], ["expired"]), "what the one that was killed was at, at most"
        facts = [*client.history("monarch", limit=1000), *client.history("subject", limit=1000)]
    began = [fact.data["id"] for fact in facts if fact.kind == "suggestion.state" and fact.data["state"] == "running"]
    assert len(began) == len(set(began)), "measured twice"
