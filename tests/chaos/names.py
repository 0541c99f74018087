"""Names and values drawn at random, a buffer that is refilled, an archive that is killed: what is in the catalogue?

It is compared, field by field, with what a plain synchronous subscriber of the RunEngine saw, and the agent's decisions
with the journal.
"""

from __future__ import annotations

import contextlib
import math
import os
import random
import threading
from signal import SIGKILL
from typing import TYPE_CHECKING, Any, Self

import archive_rig
import drawn_beamline as beamline
from comparison import differences
from drawn import devices, names
from hypothesis import HealthCheck, given, seed, settings, strategies as st
from services import wait_until

import agent_service
from agent_service.client import Client  # noqa: TC001 - of the annotations below

from .storm import parts_of

if TYPE_CHECKING:
    from pathlib import Path

DOCUMENTS = "{uid: [[name, dict(doc)] for name, doc in runs[uid].documents()] for uid in %r}"
DECISIONS = (
    "[{str(name): one.values.tolist() for name, one in run['ingest'].read().items()}"
    " for run in agents.values() if run.start['agent_name'] == 'picker']"
)
KILLS = 4
_outcomes = st.dictionaries(
    names.filter(lambda name: name not in ("", "_id", "pick")), st.floats(-1e12, 1e12), min_size=3, max_size=3
)


class Killer:
    """Kills the archive of a service of this process, a few times, before it can have written all."""

    def __init__(self, seed: int) -> None:
        self.killed = 0
        self._random = random.Random(seed)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._kill, name="killer")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(10)

    def _kill(self) -> None:
        while self.killed < KILLS and not self._ended.wait(self._random.uniform(3.0, 12.0)):
            for pid, name in parts_of(os.getpid()).items():
                if name == "archives":
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, SIGKILL)
                        self.killed += 1


def draw(examples: int, number: int) -> None:
    """Draw a device and its outcomes for each position of ``pick``."""
    beamline.DEVICES.clear()
    beamline.SCORES.clear()
    outcomes: list[str] = []

    @seed(number)
    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(devices(), _outcomes)
    def collect(device: Any, found: dict[str, float]) -> None:
        if "pick" in device.describe():
            return
        outcomes[:] = outcomes or list(found)  # an agent has the same outcomes all its life
        beamline.DEVICES.append(device)
        beamline.SCORES.append(dict(zip(outcomes, found.values(), strict=True)))

    collect()
    for _ in range(2):
        beamline.DEVICES.append(beamline.Refilled())
        beamline.SCORES.append(dict.fromkeys(outcomes, 1.0))


def measure(folder: Path, *, examples: int, number: int, say: Any = print) -> None:
    """Measure what was drawn, and fail unless the catalogue has it as it was seen.

    Parameters
    ----------
    folder
        An empty folder; what is in it after a failure tells more.
    examples
        How many devices to draw.
    number
        The seed.
    """
    draw(examples, number)
    count = len(beamline.DEVICES)
    beamline.witness.runs.clear()
    points = [{"pick": i} for i in range(count)]
    agent = {
        "type": "sequence",
        "config": {"points": points},
        "actuators": ["pick"],
        "evaluate": "drawn_beamline:scores",
        "plan": "measure_drawn",
        "executor": "thread",
        "loop": {"max_runs": count, "max_failures": 1},
    }
    state = folder / "state"
    with (
        agent_service.serve({"picker": agent}, startup="drawn_beamline", catalog="embedded", state=state) as service,
        Killer(number) as killer,
    ):
        client: Client = service.client
        client.start("picker")
        wait_until(lambda: client.agent("picker").state in ("stopped", "failed"), within_s=300, what="the runs")
        status = client.agent("picker")
        assert (status.state, status.progress.done) == ("stopped", count), status.reason
        told = [one.data["points"][0] for one in client.history("picker") if one.kind == "ingest"]
        wait_until(lambda: killer.killed == KILLS, within_s=120, what="the kills")
        wait_until(lambda: _written(client), within_s=600, what="the catalogue")
        archive = client.service().archive
        assert (archive.runs_refused, client.service().faults) == (0, [])
        seen = dict(beamline.witness.runs)
        read, decisions = archive_rig.ask(state, DOCUMENTS % list(seen), DECISIONS)
    say(f"chaos: seed {number}, {count} runs of drawn devices, {killer.killed} archives killed")
    found = {uid: differences(documents, read[uid]) for uid, documents in seen.items()}
    assert {uid: lines for uid, lines in found.items() if lines} == {}
    assert len(seen) == count
    for name in told[0].keys() - {"_id"}:
        values = [value for table in decisions for value in table[name]]
        assert len(values) == count
        assert all(math.isclose(one, point[name]) for one, point in zip(values, told, strict=True)), name


def _written(client: Client) -> bool:
    archive = client.service().archive
    return archive.state == "ready" and archive.runs_behind == 0 and archive.facts_behind == 0
