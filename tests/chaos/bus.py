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
LONGEST_LIFE_S = 0.8


class Listener:
    """What hears the broker, to be killed and started again."""

    def __init__(self, folder: Path, section: dict[str, Any]) -> None:
        command = [sys.executable, str(LISTENER), str(folder), json.dumps(section)]
        with (folder / "listener.log").open("ab") as log:
            self._parent = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
            )

    def start(self) -> None:
        """Return when it hears the broker, with a place in the topic or stream."""
        self._tell("start", "listening")

    def kill(self) -> None:
        self._tell("kill", "dead")

    def close(self) -> None:
        self._parent.communicate()  # it kills what is left

    def _tell(self, word: str, answer: str) -> None:
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.write(word + "\n")
        self._parent.stdin.flush()
        assert self._parent.stdout.readline() == answer + "\n"


def storm(folder: Path, *, kills: int, seed: int, section: dict[str, Any], publish: Any) -> None:
    """Publish runs while the listener is killed ``kills`` times, then see what is in its spool."""
    chance, expected = random.Random(seed), {}
    listener = Listener(folder, section)
    listener.start()
    try:
        for _ in range(kills):
            ends_at = time.monotonic() + chance.uniform(0.05, LONGEST_LIFE_S)
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
        listener.close()
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
