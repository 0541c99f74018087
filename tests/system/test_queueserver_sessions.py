"""A service whose agents measure in sessions at a real queue server: many suggestions in one item."""

import pytest
from queue_rig import KEY, SPEC, WORKER, emptied, ended, fates, ids, reason, serving, start, where
from queue_service import Forwarder, QueueService
from services import wait_until

from agent_service.service.check import check
from agent_service.service.config import ServiceConfig

SESSION = {"per_item": "session"}


@pytest.fixture(scope="module")
def queue(tmp_path_factory):
    one = QueueService(tmp_path_factory.mktemp("queue"), env=WORKER)
    yield one
    one.close()


@pytest.fixture
def opened(queue):
    with Forwarder(queue, where):
        yield emptied(queue)


@pytest.fixture
def service(opened, tmp_path):
    with serving(opened, tmp_path / "state", **SESSION) as one:
        yield one


def test_one_item_measures_many_suggestions(opened, service):
    before = len(ended(opened))
    start(service, "aligner", loop={"max_runs": 12, "n_points": 4})
    assert service.until("aligner", "stopped", "failed", within_s=60)["reason"].startswith("max_runs reached")
    assert fates(service, "aligner") == ["ingested"] * 12
    opened.until("idle")
    [session] = ended(opened)[before:]
    assert (session["name"], session["result"]["exit_status"]) == ("run_session", "completed")
    assert len(session["result"]["run_uids"]) == 12
    assert KEY not in str(session), "everybody can read an item"
    assert [opened.heard[one] for one in ids(service, "aligner")] == [1] * 12


def test_a_session_gives_way_to_a_person_and_another_follows(opened, service):
    before = len(ended(opened))
    opened.ask("queue_autostart", enable=True)
    start(service, "aligner")
    wait_until(lambda: fates(service, "aligner").count("ingested") > 2, what="a session")
    assert opened.person()["success"]

    def names():
        return [one["name"] for one in ended(opened)[before:]]

    wait_until(lambda: names() == ["run_session", "by_hand"], what="the person's plan")
    measured = fates(service, "aligner").count("ingested")
    wait_until(lambda: fates(service, "aligner").count("ingested") > measured + 2, what="another session")
    service.post("agents/aligner/stop")
    opened.until("idle")
    assert names() == ["run_session", "by_hand", "run_session"]
    assert max(opened.heard[one] for one in ids(service, "aligner")) == 1


def test_a_session_that_need_not_give_way_measures_on_while_a_person_waits(opened, tmp_path):
    before = len(ended(opened))
    with serving(opened, tmp_path / "state", gives_way=False, **SESSION) as service:
        start(service, "aligner", plan="unhurried", loop={"max_runs": 3})
        wait_until(lambda: fates(service, "aligner") == ["running"], what="a run")
        opened.ask("queue_autostart", enable=True)
        assert opened.person()["success"]
        service.until("aligner", "stopped", within_s=60)
        wait_until(lambda: len(ended(opened)[before:]) == 2, what="the person's plan")
        assert [one["name"] for one in ended(opened)[before:]] == ["run_session", "by_hand"]
        assert len(ended(opened)[before]["result"]["run_uids"]) == 3


def test_only_the_session_that_the_service_sent_may_claim(opened, service):
    """Whoever else has the key is told so, and nothing is measured twice; nor by what a person copied."""
    start(service, "motor", plan="unhurried", loop={"max_runs": 2})  # its name is a device's
    wait_until(lambda: fates(service, "motor")[:1] == ["running"], what="a run")
    for claim in ({}, {"agent": "motor"}, {"session": "mine"}, {"agent": "motor", "session": ""}):
        said = service.problem("POST", "suggestions/claim", 409, "conflict", json=claim)["detail"]
        assert "this is none of them" in said
    service.until("motor", "stopped", within_s=30)
    opened.until("idle")
    ours = ended(opened)[-1]
    assert (
        service.http.post("/api/v1/suggestions/claim", json={"session": ours["kwargs"]["session"]}).status_code == 204
    )
    copy = {key: ours[key] for key in ("item_type", "name", "kwargs", "meta")}
    assert opened.ask("queue_item_execute", item=copy, user="a person", user_group="primary")["success"]
    wait_until(lambda: ended(opened)[-1]["item_uid"] != ours["item_uid"], what="the end of the copy")
    assert ended(opened)[-1]["result"]["run_uids"] == []
    assert [opened.heard[one] for one in ids(service, "motor")] == [1, 1]


def test_a_queue_that_nobody_starts_holds_nothing_up(opened, service):
    assert opened.person()["success"]
    start(service, "aligner", loop={"max_runs": 3})
    service.until("aligner", "stopped", within_s=30)
    assert fates(service, "aligner") == ["ingested"] * 3
    [theirs] = opened.ask("queue_get")["items"]
    assert theirs["user"] == "a person", "nobody started it"


def test_two_agents_and_a_move_take_turns(opened, service, monkeypatch):
    monkeypatch.setattr("agent_service.plans.sinks.queue_server.sessions.TURN_S", 1.0)
    start(service, "aligner")
    wait_until(lambda: "ingested" in fates(service, "aligner"), what="a run of the first")
    start(service, "other", loop={"max_runs": 3})
    service.until("other", "stopped", within_s=60)
    assert fates(service, "other") == ["ingested"] * 3
    service.post("agents/other/go-to-best")
    assert "move_to" in [one["name"] for one in ended(opened)]
    service.post("agents/aligner/stop")
    opened.until("idle")


