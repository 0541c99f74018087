"""A supervisor with real parts and without HTTP: journal, threads, and a sink whose plans somebody has to claim."""

import asyncio
import contextlib

from agent_service.agents.placement import Placement
from agent_service.agents.record.service import ServiceRecord
from agent_service.agents.saved_brains import SavedBrains
from agent_service.agents.supervisor import Supervisor
from agent_service.documents.intake import DocumentIntake
from agent_service.errors import NotFound
from agent_service.executors.process._executor import ProcessExecutor
from agent_service.executors.thread import ThreadExecutor
from agent_service.journal import JournalLog, SqliteStore
from agent_service.models import AgentSpec
from agent_service.plans.sinks.claim import ClaimSink

SPEC = {"type": "brainbox:Walker", "actuators": ["x", "y"], "sensors": ["signal"], "outcome": "signal"}


def claimed(may_begin):
    return ClaimSink({}, DocumentIntake(None), may_begin=may_begin)


class HeadlessService:
    """A service without HTTP, RunEngine and catalogue; ``runs`` stands for the last."""

    def __init__(self, path, sink_of=claimed):
        self.journal = JournalLog(SqliteStore(path))
        self.runs = {}
        self.sink = sink_of(self.may_begin)
        self.supervisor = Supervisor(
            journal=self.journal,
            sink=self.sink,
            placement=Placement({"thread": ThreadExecutor(), "process": ProcessExecutor(base=())}, headless=False),
            archived=self.archived,
            documents=self.documents,
            saved_brains=SavedBrains(path.parent / "brains"),
        )

    def may_begin(self, order):
        return self.supervisor.permits.may_begin(order)

    async def documents(self, uid):
        if uid not in self.runs:
            raise NotFound(f"there is no run {uid} in the catalogue")
        return self.runs[uid]

    async def archived(self, uid, timeout_s):
        await self.documents(uid)

    async def open(self):
        self.journal.open()
        self.journal.on_commit(self.apply)
        self.journal.on_late(self.supervisor.catch_up)
        self.journal.on_fault(lambda: self.supervisor.follow_journal(self.journal.fault))
        seq, told = await asyncio.to_thread(self.journal.snapshot) or (0, None)
        if told is not None:
            self.supervisor.restore(ServiceRecord.from_json(told))
        for event in await asyncio.to_thread(lambda: self.journal.read(after=seq)):
            self.supervisor.apply(event)
        await self.supervisor.remembered()
        await self.supervisor.queue.start()

    def apply(self, event):
        self.supervisor.apply(event)
        self.sink.apply(event)

    async def create(self, name, **spec):
        return await self.supervisor.create(AgentSpec(**{**SPEC, "name": name, **spec}))

    async def close(self):
        await self.supervisor.close()
        await self.journal.close()


@contextlib.asynccontextmanager
async def service(path, sink_of=claimed):
    one = HeadlessService(path, sink_of)
    try:
        await one.open()
        yield one
    finally:
        await one.close()
