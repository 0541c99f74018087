"""A service's way from a broker to the spool, and nothing else of it, forked again and again to be killed.

It reads ``start`` and ``kill``, a line each, and answers with a line: when it hears the broker, or when it is dead.
"""

import asyncio
import importlib
import json
import os
import signal
import sys
import threading
from pathlib import Path

from agent_service.documents.ended_runs import EndedRuns
from agent_service.documents.intake import DocumentIntake
from agent_service.documents.sources.heard import HeardSource
from agent_service.documents.spool import Spool
from agent_service.models import SourceState
from agent_service.service.compose_sources import SOURCES, SourceParts
from agent_service.service.config import ServiceConfig

LIBRARIES = {"kafka": ["confluent_kafka", "msgpack_numpy"], "nats": ["nats.js.api", "msgpack_numpy"]}


async def listen(folder, section):
    spool = Spool(folder / "spool", ended_runs=EndedRuns(folder / "spool" / "ended"))
    intake = DocumentIntake(spool.write)
    intake.start(lambda name, document, run: None)
    opened = spool.open_elsewhere()
    intake.gate.remember(spool.ended())
    for documents in opened:
        intake.resume(documents)
    kind = SOURCES[section.kind]
    heard = HeardSource(kind.make(section, SourceParts(None, None, intake.gate, folder / "sources")), kind.origin)
    heard.start(intake)
    while heard.status.state is not SourceState.CONNECTED:
        await asyncio.sleep(0.01)
    print("listening", flush=True)
    while True:
        await asyncio.sleep(0.5)
        intake.in_turn(lambda gate: gate.settle(2.5))


def main():
    folder, section = Path(sys.argv[1]), json.loads(sys.argv[2])
    [section] = ServiceConfig(sources=[section, {"kind": "run_engine"}]).sources[:1]
    for library in LIBRARIES[section.kind]:
        importlib.import_module(library)
    assert threading.active_count() == 1, "a thread would not survive the fork"
    child = 0
    for line in sys.stdin:
        if line.strip() == "start":
            child = os.fork()
            if child == 0:
                os.close(0)
                asyncio.run(listen(folder, section))
        else:
            end(child)
            child = 0
            print("dead", flush=True)
    if child:
        end(child)


def end(child):
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


if __name__ == "__main__":
    main()
