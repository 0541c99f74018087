"""run_agent in a user's own RunEngine: it measures what is claimed, pauses, aborts, and ends with the agent."""

import contextlib
import sys
import threading
import time

import bluesky.plan_stubs as bps
import limited
import pytest
import rig
from archive_rig import run_engine
from bluesky.run_engine import TransitionError
from bluesky.utils import RunEngineInterrupted
from services import Served, wait_until

from agent_service import run_agent
from agent_service.client import Client
from agent_service.client.aborted_run import without_frames
from agent_service.errors import BackendUnavailable, Conflict, NotFound, UnknownDevice
from agent_service.launch.background import BackgroundServer
from agent_service.service.config import ServiceConfig

DEVICES = [rig.x, rig.y, rig.signal]


@pytest.fixture
def engine():
    with run_engine() as one:
        yield one


@pytest.fixture
def service(engine, tmp_path):
    """A service whose source is the user's RunEngine."""
    config = ServiceConfig(
        service={"port": 0, "catalog": "none", "state": tmp_path / "state"},
        sink={"kind": "claim"},
        run_engine={"md": {"proposal": "P-1"}},
    )
    served = Served(BackgroundServer(config, engine=engine).start())
    yield served
    served.close()


@pytest.fixture
def client(service):
    with Client(service.url, api_key=service.server.api_key) as one:
        yield one


@contextlib.contextmanager
def in_thread(engine, plan):
    """Run a plan beside the test; what the RunEngine returned or raised is in the dictionary."""
    ended = {}

    def work():
        try:
            ended["result"] = engine(plan)
        except Exception as error:  # noqa: BLE001 - looked at by the test
            ended["error"] = error

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield ended
    finally:
        if engine.state != "idle":
            aside(engine.abort)
        thread.join(20)
        assert not thread.is_alive()


def aside(call):
    """A running RunEngine is aborted from another thread than its own; it may have ended meanwhile."""

    def work():
        with contextlib.suppress(TransitionError):
            call()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()


@pytest.mark.parametrize(("rule", "purpose"), [("last", "light"), ({"purpose": "dark"}, "dark"), (None, None)], ids=str)
def test_a_plan_of_several_runs(service, client, engine, rule, purpose):
    service.create("walker", plan="dark_light", run=rule, loop={"max_runs": 2, "max_failures": 1})
    starts = {}
    engine.subscribe(lambda name, document: starts.update({document["uid"]: document["purpose"]}), "start")
    engine(run_agent("walker", devices=DEVICES, client_or_url=client, plan=rig.dark_light))
    told = service.suggestions("walker")
    if purpose is None:
        assert [one["state"] for one in told] == ["failed"]
        assert "the plan made 2 runs for this suggestion" in told[0]["reason"]
    else:
        assert [starts[one["run_uid"]] for one in told] == [purpose] * 2
        assert [(one["outcome"]["signal"] < -60) == (purpose == "dark") for one in told] == [True, True]


def test_the_loop_closes_in_the_users_run_engine(service, client, engine):
    service.create("walker", loop={"max_runs": 3})
    starts = []
    engine.subscribe(lambda name, document: starts.append(document), "start")
    uids = engine(run_agent("walker", devices=DEVICES, client_or_url=client))
    status = client.agent("walker")
    assert (status.state, status.reason) == ("stopped", "max_runs reached (3 of 3)")
    done = client.suggestions("walker")
    assert [one.run_uid for one in done] == list(uids) == [one["uid"] for one in starts]
    assert [one.outcome["signal"] for one in done] == [pytest.approx(0.75 - (x - 1) ** 2) for x in range(3)]
    assert {start["proposal"] for start in starts} == {"P-1"}
    assert [start["agent_suggestion_uid"] for start in starts] == [one.id for one in done]
    assert [start["scan_id"] for start in starts] == [1, 2, 3], "its own numbers"


def test_a_plan_of_ones_own_carries_the_suggestions_id_even_if_it_forgets(service, client, engine):
    def forgetful(suggestions, actuators, sensors, md):
        yield from bps.open_run()
        yield from bps.mv(actuators[0], suggestions[0]["x"])
        yield from bps.trigger_and_read([*actuators, *sensors])
        yield from bps.close_run()

    service.create("walker", loop={"max_runs": 1})
    engine(run_agent("walker", devices=DEVICES, client_or_url=client, plan=forgetful))
    assert client.agent("walker").progress.done == 1


def test_the_agents_own_plan_is_the_default(service, client, engine):
    rig.gate.set()
    service.create("walker", plan="rig:gated", loop={"max_runs": 1})
    engine(run_agent("walker", devices=DEVICES, client_or_url=client))
    rig.gate.clear()
    assert client.agent("walker").progress.done == 1


