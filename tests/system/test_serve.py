"""agent_service.serve: a service for a notebook or a script, and what it leaves behind: nothing."""

import json
import os
import re
import socket
import subprocess
import sys
import threading
from importlib.resources import files
from pathlib import Path

import brainbox
import pytest
import rig
from archive_rig import descriptors, run_engine
from services import wait_until

import agent_service
from agent_service import references
from agent_service.client import Client
from agent_service.client.local_services import services
from agent_service.errors import AgentFault, DeadlineExceeded, InvalidInput, UsageError
from agent_service.models import AgentSpec
from agent_service.service.config import ServiceConfig
from agent_service.state_dir import StateDir

WALKER = {"actuators": ["x", "y"], "sensors": ["signal"], "outcome": "signal", "startup": "rig", "catalog": "none"}


@pytest.fixture
def serve(tmp_path):
    """Serve on a state directory of the test's own; what it leaves open is closed."""
    opened = []

    def call(agents=None, **options):
        options = {**WALKER, "state": tmp_path / "state", **options}
        opened.append(agent_service.serve(agents, **options))
        return opened[-1]

    yield call
    for one in opened:
        one.close()
    assert not services()
    assert not references._objects, "live objects were left behind"


def until(service, name, state):
    return wait_until(lambda: (one := service.client.agent(name)).state == state and one)


def test_an_object_a_class_a_name_a_spec_and_fields(serve):
    walker = brainbox.Walker()
    spec = AgentSpec(name="ignored", type="sequence", config={"points": [{"x": 1, "y": 1}]}, outcome="signal")
    service = serve(
        {
            "object": walker,
            "class": brainbox.Walker,
            "reference": "brainbox:Walker",
            "spec": spec,
            "fields": {"type": brainbox.factory, "config": {"start": 4}, "actuators": [rig.x, "y"]},
        },
        loop={"max_runs": 1},
    )
    made = {one.name: one for one in service.client.agents()}
    assert {one.state.value for one in made.values()} == {"created"}
    assert made["object"].type.startswith("live:")
    assert service.config.service.recover == "paused"
    assert made["reference"].type == "brainbox:Walker"
    assert made["spec"].spec.actuators == ["x", "y"]
    for name in made:
        service.client.start(name)
        assert until(service, name, "stopped").progress.done == 1
    assert walker.points, "the very object measured"
    assert service.client.suggestions("fields")[0].point == {"x": 4, "y": 0}


def test_a_shipped_brain_needs_its_configuration_only(serve, tmp_path):
    bayes = {"type": "bayes", "config": {"bounds": {"mirror_x": [-5, 5], "mirror_y": [-5, 5]}, "objective": "flux"}}
    with agent_service.serve({"aligner": bayes}, catalog="none", state=tmp_path / "state") as service:
        spec = service.client.agent("aligner").spec
        assert (spec.actuators, spec.sensors, spec.outcomes) == (["mirror_x", "mirror_y"], ["flux"], ["flux"])


def test_a_brain_says_what_it_needs(tmp_path):
    class Knowing(brainbox.Walker):
        actuators = (rig.x, rig.y)
        sensors = ("signal",)
        outcome = "signal"

    with agent_service.serve(
        {"knowing": Knowing()}, startup="rig", catalog="none", state=tmp_path / "state"
    ) as service:
        spec = service.client.agent("knowing").spec
    assert (spec.actuators, spec.sensors, spec.outcomes) == (["x", "y"], ["signal"], ["signal"])


def test_functions_evaluate_and_plan(serve):
    measured = []

    def plan(suggestions, actuators, sensors, md):
        measured.append(suggestions[0]["x"])
        return (yield from agent_service.plans.library.acquire(suggestions, actuators, sensors, md))

    service = serve()
    service.host(
        "walker",
        {"type": brainbox.Walker, "evaluate": brainbox.peak, "plan": plan, "outcome": None, "loop": {"max_runs": 2}},
        start=True,
        **{key: WALKER[key] for key in ("actuators", "sensors")},
    )
    until(service, "walker", "stopped")
    assert measured == [0, 1]
    assert len(service.client.best("walker")) == 1


