"""Services on a journal in PostgreSQL: leaders and the database are killed and paused, as often as you like."""

from __future__ import annotations

import contextlib
import random
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from journal_writers import Writers
from postgres_server import PostgresServer

if TYPE_CHECKING:
    from pathlib import Path

LONGEST_S = 6.0
"""How long the database is away, at most, but for the first time: a minute."""


def chaos(folder: Path, *, kills: int, seed: int, say: Any = print) -> None:
    """Strike ``kills`` times, and check what must be true then."""
    say(f"chaos postgresql: seed {seed}, {kills} kills, in {folder}")
    chance, struck = random.Random(seed), Counter[str]()
    with (
        contextlib.closing(PostgresServer()) as server,
        contextlib.closing(Writers(folder, server, lease_s=2.0)) as writers,
    ):
        writers.pause_database(60)
        while struck.total() < kills:
            kind = chance.choices(("kill", "pause", "database hangs", "database crashes"), (4, 3, 2, 2))[0]
            with (folder / "strikes.log").open("a") as strikes:
                print(time.strftime("%X"), kind, writers.leader.name, file=strikes)
            if kind == "kill":
                writers.kill_leader()
            elif kind == "pause":
                writers.pause_leader()
            elif kind == "database hangs":
                writers.pause_database(chance.uniform(0.5, LONGEST_S))
            else:
                writers.crash_database(chance.uniform(0.0, LONGEST_S))
            struck[kind] += 1
        facts = writers.check()
    say(f"chaos postgresql: {dict(struck)}; {facts} facts, none lost, doubled or out of its order")