def test_pause_during_the_wait_and_resume(service, client, engine):
    service.create("waits", loop={"approval": "required", "max_runs": 1})

    def pause():
        wait_until(lambda: client.suggestions("waits", state="proposed"))
        engine.request_pause()

    pausing = threading.Thread(target=pause)
    pausing.start()
    with pytest.raises(RunEngineInterrupted):
        engine(run_agent("waits", devices=DEVICES, client_or_url=client))
    pausing.join(10)
    assert engine.state == "paused"
    [proposed] = client.suggestions("waits", state="proposed")
    client.approve(proposed.id)
    wait_until(lambda: client.queue().current == proposed.id, what="claimed while paused")
    assert client.suggestion(proposed.id).run_uid is None, "claimed, and nothing moves while the RunEngine is paused"
    engine.resume()
    assert engine.state == "idle"
    assert client.agent("waits").state == "stopped"
    assert client.suggestion(proposed.id).state == "ingested"


def test_a_claim_is_kept_while_the_run_engine_is_paused(service, client, engine, monkeypatch):
    monkeypatch.setattr("agent_service.client.claimer.LEASE_S", 0.5)
    rig.gate.clear()
    rig.measuring.clear()
    service.create("moving", loop={"max_runs": 1})
    with in_thread(engine, run_agent("moving", devices=DEVICES, client_or_url=client, plan=rig.gated)):
        wait_until(rig.measuring.is_set)
        engine.request_pause()
        wait_until(lambda: engine.state == "paused")
        until = time.monotonic() + 1.5
        wait_until(lambda: time.monotonic() > until, what="three leases without a document")
        assert len(client.suggestions("moving", state="running")) == 1
        rig.gate.set()
        engine.resume()
    assert client.agent("moving").progress.done == 1


@pytest.mark.parametrize("paused", [False, True])
def test_abort_during_a_run_fails_the_suggestion(service, client, engine, paused):
    rig.gate.clear()
    rig.measuring.clear()
    service.create("moving", loop={"max_failures": 1})
    with in_thread(engine, run_agent("moving", devices=DEVICES, client_or_url=client, plan=rig.gated)) as ended:
        wait_until(rig.measuring.is_set)
        [found] = wait_until(lambda: client.suggestions("moving", state="running"))
        if paused:
            engine.request_pause()
            wait_until(lambda: engine.state == "paused")
        aside(lambda: engine.abort("enough"))
        wait_until(lambda: engine.state == "idle")
    assert ended
    failed = wait_until(lambda: (one := client.suggestion(found.id)).state == "failed" and one)
    assert failed.reason
    assert client.agent("moving").state == "running", "an abort is not the agent's failure"
    wait_until(lambda: client.queue().pending == 1, what="the next one waits for somebody to claim it")


def test_abort_during_the_wait_claims_nothing_more(service, client, engine):
    service.create("waits", loop={"approval": "required"})
    with in_thread(engine, run_agent("waits", devices=DEVICES, client_or_url=client)):
        [proposed] = wait_until(lambda: client.suggestions("waits", state="proposed"))
        aside(engine.abort)
    wait_until(lambda: not [one for one in threading.enumerate() if one.name == "claims:waits"])
    client.approve(proposed.id)
    wait_until(lambda: client.suggestion(proposed.id).state == "submitted")
    assert client.claim("waits", wait_s=10).id == proposed.id


def test_a_tag_that_no_agent_has_is_said_and_waited_for(service, client, engine, caplog):
    service.create("far", tag="far", loop={"max_runs": 1})
    with in_thread(engine, run_agent(devices=DEVICES, tag="fra", client_or_url=client)):
        wait_until(lambda: "no agent has the tag 'fra' (there: far)" in caplog.text, within_s=60)
        service.create("later", tag="fra", loop={"max_runs": 1})
        service.post("agents/later/start")
        service.until("later", "stopped", within_s=60)


def test_what_was_claimed_and_not_begun_is_given_back(service, client, engine):
    service.create("waits", loop={"approval": "required"})
    with in_thread(engine, run_agent("waits", devices=DEVICES, client_or_url=client)):
        [proposed] = wait_until(lambda: client.suggestions("waits", state="proposed"))
        engine.request_pause()
        wait_until(lambda: engine.state == "paused")
        client.approve(proposed.id)
        wait_until(lambda: client.queue().current == proposed.id)
        engine.abort()
    wait_until(lambda: client.queue().current is None)
    assert client.suggestion(proposed.id).state == "submitted"


@pytest.mark.parametrize(
    ("plan", "reason"), [("raises", "RuntimeError: the shutter is closed"), ("no_run", "the plan made no run")]
)
def test_a_plan_that_fails_counts_and_the_next_is_measured(service, client, engine, plan, reason):
    service.create("fails", loop={"max_failures": 2})
    engine(run_agent("fails", devices=DEVICES, client_or_url=client, plan=getattr(rig, plan)))
    assert client.agent("fails").state == "stopped"
    failed = client.suggestions("fails", state="failed")
    assert len(failed) == 2
    assert all(one.reason in (reason, "the shutter is closed") for one in failed)


