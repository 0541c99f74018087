"""A service whose plans go to a real queue server: RE Manager, worker, Redis and HTTP server are processes."""

import contextlib
import os
import signal
import threading

import beamline_with_conditions as beamline
import pytest
import zmq
from queue_rig import SPEC, emptied, ended, fates, ids, reason, serving, start, where
from queue_service import API_KEY, Forwarder, QueueService
from services import wait_until

from agent_service.service.check import check
from agent_service.service.config import ServiceConfig


@pytest.fixture(scope="module")
def queue(tmp_path_factory):
    one = QueueService(tmp_path_factory.mktemp("queue"), http=True)
    yield one
    one.close()


@pytest.fixture
def opened(queue):
    with Forwarder(queue, where):
        yield emptied(queue)


@pytest.fixture
def service(opened, tmp_path):
    with serving(opened, tmp_path / "state") as one:
        yield one


@pytest.mark.parametrize("way", ["0MQ", "HTTP"])
def test_an_agent_measures_among_peoples_plans(opened, tmp_path, monkeypatch, way):
    monkeypatch.setenv("QSERVER_HTTP_SERVER_API_KEY", API_KEY)
    before = len(ended(opened))
    by_http = {"control": None, "url": opened.url} if way == "HTTP" else {}
    with serving(opened, tmp_path / "state", **by_http) as service:
        assert opened.person()["success"]
        start(service, "aligner", loop={"max_runs": 3})
        assert service.until("aligner", "stopped", "failed", within_s=60)["reason"].startswith("max_runs reached")
        assert fates(service, "aligner") == ["ingested"] * 3
        opened.until("idle")
        ours = [one for one in ended(opened)[before:] if one["user"] != "a person"]
        assert [one["name"] for one in ours] == ["acquire"] * 3
        ids = {one["meta"]["agent_suggestion_uid"] for one in ours}
        assert ids == {one["id"] for one in service.suggestions("aligner")}
    [theirs] = opened.ask("queue_get")["items"]
    assert theirs["user"] == "a person", "nobody started it"


@pytest.mark.parametrize("fills", ["while an agent measures", "while they hold a lock"])
def test_people_have_time_to_start_what_they_put_into_the_queue(opened, service, fills):
    """The manager refuses to start a queue while an item of ours runs, and our next one would follow at once."""
    before = len(ended(opened))
    start(service, "aligner", plan="leisurely")
    wait_until(lambda: fates(service, "aligner").count("ingested") > 0, what="a run")
    if fills == "while they hold a lock":
        assert opened.ask("lock", user="a person", lock_key="theirs", queue=True, environment=True)["success"]
        wait_until(lambda: "locked by a person" in reason(service), what="the lock")
    assert opened.person(lock="theirs" if fills == "while they hold a lock" else None)["success"]
    if fills == "while they hold a lock":
        assert opened.ask("unlock", lock_key="theirs")["success"]
    else:
        wait_until(lambda: "goes first" in reason(service), what="the end of the run under way")
    assert opened.ask("queue_start")["success"]
    wait_until(lambda: "a person" in [item["user"] for item in ended(opened)[before:]], what="their run")
    measured = fates(service, "aligner").count("ingested")
    assert opened.person()["success"]
    wait_until(lambda: fates(service, "aligner").count("ingested") > measured + 2, what="more runs", within_s=60)
    assert len(opened.ask("queue_get")["items"]) == 1, (
        "an item that nobody starts holds nothing up, and nobody starts it"
    )
    service.post("agents/aligner/stop")
    service.until("aligner", "stopped")


def test_where_nobody_says_it_the_environment_says_where_the_queue_server_is(opened, tmp_path, monkeypatch):
    monkeypatch.setenv("QSERVER_ZMQ_CONTROL_ADDRESS", opened.control)
    with serving(opened, tmp_path / "state", control=None) as service:
        start(service, "aligner", loop={"max_runs": 1})
        service.until("aligner", "stopped", within_s=60)
        assert fates(service, "aligner") == ["ingested"]


