"""The pages that show code: each block is run as it stands, against a real service."""

from __future__ import annotations

import ast
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from services import wait_until

from agent_service.client import Client

DOCS = Path(__file__).parents[2] / "docs"
COMMAND = (sys.executable, "-m", "agent_service")


def blocks(page: str) -> dict[str, str]:
    """Return the blocks of a page that name a file in their first line, by that name."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return {found[1]: found[0] for found in re.findall(r"^```\w+\n(# (\S+)\n.*?)^```", text, re.MULTILINE | re.DOTALL)}


@pytest.fixture
def environment():
    clean = {key: value for key, value in os.environ.items() if not key.startswith("AGENT_SERVICE_")}
    return {**clean, "AGENT_SERVICE_SERVICE__CATALOG": "none", "AGENT_SERVICE_SERVICE__PORT": "0"}


@pytest.fixture
def serving(tmp_path, environment):
    """Return a function that serves service.toml in the test's folder, and end the service."""
    started: list[subprocess.Popen[str]] = []

    def serve(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*COMMAND, "serve", *arguments],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        ready = process.stdout.readline()
        assert ready.startswith("Serving at "), process.stderr.read()
        return process

    yield serve
    for process in started:
        process.terminate()
        process.communicate(timeout=30)


def run(folder: Path, environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_your_own_agent(tmp_path, environment, serving):
    found = blocks("your-own-agent.md")
    text = (DOCS / "your-own-agent.md").read_text(encoding="utf-8")
    assert len(found) == text.count("\n```") / 2, "a block does not name its file in its first line"
    for name, block in found.items():
        (tmp_path / name).write_text(block, encoding="utf-8")
    serving("service.toml")
    state, best = run(tmp_path, environment, "start.py").splitlines()
    assert state == "stopped brightness is 99.9 or more"
    assert abs(ast.literal_eval(best)["slit"] - 2) < 0.4


def test_every_method_of_the_agent_on_the_page_is_called_as_it_says(tmp_path, monkeypatch):
    (tmp_path / "my_agents.py").write_text(blocks("your-own-agent.md")["my_agents.py"], encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_agents", raising=False)
    from my_agents import Climber

    from agent_service.brains.adapters.optimizer import OptimizerAdapter
    from agent_service.brains.messages import FailFact, IngestFact, SuggestFact
    from agent_service.models import AgentSpec

    config = {"objective": "b", "start": {"x": 0.0}}
    spec = AgentSpec(name="a", type="my_agents:Climber", config=config, actuators=["x"], outcome="b")
    adapter = OptimizerAdapter(Climber(**config), spec=spec)
    proposals, _ = adapter.suggest(["one", "two"])
    adapter.edit("one", {"x": 1.0})
    adapter.ingest([{"x": 1.0, "b": 3.0, "_id": "one"}])
    view = adapter.fail([{"x": 0.0, "_id": "two"}])
    assert (len(proposals), view.best[0].id, view.best[0].point) == (2, "one", {"x": 1.0})
    assert adapter.report().report == {"measured": 1, "waiting": 0}
    again = OptimizerAdapter(Climber(**config), spec=spec)
    facts = [
        SuggestFact(ids=["one", "two"], points=[{"x": 0.0}, {"x": 0.0}], brain_ids=[1, 2]),
        IngestFact(points=[{"x": 1.0, "b": 3.0, "_id": "one"}]),
        FailFact(points=[{"x": 0.0, "_id": "two"}]),
    ]
    assert again.replay(facts).best == view.best


SERVICE_TOML = """
[service]
catalog = "embedded"

[[agents]]
name = "aligner"
type = "sequence"
config = { points = [{ motor = 1 }, { motor = 2 }] }
actuators = ["motor"]
sensors = ["det"]
outcome = "det"
"""


@pytest.mark.long
def test_reading_runs_and_decisions(tmp_path, environment, serving):
    del environment["AGENT_SERVICE_SERVICE__CATALOG"]
    (tmp_path / "service.toml").write_text(SERVICE_TOML)
    service = serving("service.toml")
    with Client.from_state(tmp_path / "service.state") as client:
        client.start("aligner")
        wait_until(lambda: client.agent("aligner").state == "stopped")
        uids = {one.id: one.run_uid for one in client.suggestions("aligner")}

        def archived():
            archive = client.service().archive
            return archive.state == "ready" and not archive.runs_behind and not archive.facts_behind

        wait_until(archived, within_s=60)
    found = blocks("reading.md")
    more = "print(data['det'].size, sorted(set(what['state'].values.tolist())), learned['det'].size)"
    *told, last = run(tmp_path, environment, "-c", found["read.py"] + more).splitlines()
    assert dict(reversed(line.split()) for line in told) == uids
    assert last == "1 ['approved', 'ingested', 'measured', 'proposed', 'running', 'submitted'] 2"
    lengths = run(tmp_path, environment, "-c", found["profiles.py"] + "print(len(runs), len(decisions))")
    assert lengths.split() == ["3", "1"]
    plain = run(tmp_path, environment, "-c", found["profiles.py"] + found["names.py"] + "print(data['det'].size)")
    assert plain.split() == ["1"]
    service.terminate()
    service.communicate(timeout=30)
    (line,) = re.findall(r"^```sh\nagent-service (.*)\n```", (DOCS / "reading.md").read_text("utf-8"), re.MULTILINE)
    with subprocess.Popen(
        [*COMMAND, *line.split()], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as catalog:
        assert catalog.stdout.readline().startswith(b"Serving the catalogue at http://")
        again = run(tmp_path, environment, "-c", found["read.py"] + more)
        catalog.send_signal(signal.SIGINT)
    assert catalog.returncode == 0
    assert again.splitlines()[-1] == last


def test_a_script_of_0_x_is_served(tmp_path, environment, serving):
    name = "site.py"
    (tmp_path / name).write_text(blocks("from-0x.md")[name])
    (tmp_path / "service.toml").write_text('[security]\nvariables = "loopback"\n')
    process = serving("service.toml", "--legacy", name)
    with Client.from_state(tmp_path / "service.state") as client:
        url = f"{client.url}/api/variable"
    assert httpx.get(f"{url}/depth").json() == {"depth": 20}
    assert httpx.post(f"{url}/fits", json={"value": 3}).json() == {"fits": 3}
    wait_until(lambda: httpx.get(f"{url}/fits").json() == {"fits": 1})
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=30)[0] == "the script ends\n"


def test_an_adjudicator_of_0_x_is_a_program_that_approves(tmp_path, environment, serving):
    (tmp_path / "adjudicate.py").write_text(blocks("from-0x.md")["adjudicate.py"])
    (tmp_path / "service.toml").write_text("")
    serving("service.toml")
    places = [{"motor1": x, "motor2": 0.0} for x in (0.0, 1.0, 0.0)]
    spec = {"type": "sequence", "config": {"points": places}, "actuators": ["motor1", "motor2"], "sensors": ["det4"]}
    spec |= {"outcome": "det4", "guardrails": {"unbounded": ["motor1", "motor2"]}}
    with Client.from_state(tmp_path / "service.state") as client:
        for name in ("walker", "other"):
            client.create({**spec, "name": name, "loop": {"approval": "required", "n_points": 3}})
            client.start(name)
        wait_until(lambda: len(client.suggestions(state="proposed")) == 6, within_s=60)
        with subprocess.Popen([sys.executable, "adjudicate.py"], cwd=tmp_path, env=environment) as program:
            wait_until(lambda: len(client.suggestions(state="ingested")) == 2, within_s=60)
            program.terminate()
        assert {one.point["motor1"] for one in client.suggestions("walker", state="ingested")} == {0.0, 1.0}
        assert [one.agent for one in client.suggestions(state="proposed")].count("other") == 3
