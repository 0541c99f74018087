"""Seams of plans: a plan's order and result, and what a sink must do."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping, Sequence

    from agent_service.models import AgentSpec, DeviceInfo, Event, Point, QueueStatus, RunRule
    from agent_service.protocols.devices import Devices
    from agent_service.protocols.documents import Document

SERVICE_STOPS: Final = "the service stops"
"""The reason, in a run's stop document, of an abort by the service's own end."""

MOVE: Final = "move_to"
"""Name of the plan of a move without a run, as go-to-best makes it, for ``guardrails.plans``."""


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
