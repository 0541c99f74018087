"""The states of brains on disk: after a restart a brain is loaded, and ingests only what came after.

Only the journal is true: a state is used if it belongs to a fact in the journal, and all facts up to that one were
told. Any other state is ignored, and the brain ingests everything.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import time
from typing import TYPE_CHECKING, Any, Final

from agent_service.agents.tasks import Role
from agent_service.brains.adapter import BrainAdapter
from agent_service.brains.messages import SavedBrain
from agent_service.errors import AgentFault, CallCancelled, Conflict, DeadlineExceeded, UsageError
from agent_service.state_dir import private_files

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection
    from datetime import datetime
    from pathlib import Path

    from agent_service.agents.brain import HostedBrain
    from agent_service.agents.record.agent import AgentRecord
    from agent_service.agents.record.told import ToldFacts
    from agent_service.agents.tasks import AgentTasks
    from agent_service.models import AgentSpec

FIRST_AFTER_S: Final = 0.2
AT_LEAST_EVERY_S: Final = 1.0
SHARE: Final = 0.02
"""Most of the time that one brain is being saved; of all of them together it is at most `SHARE_OF_ALL`."""

SHARE_OF_ALL: Final = 0.1
LAST_WITHIN_S: Final = 5.0
"""How long the end of an agent, or of the service, waits for its state."""

_DISK_BYTES_PER_S: Final = 5e7
_WAITS_FOR_REST_S: Final = 2.0
_LOOKS_EVERY_S: Final = 0.02
_NOT_THE_BRAINS: Final = {
    "executor",
    "guardrails",
    "loop",
    "memory_limit_mb",
    "on_fault",
    "recover",
    "restarts",
    "timeouts",
    "warm_start",
}
"""What of a specification a brain does not know."""

_log = logging.getLogger(__name__)


class SavedBrains:
    """The folder of states, one file for an agent, and whose turn it is to be saved; belongs to the event loop.

    Its methods block on the disk, except `due` and `note_cost`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.turn = asyncio.Lock()
        self._next_at = 0.0

    async def due(self) -> None:
        """Return when another brain may be saved, with `turn` held, which holds off the others."""
        await asyncio.sleep(self._next_at - time.monotonic())

    def note_cost(self, cost_s: float) -> None:
        """Note what saving one has cost: the next one waits for its share of the time."""
        self._next_at = time.monotonic() + cost_s / SHARE_OF_ALL

    def keep_only(self, agents: Collection[str]) -> None:
        """Remove what is no state of one of these agents: of one that was removed, or half of one."""
        with contextlib.suppress(FileNotFoundError):
            for path in self._folder.iterdir():
                if path.name not in agents:
                    path.unlink(missing_ok=True)

    def write(self, agent: str, head: dict[str, Any], payload: bytes) -> None:
        """Write a state, whole or not at all, for this user's eyes only."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        full = {**head, "sha256": hashlib.sha256(payload).hexdigest()}
        private_files.write(self._folder / agent, json.dumps(full).encode() + b"\n" + payload)

    def read(self, agent: str) -> tuple[dict[str, Any], bytes] | None:
        """Return a state and what was written of it; None when there is none that is whole and this user's own."""
        try:
            private_files.require_own(self._folder)
            first, _, payload = private_files.read_bytes(self._folder / agent).partition(b"\n")
            head: dict[str, Any] = json.loads(first)
            whole = head.pop("sha256") == hashlib.sha256(payload).hexdigest()
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, AttributeError, UsageError) as error:
            _log.warning("the saved state of agent %s cannot be read: %s", agent, error)
            return None
        return (head, payload) if whole else None

    def forget(self, agent: str) -> None:
        """Remove a state."""
        (self._folder / agent).unlink(missing_ok=True)


