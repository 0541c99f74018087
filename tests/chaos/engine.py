"""A service and its RunEngine's process, either or both killed at random: one run a suggestion, and one fate."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time
from collections import Counter
from typing import TYPE_CHECKING, Any
from unittest import mock

from service_process import NOBODY
from services import wait_until

from agent_service.plans.sinks.engine_process._child_process import pid_in

from .storm import SUPPORT, start
from .zygote import Zygote

if TYPE_CHECKING:
    from pathlib import Path

    from agent_service import Client

TOML = f"""
[service]
port = 0
catalog = "{NOBODY}"
[run_engine]
process = true
startup = "engine_rig"
waits_s = 60
"""

AGENT: dict[str, Any] = {
    "name": "agent",
    "type": "sobol",
    "config": {"bounds": {"x": [-5, 5]}},
    "actuators": ["x"],
    "sensors": ["signal"],
    "outcome": "signal",
    "executor": "thread",
    "plan": "noted",
    "loop": {"max_failures": 1000, "n_points": 4},
}
RUNS_PER_KILL = 3
OF_THE_ENGINE = ("ophyd.sim", "agent_service.plans.sinks.engine_process._child")
WHO = ("service", "service", "engine", "engine", "both", "stop")


def _kill_engine(state: Path) -> None:
    """Kill the RunEngine's process, whichever service started it, if there is one."""
    if (pid := pid_in(state)) is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _wait_for_runs(client: Client) -> None:
    before = client.agent("agent").progress.done
    wait_until(
        lambda: client.agent("agent").progress.done >= before + RUNS_PER_KILL, within_s=120, what="runs", every_s=0.05
    )


def chaos(folder: Path, *, kills: int, seed: int, say: Any = print) -> None:
    """Kill parts ``kills`` times, and fail unless every suggestion has one fate and one run at most."""
    gates, state = folder / "gates", folder / "service.state"
    gates.mkdir()
    (gates / "begun").touch()
    (folder / "service.toml").write_text(TOML)
    with mock.patch.dict(
        os.environ, {"GATES": str(gates), "OPHYD_CONTROL_LAYER": "dummy"}
    ):  # whose import starts no thread
        try:
            with Zygote(folder, SUPPORT, imports=OF_THE_ENGINE) as zygote:
                killed, suggestions = _storm(zygote, state, kills, random.Random(seed))
        finally:
            _kill_engine(state)
    say(f"chaos engine: seed {seed}, {dict(killed)}, {check(state, gates, suggestions)}")


def _storm(zygote: Zygote, state: Path, kills: int, chance: random.Random) -> tuple[Counter[str], Any]:
    killed: Counter[str] = Counter()
    client = start(zygote, state)
    client.create(**AGENT)
    client.start("agent")
    for _ in range(kills):
        who = chance.choice(WHO)
        killed[who] += 1
        _wait_for_runs(client)
        time.sleep(chance.uniform(0.0, 0.15))
        if who in ("engine", "both"):
            _kill_engine(state)
        if who != "engine":
            client.close()
            zygote.tell("term" if who == "stop" else "kill")
            client = start(zygote, state)
    _wait_for_runs(client)
    client.stop("agent")
    wait_until(lambda: client.agent("agent").state == "stopped", within_s=60, what="the agent's end")
    suggestions = client.suggestions("agent", limit=10_000)
    client.close()
    assert zygote.tell("term") == 0
    return killed, suggestions


def check(state: Path, gates: Path, suggestions: Any) -> dict[str, int]:
    """Return how many suggestions had which fate; fail for what is doubled, lost or contradictory."""
    begun = Counter((gates / "begun").read_text().split())
    assert [one for one, times in begun.items() if times > 1] == [], "measured twice"
    runs: dict[str, list[list[Any]]] = {}
    for path in sorted((state / "spool").glob("*/*.jsonl")):
        documents = [json.loads(line) for line in path.read_text().splitlines()]
        runs.setdefault(documents[0][1]["agent_suggestion_uid"], []).append(documents)
    assert [one for one, found in runs.items() if len(found) > 1] == [], "two runs of one suggestion"
    known = {one.id: one for one in suggestions}
    assert begun.keys() <= known.keys(), "measured and forgotten"
    for one in known.values():
        documents = runs.get(one.id, [None])[0]
        if one.state == "ingested":
            assert documents is not None, "ingested without a run"
            events = [document for name, document in documents if name == "event"]
            assert documents[-1][1]["exit_status"] == "success"
            assert documents[-1][1]["num_events"] == {"primary": 3} == {"primary": len(events)}
            assert [event["seq_num"] for event in events] == [1, 2, 3]
        else:
            assert one.state in ("failed", "abandoned", "approved", "proposed", "rejected"), (one.state, one.reason)
            if documents is not None:
                assert documents[-1][0] == "stop"
                assert documents[-1][1]["exit_status"] != "success", (one.state, one.reason, "a good run was lost")
    uids = [documents[0][1]["uid"] for found in runs.values() for documents in found]
    assert len(set(uids)) == len(uids)
    return dict(Counter(str(one.state) for one in known.values()))