def test_while_a_persons_plan_runs_the_queue_says_whose_it_is(opened, service):
    opened.person(seconds=100)
    opened.begin_queue()
    start(service, "aligner", loop={"max_runs": 1})
    wait_until(lambda: "by_hand of a person" in reason(service), what="whose plan runs")
    assert service.get("queue")["state"] == "suspended"
    opened.end_of_a_person()
    service.until("aligner", "stopped", within_s=30)
    assert fates(service, "aligner") == ["ingested"]


def test_a_lock_is_said_with_whose_it_is(opened, service):
    lock = {"lock_key": "key", "user": "Ada", "note": "aligning"}
    assert opened.ask("lock", environment=True, queue=False, **lock)["success"]
    try:
        start(service, "aligner", loop={"max_runs": 1})
        wait_until(lambda: "is locked by Ada (aligning)" in reason(service), what="whose lock it is")
    finally:
        opened.ask("unlock", lock_key="key")
    service.until("aligner", "stopped", within_s=30)


def test_a_lock_that_keeps_our_plan_from_being_steered_is_said_with_whose_it_is(opened, service):
    """The plan goes on until somebody takes the lock away, or it ends."""
    start(service, "aligner", plan="leisurely", loop={"max_runs": 1})
    wait_until(lambda: fates(service, "aligner") == ["running"], what="a run")
    lock = {"lock_key": "key", "user": "Ada", "note": "aligning"}
    says = "is locked by Ada (aligning)"
    assert opened.ask("lock", environment=True, queue=False, **lock)["success"]
    try:
        service.post("queue/pause")
        said = wait_until(lambda: says in (why := reason(service)) and why, what="why it goes on")
        assert said.startswith("paused by owner; our plan goes on all the same: ")
    finally:
        opened.ask("unlock", lock_key="key")
    opened.until("paused")
    wait_until(lambda: reason(service) == "paused by owner", what="a plan that is paused")
    assert opened.ask("lock", environment=True, queue=False, **lock)["success"]
    try:
        service.post("queue/resume")
        wait_until(lambda: reason(service).startswith("our plan is paused still: ") and says in reason(service))
        aborting = threading.Thread(target=service.post, args=("queue/abort", {"reason": "smoke"}))
        aborting.start()
        wait_until(
            lambda: reason(service).startswith("smoke; ") and says in reason(service), what="why it is not ended"
        )
    finally:
        opened.ask("unlock", lock_key="key")
    aborting.join(30)
    wait_until(lambda: fates(service, "aligner") == ["failed"], what="its end")
    assert (ended(opened)[-1]["result"]["exit_status"], reason(service)) == ("aborted", "smoke")


def test_a_manager_that_speaks_json_is_said_to_who_asks_in_msgpack(opened, tmp_path):
    with serving(opened, tmp_path / "state", encoding="msgpack") as service:
        wait_until(lambda: 'write encoding = "json"' in reason(service), what="what to write")
        assert service.get("queue")["state"] == "suspended"


def test_nobody_claims_what_is_given_to_the_queue_server(service):
    said = service.problem("POST", "suggestions/claim", 409, "conflict")["detail"]
    assert "gives its plans to a queue server" in said
    assert "run_engine" not in said


def test_abort_ends_our_plan_alone(opened, service):
    opened.person()
    start(service, "aligner", plan="leisurely")
    wait_until(lambda: fates(service, "aligner") == ["running"], what="a run")
    service.post("queue/abort", {"reason": "smoke"})
    wait_until(lambda: fates(service, "aligner") == ["failed"], what="the end of the plan")
    assert service.get("queue")["state"] == "held"
    [suggestion] = service.suggestions("aligner")
    assert "smoke" in suggestion["reason"]
    assert ended(opened)[-1]["result"]["exit_status"] == "aborted"
    assert [one["user"] for one in opened.ask("queue_get")["items"]] == ["a person"]


