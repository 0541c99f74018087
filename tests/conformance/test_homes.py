"""One service, four homes: a notebook's background thread, a notebook served headless, a service.toml, an ASGI factory.

The same requests get the same answers, and the same OpenAPI document, wherever the service lives.
"""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack, contextmanager

import httpx
import pytest
from commands import Command
from prototype import notebook
from services import wait_until

import agent_service
from agent_service.client import Client
from agent_service.errors import IllegalTransition, InvalidInput, NotFound

HOMES = ("thread", "notebook", "toml", "factory")
AGENT = {
    "type": "sobol",
    "config": {"bounds": {"mirror_x": [-5, 5], "mirror_y": [-5, 5]}},
    "actuators": ["mirror_x", "mirror_y"],
    "sensors": ["flux"],
    "outcome": "flux",
}


@contextmanager
def thread(folder):
    with agent_service.serve(catalog="none", state=folder / "state") as service:
        yield service.client


@contextmanager
def headless(folder):
    notebook(folder / "proto.ipynb", "%load_ext agent_service", "%agent_serve")
    with served(folder, "serve", "--port", "0", "--state", "state", "proto.ipynb") as client:
        yield client


@contextmanager
def toml(folder):
    (folder / "service.toml").write_text('[service]\nport = 0\nstate = "state"\ncatalog = "none"\n')
    with served(folder, "serve", "service.toml") as client:
        yield client


@contextmanager
def factory(folder):
    (folder / "service.toml").write_text('[service]\nstate = "state"\ncatalog = "none"\n')
    command = Command(folder)
    command.environment["AGENT_SERVICE_CONFIG"] = str(folder / "service.toml")
    command.command = (sys.executable, "-m", "uvicorn", "--factory", "agent_service:create_app", "--port")
    process = command.popen("0", "--log-level", "info")
    try:
        url = next(line for line in process.stderr if "running on" in line).split("running on ")[1].split(" ")[0]
        with Client(url, api_key=(folder / "state" / "api_key").read_text().strip()) as client:
            yield client
        assert command.stop(process)[0] in (0, -15)
    finally:
        command.close()
    assert command.left() == []


@contextmanager
def served(folder, *arguments):
    command = Command(folder)
    process = command.popen(*arguments)
    try:
        wait_until((folder / "state" / "service.json").exists, within_s=60)
        with Client.from_state(folder / "state") as client:
            wait_until(lambda: httpx.get(f"{client.url}/readyz").status_code == 200, within_s=60)
            yield client
        assert command.stop(process)[0] == 0
    finally:
        command.close()
    assert command.left() == []


@pytest.fixture(scope="module")
def homes(tmp_path_factory):
    with ExitStack() as stack:
        makers = {"thread": thread, "notebook": headless, "toml": toml, "factory": factory}
        yield {name: stack.enter_context(makers[name](tmp_path_factory.mktemp(name))) for name in HOMES}


@pytest.fixture(params=HOMES)
def client(request, homes):
    return homes[request.param]


def test_a_loop_from_creation_to_its_end(client):
    client.create(name="loop", loop={"max_runs": 3}, **AGENT)
    assert client.agent("loop").state == "created"
    client.start("loop")
    wait_until(lambda: client.agent("loop").state == "stopped")
    done = client.agent("loop")
    assert (done.reason, done.progress.done) == ("max_runs reached (3 of 3)", 3)
    assert [one.state for one in client.suggestions("loop")] == ["ingested"] * 3
    facts = [event.kind for event in client.history("loop")]
    assert facts.count("ingest") == 3
    client.delete("loop")


def test_a_person_steers(client):
    client.create(name="steered", loop={"approval": "required"}, guardrails={"bounds": {"mirror_x": [-1, 1]}}, **AGENT)
    client.start("steered")
    wait_until(lambda: client.suggestions("steered", state="proposed"))
    first = next(iter(client.suggestions("steered", state="proposed")))
    client.pause("steered")
    assert client.agent("steered").legal == [
        "resume",
        "stop",
        "restart",
        "suggest",
        "ingest",
        "report",
        "predict",
        "go-to-best",
    ]
    with pytest.raises(IllegalTransition) as refused:
        client.pause("steered")
    assert list(refused.value.legal) == client.agent("steered").legal
    client.approve(first.id, point={"mirror_x": 0.5, "mirror_y": 0.0})
    client.resume("steered")
    wait_until(lambda: client.suggestion(first.id).state == "ingested")
    client.stop("steered")
    client.delete("steered")


def test_mistakes_are_problems(client):
    with pytest.raises(NotFound, match="there is no agent 'nobody'"):
        client.agent("nobody")
    with pytest.raises(InvalidInput, match="did you mean 'mirror_x'"):
        client.create(name="wrong", **{**AGENT, "sensors": ["mirorr_x"]})
    answer = httpx.post(f"{client.url}/api/v1/agents", json={})
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")


def test_the_openapi_document_is_the_same_everywhere(homes):
    documents = {name: httpx.get(f"{one.url}/openapi.json").json() for name, one in homes.items()}
    first = json.dumps(documents["thread"], sort_keys=True)
    assert [name for name in HOMES if json.dumps(documents[name], sort_keys=True) != first] == []
