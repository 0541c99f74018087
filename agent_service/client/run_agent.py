"""run_agent: the plan that measures what a served agent suggests, in somebody's own RunEngine."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any, Final

import bluesky.plan_stubs as bps
from bluesky.preprocessors import msg_mutator
from bluesky.utils import RunEngineControlException

from agent_service.client import Client
from agent_service.client.aborted_run import without_frames
from agent_service.client.claimer import LEASE_S, Claimer
from agent_service.client.local_services import services
from agent_service.errors import texts
from agent_service.models import ID_KEY
from agent_service.plans import device_settings
from agent_service.plans.namespace import Namespace

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from agent_service.models import Claim


_log = logging.getLogger(__name__)

CHECKPOINT_EVERY_S: Final = 0.1
"""How often `run_agent` is at a checkpoint while it waits for a suggestion; the RunEngine can pause there."""

ANSWERS_WITHIN_S: Final = 2.0
"""How long devices may take to say whether they can go to a point."""


def run_agent(  # noqa: PLR0913 - what a session says, by name
    name: str | None = None,
    *,
    devices: Sequence[Any],
    tag: str | None = None,
    lease_s: float = LEASE_S,
    client_or_url: Client | str | None = None,
    plan: Callable[..., Generator[Any, Any, Any]] | None = None,
) -> Generator[Any, Any, tuple[str, ...]]:
    """Measure what a served agent suggests, in this RunEngine, until the agent is stopped, failed or removed.

    Approved suggestions are claimed over HTTP by a thread of the plan's own: the RunEngine is never blocked, so it can
    be paused, resumed and aborted at any time. An agent that does not run is started, or resumed, first. A suggestion
    whose plan raises is failed and the next one measured, until the agent has had enough of it (``loop.max_failures``).
    What is claimed when the plan ends early is failed, and does not count towards that.

    Parameters
    ----------
    name
        The agent's name. None: suggestions of any agent that moves none but these devices are measured, until the plan
        is aborted; no agent is started. So a runner of a beamline measures what is for that beamline.
    devices
        The devices it moves and reads, whose names are the agent's actuators and sensors.
    tag
        Only suggestions of agents with this tag are measured, as the name of a beamline.
    lease_s
        After how many seconds without a sign of life of this process the service gives a suggestion up.
    client_or_url
        The service; by default the one that this process opened last, else that of AGENT_SERVICE_URL.
    plan
        Called for each suggestion with ``(suggestions, actuators, sensors, md=...)``; by default the agent's own.

    Returns
    -------
    tuple of str
        The runs' uids, as far as the plan tells them.

    Raises
    ------
    UnknownDevice
        The agent needs a device that is not there.
    NotFound, BackendUnavailable
        There is no such agent, or the service does not answer for half a minute.

    Examples
    --------
    ::

        service = agent_service.serve(agents={"aligner": agent}, RE=RE)
        RE(run_agent("aligner", devices=[mirror_x, mirror_y, flux]))
    """
    without_frames()
    by_name = {device.name: device for device in devices}
    client, owned = (client_or_url, False) if isinstance(client_or_url, Client) else (_client(client_or_url), True)
    claimer = Claimer(client, name, devices=by_name, tag=tag, lease_s=lease_s, owned=owned)
    uids: list[str] = []
    yield from measure_claims(claimer, by_name, plan, uids)
    return tuple(uids)


def measure_claims(
    claimer: Claimer, devices: Mapping[str, Any], plan: Callable[..., Any] | None, uids: list[str]
) -> Generator[Any, Any, None]:
    """Measure what is claimed until there is no more, and append the uids of its runs."""
    claimer.start(_asking(devices))
    try:
        while True:
            while claimer.waiting:
                yield from bps.checkpoint()
                yield from bps.wait_for([lambda: claimer.news(CHECKPOINT_EVERY_S)])
            claim = claimer.take()
            if claim is None:
                return
            uids += yield from _measured(claim, devices, plan, claimer)
    finally:
        claimer.end()


def _client(url: str | None) -> Client:
    here = [service for service in services() if url in (None, service.url)]
    return Client(here[-1].url, api_key=here[-1].api_key) if here else Client(url)


def _asking(devices: Mapping[str, Any]) -> Callable[[Claim], str]:
    """Return what says why devices cannot go to the point of a claim; call this on the loop of the RunEngine.

    The service asked those that it knows; these are asked where they are, in a thread, for they may do I/O. Those that
    do not answer in time refuse nothing.
    """
    loop = asyncio.get_running_loop()
    await_ = device_settings.awaiting(
        lambda answer, within_s: asyncio.run_coroutine_threadsafe(answer, loop).result(within_s), ANSWERS_WITHIN_S
    )

    def refuses(claim: Claim) -> str:
        reasons: list[str] = []
        named = {name: devices[name] for name in claim.actuators}
        asking = threading.Thread(
            target=lambda: reasons.append(device_settings.why_not(named, claim.point, await_)),
            name="asking devices",
            daemon=True,
        )
        asking.start()
        asking.join(ANSWERS_WITHIN_S)
        return reasons[0] if reasons else ""

    return refuses


def _measured(
    claim: Claim, devices: Mapping[str, Any], plan: Callable[..., Any] | None, claimer: Claimer
) -> Generator[Any, Any, tuple[str, ...]]:
    """Measure one suggestion, tell the claimer how that ended, and return the uids of its runs."""
    opened = 0

    def identified(message: Any) -> Any:
        nonlocal opened
        if message.command != "open_run":
            return message
        opened += 1  # each of its start documents carries the suggestion's id, also when the plan forgets its md
        return message._replace(kwargs={**message.kwargs, **claim.md})

    actuators, sensors = ([devices[name] for name in names] for names in (claim.actuators, claim.sensors))
    try:
        called = plan or Namespace({}, source="run_agent").plan(claim.plan or "acquire")
        messages = called([{**claim.point, ID_KEY: claim.id}], actuators, sensors, md=dict(claim.md))
        result = yield from msg_mutator(messages, identified)
    except (RunEngineControlException, GeneratorExit):
        claimer.release("abort", "aborted in the RunEngine that measured it")
        raise
    except Exception as error:  # noqa: BLE001 - whatever a plan raises fails its suggestion; the agent counts these
        reason = f"{type(error).__name__}: {texts.one_line(str(error), most=500)}"
        _log.warning("the plan of suggestion %s of agent %s raised %s", claim.id, claim.agent, reason)
        claimer.release("fail", reason)
        return ()
    if opened:
        claimer.done(opened)
    else:
        claimer.release("fail", "the plan made no run")
    return tuple(uid for uid in result if isinstance(uid, str)) if isinstance(result, tuple | list) else ()
