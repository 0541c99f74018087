"""Protocols of the parts: what a brain, an executor, a journal, a document source and a plan sink must do.

All other code uses these; only ``service/compose.py`` names the classes that implement them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeVar, TypeVarTuple, runtime_checkable

if TYPE_CHECKING:
    import asyncio
    import threading
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import datetime

    from agent_service.errors import AgentFault
    from agent_service.models import (
        AgentSpec,
        DeviceInfo,
        Ends,
        Event,
        EventKind,
        Point,
        QueueStatus,
        RunRule,
        SourceStatus,
    )

R = TypeVar("R")
Ts = TypeVarTuple("Ts")

Document = dict[str, Any]
"""A Bluesky document; the event-model project defines them."""

SERVICE_STOPS: Final = "the service stops"
"""The reason, in a run's stop document, of an abort by the service's own end."""

READBACKS: Final = ("_user_readback", "-user_readback", "_readback", "-readback")
"""What ophyd and ophyd-async append to a device's name for a readback that has not that name itself."""

SETPOINTS: Final = ("_user_setpoint", "-user_setpoint", "_setpoint", "-setpoint")
"""What they append for a device that also reads its setpoint."""

MOVE: Final = "move_to"
"""Name of the plan of a move without a run, as go-to-best makes it, for ``guardrails.plans``."""


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


class FactRow(NamedTuple):
    """A fact as a store keeps it; ``data`` is its data as JSON."""

    seq: int
    time: datetime
    agent: str | None
    kind: EventKind
    data: str


class Seqs(NamedTuple):
    """Numbers of facts of a journal, 0 for none."""

    last: int  # the newest
    snapshot: int  # the last one that is in the snapshot
    forgotten: int  # the last one that cannot be read any more


class JournalReader(Protocol):
    """Reads a journal: facts in order, numbered from 1 without holes; early ones may be in a snapshot.

    Every method blocks on the disk, may be called from any thread, and raises `BackendUnavailable` if the journal
    cannot be read.
    """

    def last_seq(self) -> int:
        """Return the number of the newest fact, 0 when there is none."""
        ...

    def last_before(self, time: datetime) -> int:
        """Return the number of the last fact older than ``time``, 0 when there is none."""
        ...

    def read(
        self,
        *,
        after: int = 0,
        agent: str | None = None,
        kinds: Sequence[EventKind] = (),
        limit: int | None = None,
        newest_first: bool = False,
    ) -> list[Event]:
        """Return facts numbered above ``after`` (below it, if ``newest_first`` and not 0), in that order."""
        ...

    def told(
        self, agent: str | None = None, *, after: int = 0, until: int | None = None, limit: int | None = None
    ) -> list[Event]:
        """Return the facts of an agent that its brain may know, in order, with those that `read` lacks by now.

        Kinds suggestion, ingest, config and method; forgotten facts may be missing. None: of all agents.
        """
        ...

    def of_suggestions(self, ids: Sequence[str]) -> list[Event]:
        """Return the facts about suggestions that can still be read, in order."""
        ...

    def snapshot(self) -> tuple[int, dict[str, Any]] | None:
        """Return the number of the last fact in the snapshot, and the snapshot; None when there is none."""
        ...

    def wait(self, *, after: int, within_s: float) -> None:
        """Return when there may be facts numbered above ``after``, or after ``within_s`` seconds; from one thread."""
        ...


