"""How much of the time an agent ran its plans did, and how long its brain thought."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from agent_service.models.state_machines import AgentState

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

_REST = frozenset({AgentState.CREATED, AgentState.STOPPED, AgentState.FAILED})


class BeamTime:
    """Times of one agent since its last start, or the service's; belongs to the event loop.

    The agent runs while its state is ``running``, or a plan of its is under way.
    """

    def __init__(self) -> None:
        self._state = AgentState.CREATED
        self._begins_anew = False
        self._looked_at = 0.0
        self._ran_s = 0.0  # the agent
        self._measured_s = 0.0  # its plans
        self._under_way: Callable[[], tuple[float, float]] | None = None
        self._thought_s = 0.0  # its brain
        self._thinking_since: float | None = None

    def follow(self, state: AgentState) -> None:
        """Take the agent's state, each time that it changes."""
        self._count()
        self._state = state
        if state in _REST:
            self._begins_anew = True
        elif state is AgentState.STARTING and self._begins_anew:
            self._ran_s = self._measured_s = self._thought_s = 0.0
            self._begins_anew = False

    def plan_began(self, span: Callable[[], tuple[float, float]]) -> None:
        """Count a plan from now on; ``span`` returns since when, and until when, in seconds since 1970."""
        self._count()
        self._under_way = span

    def plan_ended(self, spans: Sequence[tuple[float, float]] = ()) -> None:
        """Count the plan under way no more, but its runs: ``spans`` as their documents say, or what it said itself."""
        self._count()
        if self._under_way is not None:
            self._measured_s += sum(end - start for start, end in spans or [self._under_way()])
        self._under_way = None

    @contextlib.contextmanager
    def thinking(self) -> Generator[None, None, None]:
        """Count the time in this block as the brain's."""
        self._thinking_since = time.monotonic()
        try:
            yield
        finally:
            self._thought_s, self._thinking_since = self.think_s, None

    @property
    def think_s(self) -> float:
        """How long the brain thought, in seconds, the call under way included."""
        since = self._thinking_since
        return self._thought_s + (0.0 if since is None else time.monotonic() - since)

    @property
    def idle(self) -> float | None:
        """The share of the time that the agent ran in which none of its plans did, 0 to 1; None: it has not run."""
        self._count()
        if not self._ran_s:
            return None
        measured_s = self._measured_s
        if self._under_way is not None:
            start, now = self._under_way()
            measured_s += now - start
        return min(1.0, max(0.0, 1.0 - measured_s / self._ran_s))

    def _count(self) -> None:
        now = time.monotonic()
        if self._state is AgentState.RUNNING or self._under_way is not None:
            self._ran_s += now - self._looked_at
        self._looked_at = now
