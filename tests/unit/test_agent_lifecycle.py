"""Whatever is asked in whatever order: no state leaves its table, and memory is the fold of the journal."""

import asyncio
import contextlib
import shutil
import tempfile
import uuid
from pathlib import Path

from headless_service import HeadlessService
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from agent_service.agents import sent_points
from agent_service.agents.record.service import ServiceRecord
from agent_service.documents.runs import Run
from agent_service.errors import ServiceError
from agent_service.models import EventKind
from agent_service.models.state_machines import (
    AGENT_TRANSITIONS,
    SUGGESTION_TRANSITIONS,
    AgentState,
    Command,
    SuggestionState,
    require,
)

NAMES = st.sampled_from(["one", "two"])
COMMANDS = st.sampled_from(["pause", "resume", "stop", "restart"])
SETTLES_WITHIN_S = 5.0


class Watched(HeadlessService):
    """A service that looks at each fact as it is committed, before it is applied."""

    def __init__(self, path):
        super().__init__(path)
        self.applied = 0
        self.illegal = []

    def apply(self, event):
        record = self.supervisor.record.agents.get(event.agent)
        if record is not None and not event.data.get("removed") and "spec" not in event.data:
            if event.kind is EventKind.AGENT_STATE:
                self.check(event, AgentState(event.data["state"]) in AGENT_TRANSITIONS[record.state])
            elif event.kind is EventKind.SUGGESTION_STATE and event.data["state"] != SuggestionState.PROPOSED:
                was = record.suggestions[event.data["id"]].state
                self.check(event, SuggestionState(event.data["state"]) in SUGGESTION_TRANSITIONS[was])
        super().apply(event)
        self.applied = event.seq

    def check(self, event, legal):
        if not legal:
            self.illegal.append(event)


