"""Waiting for an agent, for both clients."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from agent_service.errors import DeadlineExceeded, InvalidInput
from agent_service.models.state_machines import AgentState

if TYPE_CHECKING:
    from agent_service.errors import BackendUnavailable
    from agent_service.models import AgentStatus

LOOK_EVERY_S: Final = 0.1
"""How often a client that waits asks for the status, in seconds."""

AT_REST: Final = (AgentState.STOPPED, AgentState.FAILED)


class Wait:
    """A wait for one of ``states``, by default `AT_REST`; after ``within_s`` seconds it raises."""

    def __init__(self, states: tuple[AgentState | str, ...], within_s: float | None) -> None:
        try:
            self._states = frozenset(AgentState(state) for state in states or AT_REST)
        except ValueError as error:
            raise InvalidInput(f"{error}; the states are {', '.join(AgentState)}") from None
        self._within_s = within_s
        self._began_s = time.monotonic()

    def bear(self, error: BackendUnavailable) -> None:
        """Raise an error, unless another service may take over and there is time left."""
        late = self._within_s is not None and time.monotonic() - self._began_s > self._within_s
        if late or error.__cause__ is not None:  # nobody answers at all
            raise error

    def over(self, status: AgentStatus) -> bool:
        """Return whether the agent has reached one of the states; raise `DeadlineExceeded` when the time is over."""
        if status.state in self._states:
            return True
        if self._within_s is not None and time.monotonic() - self._began_s > self._within_s:
            wanted = " or ".join(sorted(self._states))
            raise DeadlineExceeded(
                f"agent {status.name!r} is {status.state.value} and was not {wanted} within {self._within_s:g} s; wait "
                "longer, or see its history for what keeps it"
            )
        return False
