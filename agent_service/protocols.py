"""The seams of the house: what a brain, an executor, a journal, a document source and a plan sink must do.

Everything above programs against these; only ``service/compose.py`` names the classes that implement them.
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
"""Why a plan was aborted that nobody asked to abort: it stands in the stop document of its run."""

READBACKS: Final = ("_user_readback", "-user_readback", "_readback", "-readback")
"""What ophyd and ophyd-async put behind a device's name where its readback does not bear that name itself."""

SETPOINTS: Final = ("_user_setpoint", "-user_setpoint", "_setpoint", "-setpoint")
"""What they put behind it where a device also reads where it was sent."""

MOVE: Final = "move_to"
"""Name of the plan of a move without a run, as go-to-best makes it, for ``guardrails.plans``."""


@dataclass(frozen=True, slots=True)
class ProgressNotice:
    """How far a call is, in whatever the agent counts (``total`` None: it does not know), and what it is doing."""

    done: float
    total: float | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class LogNotice:
    """A line that the agent's code logged; ``level`` is ``debug``, ``info``, ``warning``, ``error`` or ``critical``."""

    level: str
    message: str
    logger: str = ""


Notice = ProgressNotice | LogNotice
"""What an agent says while it works."""


@runtime_checkable
class Brain(Protocol):
    """A brain: bluesky-adaptive 1.x's ``Optimizer``, matched by shape and never by import.

    Optional methods, used where a brain has them: ``register_suggestions``, ``register_failures``,
    ``should_stop() -> (bool, str | None)``, ``checkpoint()`` and ``report() -> dict``. All are called in the agent's
    executor, one at a time. Source: https://blueskyproject.io/bluesky-adaptive (1.0, ``protocols.py``).
    """

    def suggest(self, num_points: int | None = None) -> Sequence[Mapping[str, Any]]:
        """Return points to measure next, each a mapping of actuator to position, with an optional ``_id``."""
        ...

    def ingest(self, points: Sequence[Mapping[str, Any]]) -> None:
        """Take outcomes in: each point holds actuators and outcomes, and its ``_id`` if the brain gave it one."""
        ...

    def get_best_points(self) -> Sequence[tuple[Any, Mapping[str, Any], Mapping[str, Any]]]:
        """Return ``(_id, point, outcome)`` of the best point, or of each on the Pareto front."""
        ...


@runtime_checkable
class BrainHandle(Protocol):
    """A hosted brain that lives somewhere else: in a thread or a process. One call at a time, in order."""

    died: asyncio.Future[AgentFault]
    """Done when what hosts the brain ended by itself, during a call or not; says how. Not done by `close`."""

    @property
    def busy(self) -> tuple[str, datetime] | None:
        """The call it is in and since when, or None."""
        ...

    async def call(self, method: Callable[[Any, *Ts], R], *args: *Ts, timeout_s: float) -> R:
        """Call the hosted object's method of the name of ``method``, and return what it returns.

        Raises `AgentFault`, with its traceback, when it raised; with ``died`` for whatever befalls what hosts it, and
        `DeadlineExceeded` when it did not end in time: then the handle is dead, and a late result is ignored.
        """
        ...

    def memory_bytes(self) -> int | None:
        """Return what the object's own process takes of the memory, its part of what is shared included; may block.

        None where it has no process of its own, or that cannot be known.
        """
        ...

    async def close(self) -> None:
        """Discard the object. A call under way is abandoned, and raises `AgentFault` at its caller."""
        ...


