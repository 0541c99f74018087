"""Documents come over a broker while the service that hears them is killed: each is in the spool, and once."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import peers
from services import wait_until

from agent_service.documents.counts import EventCounts
from agent_service.documents.spool import Spool

LISTENER = Path(peers.__file__).with_name("bus_listener.py")
LONGEST_LIFE_S = 1.5


class Listener:
    """What hears the broker, to be killed and started again."""

    def __init__(self, folder: Path, section: dict[str, Any]) -> None:
        self._command = [sys.executable, str(LISTENER), str(folder), json.dumps(section)]
        self._log = folder / "listener.log"
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._child = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=log)
        assert self._child.stdout is not None
        assert self._child.stdout.readline() == b"listening\n"

    def kill(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None


def storm(folder: Path, *, kills: int, seed: int, section: dict[str, Any], publish: Any, ready: Any) -> None:  # noqa: PLR0913
    """Publish runs while the listener is killed ``kills`` times, then see what is in its spool."""
    chance, expected = random.Random(seed), {}
    listener = Listener(folder, section)
    listener.start()
    try:
        ready()
        for _ in range(kills):
            ends_at = time.monotonic() + chance.uniform(0.1, LONGEST_LIFE_S)
            while time.monotonic() < ends_at:
                run = peers.run_documents(chance.randint(1, 12), pages=chance.random() < 0.3)
                expected[run[0][1]["uid"]] = run
                for pair in run:
                    publish(*pair)
                publish.flush()
            listener.kill()
            listener.start()
        spool = Spool(folder / "spool")
        wait_until(lambda: len(spool.complete()) >= len(expected), within_s=120, what="all runs")
    finally:
        listener.kill()
    check(spool, expected)
    print(f"chaos: {kills} kills, {len(expected)} runs, {sum(map(len, expected.values()))} documents published")


def check(spool: Spool, expected: dict[str, Any]) -> None:
    """Fail unless each run is there once, whole, and each of its documents once."""
    found: dict[str, Any] = {}
    for path in spool.complete():
        documents = list(spool.read(path))
        uid = documents[0][1]["uid"]
        assert uid not in found, f"run {uid} is in the spool twice"
        found[uid] = documents
    assert found.keys() == expected.keys()
    for uid, documents in found.items():
        uids = [document["uid"] for _, document in documents]
        assert len(set(uids)) == len(uids), f"a document of run {uid} is there twice"
        counts = EventCounts()
        for name, document in documents:
            counts.add(name, document)
        assert counts.missing(documents[-1][1], every_stream=True) == ""