class AgentLives(RuleBasedStateMachine):
    """Two agents, those who command them, somebody who measures, and now and then the end of the service."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.loop = asyncio.new_event_loop()
        self.errors = []
        self.loop.set_exception_handler(lambda _, context: self.errors.append(context))
        self.asked = set()
        self.runs = {}

    def teardown(self):
        self.loop.run_until_complete(self.service.close())
        self.loop.run_until_complete(self.give_up())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        shutil.rmtree(self.folder)
        assert not self.errors

    async def give_up(self):
        for task in self.asked:
            task.cancel()
        await asyncio.gather(*self.asked, return_exceptions=True)

    def do(self, work):
        """Run something, and let the agents live on until nothing more happens by itself."""
        result = self.loop.run_until_complete(work)
        self.loop.run_until_complete(self.settle())
        return result

    async def settle(self):
        async with asyncio.timeout(SETTLES_WITHIN_S):
            quiet = 0
            while quiet < 10:
                before = self.service.applied
                await asyncio.sleep(0.001)
                moving = any(life.state in ("starting", "stopping") for life in self.service.supervisor.lives.values())
                claimed = self.service.sink.status.current is not None
                quiet = quiet + 1 if self.service.applied == before and (claimed or not moving) else 0

    async def ask(self, work):
        """Ask for something as a request does; one that takes long goes on, and what is refused is no fault."""
        task = asyncio.ensure_future(work)
        await asyncio.wait({task}, timeout=0.2)
        if task.done():
            with contextlib.suppress(ServiceError):
                return task.result()
        self.asked.add(task)
        return None

    @initialize()
    def begin(self):
        self.service = Watched(self.folder / "journal.db")
        self.do(self.service.open())
        for name, approval in (("one", "auto"), ("two", "required")):
            self.create(name, approval, 2)
            self.start(name, paused=False)

    # people and programs

    @rule(name=NAMES, approval=st.sampled_from(["auto", "required"]), n_points=st.integers(1, 2))
    def create(self, name, approval, n_points):
        loop = {"approval": approval, "n_points": n_points, "max_runs": 4}
        self.do(self.ask(self.service.create(name, loop=loop)))

    @rule(name=NAMES, paused=st.booleans())
    def start(self, name, paused):
        if name in self.service.supervisor.lives:
            self.do(self.ask(self.service.supervisor.life(name).start(paused=paused)))

    @rule(name=NAMES, command=COMMANDS)
    def command(self, name, command):
        if name in self.service.supervisor.lives:
            self.do(self.ask(getattr(self.service.supervisor.life(name), command)()))

    @rule(name=NAMES)
    def delete(self, name):
        if name in self.service.supervisor.lives:
            self.do(self.ask(self.service.supervisor.delete(name)))

    @rule(name=NAMES)
    def suggest(self, name):
        async def suggest(agent):
            require(Command.SUGGEST, agent.record.state, name=name)
            await agent.suggest(1, by="person")

        if name in self.service.supervisor.lives:
            self.do(self.ask(suggest(self.service.supervisor.agent(name))))

    @rule(name=NAMES, by_hand=st.booleans())
    def ingest(self, name, by_hand):
        async def ingest(agent):
            require(Command.INGEST, agent.record.state, name=name)
            left = [] if by_hand else list(agent.record.suggestions.values())[-1:]
            told = [{"_id": one.id, "signal": 1.0} for one in left] or [{"x": 1.0, "y": 1.0, "signal": 0.0}]
            await agent.ingest(sent_points.complete(told, agent.spec, agent.record.suggestions))

        if name in self.service.supervisor.lives:
            self.do(self.ask(ingest(self.service.supervisor.agent(name))))

    @rule(approve=st.booleans())
    def decide(self, approve):
        proposed = [
            one
            for life in self.service.supervisor.lives.values()
            for one in life.agent.record.open_in(SuggestionState.PROPOSED)
        ]
        if proposed:
            supervisor, one = self.service.supervisor, proposed[0].id
            self.do(
                self.ask(supervisor.decisions.approve(one, None) if approve else supervisor.decisions.reject(one, ""))
            )

    @rule(command=st.sampled_from(["pause", "resume", "abort"]))
    def queue(self, command):
        queue = self.service.supervisor.queue
        self.do(self.ask(queue.abort("enough") if command == "abort" else getattr(queue, command)()))

    # who measures

    @rule(ends=st.sampled_from(["success", "success", "fail", "abort", "not at all", "unused"]))
    def measure(self, ends):
        self.do(self._measure(ends))

    async def _measure(self, ends):
        order = await self.service.sink.claims.claim(None, lease_s=60, wait_s=0, over=lambda: True)
        if order is None:
            return
        if ends == "unused":
            self.service.sink.claims.release(order.suggestion_id, how="unused", reason="")
            return
        uid = str(uuid.uuid4())
        start = {"uid": uid, "time": 1.0, **self.service.sink.claims.metadata(order)}
        descriptor = {"uid": f"{uid}-d", "run_start": uid, "name": "primary", "data_keys": {}}
        event = {"uid": f"{uid}-e", "descriptor": f"{uid}-d", "seq_num": 1, "data": {"signal": order.point["x"]}}
        documents = [("start", start), ("descriptor", descriptor), ("event", event)]
        if ends != "not at all":
            documents.append(("stop", {"uid": f"{uid}-s", "run_start": uid, "exit_status": ends, "reason": ""}))
            self.runs[order.suggestion_id] = Run.from_documents(documents)
        for name, document in documents:
            self.service.supervisor.dispatcher.on_document(name, document, uid)
            self.service.sink.observe(name, document, uid)

    # the service

    @rule()
    def end_and_come_back(self):
        async def again():
            await self.service.close()
            self.service = Watched(self.folder / "journal.db")
            await self.service.open()
            undecided = self.service.supervisor.undecided()
            await self.service.supervisor.recover({one: run for one, run in self.runs.items() if one in undecided})

        self.do(again())

    @invariant()
    def memory_is_the_fold_of_the_journal(self):
        facts = self.service.journal.read()
        assert [one.seq for one in facts] == list(range(1, len(facts) + 1))
        fold = ServiceRecord()
        for event in facts[: self.service.applied or len(facts)]:
            fold.apply(event)
        assert fold == self.service.supervisor.record

    @invariant()
    def no_state_left_its_table(self):
        assert not self.service.illegal

    @invariant()
    def nothing_that_happened_by_itself_failed(self):
        assert not self.errors


AgentLives.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
TestAgentLives = AgentLives.TestCase