def test_with_an_engine_nothing_moves_until_it_is_called(serve):
    with run_engine() as engine:
        before = dict(engine.dispatcher.cb_registry.callbacks)
        service = serve({"walker": brainbox.Walker()}, RE=engine, startup=None, md={"proposal": "P-9"})
        assert service.client.queue().kind == "claim"
        starts = []
        token = engine.subscribe(lambda name, document: starts.append(document), "start")
        service.client.update("walker", loop={"max_runs": 2})
        engine(agent_service.run_agent("walker", devices=[rig.x, rig.y, rig.signal]))
        assert service.client.agent("walker").progress.done == 2
        assert {start["proposal"] for start in starts} == {"P-9"}
        engine.unsubscribe(token)
        service.close()
        assert {key: one for key, one in engine.dispatcher.cb_registry.callbacks.items() if one} == before


def test_serving_again_replaces_the_agent_and_tells_it_what_was_measured(serve):
    service = serve({"walker": brainbox.Walker()}, loop={"max_runs": 3}, start=True)
    until(service, "walker", "stopped")

    class Edited(brainbox.Walker):
        """Another class of the same name in the notebook."""

    edited = Edited()
    found = service.host("walker", edited, start=True, **_fields(loop={"max_runs": 4}))
    assert (found.replaced, found.ingested) == (True, 3)
    after = until(service, "walker", "stopped")
    assert (after.progress.done, after.counts.retold, after.counts.by_hand) == (4, 3, 0), "runs count once"
    assert len(edited.points) == 4
    assert {"x": 0.0, "y": 0.0, "signal": pytest.approx(-0.25)} in edited.points[:3]
    assert after.best.outcome == {"signal": pytest.approx(0.75)}
    assert service.host("walker", brainbox.Walker, **_fields()).ingested == 4, "each outcome once"
    fresh = brainbox.Walker()
    found = service.host("walker", fresh, fresh=True, **_fields())
    assert (found.replaced, found.ingested, found.status.state) == (True, 0, "created")
    assert fresh.points == []


def test_whatever_is_served_how_often_each_outcome_is_told_counted_and_drawn_once(serve):
    service = serve({"walker": brainbox.Walker()}, loop={"max_runs": 3}, start=True)
    until(service, "walker", "stopped")
    for runs in (5, 6, 6):
        service.host("walker", brainbox.Walker, start=True, **_fields(loop={"max_runs": runs}))
        status = until(service, "walker", "stopped")
        assert status.progress.done == runs
    service.client.update("walker", loop={"max_runs": 7, "approval": "required"})
    service.client.start("walker", paused=True)
    service.client.ingest("walker", [{"x": 9.0, "y": 9.0, "signal": 2.0}])
    brain = brainbox.Walker()
    status = service.host("walker", brain, **_fields(loop={"max_runs": 7})).status
    assert len(brain.points) == 7
    assert (status.progress.done, status.counts.retold, status.best.outcome) == (6, 7, {"signal": 2.0})
    facts = [one for one in service.client.history("walker") if one.kind == "ingest"]
    assert len(facts[-1].data["retold"]) == 7, "the journal says what was told again"
    assert len(set(facts[-1].data["run_uids"])) == 6
    assert drawn(service.client.suggestions("walker"), service.client.history("walker")) == 7


DRAWN = """
const { AgentFold } = await import(process.argv[1]);
const { suggestions, history } = JSON.parse(process.argv[2]);
const fold = new AgentFold();
fold.look(suggestions, history);
console.log(fold.measured.size);
"""


def drawn(suggestions, history):
    """Return how many points a view draws."""
    told = {"suggestions": suggestions, "history": history}
    told = json.dumps({name: [one.model_dump(mode="json") for one in items] for name, items in told.items()})
    fold = str(files("agent_service.server") / "static" / "view" / "fold.js")
    command = ["node", "--input-type=module", "-e", DRAWN, fold, told]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_the_very_object_is_not_told_again_what_it_knows(serve):
    walker = brainbox.Walker()
    service = serve({"walker": walker}, loop={"max_runs": 2}, start=True)
    until(service, "walker", "stopped")
    for runs in (3, 4):
        found = service.host("walker", walker, start=True, **_fields(loop={"max_runs": runs}))
        assert found.ingested == runs - 1
        assert until(service, "walker", "stopped").progress.done == runs
        assert len(walker.points) == runs
    service.client.update("walker", loop={"approval": "required", "max_runs": 9})
    service.client.start("walker", paused=True)
    assert service.client.variable("walker", "seen").value == 4, "built anew: born with three, told the fourth"