@pytest.mark.parametrize("how", ["re_abort", "re_stop", "queue_stop"])
def test_who_stops_our_plan_at_the_queue_server_stops_the_agent(opened, service, how):
    start(service, "aligner", plan="leisurely", loop={"max_runs": 2})
    wait_until(lambda: fates(service, "aligner") == ["running"], what="a run")
    if how != "queue_stop":
        wait_until(lambda: opened.ask("re_pause", option="deferred")["success"], what="a pause")
        opened.until("paused")
    assert opened.ask(how)["success"]
    service.until("aligner", "paused", within_s=30)
    opened.until("idle")
    what = "stopped the queue" if how == "queue_stop" else "ended our plan"
    assert (service.get("queue")["state"], f"somebody {what}" in reason(service)) == ("held", True)
    assert len(opened.heard.keys() & set(ids(service, "aligner"))) == 1, "nothing further began"
    service.post("queue/resume")
    wait_until(lambda: len(opened.heard.keys() & set(ids(service, "aligner"))) == 2, what="the next run")
    service.post("queue/abort")


def test_a_plan_of_ours_that_fails_says_that_peoples_items_start_no_more_by_themselves(opened, service):
    assert opened.ask("queue_autostart", enable=True)["success"]
    start(service, "aligner", plan="raises", loop={"max_failures": 1})
    said = service.until("aligner", "stopped", within_s=30)["reason"]
    assert "the shutter is closed, says the plan; the queue server has switched its autostart off" in said
    wait_until(lambda: not opened.status()["queue_autostart_enabled"], what="what the manager does after a failure")


def test_neither_abort_nor_pause_meets_a_persons_plan(opened, service):
    opened.person(seconds=100)
    opened.begin_queue()
    start(service, "aligner")
    wait_until(lambda: service.get("queue")["pending"] == 1, what="a plan that waits")
    service.post("queue/pause")
    service.post("queue/abort", {"reason": "smoke"})
    status = opened.status()
    assert (status["manager_state"], status["pause_pending"]) == ("executing_queue", False)
    opened.end_of_a_person()
    last = ended(opened)[-1]
    assert (last["user"], last["result"]["exit_status"]) == ("a person", "stopped")


def test_pause_and_resume_make_no_second_run(opened, service):
    start(service, "aligner", plan="leisurely", loop={"max_runs": 1})
    wait_until(lambda: fates(service, "aligner") == ["running"], what="a run")
    service.post("queue/pause")
    opened.until("paused")
    assert service.get("queue")["state"] == "paused"
    service.post("queue/resume")
    service.until("aligner", "stopped", within_s=30)
    [suggestion] = service.suggestions("aligner")
    assert suggestion["state"] == "ingested"
    assert opened.heard[suggestion["id"]] == 1


def test_go_to_best_moves_there(opened, service):
    start(service, "aligner", loop={"max_runs": 2})
    service.until("aligner", "stopped", within_s=30)
    service.post("agents/aligner/go-to-best")
    opened.until("idle")
    last = ended(opened)[-1]
    assert (last["name"], last["result"]["exit_status"], last["result"]["run_uids"]) == ("move_to", "completed", [])
    best = max(service.suggestions("aligner"), key=lambda one: one["outcome"]["det"])
    assert last["kwargs"]["point"] == best["point"]


def test_a_move_that_waits_for_its_turn_does_not_begin_when_the_beam_was_lost(opened, tmp_path):
    beamline.fresh()
    more = {"run_engine": {"startup": "beamline_with_conditions"}, "conditions": {"beam": "ring_current > 100"}}
    with serving(opened, tmp_path / "state", more=more) as service:
        start(service, "aligner", loop={"max_runs": 1})
        service.until("aligner", "stopped", within_s=60)
        opened.person(seconds=100)
        opened.begin_queue()
        answers = []
        path = "/api/v1/agents/aligner/go-to-best"
        moving = threading.Thread(target=lambda: answers.append(service.http.post(path)))
        moving.start()
        wait_until(lambda: service.get("queue")["pending"] == 1, what="a move that waits")
        beamline.ring_current.put(0.0)
        wait_until(lambda: service.get("conditions")["items"][0]["state"] == "lost", what="the loss")
        opened.end_of_a_person()
        moving.join(60)
        assert "when its turn had come, a condition was not met" in answers[0].json()["detail"]
        assert (ended(opened)[-1]["user"], answers[0].json()["code"]) == ("a person", "out_of_bounds")
    beamline.fresh()