class Executor(Protocol):
    """Where brains live."""

    isolated: bool  # whether each lives apart from the service: it can be killed and limited, and dies alone
    needs_pickle: bool  # whether what makes a brain must pickle (cloudpickle)

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

        ``name`` is the agent's, for messages and for who looks at processes and threads; ``memory_limit_mb`` the most
        memory for the object's data, libraries included, in MB (2**20 bytes), only where it is isolated; ``libraries``
        are modules that it needs and that may be imported once for all that need the same; ``resources`` is what it
        takes of a machine, by name, where the executor has several; ``on_notice`` is called on the event loop with what
        the object's code reports and logs from inside a call, ``build`` included: about ten times a second, the last of
        a call before its result.

        Where nothing can host it now, because that belongs to others, it waits, which does not count for the deadline.
        ``on_wait`` is called with what it waits for, and with None when that is over; without it `BackendUnavailable`
        is raised then.

        Raises `AgentFault`, with its traceback, when ``build`` raised, with ``died`` when nothing could be made to host
        it in; `DeadlineExceeded` when it did not end in time.
        """
        ...

    def why_not(self) -> str | None:
        """Return why it cannot be used on this system, None where it can."""
        ...

    async def close(self) -> None:
        """Let go of what hosts brains; those still there end."""
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
    """What a journal says: facts in an order, numbered without holes from 1; early ones may be in a snapshot.

    Every method blocks on the disk, may be called from any thread, and raises `BackendUnavailable` when the journal
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
        """Return the facts of an agent that its brain may know of, in order: with those that `read` lacks by now.

        Kinds suggestion, ingest, config and method: not all of them, where they are forgotten. None: of all agents.
        """
        ...

    def of_suggestions(self, ids: Sequence[str]) -> list[Event]:
        """Return the facts about suggestions that can be read still, in order."""
        ...

    def snapshot(self) -> tuple[int, dict[str, Any]] | None:
        """Return the number of the last fact in the snapshot, and the snapshot; None when there is none."""
        ...

    def wait(self, *, after: int, within_s: float) -> None:
        """Return when there may be facts numbered above ``after``, or after ``within_s`` seconds; from one thread."""
        ...


class JournalStore(JournalReader, Protocol):
    """Where a journal is kept. Besides reading, it is called from one thread at a time; every method blocks.

    `write` and `compact` raise `LeadLost` when somebody else writes it by now; nothing of ours is written then.
    """

    def await_turn(self, given_up: threading.Event) -> bool:
        """Wait until nobody else writes; False when it was given up. `UsageError` for what `open` would refuse."""
        ...

    def leads(self) -> bool:
        """Return whether nobody else can write now; answered from memory, from any thread."""
        ...

    def open(self) -> Seqs:
        """Make the store, or bring it up to date; return where its facts begin and end.

        Raises `UsageError` when it is no journal, cannot be used, is written by somebody else now, or was written by a
        newer version of this program; `BackendUnavailable` when it is elsewhere, and cannot be reached.
        """
        ...

    def write(self, batch: Sequence[FactRow]) -> None:
        """Write facts, all or none: they survive a kill -9 then. Without any, find out whether that could be done.

        Raises `BackendUnavailable`, in one line, when it failed; read what came after the last fact to know whether
        they were written all the same.
        """
        ...

    def compact(self, seq: int, snapshot: str, *, forget: int | None = None) -> None:
        """Write a snapshot of the facts up to ``seq``, as JSON, and delete the facts up to ``forget``: those, if None.

        Raises `BackendUnavailable`.
        """
        ...

    def lost(self) -> str | None:
        """Return why the next start would not read what is written now, and what to do; None when it would."""
        ...

    def close(self) -> None:
        """Close it; harmless the second time."""
        ...


class Intake(Protocol):
    """Where sources put documents."""

    def put(self, name: str, document: Document, stored: Callable[[], None] | None = None) -> None:
        """Take a document, which nobody changes any more; from any thread, and it never blocks.

        ``stored`` is called, from a thread of the intake's own, when the document is on disk, so that a broker's offset
        can follow it; it returns at once. It is not called for a document given up at the end of the service.
        """
        ...


class DocumentSource(Protocol):
    """Where documents come from. It only puts them into the intake, in the order of their emission.

    In the thread that measures it never blocks and never raises. One that hears another machine says when that is
    away, tries again by itself, and raises nothing for it.
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
    """Who can give a run again that did not arrive whole: a catalogue that the facility writes."""

    answered: int  # the last ticket of `look_now` that was answered

    @property
    def status(self) -> SourceStatus:
        """How it is at present; answered from memory, from any thread."""
        ...

    def look_now(self) -> int:
        """Look for what is wanted at once; return a ticket, which is answered when what is there was handed over."""
        ...

    def look_for(self, runs: Collection[str], suggestions: Collection[str], *, at_once: bool = False) -> None:
        """Look for runs by uid, and for those of suggestions; put what is found into the intake. Returns at once.

        It is called again and again with what is missing still; ``at_once`` where more may have been lost just now.
        """
        ...


@dataclass(frozen=True, slots=True)
class PlanOrder:
    """One plan to run for one suggestion.

    ``run`` and ``every`` say which of the plan's runs counts, for those who do not say when it has ended: see
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

    SUCCESS = "success"  # of several runs some may have failed all the same: see `choice`
    FAIL = "fail"  # the plan raised, a device is unknown, or its one run failed
    ABORT = "abort"  # a person stopped it
    EXPIRED = "expired"  # nothing was heard any more of who measures
    REJECTED = "rejected"  # a guardrail forbade it when its turn had come

    @classmethod
    def of_run(cls, text: object) -> ExitStatus:
        """Return the one that a stop document says; what is none of the first three counts as a failure."""
        return next((status for status in (cls.SUCCESS, cls.ABORT) if status == text), cls.FAIL)


