"""What agents, people and documents say, end to end: no control character and no megabytes, wherever it shows."""

import unicodedata

import httpx
import pytest
from commands import Command
from httpx_sse import connect_sse

from agent_service.client import Client
from agent_service.errors import NotFound, ServiceError
from agent_service.errors.texts import MAX_TRACE

LONG = 10_000_000


def controls(text):
    return {one for one in text if unicodedata.category(one) in ("Cc", "Cs") and one not in "\n\t"}


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_a_brain_that_raises_megabytes_of_controls(start, tmp_path, executor):
    service = start()
    with connect_sse(service.http, "GET", "/api/v1/events") as source:
        events = source.iter_sse()
        next(events)
        service.create("loud", type="brainbox:Loud", config={"size": LONG}, executor=executor)
        service.post("agents/loud/start")
        status = service.until("loud", "failed")
        told = next(one.data for one in events if '"failed"' in one.data)
    answers = [service.http.get(f"/api/v1/{path}").text for path in ("agents", "agents/loud", "agents/loud/history")]
    for text in (told, *answers):
        assert len(text) < 3 * MAX_TRACE
        assert not controls(text)
        assert "\\u001b" not in text, "as JSON spells it"
    assert status["last_error"]["message"].endswith("…")
    assert len(status["last_error"]["traceback"]) < MAX_TRACE + 1000
    journal = sum(path.stat().st_size for path in (tmp_path / "state").glob("journal.db*"))
    assert journal < 1_000_000
    done = Command(tmp_path).run("status", "--state", str(tmp_path / "state"))
    assert done.returncode == 0, done.stderr
    assert "loud" in done.stdout
    assert not controls(done.stdout)


def test_what_a_person_says_steers_no_terminal(start, tmp_path):
    service = start()
    service.post("queue/abort", {"reason": "smoke\x1b[2J\n[red]fire[/]\u202e"})
    reason = service.get("queue")["reason"]
    assert reason.startswith("smoke\\x1b[2J [red]fire[/]\\u202e")
    done = Command(tmp_path).run("status", "--state", str(tmp_path / "state"))
    assert done.returncode == 0, done.stderr
    assert not controls(done.stdout)
    assert "[red]fire[/]" in " ".join(done.stdout.split()), "it is text, and no markup"
    service.post("queue/resume")


@pytest.mark.parametrize("name", ["..", ".", "a/../b", "a#b", "a?b", "é", "%2e%2e", "a b", "/", "...", "a\\b"])
def test_a_name_in_a_path_leads_nowhere_else(served, name):
    if not served.http.get("/api/v1/agents/there").is_success:
        served.create("there")
    with Client(served.url, api_key=served.server.api_key) as client:
        for ask in (
            lambda: client.agent(name),
            lambda: client.start(name),
            lambda: client.delete(name),
            lambda: client.call("there", name),
            lambda: client.set_variable("there", name, 1),
            lambda: client.approve(name),
            lambda: client.job(name),
        ):
            with pytest.raises(ServiceError) as refused:
                ask()
            assert (
                not isinstance(refused.value, NotFound)
                or "/docs lists the API" not in refused.value.detail
                or ("/" in name)
            ), refused.value.detail
    assert served.status("there")["state"] == "created"


def test_a_key_in_a_query_is_in_no_log(process):
    process.start().close()
    key = (process.state / "api_key").read_text().strip()
    url = (process.state / "service.json").read_text().split('"url": "')[1].split('"')[0]
    httpx.get(f"{url}/api/v1/agents?api_key={key}")
    httpx.get(f"{url}/api/v1/agents/{key}", headers={"X-API-Key": key, "Authorization": f"Token {key}"})
    _, said = process.end(15)
    assert key not in said