def test_a_specification_is_checked_against_what_is_allowed(opened, service):
    for field, changes in (
        ("plan", {"plan": "aquire"}),
        ("actuators", {"actuators": ["motr"], "guardrails": {}, "config": {"bounds": {"motr": [-5, 5]}}}),
        ("sensors", {"sensors": ["dett"], "outcome": "dett"}),
    ):
        body = {"name": "wrong", **SPEC, **changes}
        answer = service.http.post("/api/v1/agents", json=body)
        assert answer.status_code == 422, field
        assert "did you mean" in answer.text
    assert service.get("agents")["items"] == []


def test_a_plan_that_takes_other_arguments_is_refused_at_creation(opened, service):
    for plan, says in (("by_hand", "got an unexpected keyword argument 'suggestions'"), ("count", "'detectors'")):
        said = service.problem("POST", "agents", 422, "unknown_plan", json={"name": "wrong", **SPEC, "plan": plan})
        assert f"the queue server would refuse plan {plan!r}" in said["detail"]
        assert says in said["detail"]


def test_a_group_that_the_queue_server_does_not_know_is_said_at_creation(opened, tmp_path):
    with serving(opened, tmp_path / "state", user_group="strangers") as service:
        said = service.problem("POST", "agents", 422, "unknown_plan", json={"name": "wrong", **SPEC})
        assert said["detail"].endswith("Unknown user group: 'strangers'; write one that it has as sink.user_group")


def test_check_asks_the_queue_server_and_says_what_is_missing(opened):
    def wrong(**sink):
        section = {"kind": "queueserver", "control": opened.control, **sink}
        agent = {**SPEC, "name": "aligner"}
        config = ServiceConfig(
            sink=section, sources=[{"kind": "posted"}], agents=[agent, {**agent, "name": "other", "plan": "aquire"}]
        )
        return {one.field: one.message for one in check(config, devices=True)}

    found = wrong()
    assert list(found) == ["agents.1.plan"]
    assert found["agents.1.plan"] == "the queue server allows no plan 'aquire'; did you mean 'acquire'?"
    for_guests = wrong(user_group="guests")
    assert "from agent_service.plans.queue_server import acquire, move_to" in for_guests["agents.0.plan"]
    assert "its permissions have to allow the plan to sink.user_group" in for_guests["agents.0.plan"]
    assert "allows no device 'motor'" in for_guests["agents.0.actuators"]
    strange = wrong(user_group="strangers")
    assert list(strange) == ["sink"]
    assert strange["sink"].endswith("Unknown user group: 'strangers'; write one that it has as sink.user_group")
    nobody = wrong(control="tcp://127.0.0.1:9")
    assert list(nobody) == ["sink"]
    assert "does not answer" in nobody["sink"]
    assert nobody["sink"].endswith("where it encrypts (CURVE), give its public key as sink.public_key")
    assert "or it has another CURVE key than sink.public_key" in wrong(public_key="a" * 40)["sink"]


def test_a_run_goes_on_while_the_service_is_away(opened, tmp_path):
    state = tmp_path / "state"
    with serving(opened, state) as service:
        start(service, "aligner", plan="leisurely", loop={"max_runs": 1})
        wait_until(lambda: fates(service, "aligner") == ["running"], what="a run")
        [before] = service.suggestions("aligner")
    assert opened.status()["manager_state"] == "executing_queue"
    with serving(opened, state) as service:
        service.until("aligner", "stopped", within_s=30)
        [after] = service.suggestions("aligner")
    assert (after["id"], after["state"], after["run_uid"]) == (before["id"], "ingested", before["run_uid"])
    assert opened.heard[before["id"]] == 1