def test_the_very_object_begins_again_as_it_was_born_when_that_is_wanted(serve):
    walker = brainbox.Walker()
    service = serve({"walker": walker}, loop={"max_runs": 2}, start=True)
    until(service, "walker", "stopped")
    service.host("walker", walker, start=True, fresh=True, **_fields(loop={"max_runs": 1}))
    status = until(service, "walker", "stopped")
    assert (status.progress.done, status.counts.suggested) == (1, 1)
    assert service.client.suggestions("walker")[0].point == {"x": 0, "y": 0}, "from its beginning"
    assert len(walker.points) == 2, "another one measured"


def test_a_brain_that_was_built_anew_is_told_all_and_once(serve):
    walker = brainbox.Walker()
    service = serve({"walker": walker}, loop={"max_runs": 2, "approval": "required"}, start=True)
    service.client.ingest("walker", [{"x": 1.0, "y": 0.0, "signal": 1.0}])
    service.client.restart("walker")
    service.client.ingest("walker", [{"x": 2.0, "y": 0.0, "signal": 2.0}])
    assert len(walker.points) == 1, "another one took its place"
    service.host("walker", walker, **_fields(loop={"approval": "required"}))
    assert service.client.variable("walker", "seen").value == 2
    service.client.restart("walker")
    assert service.client.variable("walker", "seen").value == 2
    status = service.client.agent("walker")
    assert (status.counts.retold, status.best.outcome) == (2, {"signal": 2.0})


def test_an_agent_at_work_is_replaced(serve):
    service = serve({"walker": brainbox.Walker()}, loop={"approval": "required"}, start=True)
    wait_until(lambda: service.client.suggestions("walker", state="proposed"))
    found = service.host("walker", brainbox.Walker, **_fields())
    assert (found.replaced, found.status.state) == (True, "created")


def test_what_is_wrong_leaves_the_present_agent_alone(serve):
    service = serve({"walker": brainbox.Walker()}, loop={"approval": "required"}, start=True)
    for thing, fields, said in [
        (5, {}, "has no suggest and no ingest"),
        (brainbox.Walker, {"config": {"stride": 1}}, "config.stride: is unknown"),
        (brainbox.Walker, {"outcome": None}, "outcome or evaluate is needed"),
        (brainbox.Walker, {"actuators": ["x", "z"]}, "there is no device 'z'"),
        (brainbox.Walker, {"plan": "sweep"}, "there is no plan 'sweep'"),
        (brainbox.Walker, {"outcome": None, "evaluate": "brainbox:nothing"}, "nothing"),
        (brainbox.Walker, {"lop": {}}, "lop: is not a known key here"),
        ("no_such_type", {}, "there is no agent type"),
        ({"config": {}}, {}, "has no type"),
    ]:
        with pytest.raises(InvalidInput, match=re.escape(said)):
            service.host("walker", thing, **_fields(**fields))
    assert service.client.agent("walker").state == "running"
    assert [one.name for one in service.client.agents()] == ["walker"]


def test_the_next_kernel_goes_on_where_the_last_one_ended(serve):
    service = serve(
        {"walker": brainbox.Walker(), "other": "brainbox:Walker"}, loop={"approval": "required"}, start=True
    )
    [first] = wait_until(lambda: service.client.suggestions("walker", state="proposed"))
    service.client.approve(first.id)
    wait_until(lambda: service.client.suggestion(first.id).state == "ingested")
    service.close()
    service = serve()
    assert "is not in this process" in until(service, "walker", "failed").reason
    assert until(service, "other", "paused"), "and nothing moves unasked"
    service.close()
    walker = brainbox.Walker()
    service = serve({"walker": walker})
    assert service.client.agent("walker").state == "paused"
    assert len(walker.points) == 1


def test_a_brain_that_cannot_be_built_closes_the_service(serve):
    with pytest.raises(AgentFault, match="no model file"):
        serve({"unborn": brainbox.Unborn}, start=True)


def test_usage_errors_are_one_line(serve, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UsageError, match="cannot listen"):
            serve(port=taken.getsockname()[1])
    service = serve()
    with pytest.raises(UsageError, match=r"of this process runs on .* already; close it first"):
        serve()
    service.close()
    with StateDir(tmp_path / "state"):
        with pytest.raises(UsageError, match="is in use by another service"):
            serve()
    config = ServiceConfig(service={"port": 0, "catalog": "none", "state": tmp_path / "state"})
    with pytest.raises(UsageError, match='set \\[sink\\] kind = "claim"'):
        agent_service.create_app(config, engine=object())
    with pytest.raises(UsageError, match="does not exist"):
        serve(config="nowhere.toml")
    with pytest.raises(UsageError, match=r"service\.port"):
        serve(port=70000)


