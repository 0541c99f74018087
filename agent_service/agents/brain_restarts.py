"""Restarts of a brain after a fault: whether, when, how often in a row. After the service itself: `recovery`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple
from weakref import WeakSet

from agent_service.errors import AgentFault, CallCancelled, DeadlineExceeded, ServiceError, texts
from agent_service.models import RestartAs
from agent_service.models.state_machines import AgentState

if TYPE_CHECKING:
    from agent_service.agents.record.agent import AgentRecord

LONGEST_PAUSE_S: Final = 60.0
"""Longest wait before a restart; each wait in a row is twice as long as the one before."""

_HEALED_BY_A_RESTART: Final = (AgentFault, DeadlineExceeded, CallCancelled)


class Restart(NamedTuple):
    """A restart that is due."""

    pause_s: float
    sentence: str
    counts: bool = True  # towards the limit: not when it was no fault of the agent


class RestartPolicy:
    """Counts the restarts of one agent; belongs to the event loop.

    Examples
    --------
    >>> RestartPolicy().in_row
    0
    """

    def __init__(self) -> None:
        self.in_row = 0
        self._moves_in_row = 0  # where it lived was lost
        self._attended = False
        self._to_be: RestartAs | None = None
        self._survived: WeakSet[ServiceError] = WeakSet()

    def begin(self, to_be: RestartAs, *, attended: bool) -> None:
        """Begin to count anew, with a start."""
        self.in_row = 0
        self._to_be = to_be
        self._attended = attended

    def as_before(self, record: AgentRecord) -> RestartAs:
        """Return what the agent is to be after a restart: what it is, or was about to be."""
        if record.restart_as is not None:
            return record.restart_as
        if record.state is AgentState.STARTING and self._to_be is not None:
            return self._to_be
        return RestartAs(state=record.state, reason=record.reason, held=record.held)

    def next(self, record: AgentRecord, error: ServiceError) -> Restart | None:
        """Return the restart that follows a fault, None when the agent is to fail.

        One whose brain could not be built when a person started it fails at once: the person is there. One whose
        process was lost meanwhile comes back, for that was not the brain. One that lived on a machine of others that is
        gone comes back whatever `AgentSpec.on_fault` and ``restarts.limit`` say: it did nothing wrong.
        """
        spec = record.spec
        started = record.state is not AgentState.STARTING or record.restart_as is not None
        died = isinstance(error, AgentFault) and error.died
        if isinstance(error, AgentFault) and error.place_lost:
            pause_s = min(spec.restarts.pause * 2 ** min(self._moves_in_row, 6), LONGEST_PAUSE_S)
            return Restart(pause_s, f"(elsewhere), in {pause_s:g} s", counts=False)
        if spec.on_fault == "fail" or not isinstance(error, _HEALED_BY_A_RESTART):
            return None
        if self._attended and not started and not died:
            return None
        if self.in_row >= spec.restarts.limit:
            return None
        pause_s = min(spec.restarts.pause * 2**self.in_row, LONGEST_PAUSE_S)
        return Restart(pause_s, f"({self.in_row + 1} of {spec.restarts.limit}), in {pause_s:g} s")

    def began(self, restart: Restart) -> None:
        """Count a restart, now that it is a fact that it is due."""
        self.in_row += restart.counts
        self._moves_in_row += not restart.counts

    def in_vain(self) -> str:
        """Return what to add to the reason of an agent that fails in spite of its restarts; nothing without any."""
        return "" if not self.in_row else f"; restarted {texts.counted(self.in_row, 'time')} in a row, and not again"

    def succeeded(self) -> None:
        """Begin to count anew: the brain works."""
        self.in_row = self._moves_in_row = 0

    def survive(self, error: ServiceError) -> None:
        """Note that a restart follows this error, so that it is nobody's end."""
        self._survived.add(error)

    def survived(self, error: BaseException) -> bool:
        """Return whether a restart follows this error."""
        return isinstance(error, ServiceError) and error in self._survived