@dataclass(frozen=True, slots=True)
class PlanResult:
    """How a plan ended."""

    exit_status: ExitStatus
    reason: str = ""  # one line that says why; empty after a success
    run_uids: tuple[str, ...] = ()  # of the runs it made, in order; empty when it failed before its first one
    asked: bool = True  # False: an ``abort`` that came by itself, which counts as a failure
    begun: bool = field(default=True, compare=False)  # False: taken back before that, so it can be submitted again
    took_s: float | None = field(default=None, compare=False)  # how long a move took, without waiting; None: no move
    traceback: str | None = field(default=None, compare=False)  # of what the plan raised, where it is known


class MeasuredBy(StrEnum):
    """Who runs the plans of a sink, and so whose documents are taken for them over HTTP."""

    SERVICE = "service"  # the service itself, which hears its RunEngine: nobody posts a run of these
    CLAIMER = "claimer"  # who has claimed the suggestion, and nobody else
    FACILITY = "facility"  # a queue of the facility: whoever may post documents may post those of a plan handed over


class Devices(Protocol):
    """The devices that a sink moves, as guardrails ask them; from any thread. What it does may block for long.

    Each method raises `UnknownDevice` for a name that no actuator has, and otherwise whatever the device raises.
    """

    def check(self, name: str) -> None:
        """Raise `UnknownDevice` unless there is an actuator of that name; it asks no device anything."""
        ...

    def limits(self, name: str) -> Ends:
        """Return the lowest and the highest position that a device states, each None when it states none."""
        ...

    def position(self, name: str) -> float | None:
        """Return where a device is, in its units; NaN when it cannot be asked now, None when it has no position."""
        ...

    def units(self, name: str) -> dict[str, str]:
        """Return the units that an actuator or a sensor describes, by the keys of its documents."""
        ...

    def refusals(self, point: Point) -> dict[str, str]:
        """Return why devices refuse their position of ``point``, by name; moves nothing."""
        ...


@dataclass(frozen=True, slots=True)
class DeviceWords:
    """What the devices of a point said when it was looked at, by name."""

    limits: Mapping[str, Ends | None]  # None of one that states none
    unread: Mapping[str, str]  # why one does not say its limits
    refusals: Mapping[str, str]  # why one refuses its position


@dataclass(frozen=True, slots=True)
class SignalReading:
    """What a signal said: by itself, or when it was asked. Times are in seconds since 1970."""

    value: float | str | None  # None: it cannot be asked now
    at: float  # since when it is so, as the signal says
    arrived_at: float  # when it was heard here
    asked_at: float | None = None  # when it was asked, if it was: what it says was so after that
    units: str = ""
    fault: str = ""  # why there is no value, in one line
    watched_since: float | None = None  # since when it is watched without a break, as far as that is known
    tells_changes: bool = False  # whether it tells each change by itself, also late, beside being asked


class SignalWatch(Protocol):
    """A signal that is watched; from any thread, and nothing blocks."""

    def ask(self) -> None:
        """Ask the signal now, and not only when its time has come; the answer is a reading like any other."""
        ...

    def stop(self) -> None:
        """Watch it no more; harmless the second time."""
        ...


class Signals(Protocol):
    """The signals that conditions are about, where the devices live."""

    def check(self, name: str) -> None:
        """Raise `UnknownDevice`, naming what is near, unless there is a signal of that name."""
        ...

    def watch(
        self, name: str, on_reading: Callable[[SignalReading], None], *, since: float | None = None
    ) -> SignalWatch:
        """Call ``on_reading``, in some thread, with what a signal says by itself, and with its answers.

        It is asked about once a second. What cannot be asked is a reading too, with a fault. Where it was watched while
        the service was away, what it said after ``since``, in seconds since 1970, comes first. Never raises.
        """
        ...


