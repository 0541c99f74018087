"""A service is killed and comes back: each brain goes on from its saved state, and suggests what it would have."""

import importlib.util
import json
import signal

import pytest
from services import wait_until

from agent_service.journal import reader

BOX = {"x": [-30, 30], "y": [-30, 30]}
FAMILIES = {
    "pool": ("pool", {"n_initial": 3}, "sklearn"),
    "plain": ("brainbox:Walker", {}, "sklearn"),
    "cma": ("cma", {"popsize": 4}, "cma"),
    "optuna": ("optuna", {"options": {"n_startup_trials": 3}}, "optuna"),
}


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_equal_data_and_equal_suggestions_after_kill_9(process, executor):
    names = [name for name, (_, _, library) in FAMILIES.items() if importlib.util.find_spec(library)]
    with process.start(timeout_s=100) as client:
        for name in names:
            type_, config, _ = FAMILIES[name]
            fields = {"type": type_, "config": config, "space": BOX, "executor": executor, "recover": "paused"}
            client.create(name=name, actuators=["x", "y"], sensors=["signal"], outcome="signal", **fields)
            client.start(name, paused=True, wait_s=100)
            for _ in range(5):
                [one] = client.suggest(name, wait_s=100)
                client.ingest(name, [{**one.point, "signal": -(one.point["x"] ** 2), "_id": one.id}])
            wait_until(lambda name=name: _is_saved(process, name, 5), within_s=100, what=f"the state of {name}")
        before = {name: client.report(name, wait_s=100).report for name in names}
        process.end(signal.SIGKILL)
    with process.start(timeout_s=100) as client:
        for name in names:
            wait_until(lambda name=name: client.agent(name).state == "paused", within_s=100)
            assert client.report(name, wait_s=100).report == before[name]
            if executor == "thread":
                assert client.agent(name).memory_mb is None
            else:  # it is looked at in a thread
                wait_until(lambda name=name: client.agent(name).memory_mb, within_s=60, what="its memory")
        again = {name: client.suggest(name, wait_s=100)[0].point for name in names}
    assert again["plain"]["x"] == 5, "its count is not in what it was told"


def _is_saved(process, name, points):
    """Whether the state is that of the last outcome."""
    file = process.state / "brains" / name
    facts = reader(f"sqlite:///{process.state}/journal.db").read(agent=name, limit=10_000)
    ingested = [fact.seq for fact in facts if fact.kind == "ingest"]
    return len(ingested) == points and file.exists() and _seq(file) >= ingested[-1]


def _seq(file):
    return json.loads(file.read_bytes().partition(b"\n")[0])["seq"]
