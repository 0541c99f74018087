"""Workers and the scheduler of a Dask cluster are killed and paused while agents work there; none of them fails."""

from __future__ import annotations

import random
import signal
import time
from statistics import median
from typing import TYPE_CHECKING, Any

from dask_cluster import ENVIRONMENT, DaskCluster
from forked_python import forked_from
from service_process import Process
from services import wait_until

from agent_service.journal import reader

from .fates import Fates

if TYPE_CHECKING:
    from pathlib import Path

    from agent_service import Client

LOST_AFTER_S = 2
RUNS_PER_FAULT = 2
WITHIN_S = 150
AGENTS = ("a", "b")
IMPORTED = ("distributed.cli.dask_scheduler", "distributed.cli.dask_worker", "agent_service.executors.dask._worker")
"""What the processes of the cluster import, which takes seconds: they are forked from one that has."""
SUPPORT = __file__.rpartition("/chaos/")[0] + "/support"


def chaos(folder: Path, *, kills: int, seed: int, say: Any = print) -> None:
    """Kill or pause a worker or the scheduler ``kills`` times, each kind as often, while two agents work.

    Asserts that both agents go on after each, that no point is measured twice, and that no fact is missing; says how
    long it took until they measured again.
    """
    say(f"chaos dask: seed {seed}, {kills} faults, in {folder}")
    chance = random.Random(seed)
    faults = [_worker_killed, _worker_paused, _scheduler_paused, _scheduler_killed]
    took: dict[str, list[float]] = {}
    with forked_from(*IMPORTED, **ENVIRONMENT) as popen, DaskCluster(folder, path=[SUPPORT], popen=popen) as cluster:
        process = Process(folder)
        with (folder / "service.toml").open("a") as toml:
            toml.write(f'[executors.dask]\naddress = "{cluster.address}"\nlost_after_s = {LOST_AFTER_S}\n')
        try:
            client = process.start()
            for name in AGENTS:
                config = {"bounds": {"x": [-1, 1], "y": [-1, 1]}}
                what = {"actuators": ["x", "y"], "sensors": ["signal"], "outcome": "signal"}
                client.create(name=name, type="sobol", config=config, executor="dask", **what)
            for name in AGENTS:
                client.start(name, wait_s=WITHIN_S)
            _more_runs(client)
            for number in range(kills):
                fault = faults[number % len(faults)]
                fault(cluster, client, chance)
                began = time.monotonic()
                _more_runs(client)
                took.setdefault(fault.__name__.strip("_"), []).append(time.monotonic() - began)
            for name in AGENTS:
                assert client.stop(name).state == "stopped"
            client.close()
            assert process.end(signal.SIGTERM)[0] == 0
        finally:
            process.kill()
        facts = reader(f"sqlite:///{process.state}/journal.db").read(limit=10_000_000)
    _check(facts)
    for what, times in took.items():
        say(f"chaos dask: {what}: both measured again after {median(times):.1f} s (at most {max(times):.1f} s)")


def _more_runs(client: Client) -> None:
    """Wait until each agent has measured and ingested more; none may fail meanwhile."""
    before = {name: client.agent(name).progress.done for name in AGENTS}

    def done() -> bool:
        found = {name: client.agent(name) for name in AGENTS}
        assert not [one for one in found.values() if one.state in ("failed", "stopped")], found
        return all(found[name].progress.done >= before[name] + RUNS_PER_FAULT for name in AGENTS)

    wait_until(done, within_s=WITHIN_S, what="the next runs of both agents")


def _worker_killed(cluster: DaskCluster, client: Client, chance: random.Random) -> None:
    worker = cluster.workers.pop(chance.randrange(len(cluster.workers)))
    cluster.start_worker()
    worker.kill()


def _worker_paused(cluster: DaskCluster, client: Client, chance: random.Random) -> None:
    """Pause one for longer than it may be silent; it is awake again when its agents are elsewhere."""
    worker = chance.choice(cluster.workers)
    worker.send(signal.SIGSTOP)
    _more_runs(client)
    worker.send(signal.SIGCONT)


def _scheduler_paused(cluster: DaskCluster, client: Client, chance: random.Random) -> None:
    """Pause it while a worker is killed, so that an agent wants a place meanwhile."""
    cluster.scheduler.send(signal.SIGSTOP)
    cluster.workers.pop(chance.randrange(len(cluster.workers))).kill()
    time.sleep(chance.uniform(0, 2 * LOST_AFTER_S))  # a part of the outage, not a wait for anything
    cluster.scheduler.send(signal.SIGCONT)
    cluster.start_worker()


def _scheduler_killed(cluster: DaskCluster, client: Client, chance: random.Random) -> None:
    """Kill it, which ends the workers too; the agents say what they wait for until all is there again."""
    cluster.scheduler.kill()
    for worker in cluster.workers:
        worker.kill()

    def all_say_so() -> bool:
        found = [client.agent(name) for name in AGENTS]
        assert not [one for one in found if one.state == "failed"], found
        return all("Dask cluster" in (one.suspended or "") for one in found)

    wait_until(all_say_so, within_s=WITHIN_S, what="that the agents say that they wait")
    cluster.workers = []
    cluster.start_scheduler()
    for _ in AGENTS:
        cluster.start_worker(wait=False)


def _check(facts: Any) -> None:
    assert [fact.seq for fact in facts] == list(range(1, len(facts) + 1)), "a fact is missing"
    states = [fact for fact in facts if fact.kind == "agent.state"]
    assert not [fact for fact in states if fact.data["state"] == "failed"]
    measured = [fact.data["run_uid"] for fact in facts if fact.kind == "suggestion.state" and fact.data.get("run_uid")]
    runs = [
        (fact.data["id"], fact.data["run_uid"])
        for fact in facts
        if fact.kind == "suggestion.state" and fact.data["state"] == "running"
    ]
    assert len({suggestion for suggestion, _ in runs}) == len(runs) == len({uid for _, uid in runs}), "measured twice"
    told = [uid for fact in facts if fact.kind == "ingest" for uid in fact.data["run_uids"]]
    assert len(told) == len(set(told)), "told twice"
    assert set(told) <= set(measured)
    ended = {fact.data["id"]: fact.data["state"] for fact in facts if fact.kind == "suggestion.state"}
    complete = {suggestion for suggestion, state in ended.items() if state == "ingested"}
    Fates(ended, dict.fromkeys(ended, ""), complete=complete).check(facts)