class JournalStore(JournalReader, Protocol):
    """The store of a journal. Except for reading, it is called from one thread at a time; every method blocks.

    `write` and `compact` raise `LeadLost`, and write nothing, if somebody else writes the journal by now.
    """

    def await_turn(self, given_up: threading.Event) -> bool:
        """Wait until nobody else writes; False if given up. Raises `UsageError` for what `open` would refuse."""
        ...

    def leads(self) -> bool:
        """Return whether nobody else can write now; answered from memory, from any thread."""
        ...

    def open(self) -> Seqs:
        """Make the store, or bring it up to date; return where its facts begin and end.

        Raises `UsageError` if it is no journal, cannot be used, is written by somebody else now, or was written by a
        newer version of this program; `BackendUnavailable` if it is elsewhere and cannot be reached.
        """
        ...

    def write(self, batch: Sequence[FactRow]) -> None:
        """Write facts, all or none: they then survive a kill -9. Without facts, test whether writing is possible.

        Raises `BackendUnavailable`, in one line, if it failed. To learn whether they were written nevertheless, read
        what came after the last fact.
        """
        ...

    def compact(self, seq: int, snapshot: str, *, forget: int | None = None) -> None:
        """Write a snapshot of the facts up to ``seq``, as JSON; delete the facts up to ``forget``, by default ``seq``.

        Raises `BackendUnavailable`.
        """
        ...

    def lost(self) -> str | None:
        """Return why the next start could not read what is written now, and what to do; None if it could."""
        ...

    def close(self) -> None:
        """Close it; harmless the second time."""
        ...


class Intake(Protocol):
    """The place where sources put documents."""

    def put(self, name: str, document: Document, stored: Callable[[], None] | None = None) -> None:
        """Take a document, which nobody may change any more; from any thread. It never blocks.

        When the document is on disk, a thread of the intake calls ``stored``, which returns at once, so that a broker's
        offset can follow. It is not called for a document that is given up at the end of the service.
        """
        ...


class DocumentSource(Protocol):
    """A source of documents. It only puts them into the intake, in the order of their emission.

    In the thread that measures, it never blocks and never raises. If another machine that it listens to is away, it
    says so and tries again; it does not raise.
    """

    @property
    def status(self) -> SourceStatus:
        """How it is at present; answered from memory, from any thread."""
        ...

    def start(self, intake: Intake) -> None:
        """Begin to put documents into the intake."""
        ...

    def stop(self) -> None:
        """Put no more; harmless the second time, and before the start. May take a second, so not on the event loop."""
        ...


@runtime_checkable
class Completer(Protocol):
    """Gives a run again that did not arrive whole: a catalogue that the facility writes."""

    answered: int  # the last answered ticket of `look_now`

    @property
    def status(self) -> SourceStatus:
        """How it is at present; answered from memory, from any thread."""
        ...

    def look_now(self) -> int:
        """Look at once for what is wanted; return a ticket, answered when all that is there was handed over."""
        ...

    def look_for(self, runs: Collection[str], suggestions: Collection[str], *, at_once: bool = False) -> None:
        """Look for runs by uid and by suggestion, and put those found into the intake. Returns at once.

        It is called repeatedly with what is still missing; ``at_once`` if more may have been lost just now.
        """
        ...


@dataclass(frozen=True, slots=True)
class PlanOrder:
    """One plan to run for one suggestion.

    ``run`` and ``every`` say which of the plan's runs counts, for runners that do not say when it has ended: see
    `choice.can_tell`.
    """

    suggestion_id: str  # ``agent_suggestion_uid`` in the run's start document; empty for a move
    agent: str  # ``agent_name`` there
    point: Point
    plan: str  # a name in the startup namespace, or ``module:callable``: of (suggestions, actuators, sensors, md)
    actuators: tuple[str, ...]  # names of devices in the startup namespace, as are the sensors
    sensors: tuple[str, ...]
    md: Mapping[str, Any] = field(default_factory=dict[str, Any])  # more for the start document
    run: RunRule | None = None
    tag: str | None = None  # which runners may claim it
    every: bool = False
    despite_conditions: bool = False  # of a move: whether it begins while a condition is not met


class ExitStatus(StrEnum):
    """How a plan ended, in one word; the first three are those of a stop document."""

    SUCCESS = "success"  # some of several runs may still have failed: see `choice`
    FAIL = "fail"  # the plan raised, a device is unknown, or its one run failed
    ABORT = "abort"  # a person stopped it
    EXPIRED = "expired"  # whoever measures was silent for too long
    REJECTED = "rejected"  # a guardrail forbade it when its turn came

    @classmethod
    def of_run(cls, text: object) -> ExitStatus:
        """Return the status in a stop document; any but the first three counts as a failure."""
        return next((status for status in (cls.SUCCESS, cls.ABORT) if status == text), cls.FAIL)


