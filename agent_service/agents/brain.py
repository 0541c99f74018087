"""The brain of one agent, wherever it lives: built, called in turn, and discarded; what it reported is kept.

A brain does not know facts. `brain_keeper` rebuilds it from them, and decides what follows a fault.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar, TypeVarTuple

from agent_service import context
from agent_service.agents.call_lock import CallLock
from agent_service.brains.adapter import BrainAdapter
from agent_service.brains.messages import Traits
from agent_service.errors import AgentFault, CallCancelled, Conflict, DeadlineExceeded, ServiceError
from agent_service.models import Busy, CallProgress, EventKind, Variable, utcnow
from agent_service.protocols import LogNotice

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Sequence

    from agent_service.agents.placement import Place, Placement
    from agent_service.brains.messages import Fact, SavedBrain, View
    from agent_service.models import AgentSpec
    from agent_service.protocols import BrainHandle, Notice

R = TypeVar("R")
Ts = TypeVarTuple("Ts")

_TELLS: Final = (
    BrainAdapter.ingest,
    BrainAdapter.fail,
    BrainAdapter.edit,
    BrainAdapter.set_variable,
    BrainAdapter.call_method,
)

MEMORY_EVERY_S: Final = 10.0
"""How often the memory of its process is looked at, at most."""

_LEVELS: Final = {name.lower(): level for name, level in logging.getLevelNamesMapping().items()}


class HostedBrain:
    """The brain of one agent; belongs to the event loop.

    ``publish(kind, data)`` tells the agent's followers what its code says from inside a call. ``stirred`` is called
    when a call begins, goes on or ends; ``changed`` when the brain came, went, or showed itself anew.
    """

    def __init__(
        self,
        name: str,
        placement: Placement,
        *,
        publish: Callable[[EventKind, dict[str, Any]], None],
        stirred: Callable[[], None],
        changed: Callable[[], None],
    ) -> None:
        self.call_lock = CallLock()  # to be held around `build` and `call`
        self.builds = 0  # how many there were so far: a new one has forgotten what the last had in hand
        self.tellings = 0  # how often it was told something, which may change what it suggests
        # what it can do, what it shows, and why it wants to end, as of its last finished call
        self.traits = Traits()
        self.variables: dict[str, Variable] = {}
        self.stop_reason: str | None = None
        self.waits: str | None = None  # what for, when it had no point to suggest, or no place to live, because of that
        self._name = name
        self._placement = placement
        self._publish = publish
        self._stirred = stirred
        self._changed = changed
        # called with why when its process ended between calls; a call under way tells of it itself
        self.on_process_death: Callable[[AgentFault], None] = lambda error: None
        self.memory_bytes: int | None = None  # of its process, as of some seconds ago
        self._memory_looked_at = 0.0
        self.spec: AgentSpec | None = None  # what it was built of
        self.registration: str | None = None  # of the live object that it was built of
        self._apart = 0  # facts that are written and not told, or the other way round
        self._is_out_of_step = False
        self._handle: BrainHandle | None = None
        self._place: Place | None = None
        self._progress: CallProgress | None = None
        self._given_up: tuple[BrainHandle, str] | None = None
        self._variable_bytes: dict[str, bytes] = {}
        self.note: str | None = None  # what is wrong with what it said of itself

    @property
    def is_there(self) -> bool:
        """Whether there is one now."""
        return self._handle is not None

    @property
    def is_dead(self) -> bool:
        """Whether the process of the present one has ended."""
        return self._handle is not None and self._handle.died.done()

    @property
    def in_step(self) -> bool:
        """Whether it was told what the facts say, no less and no more."""
        return not self._apart and not self._is_out_of_step

    @contextlib.contextmanager
    def told_apart(self, *, forgives: type[BaseException] = ServiceError) -> Generator[None]:
        """Hold while a fact is written here and told there; it stays out of step when an error ends that halfway."""
        self._apart += 1
        try:
            yield
        except BaseException as error:
            self._is_out_of_step |= not isinstance(error, forgives)
            raise
        finally:
            self._apart -= 1

    def missed(self) -> None:
        """Note that a fact about it is written that nobody tells it."""
        self._is_out_of_step = True

    @property
    def busy(self) -> Busy | None:
        """The call it is in, if any; that it is being saved is no matter of those who call it."""
        present = self._handle.busy if self._handle else None
        if present is None or present[0] == BrainAdapter.dump.__name__:
            return None
        call, since = present
        progress = self._progress if self._progress and self._progress.at >= since else None
        watcher = self.call_lock.watcher
        return Busy(call=call, since=since, progress=progress, job=watcher.id if watcher else None)

    def place(self, spec: AgentSpec) -> Place:
        """Return where it lives, or is expected to."""
        return self._place or self._placement.expected(spec)

    def variable_json(self, name: str) -> bytes:
        """Return a variable as JSON bytes, kept until the next call ends; `KeyError` if there is none."""
        if name not in self._variable_bytes:
            self._variable_bytes[name] = self.variables[name].model_dump_json().encode()
        return self._variable_bytes[name]

    def remember(self, view: View) -> None:
        """Keep what it showed of itself; what is wrong with its best points is told once, and is not its end."""
        if view.fault is not None and view.fault != self.note:
            self._hear(LogNotice("warning", f"agent {self._name}: {view.fault}", __name__), elsewhere=True)
        self.note = view.fault
        self._note_wait(view.waits)
        self.stop_reason = view.stop
        self.variables = {variable.name: variable for variable in view.variables}
        self._variable_bytes.clear()
        self._changed()

    async def build(
        self,
        spec: AgentSpec,
        *,
        facts: Callable[[int], Awaitable[Sequence[Fact]]],
        take: Callable[[Traits], Awaitable[None]],
        saved: SavedBrain | None = None,
    ) -> bool:
        """Build it where it will live, and bring it to where the facts say it was; in its turn.

        It begins as ``saved`` where that can be loaded. ``facts`` gives what is to be replayed, after a fact of a
        number, when the new one is there; returns whether there were any. ``take`` is called with what it can do when
        all of it went well, before it takes the place of the present one. Raises `AgentFault` or `DeadlineExceeded`
        when it cannot be built or replayed; the present one, if any, stays then.
        """
        factory = self._placement.brain_factory(spec)
        if saved is not None and saved.registration != factory.registration:
            saved = None
        deadline = spec.timeouts.start
        place = await self._placement.choose(factory)
        was_out_of_step = self._is_out_of_step
        while True:
            handle = await place.executor.start(
                factory,
                name=self._name,
                timeout_s=deadline,
                memory_limit_mb=spec.memory_limit_mb,
                libraries=place.libraries,
                resources=spec.resources,
                on_wait=self._note_wait,
                on_notice=lambda notice: self._hear(notice, elsewhere=place.executor.isolated),
            )
            try:
                if saved is not None:
                    await handle.call(BrainAdapter.restore, saved.payload, timeout_s=deadline)
                was_out_of_step |= self._is_out_of_step
                self._is_out_of_step = False  # what it misses from here on counts
                replayed = await facts(0 if saved is None else saved.seq)
                view = await handle.call(BrainAdapter.replay, replayed, timeout_s=deadline)
                traits = await handle.call(BrainAdapter.traits, timeout_s=deadline)
                await take(traits)
            except BaseException as error:
                self._is_out_of_step |= was_out_of_step
                await handle.close()
                if saved is None or not isinstance(error, (AgentFault, DeadlineExceeded)):
                    raise
                why = f"agent {self._name} is told everything, for its saved state is of no use: {error.detail}"
                self._hear(LogNotice("warning", why, __name__), elsewhere=True)
                saved = None
            else:
                break
        await self.discard()
        self._handle, self._place, self.traits = handle, place, traits
        self.spec, self.registration = spec, factory.registration
        self.builds += 1
        handle.died.add_done_callback(lambda died: self._tell_death(handle, died.result()))
        self.remember(view)
        self._memory_looked_at = 0.0
        self._look_at_memory(handle)
        return bool(replayed)

    async def discard(self) -> None:
        """Discard it; a call under way is abandoned."""
        handle, self._handle = self._handle, None
        self.memory_bytes = None
        if handle is not None:
            await handle.close()
        self._changed()

    async def abandon_call(self) -> None:
        """Abandon the call under way, if there is one; the brain is gone with it."""
        if self.busy is not None:
            await self.discard()

    async def give_up_call(self) -> None:
        """Abandon the call under way, if there is one, because a person said so."""
        if self._handle is not None and self.busy is not None:
            self._given_up = (self._handle, context.person())
            await self._handle.close()

    async def call(self, method: Callable[[BrainAdapter, *Ts], R], *args: *Ts, timeout_s: float) -> R:
        """Call it, in its turn, and return what it returned.

        Raises `AgentFault` or `DeadlineExceeded` when it raised, ended, or took too long; `CallCancelled` when a person
        gave the call up; `Conflict` when there is none, or it was discarded during the call.
        """
        handle = self._handle
        if handle is None:
            raise Conflict(f"agent {self._name!r} has no brain now; start it")
        self._stirred()
        try:
            result = await handle.call(method, *args, timeout_s=timeout_s)
        except (AgentFault, DeadlineExceeded) as error:
            if self._handle is not handle:
                raise Conflict(f"agent {self._name!r} was stopped during {method.__name__}") from error
            if self._given_up is not None and self._given_up[0] is handle:
                who = self._given_up[1]
                self._given_up = None
                raise CallCancelled(f"cancelled by {who}") from error
            raise
        else:
            self.tellings += method in _TELLS
            return result
        finally:
            self._stirred()
            self._look_at_memory(handle)

    def _look_at_memory(self, handle: BrainHandle) -> None:
        """Let it be found out, in a thread, how much memory its process takes; seldom, for that takes milliseconds."""
        now = time.monotonic()
        if self._place is None or not self._place.executor.isolated or now < self._memory_looked_at + MEMORY_EVERY_S:
            return
        self._memory_looked_at = now

        def note(looked: asyncio.Future[int | None]) -> None:
            if self._handle is handle and not looked.cancelled() and looked.exception() is None:
                self.memory_bytes = looked.result()
                self._stirred()

        asyncio.get_running_loop().run_in_executor(None, handle.memory_bytes).add_done_callback(note)

    def _hear(self, notice: Notice, *, elsewhere: bool) -> None:
        """Pass on what its code tells from inside a call. It is transient: no fact, and gone with the call."""
        if isinstance(notice, LogNotice):
            if elsewhere:  # what its code logs is in that process; a thread's is in this one's log already
                logging.getLogger(notice.logger).log(_LEVELS.get(notice.level, logging.INFO), "%s", notice.message)
            data = {"level": notice.level, "message": notice.message, "logger": notice.logger}
            self._publish(EventKind.LOG, data)
            return
        self._progress = CallProgress(done=notice.done, total=notice.total, message=notice.message, at=utcnow())
        if self.call_lock.watcher is not None:
            self.call_lock.watcher.progressed(self._progress)
        self._stirred()
        busy = self.busy
        data = {"call": busy.call if busy else "start", **self._progress.model_dump(mode="json", exclude={"at"})}
        self._publish(EventKind.PROGRESS, data)

    def _note_wait(self, waits: str | None) -> None:
        """Keep what it waits for, and tell that when it is something else than before."""
        if waits is not None and waits != self.waits:
            self._hear(LogNotice("info", f"agent {self._name} waits: {waits}", __name__), elsewhere=True)
        if waits != self.waits:
            self.waits = waits
            self._changed()

    def _tell_death(self, handle: BrainHandle, error: AgentFault) -> None:
        if self._handle is handle:
            self.on_process_death(error)
