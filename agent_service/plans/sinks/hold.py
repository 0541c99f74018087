"""Whether plans may begin, as people want it: paused, held after an abort, or neither; and whether the service ends."""

from __future__ import annotations

from agent_service.errors import QueueHeld
from agent_service.models import QueueState
from agent_service.protocols import SERVICE_STOPS


class Hold:
    """What keeps the plans of a sink from beginning, whatever the facility says.

    Attributes
    ----------
    held, paused
        Why nothing begins until somebody resumes; None: that is not so.
    closing
        Whether the service ends, so that nothing begins any more.
    """

    def __init__(self) -> None:
        self.held: str | None = None
        self.paused: str | None = None
        self.closing = False

    @property
    def why(self) -> str | None:
        """Why nothing may begin; None when plans may."""
        return SERVICE_STOPS if self.closing else self.held or self.paused

    @property
    def state(self) -> tuple[QueueState, str] | None:
        """The state of the queue that people brought it to, and why; None when it is the plans that say it."""
        if self.held is not None:
            return QueueState.HELD, self.held
        return None if self.paused is None else (QueueState.PAUSED, self.paused)

    def pause(self, reason: str = "paused by request") -> None:
        """Let nothing more begin; a queue that is held stays that."""
        if self.held is None:
            self.paused = reason

    def resume(self) -> None:
        """Let plans begin again, from paused and from held."""
        self.paused = self.held = None

    def latch(self, reason: str) -> None:
        """Hold the queue."""
        self.held, self.paused = reason, None

    def refuse_held(self) -> None:
        """Raise `QueueHeld` while the queue is held."""
        if self.held is not None:
            raise QueueHeld(f"the plan queue is held: {self.held}; resume the queue first", legal=["resume"])
