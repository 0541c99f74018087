"""A service and its RunEngine's process, either or both killed at random: one run a suggestion, and one fate."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from service_process import NOBODY, Process
from services import wait_until

if TYPE_CHECKING:
    from agent_service import Client

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
WHO = ("service", "service", "engine", "engine", "both", "stop")


def engine_of_storm() -> int | None:
    """Return the RunEngine's process, whichever service started it."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            is_ours = f"GATES={os.environ['GATES']}".encode() in (folder / "environ").read_bytes()
            if is_ours and b"engine_process" in (folder / "cmdline").read_bytes():
                return int(folder.name)
        except OSError:
            continue
    return None


def _kill(pid: int | None) -> None:
    if pid is not None:
        os.kill(pid, signal.SIGKILL)


def _wait_for_runs(client: Client) -> None:
    before = client.agent("agent").progress.done
    wait_until(lambda: client.agent("agent").progress.done >= before + RUNS_PER_KILL, within_s=120, what="runs")


def _wait_for_end(client: Client) -> None:
    wait_until(lambda: client.agent("agent").state == "stopped", within_s=60, what="the agent's end")


def chaos(folder: Path, *, kills: int, seed: int, say: Any = print) -> None:
    """Kill parts ``kills`` times, and fail unless every suggestion has one fate and one run at most."""
    chance = random.Random(seed)
    process = Process(folder, NOBODY)
    gates = folder / "gates"
    gates.mkdir()
    os.environ |= {
        "GATES": str(gates),
        "AGENT_SERVICE_RUN_ENGINE__PROCESS": "true",
        "AGENT_SERVICE_RUN_ENGINE__STARTUP": "engine_rig",
        "AGENT_SERVICE_RUN_ENGINE__WAITS_S": "60",
    }
    (gates / "begun").touch()
    killed: Counter[str] = Counter()
    try:
        client = process.start()
        client.create(**AGENT)
        client.start("agent")
        for _ in range(kills):
            who = chance.choice(WHO)
            killed[who] += 1
            _wait_for_runs(client)
            time.sleep(chance.uniform(0.0, 0.15))
            assert process.child is not None
            engine = engine_of_storm()
            if who in ("engine", "both"):
                _kill(engine)
            if who in ("service", "both"):
                process.child.kill()
                process.child.communicate()
            elif who == "stop":
                process.end(signal.SIGTERM)
            if who != "engine":
                client.close()
                client = process.start()
        _wait_for_runs(client)
        client.stop("agent")
        _wait_for_end(client)
        suggestions = client.suggestions("agent", limit=10_000)
        client.close()
        process.end(signal.SIGTERM)
        say(f"chaos engine: seed {seed}, {dict(killed)}, {check(process.state, gates, suggestions)}")
    finally:
        if process.child is not None and process.child.poll() is None:
            process.child.kill()
            process.child.communicate()
        _kill(engine_of_storm())
        for name in ("GATES", "PROCESS", "STARTUP", "WAITS_S"):
            os.environ.pop(name if name == "GATES" else f"AGENT_SERVICE_RUN_ENGINE__{name}")


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