def test_abort_ends_our_session_alone(opened, service):
    opened.person()
    start(service, "aligner", plan="leisurely")
    wait_until(lambda: fates(service, "aligner") == ["running"], what="a run")
    service.post("queue/abort", {"reason": "smoke"})
    wait_until(lambda: fates(service, "aligner") == ["failed"], what="the end of the plan")
    [suggestion] = service.suggestions("aligner")
    assert "smoke" in suggestion["reason"]
    opened.until("idle")
    assert ended(opened)[-1]["result"]["exit_status"] == "aborted"
    assert [one["user"] for one in opened.ask("queue_get")["items"]] == ["a person"]


def test_who_aborts_our_session_there_holds_the_queue(opened, service):
    before = len(ended(opened))
    start(service, "aligner", plan="leisurely")
    wait_until(lambda: fates(service, "aligner") == ["running"], what="a run")
    wait_until(lambda: opened.ask("re_pause", option="immediate")["success"], what="a pause")
    opened.until("paused")
    assert opened.ask("re_abort")["success"]
    service.until("aligner", "paused", within_s=30)
    assert (service.get("queue")["state"], "somebody ended our plan" in reason(service)) == ("held", True)
    opened.until("idle")
    assert [one["name"] for one in ended(opened)[before:]] == ["run_session"]


def test_pause_and_resume_make_no_second_run(opened, service):
    start(service, "aligner", plan="leisurely", loop={"max_runs": 1})
    wait_until(lambda: fates(service, "aligner") == ["running"], what="a run")
    service.post("queue/pause")
    opened.until("paused")
    service.post("queue/resume")
    service.until("aligner", "stopped", within_s=30)
    [suggestion] = service.suggestions("aligner")
    assert suggestion["state"] == "ingested"
    assert opened.heard[suggestion["id"]] == 1


def test_a_session_goes_on_while_the_service_is_away(opened, tmp_path):
    state, before = tmp_path / "state", len(ended(opened))
    with serving(opened, state, **SESSION) as service:
        start(service, "aligner", plan="leisurely", loop={"max_runs": 2})
        wait_until(lambda: fates(service, "aligner") == ["running"], what="a run")
        [first] = service.suggestions("aligner")
    assert opened.status()["manager_state"] == "executing_queue"
    with serving(opened, state, **SESSION) as service:
        service.until("aligner", "stopped", within_s=60)
        assert fates(service, "aligner") == ["ingested"] * 2
        assert first["run_uid"] in [one["run_uid"] for one in service.suggestions("aligner")]
        opened.until("idle")
        assert [opened.heard[one] for one in ids(service, "aligner")] == [1, 1]
    assert [one["name"] for one in ended(opened)[before:]] == ["run_session"], "the same session, taken up"


def test_a_session_that_lives_on_is_aborted_after_a_restart(opened, tmp_path):
    state = tmp_path / "state"
    with serving(opened, state, **SESSION) as service:
        start(service, "aligner", plan="leisurely")
        wait_until(lambda: fates(service, "aligner") == ["running"], what="a run")
    with serving(opened, state, **SESSION) as service:
        wait_until(lambda: service.get("queue")["state"] == "running", what="the session")
        service.post("queue/abort", {"reason": "smoke"})
        opened.until("idle")
        assert ended(opened)[-1]["result"]["exit_status"] == "aborted"
        wait_until(lambda: fates(service, "aligner") == ["failed"], what="the fate of its run")


def test_what_a_killed_worker_measured_expires_once(opened, service):
    start(service, "aligner", plan="leisurely", loop={"max_runs": 1, "max_failures": 2})
    wait_until(lambda: fates(service, "aligner") == ["running"], what="a run")
    opened.kill(opened.worker)
    wait_until(lambda: service.get("queue")["can_destroy"], what="a worker that died")
    service.post("queue/destroy-environment")
    wait_until(lambda: "expired" in fates(service, "aligner"), what="the fate of the run")
    [lost] = [one for one in service.suggestions("aligner") if one["state"] == "expired"]
    assert lost["reason"] == "RE Worker environment was destroyed; its run counts if it comes whole yet"
    opened.until("idle")
    opened.open()
    service.until("aligner", "stopped", within_s=30)
    assert max(opened.heard[one] for one in ids(service, "aligner")) == 1


def test_a_session_that_may_not_claim_fails_its_suggestion(opened, tmp_path):
    """The worker's key is of another service."""
    with serving(opened, tmp_path / "state", key="o" * 32, **SESSION) as service:
        start(service, "aligner", loop={"max_failures": 1})
        service.until("aligner", "stopped", within_s=30)
        [suggestion] = service.suggestions("aligner")
        assert suggestion["state"] == "failed"
        assert "does not know this key" in suggestion["reason"]


def test_check_says_what_the_profile_lacks(opened):
    section = {"kind": "queueserver", "control": opened.control, "per_item": "session"}
    given = {"agents": [{**SPEC, "name": "aligner"}], "sources": [{"kind": "posted"}]}
    assert list(check(ServiceConfig(sink=section, **given), devices=True)) == []
    wrong = check(ServiceConfig(sink={**section, "user_group": "guests"}, **given), devices=True)
    assert "from agent_service.client.session import run_session" in " ".join(one.message for one in wrong)