class PlanSink(Protocol):
    """Where plans go. Nothing else in the service can move anything."""

    kind: str
    takes_ahead: bool  # whether an agent may hand over its next plan while one is under way, so that it begins at once
    plans_end_here: bool  # whether plans run in this process, so that its end is theirs, and waits for them a while
    reattaches: bool  # whether plans go on while the service is away, so that `reattach` finds them again
    measured_by: MeasuredBy
    moves: bool  # whether `move` moves anything; where it does not, it raises at once

    @property
    def status(self) -> QueueStatus:
        """What runs and what waits; answered from memory."""
        ...

    @property
    def devices(self) -> Devices | None:
        """What it moves; None where only whoever measures has the devices."""
        ...

    def start(self, on_change: Callable[[], None]) -> None:
        """Begin; ``on_change`` is called on the service's event loop whenever `status` changed."""
        ...

    async def stop(self, timeout_s: float) -> None:
        """End: a plan under way is stopped so that its stop document is written, then the sink takes no more."""
        ...

    def own_name(self, name: str) -> str:
        """Return what a device calls itself, where the sink knows; raises `UnknownDevice` for none or two."""
        ...

    def list_devices(self) -> list[DeviceInfo]:
        """Return the devices that an agent may name, some parts of others left out; from any thread, may block.

        Raises `BackendUnavailable` when nobody can say now.
        """
        ...

    def check(self, spec: AgentSpec) -> None:
        """Raise `UnknownPlan` or `UnknownDevice`, naming what is near, unless the sink could run ``spec``'s plans."""
        ...

    async def run(self, order: PlanOrder) -> PlanResult:
        """Queue a plan and return when it ended; a plan that waits is withdrawn when the caller is cancelled.

        Raises `QueueHeld` when the queue is held, and nothing for what the plan does: that is a `PlanResult` with
        ``fail`` or ``abort``.
        """
        ...

    async def move(self, point: Point, *, agent: str = "", despite_conditions: bool = False) -> PlanResult:
        """Queue a move of actuators to ``point`` for an agent, without a run, and return when it ended.

        It is ``rejected`` when a guardrail forbids it at its turn, or, unless ``despite_conditions``, a condition is
        not met.
        """
        ...

    async def reattach(self, orders: Sequence[PlanOrder]) -> Mapping[str, asyncio.Future[PlanResult]]:
        """Take up plans again that were in the sink when the service ended; called once, after `start`.

        ``orders`` are those of suggestions that are submitted or running, as the journal says; what the sink holds of
        this service besides, it takes back, as far as it waits. Returns, by suggestion, how its plan ended, or will:
        its future is done when that is known. Those that are missing nobody runs any more. Never raises.
        """
        ...

    def observe(self, name: str, document: Document, run: str) -> None:
        """Look at a document of any ``run``, after the dispatcher has it; on the event loop. Cheap, and never raises.

        The start document of a run that is posted comes before that too, once more.
        """
        ...

    def apply(self, fact: Event) -> None:
        """Look at a committed fact, after the supervisor has it; on the event loop. Cheap, and never raises."""
        ...

    def withdraw(self, agent: str, reason: str, *, only: str | None = None) -> bool:
        """Take back an agent's plans that wait, or the one for suggestion ``only``; return whether there was any.

        They end as ``abort``, not ``begun``. One that is under way goes on.
        """
        ...

    async def pause(self) -> None:
        """Pause: the plan under way stops at its next checkpoint, and no other begins."""
        ...

    async def resume(self) -> None:
        """Resume from paused or held."""
        ...

    async def abort(self, reason: str) -> None:
        """Abort the plan under way, if any, withdraw those that wait, and latch ``held``."""
        ...

    def latch(self, reason: str) -> None:
        """Be ``held`` from the start, as before the service ended; call it after `start`."""
        ...


@runtime_checkable
class HasEnvironment(Protocol):
    """A sink of plans that run in an environment which a person may have to end: that of a queue server's worker."""

    async def destroy_environment(self) -> None:
        """End it, when who runs plans there died; what ran has failed.

        Raises `Conflict` when that is not known, and `BackendUnavailable` when it could not be done.
        """
        ...