def test_a_device_is_asked_where_it_is_before_its_plan_begins(service, client, engine):
    limited.Careless.limits = (-5.0, 5.0)
    limited.careless.set(0.0).wait(5)
    points = [{"careless": 7.0}, {"careless": 2.0}]
    what = {"actuators": ["careless"], "sensors": ["signal"], "type": "sequence", "config": {"points": points}}
    service.create("careless", **what)
    engine(run_agent("careless", devices=[limited.careless, limited.signal], client_or_url=client))
    fates = [(one["state"], one["reason"]) for one in service.suggestions("careless")]
    assert fates == [
        ("failed", "careless = 7 is outside [-5, 5], the limits that the device states"),
        ("ingested", None),
    ]
    assert limited.careless.position == 2.0


def test_the_devices_of_the_notebook_say_their_limits_to_its_service(service, monkeypatch):
    monkeypatch.setattr(sys.modules["__main__"], "careless", limited.careless, raising=False)
    limited.Careless.limits = (-5.0, 5.0)
    what = {"actuators": ["careless"], "type": "sequence", "config": {"points": [{"careless": 7.0}]}}
    status = service.create("careless", **what)
    assert (status["limits"], status["no_limits"]) == ({"careless": [-5, 5]}, [])
    service.post("agents/careless/start")
    [one] = wait_until(lambda: service.suggestions("careless"))
    assert (one["state"], one["reason"].partition(":")[0]) == ("rejected", "device_limits.careless")


@pytest.mark.parametrize("how", ["stop", "fail", "remove"])
def test_it_ends_with_the_agent(service, client, engine, how):
    kind = {"type": "brainbox:Faulty", "config": {"where": "suggest"}} if how == "fail" else {}
    service.create("ends", loop={"approval": "required"}, **kind)
    with in_thread(engine, run_agent("ends", devices=DEVICES, client_or_url=client)) as ended:
        if how != "fail":
            wait_until(lambda: client.suggestions("ends", state="proposed"))
            client.stop("ends")
        if how == "remove":
            client.delete("ends")
        wait_until(lambda: ended)
    assert ended == {"result": ()}


def test_it_begins_by_letting_the_agent_run(service, client, engine):
    service.create("walker", loop={"max_runs": 1})
    client.start("walker", paused=True)
    engine(run_agent("walker", devices=DEVICES, client_or_url=client))
    assert client.agent("walker").progress.done == 1
    with pytest.raises(Conflict, match=r"has made 1 of 1 runs; allow more \(max_runs, in a cell --max-runs\)"):
        engine(run_agent("walker", devices=DEVICES, client_or_url=client))
    client.update("walker", loop={"max_runs": 2})
    engine(run_agent("walker", devices=DEVICES, client_or_url=client))
    assert client.agent("walker").progress.done == 2


def test_what_cannot_work_is_one_error(service, client, engine, tmp_path):
    service.create("walker")
    with pytest.raises(UnknownDevice, match=r"needs y, signal; pass them in devices=\[\.\.\.\] \(there: x\)"):
        engine(run_agent("walker", devices=[rig.x], client_or_url=client))
    assert client.agent("walker").state == "created", "nothing was begun"
    with pytest.raises(NotFound, match="did you mean 'walker'"):
        engine(run_agent("walkr", devices=DEVICES, client_or_url=client))


def test_what_cannot_work_is_no_wall_of_frames(service, client, engine, caplog):
    service.create("walker")
    with pytest.raises(NotFound) as refused:
        engine(run_agent("walkr", devices=DEVICES, client_or_url=client))
    *way, last = refused.value._render_traceback_()
    assert last.startswith("NotFound: there is no agent 'walkr'")
    assert [line for line in way if "bluesky" in line] == []
    aborted = [record for record in caplog.records if record.message == "Run aborted"]
    assert aborted, "bluesky says so itself"
    assert [record.exc_info for record in aborted] == [None] * len(aborted)


def test_what_a_plan_of_ones_own_raises_keeps_its_frames(engine, caplog):
    def broken():
        yield from ()
        raise RuntimeError("the crate is off")

    without_frames()
    with pytest.raises(RuntimeError):
        engine(broken())
    assert [record for record in caplog.records if record.message == "Run aborted" and record.exc_info]


def test_a_service_that_does_not_come_back_ends_the_plan(engine, monkeypatch):
    monkeypatch.setattr("agent_service.client.claimer.PATIENCE_S", 0.2)
    url = f"http://127.0.0.1:{_free_port()}"
    with pytest.raises(BackendUnavailable, match="no service answers"):
        engine(run_agent("walker", devices=DEVICES, client_or_url=url))


def _free_port():
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def test_the_users_run_engine_is_a_source_only(service, client, engine):
    """It was subscribed, is not called, and is let go at the end."""
    service.create("listens", type="brainbox:Listener", listen="all", actuators=["x"], sensors=[], outcome="signal")
    client.start("listens")
    from bluesky.plans import list_scan

    [uid] = engine(list_scan([rig.signal], rig.x, [0.5]))
    wait_until(lambda: client.agent("listens").state == "running" and client.report("listens").report["points"])
    ours = len(engine.dispatcher.cb_registry.callbacks)
    service.server.close()
    left = engine.dispatcher.cb_registry.callbacks
    assert ours > 0
    assert not any(left.values()), "unsubscribed"
    assert engine(list_scan([rig.signal], rig.x, [0.5])) != (uid,)
