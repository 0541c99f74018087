"""Folds a journal into a snapshot, in a process of its own: ``python -m agent_service.service.snapshot_process``.

A fold is minutes of CPU where there are millions of facts, and in the service's interpreter each request would wait for
it. That process is told the journal's URL on stdin, for a URL may hold a password and everybody may read command lines.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
from typing import TYPE_CHECKING, Final

from agent_service.agents.record.service import ServiceRecord
from agent_service.agents.record.told import ToldFacts
from agent_service.archive.decisions import Fold
from agent_service.errors import BackendUnavailable, ServiceError, texts
from agent_service.journal import reader

if TYPE_CHECKING:
    from agent_service.protocols import JournalReader

_PAGE: Final = 5000
_NICE: Final = 10


def fold(journal: JournalReader, seq: int, *, forget: int) -> str:
    """Return a snapshot as JSON: the facts up to ``seq``, folded from the last snapshot on.

    The outbox is folded up to ``forget`` only, where the facts will begin that a catalogue is still to be told.
    """
    record, decisions, folded = ServiceRecord(), Fold(), 0
    snapshot = journal.snapshot()
    if snapshot is not None:
        folded, values = snapshot
        record, decisions = ServiceRecord.from_json(values), Fold.model_validate(values["outbox"])
    forget = max(forget, decisions.seq)
    looked_at = folded if decisions.seq == forget else decisions.seq
    while looked_at < seq:
        for event in journal.read(after=looked_at, limit=min(_PAGE, seq - looked_at)):
            looked_at = event.seq or looked_at
            if looked_at > folded:
                record.apply(event)
            if decisions.seq < looked_at <= forget:
                decisions.apply_fact(event)
    for agent in record.agents.values():
        ToldFacts(agent, journal).find_bests_anew(until=seq)
    values = {**record.as_json(), "outbox": decisions.model_dump(mode="json")}
    return json.dumps(values, allow_nan=False, ensure_ascii=False, separators=(",", ":"))


async def fold_elsewhere(url: str, seq: int, *, forget: int) -> str:
    """Return what `fold` does of the journal at ``url``, from a process of its own; or raise `BackendUnavailable`."""
    # -P: a file beside the user's notebook must not be taken for a library
    command = [sys.executable, "-P", "-m", __spec__.name]
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
    try:
        answer, errors = await child.communicate(json.dumps([url, seq, forget]).encode())
    finally:
        if child.returncode is None:
            child.kill()
    if child.returncode:
        why = errors.decode(errors="replace").strip().splitlines() or [f"it ended with code {child.returncode}"]
        raise BackendUnavailable(f"the process that makes a snapshot failed: {texts.one_line(why[-1])}")
    return answer.decode()


def main() -> None:
    """Write the snapshot."""
    os.nice(_NICE)
    gc.disable()  # what is made here stays until the end, and to look at it again and again is most of the time
    url, seq, forget = json.load(sys.stdin)
    try:
        snapshot = fold(reader(url), seq, forget=forget)
    except ServiceError as error:
        sys.exit(str(error))
    with os.fdopen(1, "wb") as out:
        out.write(snapshot.encode())


if __name__ == "__main__":
    main()
