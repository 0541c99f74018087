"""A relay: events and reads of two services, for keys that may read, and nothing else."""

import contextlib
import json

import httpx
import pytest
from services import wait_until
from two_services import Two

from agent_service import Client


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    with contextlib.ExitStack() as stack:
        yield Two(tmp_path_factory.mktemp("relay"), stack)


@pytest.fixture
def served(two):  # its agents live on until the module ends
    return two.one


def test_the_events_of_a_service_are_what_it_tells_itself(two, served):
    served.create("live", loop={"max_runs": 2})
    with two.stream("/one/api/v1/events", two.keys[0], agent="live") as events:
        assert next(events).id.isdigit()
        served.post("agents/live/start")
        told = []
        for event in events:
            told.append(json.loads(event.data))
            if told[-1]["data"].get("state") == "stopped":
                break
    facts = [event for event in told if event["seq"]]
    assert facts == served.get("agents/live/history", limit=1000)["items"][1:]
    middle = facts[len(facts) // 2]["seq"]
    with two.stream("/one/api/v1/events", two.keys[0], last=middle, kind=["suggestion.state"]) as events:
        assert next(events).id == str(middle)
        again = next(event for event in events if event.event != "heartbeat")
        assert json.loads(again.data) == next(
            fact for fact in facts if fact["seq"] > middle and fact["kind"] == "suggestion.state"
        )


def test_who_knows_another_journal_is_told_to_begin_anew(two, served):
    with two.stream("/one/api/v1/events", two.keys[0], last=10**6) as events:
        assert [next(events).event, next(events).event] == ["reset", "heartbeat"]


def test_a_client_reads_through_it_and_changes_nothing(two, served):
    served.create("read")
    with (
        Client(f"{two.url}/one", api_key=two.keys[0]) as client,
        Client(served.url, api_key=two.keys[0]) as straight,
    ):
        wait_until(lambda: [agent for agent in client.agents() if agent.name == "read"])
        assert client.agent("read") == straight.agent("read")
    refused = httpx.post(f"{two.url}/one/api/v1/agents/read/start", headers={"Authorization": f"Apikey {two.keys[0]}"})
    assert (refused.status_code, refused.json()["detail"]) == (403, "a relay only reads; ask the service itself")
    assert served.status("read")["state"] == "created"


def test_a_key_opens_its_own_service_and_none_that_may_more_is_taken(two, served):
    names = [[each["name"] for each in two.get("api/v1/services", *keys).json()] for keys in (two.keys[1:], two.keys)]
    assert names == [["two"], ["one", "two"]]
    assert two.get("one/api/v1/service", two.keys[1]).status_code == 404
    assert two.get("api/v1/services").status_code == 401
    assert two.get("api/v1/services", "wrong").status_code == 401
    owner = served.http.headers["Authorization"].split()[1]
    refused = two.get("one/api/v1/service", owner)
    assert refused.status_code == 403
    assert "keys that may only read, and this one may" in refused.json()["detail"]


def test_the_events_of_all_name_their_service(two, served):
    with two.stream("/api/v1/events", *two.keys) as events, two.stream("/api/v1/events", two.keys[1]) as second:
        next(events), next(second)
        served.create("all-one")
        two.two.create("all-two")
        wanted, seen = {("one", "all-one"), ("two", "all-two")}, set()
        while not wanted <= seen:
            told = json.loads(next(events).data)
            seen.add((told.get("service"), (told.get("event") or {}).get("agent")))
        told = next(json.loads(event.data) for event in second if event.event == "agent.state")
        assert (told["service"], told["event"]["agent"]) == ("two", "all-two")


def test_the_page_is_for_anybody_and_loads_nothing_from_elsewhere(two, served):
    page = two.get("")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert two.get("relay.js").headers["content-type"].startswith("text/javascript")


def test_a_service_that_ends_is_told_to_who_follows(two, served):
    with two.stream("/api/v1/events", *two.keys) as events, two.stream("/two/api/v1/events", two.keys[1]) as own:
        next(events), next(own)
        two.two.close()
        lost = next(json.loads(event.data) for event in events if event.event == "link")
        assert (lost["name"], lost["state"]) == ("two", "lost")
        assert [event for event in own if event.event == "ingest"] == []  # it ends
    assert two.get("two/api/v1/service", *two.keys).status_code == 503
    assert two.get("two/healthz").status_code == 503
    assert two.get("one/api/v1/service", *two.keys).status_code == 200
