"""A service whose journal is in a database: it goes on elsewhere, and begins nothing without its lease."""

import asyncio
import json

import pytest
from services import running, wait_until

from agent_service.errors import UsageError
from agent_service.journal import SqliteStore
from agent_service.server.not_ready import StartingApp

CLAIM = {"kind": "claim"}


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_service_goes_on_in_another_folder_with_its_facts_and_the_archive_s_cursor(postgres, tmp_path):
    journal = {"url": postgres.database()}
    with running(tmp_path / "here", journal=journal, service={"catalog": "embedded"}) as service:
        service.create("walker", loop={"max_runs": 2})
        service.post("agents/walker/start")
        service.until("walker", "stopped", within_s=60)
        measured = service.suggestions("walker")
        archive = wait_until(
            lambda: (one := service.get("service")["archive"])["state"] == "ready" and not one["facts_behind"] and one,
            within_s=300,
        )
        assert not archive["decisions_refused"]
    assert not (tmp_path / "here" / "journal.db").exists()
    [(cursor,)] = postgres.ask(journal["url"], "SELECT text FROM notes WHERE name = 'outbox.json'")
    assert json.loads(cursor)["seq"] > 5
    with running(tmp_path / "there", journal=journal) as service:
        assert service.suggestions("walker") == measured
        assert json.loads((tmp_path / "there" / "outbox.json").read_text()) == json.loads(cursor)
        with pytest.raises(UsageError, match="in use by another service"), running(tmp_path / "two", journal=journal):
            pass


def test_a_standby_needs_a_key_that_both_have(postgres, start, monkeypatch):
    monkeypatch.delenv("AGENT_SERVICE_API_KEY", raising=False)
    with pytest.raises(UsageError, match="needs the key in AGENT_SERVICE_API_KEY, the same for each service"):
        start(journal={"url": postgres.database(), "standby": True}, sink=CLAIM)


def test_a_service_without_its_lease_begins_nothing_and_is_not_ready(start, monkeypatch):
    service = start(sink=CLAIM)
    service.create("walker")
    service.post("agents/walker/start")
    service.until("walker", "running")
    leads = [False]
    monkeypatch.setattr(SqliteStore, "leads", lambda store: leads[0])
    assert service.http.get("/readyz").status_code == 503
    assert service.http.post("/api/v1/suggestions/claim", json={"agent": "walker", "wait_s": 1}).status_code == 204
    leads[0] = True
    assert service.http.get("/readyz").status_code == 200
    assert service.post("suggestions/claim", {"agent": "walker", "wait_s": 30})["id"]


def test_a_journal_is_opened_beside_the_event_loop(start, monkeypatch):
    """To bring an older one up to date takes 10 s for a million facts; meanwhile /healthz and /readyz answer."""
    opened, reasons = SqliteStore.open, []

    def watched(store):
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        return opened(store)

    monkeypatch.setattr(SqliteStore, "open", watched)
    monkeypatch.setattr(StartingApp, "say", lambda app, reason: reasons.append(reason))
    assert start().http.get("/readyz").status_code == 200
    assert reasons == ["opening its journal; one of an older version is brought up to date first", "starting"]