class BrainSaver:
    """Saves the brain of one agent now and then, off the way of its calls, and finds it again.

    ``rebuild`` builds the brain anew; it is awaited, with the lock held, when saving it was its end.
    """

    def __init__(  # noqa: PLR0913 - the parts of one agent, by name
        self,
        record: AgentRecord,
        brain: HostedBrain,
        *,
        told: ToldFacts,
        tasks: AgentTasks,
        folder: SavedBrains | None,
        rebuild: Callable[[], Awaitable[None]],
    ) -> None:
        self._record = record
        self._brain = brain
        self._told = told
        self._tasks = tasks
        self._folder = folder
        self._rebuild = rebuild
        self._refused_build = -1
        self._is_dirty = False
        self._is_saving = False
        self._next_at = 0.0

    async def find(self, spec: AgentSpec) -> SavedBrain | None:
        """Return the state from which a brain of ``spec`` can go on; None: it is to be told everything."""
        if self._folder is None:
            return None
        stored = await asyncio.to_thread(self._folder.read, self._record.spec.name)
        if stored is None:
            return None
        head, payload = stored
        registration = head.pop("registration", None)
        seq = head.get("seq", 0)
        if head != self._head(spec, None) | {key: head.get(key) for key in ("seq", "at")}:
            return None
        facts = await self._told.since(seq)
        if seq and (not facts or facts[0].seq != seq or facts[0].time.isoformat() != head["at"]):
            return None
        changed = any((fact.seq or 0) > seq and "config" in fact.data for fact in facts)
        return None if changed else SavedBrain(seq, payload, registration)

    async def built(self, *, is_saved: bool) -> None:
        """Note that the brain was built, with its lock held, and whether what it knows is what its file says.

        One that has to be asked for old points again is saved at once, so that it can be asked for later ones only.
        """
        self._is_dirty = not is_saved
        asked_again = self._brain.traits.suggests and not self._brain.traits.registers
        if asked_again and self._folder is not None and self._may_save:
            await self._save(self._folder)

    def note_change(self) -> None:
        """Note that the brain was told something, or asked; it is saved when its time comes."""
        self._is_dirty = True
        self._begin_saving()

    def save_soon(self) -> None:
        """Let it be saved when it comes to rest, however lately it was: nothing more may happen for long.

        One that is being saved goes on: a call that is cancelled would be the end of its brain.
        """
        if self._is_saving:
            return
        self._next_at = 0.0
        self._tasks.cancel(Role.SAVE)
        self._begin_saving(but=self._tasks.under_way(Role.SAVE))

    async def save_before_end(self) -> None:
        """Save the brain if it is at rest: it is about to be discarded. Lets no error out, and takes its time only."""
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(LAST_WITHIN_S):
                if self._folder is not None and self._may_save and self._is_at_rest:
                    async with self._brain.call_lock:
                        await self._save(self._folder, at_end=True)

    def close(self) -> None:
        """Save nothing more: the service ends, and what a call that ends late knows is in the journal."""
        self._folder = None

    def refuse(self) -> None:
        """Save this brain no more, until it is built anew: it knows what the journal will not tell another."""
        self._refused_build = self._brain.builds

    async def forget(self) -> None:
        """Remove the state: the agent is removed, or cannot go on from it."""
        self._tasks.cancel(Role.SAVE)
        await self._tasks.wait(Role.SAVE)
        if self._folder is not None:
            await asyncio.to_thread(self._folder.forget, self._record.spec.name)

    @property
    def _may_save(self) -> bool:
        return self._is_dirty and self._folder is not None and self._refused_build != self._brain.builds

    @property
    def _is_at_rest(self) -> bool:
        """Whether nobody calls the brain, or waits to, and it knows what the facts say, no less and no more."""
        brain = self._brain
        return brain.is_there and brain.in_step and brain.call_lock.is_free and not self._tasks.under_way(Role.REBUILD)

    def _begin_saving(self, *, but: Collection[asyncio.Task[Any]] = ()) -> None:
        if self._may_save and not self._tasks.under_way(Role.SAVE).difference(but):
            self._next_at = max(self._next_at, time.monotonic() + FIRST_AFTER_S)
            self._tasks.begin(Role.SAVE, self._save_in_time())

    async def _save_in_time(self) -> None:
        if (folder := self._folder) is None:
            return
        await asyncio.sleep(self._next_at - time.monotonic())
        async with folder.turn:
            await folder.due()
            give_up_at = time.monotonic() + _WAITS_FOR_REST_S
            while not self._is_at_rest and time.monotonic() < give_up_at:  # noqa: ASYNC110 - many things make it so
                await asyncio.sleep(_LOOKS_EVERY_S)
            if self._may_save and self._is_at_rest:
                async with self._brain.call_lock:
                    self._is_saving = True
                    try:
                        cost_s = await self._save(folder)
                    finally:
                        self._is_saving = False
                folder.note_cost(cost_s)
                self._next_at = time.monotonic() + max(AT_LEAST_EVERY_S, cost_s / SHARE)

    async def _save(self, folder: SavedBrains, *, at_end: bool = False) -> float:
        """Save the brain, with its lock held; return what it cost, in seconds."""
        began, spec, payload = time.monotonic(), self._record.spec, None
        if not self._brain.in_step:  # a fact is written that it will be told of when the lock is free
            return 0.0
        last = self._record.last_told  # now: what is written during the dump is not in it
        try:
            payload = await self._brain.call(BrainAdapter.dump, timeout_s=spec.timeouts.start)
        except (Conflict, CallCancelled):  # it is gone
            return 0.0
        except (AgentFault, DeadlineExceeded) as error:
            _log.warning("the state of agent %s could not be saved: %s", spec.name, error.detail)
            if (isinstance(error, DeadlineExceeded) or error.died) and not at_end:
                self._folder = None
                await self._rebuild()
        if payload is None or self._brain.spec is None:
            self._refused_build = self._brain.builds
            return time.monotonic() - began
        head = self._head(self._brain.spec, last) | {"registration": self._brain.registration}
        self._is_dirty = False
        try:
            await asyncio.to_thread(folder.write, spec.name, head, payload)
        except (OSError, UsageError) as error:
            self._is_dirty = True
            _log.warning("the state of agent %s could not be saved: %s", spec.name, error)
        return time.monotonic() - began + len(payload) / _DISK_BYTES_PER_S

    def _head(self, spec: AgentSpec, last: tuple[int, datetime] | None) -> dict[str, Any]:
        """Return what is written of a state as of the fact ``last``, its number and time; None: there was none."""
        return {
            "seq": 0 if last is None else last[0],
            "at": None if last is None else last[1].isoformat(),
            "created_at": self._record.created_at.isoformat(),
            "spec": hashlib.sha256(spec.model_dump_json(exclude=_NOT_THE_BRAINS).encode()).hexdigest(),
        }
