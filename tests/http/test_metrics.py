"""Metrics, and log lines that hide keys."""

import json
import logging

import pytest
from prometheus_client.parser import text_string_to_metric_families
from services import wait_until

from agent_service.errors import log_lines

SECRET = "0123456789abcdef" * 3


def scrape(service, **options):
    answer = service.http.get("/metrics", **options)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_what_is_measured(start):
    service = start()
    service.create("walker", loop={"max_runs": 3})
    service.create("waits")
    service.post("agents/walker/start")
    service.until("walker", "stopped")
    wait_until(lambda: scrape(service)["agent_service_event_loop_lag_seconds_count",] >= 1)
    found = scrape(service)
    assert found["agent_service_agents", "stopped"] == found["agent_service_agents", "created"] == 1
    assert found["agent_service_suggestions", "ingested"] == 3
    assert found["agent_service_call_seconds_count", "ingest", "thread"] == 3
    assert found["agent_service_call_seconds_count", "suggest", "thread"] == 3
    assert found["agent_service_call_seconds_sum", "suggest", "thread"] > 0
    assert found["agent_service_facts_total",] >= len(service.get("agents/walker/history")["items"])
    assert found["agent_service_queue_state", "idle"] == 1
    assert found["agent_service_queue_plans",] == found["agent_service_outbox_behind", "runs"] == 0
    assert found["agent_service_documents_waiting",] == 0
    assert found["agent_service_ready", "queue"] == 1
    assert found["process_open_fds",] > 0
    service.post("queue/abort")
    service.post("queue/resume")
    with service.http.stream("GET", "/api/v1/events"):
        assert scrape(service)["agent_service_event_streams",] == 1
    service.http.delete("/api/v1/agents/walker")
    assert scrape(service)["agent_service_suggestions", "ingested"] == 0, "of the agents there are"


def test_a_failed_call_counts_too(start):
    service = start()
    service.create("faulty", type="brainbox:Faulty", config={"where": "suggest"})
    service.post("agents/faulty/start")
    service.until("faulty", "failed")
    assert scrape(service)["agent_service_call_seconds_count", "suggest", "thread"] == 1


def test_two_services_of_one_process_do_not_mix(start, tmp_path):
    one, two = start(tmp_path / "one"), start(tmp_path / "two")
    one.create("a")
    assert scrape(one)["agent_service_agents", "created"] == 1
    assert scrape(two)["agent_service_agents", "created"] == 0


def test_metrics_ask_for_a_key_unless_they_are_open(start, tmp_path):
    nobody = {"headers": {"Authorization": ""}}
    start(tmp_path / "closed").problem("GET", "/metrics", 401, "unauthenticated", **nobody)
    assert scrape(start(tmp_path / "open", security={"metrics": "open"}), **nobody)


def record(message, *args, **extra):
    found = logging.LogRecord("agent_service.x", logging.INFO, __file__, 1, message, args, None)
    found.__dict__.update(extra)
    return found


def test_json_lines():
    line = log_lines.JsonFormatter().format(record("%s %s", "GET", "/a", request_id="r1", key="alice"))
    told = json.loads(line)
    assert {**told, "time": None} == {
        "time": None,
        "level": "info",
        "logger": "agent_service.x",
        "message": "GET /a",
        "request_id": "r1",
        "key": "alice",
    }
    assert told["time"].endswith("+00:00")


@pytest.mark.parametrize("formatter", [log_lines.TextFormatter(), log_lines.JsonFormatter()])
@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Apikey {SECRET}!",
        "bearer short-one",
        f"a key of ours: bas_{SECRET}",
        f"the owner's: {SECRET}.",
        "http://x/y?api_key=short-one&b=1",
        "{'api_key': 'short-one'}",
    ],
)
def test_no_key_in_a_line(formatter, text):
    line = formatter.format(record("%s", text))
    assert "short-one" not in line
    assert SECRET not in line
    assert "***" in line


def test_no_key_in_a_traceback():
    error = ValueError(f"cannot parse Apikey {SECRET}")
    one = record("failed", exc_info=(ValueError, error, None))
    for formatter in (log_lines.TextFormatter(), log_lines.JsonFormatter()):
        line = formatter.format(one)
        assert "ValueError" in line
        assert SECRET not in line


def test_each_request_has_a_line_with_its_id_and_its_key_s_name(start, caplog):
    service = start()
    with caplog.at_level(logging.INFO, logger="agent_service.server.request_checks"):
        service.http.get("/api/v1/agents", params={"state": "running"}, headers={"X-Request-ID": "mine"})
        service.http.get("/api/v1/agents", headers={"Authorization": "Apikey no"})
        lines = wait_until(
            lambda: [one for one in caplog.records if "/agents" in one.getMessage()][1:] and caplog.records
        )
    known, stranger = [one for one in lines if "/agents" in one.getMessage()]
    assert known.getMessage().startswith("GET /api/v1/agents 200 in ")
    assert (known.request_id, known.key) == ("mine", "owner")
    assert stranger.getMessage().startswith("GET /api/v1/agents 401 in ")
    assert stranger.key is None
    assert service.server.api_key not in caplog.text