def test_a_persons_copy_of_our_item_is_theirs(opened, tmp_path):
    """It bears our id, is not ended by us, and is no second run of the suggestion."""
    state = tmp_path / "state"
    with serving(opened, state) as service:
        start(service, "aligner", plan="leisurely", loop={"max_runs": 1})
        wait_until(lambda: fates(service, "aligner") == ["running"], what="a run")
        [before] = service.suggestions("aligner")
    opened.until("idle")
    ours = ended(opened)[-1]
    copy = {key: ours[key] for key in ("item_type", "name", "kwargs", "meta")}
    assert opened.ask("queue_item_execute", item=copy, user="a person", user_group="primary")["success"]
    opened.until("executing_queue")
    with serving(opened, state) as service:
        service.post("queue/abort", {"reason": "smoke"})
        wait_until(lambda: fates(service, "aligner") == ["ingested"], what="the end of the suggestion")
        opened.until("idle")
        wait_until(lambda: opened.heard[before["id"]] == 2, what="the run of the copy")
        del opened.heard[before["id"]]  # the other tests count runs
        [after] = service.suggestions("aligner")
    assert (after["state"], after["run_uid"]) == ("ingested", before["run_uid"])
    last = ended(opened)[-1]
    assert (last["user"], last["result"]["exit_status"]) == ("a person", "completed")


def test_a_worker_that_died_is_said_and_destroyed_by_a_persons_press_alone(opened, service):
    start(service, "aligner", plan="leisurely", loop={"max_runs": 1, "max_failures": 2})
    wait_until(lambda: fates(service, "aligner") == ["running"], what="a run")
    service.problem("POST", "queue/destroy-environment", 409, "conflict")  # it answers
    opened.kill(opened.worker)
    wait_until(lambda: service.get("queue")["can_destroy"], what="a worker that died")
    assert "does not answer" in reason(service)
    assert opened.status()["worker_environment_exists"], "nobody destroyed it yet"
    service.post("queue/destroy-environment")
    wait_until(lambda: "expired" in fates(service, "aligner"), what="the fate of the run")
    [lost] = [one for one in service.suggestions("aligner") if one["state"] == "expired"]
    assert lost["reason"] == "RE Worker environment was destroyed; its run counts if it comes whole yet"
    wait_until(lambda: "the environment of the queue server is closed" in reason(service), what="what is next")
    opened.open()
    service.until("aligner", "stopped", within_s=30)
    assert max(opened.heard.values()) == 1


@pytest.mark.parametrize("late", [False, True], ids=["heard before", "heard after its fate"])
def test_a_run_that_ended_before_its_worker_died_counts(queue, tmp_path, late):
    """The manager says that the plan failed: nobody told it how it ended."""
    opened, heard = emptied(queue), threading.Event()
    stopped = threading.Event()

    def listen(name, document):
        if name == "stop":
            stopped.set()

    def when_heard():
        if not heard.is_set():
            raise OSError
        return where()

    opened.listen(listen)
    with Forwarder(opened, when_heard), serving(opened, tmp_path / "state") as service:
        start(service, "aligner", plan="lingers", loop={"max_runs": 1})
        assert stopped.wait(60)
        opened.unlisten(listen)
        opened.kill(opened.worker)
        wait_until(lambda: service.get("queue")["can_destroy"], what="a worker that died")
        if not late:
            heard.set()
            wait_until(lambda: fates(service, "aligner") == ["running"], what="its documents")
        service.post("queue/destroy-environment")
        if late:
            wait_until(lambda: fates(service, "aligner")[0] == "expired", what="a fate without its run")
            heard.set()
        wait_until(lambda: fates(service, "aligner")[0] == "ingested", what="its outcome")
        service.post("queue/abort", {"reason": "enough"})


def test_nothing_is_given_to_a_worker_that_died_idle(opened, service):
    opened.kill(opened.worker)
    start(service, "aligner", loop={"max_runs": 1})
    wait_until(lambda: service.get("queue")["can_destroy"], what="a worker that died")
    assert fates(service, "aligner") == ["submitted"]
    service.post("queue/destroy-environment")
    opened.until("idle")
    opened.open()
    service.until("aligner", "stopped", within_s=30)
    assert fates(service, "aligner") == ["ingested"]