@dataclass(frozen=True, slots=True)
class PlanResult:
    """How a plan ended."""

    exit_status: ExitStatus
    reason: str = ""  # one line that says why; empty after a success
    run_uids: tuple[str, ...] = ()  # of the runs it made, in order; empty when it failed before its first one
    asked: bool = True  # False: an ``abort`` that nobody asked for, which counts as a failure
    begun: bool = field(default=True, compare=False)  # False: withdrawn before that, so it can be submitted again
    took_s: float | None = field(default=None, compare=False)  # how long a move took, without waiting; None: no move
    traceback: str | None = field(default=None, compare=False)  # of what the plan raised, where it is known


class MeasuredBy(StrEnum):
    """Who runs the plans of a sink, and so who may post their documents over HTTP."""

    SERVICE = "service"  # the service itself, which listens to its RunEngine: nobody may post
    CLAIMER = "claimer"  # whoever has claimed the suggestion, and nobody else
    FACILITY = "facility"  # a queue of the facility: whoever may post documents may post those of submitted plans


class Devices(Protocol):
    """The devices that a sink moves, for guardrails; from any thread. Calls may block for long.

    Each method raises `UnknownDevice` for a name that no actuator has, and otherwise whatever the device raises.
    """

    def check(self, name: str) -> None:
        """Raise `UnknownDevice` unless there is an actuator of that name; ask no device."""
        ...

    def limits(self, name: str) -> Ends:
        """Return the lowest and highest position that a device states, each None if it states none."""
        ...

    def position(self, name: str) -> float | None:
        """Return a device's position, in its units; NaN if it cannot be read now, None if it has none."""
        ...

    def units(self, name: str) -> dict[str, str]:
        """Return the units that an actuator or a sensor states, by the keys of its documents."""
        ...

    def refusals(self, point: Point) -> dict[str, str]:
        """Return why devices refuse their position in ``point``, by name; move nothing."""
        ...


@dataclass(frozen=True, slots=True)
class DeviceWords:
    """What the devices of a point said when it was checked, by name."""

    limits: Mapping[str, Ends | None]  # None: the device states none
    unread: Mapping[str, str]  # why a device does not say its limits
    refusals: Mapping[str, str]  # why a device refuses its position


@dataclass(frozen=True, slots=True)
class SignalReading:
    """The value of a signal, sent by itself or in answer to a read. Times are in seconds since 1970."""

    value: float | str | None  # None: it cannot be read now
    at: float  # since when it has this value, as the signal says
    arrived_at: float  # when it arrived here
    asked_at: float | None = None  # when it was asked, if it was: the value held after that
    units: str = ""
    fault: str = ""  # why there is no value, in one line
    watched_since: float | None = None  # since when it is watched without a break, as far as known
    tells_changes: bool = False  # whether it also sends each change by itself, perhaps late


class SignalWatch(Protocol):
    """A watched signal; from any thread, and nothing blocks."""

    def ask(self) -> None:
        """Ask the signal now, before its time; the answer is a reading like any other."""
        ...

    def stop(self) -> None:
        """Stop watching; harmless the second time."""
        ...


class Signals(Protocol):
    """The signals of conditions, where the devices live."""

    def check(self, name: str) -> None:
        """Raise `UnknownDevice`, naming what is near, unless there is a signal of that name."""
        ...

    def watch(
        self, name: str, on_reading: Callable[[SignalReading], None], *, since: float | None = None
    ) -> SignalWatch:
        """Call ``on_reading``, in some thread, with what a signal sends by itself, and with its answers.

        It is asked about once a second. If it cannot be asked, that is a reading with a fault. If it was watched while
        the service was away, its readings after ``since``, in seconds since 1970, come first. Never raises.
        """
        ...


