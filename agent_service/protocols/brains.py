"""Seams of brains: what a brain, the handle of a hosted one, and an executor must do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, TypeVarTuple, runtime_checkable

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from agent_service.errors import AgentFault

R = TypeVar("R")

Ts = TypeVarTuple("Ts")


@dataclass(frozen=True, slots=True)
class ProgressNotice:
    """How far a call is, in the agent's own units (``total`` None: unknown), and what it is doing."""

    done: float
    total: float | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class LogNotice:
    """A log line of the agent's code; ``level`` is ``debug``, ``info``, ``warning``, ``error`` or ``critical``."""

    level: str
    message: str
    logger: str = ""


Notice = ProgressNotice | LogNotice
"""What an agent says while it works."""


@runtime_checkable
class Brain(Protocol):
    """A brain: bluesky-adaptive 1.x's ``Optimizer``, matched by shape and never by import.

    Optional methods: ``register_suggestions``, ``register_failures``, ``should_stop() -> (bool, str | None)``,
    ``checkpoint()`` and ``report() -> dict``. The agent's executor calls all of them, one at a time.
    Source: https://blueskyproject.io/bluesky-adaptive (1.0, ``protocols.py``).
    """

    def suggest(self, num_points: int | None = None) -> Sequence[Mapping[str, Any]]:
        """Return the next points to measure, each a mapping of actuator to position, with an optional ``_id``."""
        ...

    def ingest(self, points: Sequence[Mapping[str, Any]]) -> None:
        """Ingest outcomes: each point holds actuators and outcomes, and its ``_id`` if the brain gave it one."""
        ...

    def get_best_points(self) -> Sequence[tuple[Any, Mapping[str, Any], Mapping[str, Any]]]:
        """Return ``(_id, point, outcome)`` of the best point, or of each on the Pareto front."""
        ...


@runtime_checkable
class BrainHandle(Protocol):
    """A handle of a brain in a thread or a process. It makes one call at a time, in order."""

    died: asyncio.Future[AgentFault]
    """Done when the brain's host ended by itself, during a call or not; says how. `close` leaves it undone."""

    @property
    def busy(self) -> tuple[str, datetime] | None:
        """The present call and its start, or None."""
        ...

    async def call(self, method: Callable[[Any, *Ts], R], *args: *Ts, timeout_s: float) -> R:
        """Call the hosted object's method that has the name of ``method``, and return its result.

        Raises `AgentFault`, with the traceback, if the method raised, and with ``died`` if its host was lost. Raises
        `DeadlineExceeded` if it did not end in time: the handle is dead then, and a late result is ignored.
        """
        ...

    def memory_bytes(self) -> int | None:
        """Return the memory of the object's own process, with its part of shared memory; may block.

        None if it has no process of its own, or if that cannot be known.
        """
        ...

    async def close(self) -> None:
        """Discard the object. A call under way is abandoned, and raises `AgentFault` at its caller."""
        ...


class Executor(Protocol):
    """Where brains live."""

    isolated: bool  # whether each lives apart from the service: it can be killed and limited, and dies alone
    needs_pickle: bool  # whether ``build`` must pickle (cloudpickle)

    async def start(  # noqa: PLR0913 - what there is to say of it, by name
        self,
        build: Callable[[], object],
        *,
        name: str,
        timeout_s: float,
        memory_limit_mb: int | None = None,
        libraries: Sequence[str] = (),
        resources: Mapping[str, float] | None = None,
        on_notice: Callable[[Notice], None] | None = None,
        on_wait: Callable[[str | None], None] | None = None,
    ) -> BrainHandle:
        """Build the object where it will live, within ``timeout_s`` seconds, and return a handle on it.

        ``name`` is the agent's, for messages and the names of processes and threads. ``memory_limit_mb`` is the most
        memory for the object's data, libraries included, in MB (2**20 bytes), only where it is isolated. ``libraries``
        are modules that it needs; objects that need the same may share one import. ``resources`` is what it takes of a
        machine, by name, where the executor has several. ``on_notice`` is called on the event loop with what the
        object's code reports and logs inside a call, ``build`` included: about ten times a second, and the last of a
        call before its result.

        If others use all places for it, it waits, which does not count for the deadline. ``on_wait`` is called with
        what it waits for, and with None when that is over; without ``on_wait``, `BackendUnavailable` is raised instead.

        Raises `AgentFault`, with the traceback, if ``build`` raised, with ``died`` if no host could be made;
        `DeadlineExceeded` if it did not end in time.
        """
        ...

    def why_not(self) -> str | None:
        """Return why it cannot be used on this system, None if it can."""
        ...

    async def close(self) -> None:
        """Release the hosts; brains that still live there end."""
        ...