def test_a_manager_that_hangs_is_said_and_nothing_is_sent_twice(opened, service):
    start(service, "aligner", loop={"max_runs": 2})
    wait_until(lambda: "ingested" in fates(service, "aligner"), what="a run")
    hung = set()

    def is_said():
        if (manager := opened.manager_pid) is not None and manager not in hung:  # the watchdog starts another one
            os.kill(manager, signal.SIGSTOP)
            hung.add(manager)
        return "does not answer, since" in reason(service)

    try:
        wait_until(is_said, within_s=60, what="a silent manager")
    finally:
        for manager in hung:
            with contextlib.suppress(ProcessLookupError):
                os.kill(manager, signal.SIGCONT)
    opened.answers()
    service.until("aligner", "stopped", within_s=60)
    assert set(fates(service, "aligner")) <= {"ingested", "expired"}
    assert max(opened.heard.values()) == 1


@pytest.mark.long
def test_a_redis_that_dies_in_the_middle_of_a_plan_is_said_and_its_run_counts(opened, service):
    """The manager takes the plan for running from then on, if its Redis is away for longer than it tries."""
    start(service, "aligner", plan="leisurely", loop={"max_runs": 1})
    wait_until(lambda: fates(service, "aligner") == ["running"], what="a run")
    opened.redis.end(signal.SIGKILL)
    wait_until(lambda: "Redis" in reason(service), what="what is wrong")
    wait_until(lambda: opened.status().get("re_state") == "idle", what="the end of the plan")
    opened.redis = opened._start_redis()

    def says_what_to_do():
        return "somebody has to restart its RE Manager" in reason(service)

    wait_until(lambda: says_what_to_do() or fates(service, "aligner") == ["ingested"], what="an end", within_s=60)
    lost = says_what_to_do()
    if lost:
        assert fates(service, "aligner") == ["running"]
        opened.kill(opened.manager_pid)  # its watchdog starts another one
    service.until("aligner", "stopped", within_s=60)
    assert fates(service, "aligner") == ["ingested"]
    assert ended(opened)[-1]["result"]["exit_status"] == ("unknown" if lost else "completed")


def test_nothing_is_given_to_a_worker_that_hangs(opened, service):
    os.kill(opened.worker, signal.SIGSTOP)
    stopped = opened.worker
    start(service, "aligner", loop={"max_runs": 1})
    wait_until(lambda: "does not answer" in reason(service), what="a silent worker")
    assert fates(service, "aligner") == ["submitted"]
    os.kill(stopped, signal.SIGCONT)
    service.until("aligner", "stopped", within_s=30)
    assert fates(service, "aligner") == ["ingested"]


def test_an_agent_whose_plan_has_ended_says_that_it_waits_for_the_documents(queue, tmp_path):
    opened = emptied(queue)
    with serving(opened, tmp_path / "state") as service:  # nobody posts what the worker publishes
        start(service, "aligner", plan="remembers", loop={"max_runs": 1})
        says = "its plan has ended, and the documents of its run did not come yet"
        wait_until(lambda: service.get("agents/aligner")["suspended"] == says, what="what it waits for")
        last = max(place for place, (name, _) in enumerate(opened.documents) if name == "start")
        service.post("documents", {"documents": opened.documents[last:]})
        service.until("aligner", "stopped", within_s=60)
        assert fates(service, "aligner") == ["ingested"]
        assert service.get("agents/aligner")["suspended"] is None


def test_where_the_manager_encrypts_its_public_key_is_needed(tmp_path, monkeypatch):
    public, secret = (key.decode() for key in zmq.curve_keypair())
    queue = QueueService(tmp_path / "queue", secret=secret, public=public)
    try:
        queue.open()
        with Forwarder(queue, where), serving(queue, tmp_path / "state", public_key=public) as service:
            start(service, "aligner", loop={"max_runs": 1})
            service.until("aligner", "stopped", within_s=30)
            assert fates(service, "aligner") == ["ingested"]
        with serving(queue, tmp_path / "without") as service:
            wait_until(lambda: "does not answer" in reason(service), what="its silence")
        monkeypatch.setenv("QSERVER_ZMQ_PUBLIC_KEY", public)
        with serving(queue, tmp_path / "by environment") as service:
            wait_until(lambda: service.get("queue")["state"] == "idle", what="its answer")
            assert reason(service) == ""
    finally:
        queue.close()