class PlanSink(Protocol):
    """Where plans go. Nothing else in the service can move anything."""

    kind: str
    takes_ahead: bool  # whether an agent may submit its next plan while one is under way, so that it begins at once
    plans_end_here: bool  # whether plans run in this process: they end with it, and its end waits for them a while
    reattaches: bool  # whether plans go on while the service is away, so that `reattach` finds them again
    measured_by: MeasuredBy
    moves: bool  # whether `move` can move; if not, it raises at once

    @property
    def status(self) -> QueueStatus:
        """What runs and what waits; answered from memory."""
        ...

    @property
    def devices(self) -> Devices | None:
        """What it moves; None if only whoever measures has the devices."""
        ...

    def start(self, on_change: Callable[[], None]) -> None:
        """Begin; ``on_change`` is called on the service's event loop whenever `status` changed."""
        ...

    async def stop(self, timeout_s: float) -> None:
        """End: stop a plan under way so that its stop document is written, then take no more."""
        ...

    def own_name(self, name: str) -> str:
        """Return a device's own name, if the sink knows it; raises `UnknownDevice` for none or two."""
        ...

    def list_devices(self) -> list[DeviceInfo]:
        """Return the devices that an agent may name, without some parts of others; from any thread, may block.

        Raises `BackendUnavailable` if they cannot be listed now.
        """
        ...

    def check(self, spec: AgentSpec) -> None:
        """Raise `UnknownPlan` or `UnknownDevice`, naming what is near, unless the sink could run ``spec``'s plans."""
        ...

    async def run(self, order: PlanOrder) -> PlanResult:
        """Queue a plan and return when it ended; if the caller is cancelled, a plan that waits is withdrawn.

        Raises `QueueHeld` if the queue is held. A plan's own failure does not raise: it is a `PlanResult` with ``fail``
        or ``abort``.
        """
        ...

    async def move(self, point: Point, *, agent: str = "", despite_conditions: bool = False) -> PlanResult:
        """Queue a move of actuators to ``point`` for an agent, without a run, and return when it ended.

        It is ``rejected`` if a guardrail forbids it at its turn, or if a condition is not met, unless
        ``despite_conditions``.
        """
        ...

    async def reattach(self, orders: Sequence[PlanOrder]) -> Mapping[str, asyncio.Future[PlanResult]]:
        """Take up plans again that were in the sink when the service ended; called once, after `start`.

        ``orders`` are those of suggestions that the journal has as submitted or running. The sink withdraws other
        waiting plans of this service. Returns, by suggestion, a future of its plan's result, done when that is known.
        Nobody runs the plans of suggestions that are missing. Never raises.
        """
        ...

    def observe(self, name: str, document: Document, run: str) -> None:
        """Look at a document of any ``run``, after the dispatcher has it; on the event loop. Cheap, and never raises.

        The start document of a posted run also comes once before that.
        """
        ...

    def apply(self, fact: Event) -> None:
        """Look at a committed fact, after the supervisor has it; on the event loop. Cheap, and never raises."""
        ...

    def withdraw(self, agent: str, reason: str, *, only: str | None = None) -> bool:
        """Withdraw an agent's plans that wait, or the one for suggestion ``only``; return whether there was any.

        They end as ``abort``, not ``begun``. A plan under way goes on.
        """
        ...

    async def pause(self) -> None:
        """Pause: the plan under way stops at its next checkpoint, and no other begins."""
        ...

    async def resume(self) -> None:
        """Resume from paused or held."""
        ...

    async def abort(self, reason: str) -> None:
        """Abort the plan under way, if any, withdraw those that wait, and stay ``held``."""
        ...

    def latch(self, reason: str) -> None:
        """Be ``held`` again, as before the service ended; call it after `start`."""
        ...


@runtime_checkable
class HasEnvironment(Protocol):
    """A sink whose plans run in the environment of a queue server's worker, which a person may have to end."""

    async def destroy_environment(self) -> None:
        """End the environment after its worker died; the plan that ran has failed.

        Raises `Conflict` if no such death is known, and `BackendUnavailable` if it could not be done.
        """
        ...
