"""run_session: the plan with which one item of a queue server measures many suggestions of one agent.

A profile imports it with ``from agent_service.client.session import run_session``. The worker's environment holds the
service, ``AGENT_SERVICE_URL``, and the key, ``AGENT_SERVICE_API_KEY``: everybody can read an item.
"""

# Types stand for themselves here, not as texts: a queue server makes a schema of them.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
import logging
from collections.abc import Callable, Generator
from typing import Any

from bluesky.protocols import Movable, Readable

from agent_service.client import Client
from agent_service.client.claimer import Claimer
from agent_service.client.run_agent import measure_claims
from agent_service.errors import BackendUnavailable, DeadlineExceeded

_log = logging.getLogger(__name__)


def run_session(  # noqa: PLR0913, PLR0917 - the arguments of its item
    agent: str,
    plan: Callable[..., Any],
    actuators: list[Movable[Any]],
    sensors: list[Readable[Any]] = [],  # noqa: B006 - a queue server takes no None for a list of devices
    idle_s: float = 2.0,
    session: str = "",
) -> Generator[Any, Any, tuple[str, ...]]:
    """Measure an agent's suggestions until none came for a while, or the service ends the session.

    It also ends if the service does not answer for half a minute; that is a failure only if nothing was measured.

    Parameters
    ----------
    agent
        The agent's name.
    plan
        Called for each suggestion with ``(suggestions, actuators, sensors, md=...)``.
    actuators, sensors
        The devices that it moves and reads.
    idle_s
        How long to wait for a suggestion, in seconds; 30 at most.
    session
        The id that the service gave this session: it may not claim without it.

    Returns
    -------
    tuple of str
        The runs' uids, as far as the plan returns them.
    """
    given: list[Any] = [*actuators, *sensors]
    devices = {device.name: device for device in given}
    client = Client()
    claimer = Claimer(client, agent, devices=devices, owned=True, session=session, idle_s=idle_s)
    uids: list[str] = []
    try:
        yield from measure_claims(claimer, devices, plan, uids)
    except (BackendUnavailable, DeadlineExceeded) as error:
        if not uids:
            raise type(error)(
                f"this worker did not reach the service at {client.url}, which it knows by AGENT_SERVICE_URL in the "
                f"worker's environment: {error.detail}"
            ) from error
        _log.warning("the session of agent %s ends: %s", agent, error)
    return tuple(uids)
