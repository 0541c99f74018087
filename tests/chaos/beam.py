"""The beam is lost in the middle of runs, and the service killed without it: nothing measured without beam counts."""

from __future__ import annotations

import json
import os
import random
import time
from statistics import median
from typing import TYPE_CHECKING, Any
from unittest import mock

from beam_ioc import BeamIoc
from services import wait_until

from agent_service.journal import reader

from .storm import SUPPORT, start
from .zygote import Zygote

if TYPE_CHECKING:
    from pathlib import Path

    from agent_service import Client

SETTLE_S = 0.2
LONGEST_DROP_S = 0.4
RUNS_PER_DROP = 2
OF_THE_ENGINE = ("caproto.threading.client", "bluesky.run_engine", "agent_service.plans.sinks.engine_process._child")
"""What the RunEngine's process imports; not ophyd, which starts threads for its channels."""
KILLED_EVERY = 10
TOML = f"""
[service]
port = 0
catalog = "none"
[run_engine]
startup = "beamline_with_epics"
[conditions]
beam = {{ rule = "ring_current > 100", settle_s = {SETTLE_S} }}
shutter = {{ rule = 'shutter == "open"', settle_s = 0 }}
"""


def chaos(folder: Path, *, kills: int, seed: int, say: Any = print) -> None:
    """Lose the beam ``kills`` times while a run is under way; kill the service in every tenth loss.

    Asserts what was promised, and says how long the agent took to measure again after each.
    """
    say(f"chaos beam: seed {seed}, {kills} drops, in {folder}")
    chance = random.Random(seed)
    state, total = folder / "service.state", RUNS_PER_DROP * kills
    (folder / "service.toml").write_text(TOML)
    drops: list[tuple[float, float]] = []
    back_s: list[float] = []
    with (
        BeamIoc() as ioc,
        mock.patch.dict(os.environ, ioc.env),
        Zygote(folder, SUPPORT, imports=OF_THE_ENGINE) as zygote,
    ):
        client = start(zygote, state)
        client.create(
            name="a",
            type="sobol",
            config={"bounds": {"x": [0, 1000]}},
            actuators=["x"],
            sensors=["det"],
            outcome="det",
            plan="lasting",
            executor="thread",
            loop={"max_runs": total, "n_points": 2},
        )
        client.start("a")
        for number in range(kills):
            _begun(folder, len(_starts(folder)))
            time.sleep(chance.uniform(0, 0.1))  # a part of the run, not a wait for anything
            lost_at = ioc.put("current", 0.3)
            killed = number % KILLED_EVERY == KILLED_EVERY - 1
            time.sleep(chance.uniform(0, LONGEST_DROP_S))
            if killed:
                zygote.tell("kill")
                client.close()
                client = start(zygote, state)
            began = len(_starts(folder))
            back_at = ioc.put("current", 300)
            drops.append((lost_at, back_at))
            first = _begun(folder, began)
            if not killed:
                back_s.append(first - back_at - SETTLE_S)
        wait_until(lambda: client.agent("a").state == "stopped", within_s=60, what="the end", every_s=0.05)
        _check(client, folder, state, drops, total)
        client.close()
        assert zygote.tell("term") == 0
    slowest = max(back_s, default=0.0)
    usual = median(back_s or [0.0])
    say(f"chaos beam: measuring again settle time + {usual:.2f} s after each (at most + {slowest:.2f} s)")


def _starts(folder: Path) -> list[float]:
    return [at for name, _, at in _noted(folder) if name == "start"]


def _noted(folder: Path) -> list[tuple[str, str, float]]:
    log = folder / "runs.jsonl"
    return [tuple(json.loads(line)) for line in log.read_text().splitlines()] if log.exists() else []


def _begun(folder: Path, number: int) -> float:
    """Wait until one more run has begun, and return when that was."""
    return wait_until(lambda: _starts(folder)[number:], within_s=30, what="the next run")[0]


def _check(client: Client, folder: Path, state: Path, drops: list[tuple[float, float]], total: int) -> None:
    runs: dict[str, dict[str, float]] = {}
    for name, uid, at in _noted(folder):
        runs.setdefault(uid, {})[name] = at
    facts = reader(f"sqlite:///{state}/journal.db").read(limit=1_000_000)
    told = [uid for fact in facts if fact.kind == "ingest" for uid in fact.data["run_uids"]]
    assert len(told) == len(set(told)) == total == client.agent("a").progress.done
    spoiled = {
        uid
        for uid, run in runs.items()
        for lost, back in drops
        if run["start"] <= back and run.get("stop", back) >= lost
    }
    assert not spoiled & set(told), "an outcome without beam was ingested"
    fates = {one.id: one for one in client.suggestions("a")}
    again = {one.retry_of for one in fates.values() if one.retry_of}
    void = {one.id for one in fates.values() if one.void}
    assert len(void) >= len(drops) - len(drops) // KILLED_EVERY
    assert again >= void, "the point of a void run was not measured again"
    assert all(one.point == fates[one.retry_of].point for one in fates.values() if one.retry_of)
    abandoned = {one.id for one in fates.values() if one.state == "abandoned"}
    assert {one.state for one in fates.values()} <= {"ingested", "abandoned"}
    assert abandoned == again, "a point was lost"
