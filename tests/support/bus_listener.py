"""A service's way from a broker to the spool, and nothing else of it, in a process to be killed at any moment."""

import asyncio
import json
import sys
from pathlib import Path

from agent_service.documents.ended_runs import EndedRuns
from agent_service.documents.intake import DocumentIntake
from agent_service.documents.sources.heard import HeardSource
from agent_service.documents.spool import Spool
from agent_service.service.compose_sources import SOURCES, SourceParts
from agent_service.service.config import ServiceConfig


async def listen(folder, section):
    spool = Spool(folder / "spool", ended_runs=EndedRuns(folder / "spool" / "ended"))
    intake = DocumentIntake(spool.write)
    intake.start(lambda name, document, run: None)
    opened = spool.open_elsewhere()
    intake.gate.remember(spool.ended())
    for documents in opened:
        intake.resume(documents)
    [section] = ServiceConfig(sources=[section, {"kind": "run_engine"}]).sources[:1]
    kind = SOURCES[section.kind]
    heard = HeardSource(kind.make(section, SourceParts(None, None, intake.gate, folder / "sources")), kind.origin)
    heard.start(intake)
    print("listening", flush=True)
    while True:
        await asyncio.sleep(0.5)
        intake.in_turn(lambda gate: gate.settle(2.5))


if __name__ == "__main__":
    asyncio.run(listen(Path(sys.argv[1]), json.loads(sys.argv[2])))