def test_a_service_toml_is_underneath(serve, tmp_path):
    (tmp_path / "service.toml").write_text(
        '[service]\nport = 0\ncatalog = "none"\n[run_engine]\nstartup = "rig"\nmd = { a = 1 }\n[[agents]]\n'
        'name = "filed"\ntype = "brainbox:Walker"\nactuators = ["x", "y"]\nsensors = ["signal"]\noutcome = "signal"\n'
    )
    service = agent_service.serve(config=tmp_path / "service.toml")
    try:
        assert service.state == tmp_path / "service.state"
        assert [one.name for one in service.client.agents()] == ["filed"]
    finally:
        service.close()


def test_one_state_directory_a_notebook(serve, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JPY_SESSION_NAME", "/somewhere/My scan #3.ipynb")
    assert serve(state=None).state == tmp_path / ".agent-service" / "My-scan-3"


def test_how_it_shows_itself(serve):
    service = serve({"walker": "brainbox:Walker"}, loop={"max_runs": 7})
    shown = service._repr_mimebundle_()
    assert shown["text/plain"] == f"agent service at {service.url}: walker created"
    for part in (f'href="{service.url}/docs"', "walker", "created", "0 of 7"):
        assert part in shown["text/html"]
    key = (service.state / "api_key").read_text().strip()
    assert key not in shown["text/html"] + shown["text/plain"]
    service.client.create(name="odd", type="brainbox:Walker", **_fields())
    service._server.close()
    assert "no service answers" in repr(service)
    service.close()
    assert repr(service) == f"agent service at {service.url}: closed; serve again"
    assert "closed" in service._repr_mimebundle_()["text/html"]


@pytest.mark.long
def test_twenty_cycles_leave_nothing_behind(serve, tmp_path):
    cycle(tmp_path / "state", "none")  # what is imported and cached once stays
    before = descriptors(), set(threading.enumerate()), children()
    for number in range(20):
        cycle(tmp_path / "state", "embedded" if number % 10 == 0 else "none")
    wait_until(lambda: set(threading.enumerate()) <= before[1], what="the end of every thread")
    assert children() == before[2]
    assert descriptors() == before[0]
    assert not (tmp_path / "state" / "service.json").exists()


def test_waiting_for_the_catalogue_ends(serve):
    service = serve(catalog="embedded")
    with pytest.raises(DeadlineExceeded, match=r"after 0 s; the catalogue is starting, .*; nothing is lost"):
        service.catalog(within_s=0)
    service.close()
    with pytest.raises(UsageError, match="serve again"):
        service.catalog()


def test_a_service_without_a_catalogue_says_so(serve):
    with pytest.raises(UsageError, match="has no catalogue"):
        serve().catalog()


def cycle(state, catalog):
    options = {**WALKER, "state": state, "catalog": catalog, "fresh": True, "loop": {"max_runs": 1}, "start": True}
    with agent_service.serve({"walker": brainbox.Walker()}, **options) as service:
        until(service, "walker", "stopped")
    service.close()


def children():
    found = set()
    for task in Path("/proc/self/task").iterdir():
        found |= set((task / "children").read_text().split())
    return found


def test_an_interpreter_that_ends_ends_its_service(tmp_path):
    code = (
        "import agent_service, brainbox, sys\n"
        f"service = agent_service.serve({{'w': brainbox.Walker()}}, state={str(tmp_path / 'state')!r}, start=True,\n"
        "    actuators=['mirror_x', 'mirror_y'], sensors=['flux'], outcome='flux', loop={'approval': 'required'})\n"
        "print(service._server._thread.is_alive())\n"
    )
    path = os.pathsep.join(["tests/support", os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")
    assert not (tmp_path / "state" / "service.json").exists()
    with StateDir(tmp_path / "state"):
        pass


def test_a_client_of_ones_own(serve):
    service = serve()
    with Client.from_state(service.state) as client:
        assert client.service().state_dir == str(service.state)


def _fields(**more):
    return {**{key: WALKER[key] for key in ("actuators", "sensors", "outcome")}, **more}
