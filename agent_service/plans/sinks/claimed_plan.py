"""A plan that waits for a claim or is claimed: its lease, and its runs as their documents tell of them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from agent_service.documents.choice import can_tell
from agent_service.protocols import ExitStatus, PlanResult

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent_service.protocols import Document, PlanOrder

DEFAULT_LEASE_S: Final = 60.0


class Lease:
    """For how long a plan is somebody's, unless that is renewed. Belongs to the event loop.

    Parameters
    ----------
    on_end
        Called when it runs out.

    Attributes
    ----------
    held
        Whether somebody holds it.
    by
        Name of the key that does.
    duration_s
        How long it lasts without a renewal or a document, in seconds.
    """

    def __init__(self, on_end: Callable[[], None]) -> None:
        self.held = False
        self.by = ""
        self.duration_s = DEFAULT_LEASE_S
        self._on_end = on_end
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, duration_s: float | None = None) -> None:
        """Begin it anew, as long as before or ``duration_s`` seconds."""
        self.end()
        self.held, self.duration_s = True, duration_s or self.duration_s
        self.extend()
        self._timer = asyncio.get_running_loop().call_at(self._deadline, self._look)

    def extend(self) -> None:
        """Begin it anew for a document: there are many, so the timer stays and looks again when it is due."""
        self._deadline = asyncio.get_running_loop().time() + self.duration_s

    def end(self) -> None:
        """Let nobody hold it any more."""
        self.held = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        clock = asyncio.get_running_loop()
        if self._deadline > clock.time():
            self._timer = clock.call_at(self._deadline, self._look)
        else:
            self._on_end()


@dataclass(slots=True)
class PlanRuns:
    """The runs that a plan made so far, and whether there are more to come.

    Parameters
    ----------
    order
        The plan.
    says_done
        Whether who measures will say when the plan has ended; else its stop documents tell, as far as they can.
    made
        How many runs it made in all, once who measures has said so.
    starts, stops
        Documents by the uid of the run, in the order of their beginnings.
    """

    order: PlanOrder
    says_done: bool = False
    made: int | None = None
    starts: dict[str, Document] = field(default_factory=dict[str, "Document"])
    stops: dict[str, Document] = field(default_factory=dict[str, "Document"])

    @property
    def uids(self) -> tuple[str, ...]:
        """Their uids, in the order of their beginnings."""
        return tuple(self.starts)

    @property
    def all_stopped(self) -> bool:
        """Whether there are runs, and each has its stop document."""
        return len(self.stops) == len(self.starts) > 0

    def add(self, name: str, document: Document, run: str) -> None:
        """Take a document of one of them."""
        if name == "start":
            self.starts[run] = document
        elif name == "stop":
            self.stops[run] = document

    def result(self) -> PlanResult | None:
        """Return how the plan ended, None while it goes on, as far as anybody can tell."""
        if not self.all_stopped:
            return None
        if self.made is not None:
            ended = len(self.starts) >= self.made
        else:
            ended = not self.says_done and can_tell(self.order.run, every=self.order.every, starts=self.starts.values())
        if not ended:
            return None
        status, reason = ExitStatus.SUCCESS, ""
        if len(self.stops) == 1:  # which of several counts, the failed one or another, is not ours to say
            [stop] = self.stops.values()
            status, reason = ExitStatus.of_run(stop.get("exit_status")), str(stop.get("reason") or "")
            if status is not ExitStatus.SUCCESS:
                reason = reason or f"the run ended with exit_status {stop.get('exit_status')}"
        return PlanResult(status, reason, self.uids)


class ClaimedPlan:
    """A plan from its order to its end.

    Parameters
    ----------
    order
        The plan.
    on_lease_end
        Called with this plan when its lease runs out.

    Attributes
    ----------
    taken_up
        Whether it was claimed from an earlier life of the service, which may have heard runs of it.
    """

    def __init__(self, order: PlanOrder, on_lease_end: Callable[[ClaimedPlan], None]) -> None:
        self.order = order
        self.taken_up = False
        self.ended: asyncio.Future[PlanResult] = asyncio.get_running_loop().create_future()
        self.lease = Lease(lambda: on_lease_end(self))
        self.runs = PlanRuns(order)

    @property
    def claimed(self) -> bool:
        """Whether somebody holds a claim on it, and nobody has given it up."""
        return self.lease.held and not self.ended.done()
