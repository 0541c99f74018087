"""A journal of many agents, each with some measured points of seven facts, as a loop writes them."""

import json
import random
import uuid
from datetime import timedelta

from agent_service.agents.record.service import ServiceRecord
from agent_service.journal import SqliteStore
from agent_service.models import AgentSpec, Event, EventKind, utcnow
from agent_service.protocols import FactRow

STATE, SUGGESTION, INGEST = EventKind.AGENT_STATE, EventKind.SUGGESTION_STATE, EventKind.INGEST
AT_ONCE = 20_000


def _spec(name, points):
    loop = {"max_runs": points}
    seen = {"actuators": ["x", "y"], "sensors": ["signal"], "outcome": "signal", "loop": loop}
    return AgentSpec(name=name, type="brainbox:Walker", **seen).model_dump(mode="json")


def _point(name, number):
    own, run = str(uuid.UUID(int=random.getrandbits(128))), str(uuid.UUID(int=random.getrandbits(128)))
    x, y = random.uniform(-5, 5), random.random()
    proposed = {"state": "proposed", "plan": "measure", "by": "loop", "batch": own}
    yield name, SUGGESTION, {"id": own, "point": {"x": x, "y": y}, "brain_id": number, **proposed}
    yield name, SUGGESTION, {"id": own, "state": "approved"}
    yield name, SUGGESTION, {"id": own, "state": "submitted"}
    yield name, SUGGESTION, {"id": own, "state": "running", "run_uid": run}
    outcome = {"signal": random.random()}
    yield name, SUGGESTION, {"id": own, "state": "measured", "outcome": outcome, "run_time_s": 1.5}
    best = [{"id": own, "point": {"x": x, "y": y}, "outcome": outcome}]
    yield name, INGEST, {"points": [{"x": x, "y": y, **outcome, "_id": own}], "run_uids": [run], "best": best}
    yield name, SUGGESTION, {"id": own, "state": "ingested"}


def _facts(agents, points):
    names = [f"a{number:05}" for number in range(agents)]
    for name in names:
        yield name, STATE, {"state": "created", "reason": None, "spec": _spec(name, points)}
        yield name, STATE, {"state": "starting", "reason": None, "starts_paused": False, "by": "owner"}
        yield name, STATE, {"state": "running", "reason": None, "held": False}
    for number in range(points):
        for name in names:
            yield from _point(name, number)
    for name in names:
        yield name, STATE, {"state": "stopping", "reason": "done"}
        yield name, STATE, {"state": "stopped", "reason": "done"}


def write(file, *, agents, points):
    """Write the journal ``file``, and return how many facts it has."""
    random.seed(0)
    store = SqliteStore(file)
    store.open()
    batch, seq, begun = [], 0, utcnow() - timedelta(hours=20)
    for agent, kind, data in _facts(agents, points):
        seq += 1
        time = begun + timedelta(milliseconds=50 * seq)
        batch.append(FactRow(seq, time, agent, kind, json.dumps(data, separators=(",", ":"))))
        if len(batch) == AT_ONCE:
            store.write(batch)
            batch.clear()
    store.write(batch)
    store.close()
    return seq


def folded(points):
    """Return the record of a service with one agent, which has measured so many points."""
    random.seed(0)
    record, begun = ServiceRecord(), utcnow()
    for seq, (agent, kind, data) in enumerate(_facts(1, points), start=1):
        # as it comes from the journal: no two facts share a text
        read = json.loads(json.dumps(data))
        record.apply(Event.known(seq=seq, time=begun, agent=agent, kind=kind, data=read))
    return record
