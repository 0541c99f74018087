"""run_agent: the plan that measures a served agent's suggestions in your own RunEngine."""

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
"""How often `run_agent` makes a checkpoint, where the RunEngine can pause, while it waits for a suggestion."""

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
    """Measure a served agent's suggestions in this RunEngine, until the agent is stopped, failed or removed.

    A thread of the plan claims approved suggestions over HTTP. It never blocks the RunEngine, so you can pause, resume
    and abort at any time. If the agent does not run, the plan first starts or resumes it. If a suggestion's plan
    raises, the suggestion fails and the next one is measured, up to the agent's ``loop.max_failures``. If this plan
    ends early, its claim fails, which does not count towards that.

    Parameters
    ----------
    name
        The agent's name. None: measure suggestions of any agent that moves only these devices, until the plan is
        aborted, and start no agent. So a runner of a beamline measures what is for that beamline.
    devices
        The devices that it moves and reads. Their names are the agent's actuators and sensors.
    tag
        Measure only suggestions of agents with this tag, as the name of a beamline.
    lease_s
        After how many seconds without a sign of life from this process the service gives a suggestion up.
    client_or_url
        The service; by default the one that this process opened last, else AGENT_SERVICE_URL.
    plan
        Called for each suggestion with ``(suggestions, actuators, sensors, md=...)``; by default the agent's own.

    Returns
    -------
    tuple of str
        The runs' uids, as far as the plan returns them.

    Raises
    ------
    UnknownDevice
        The agent needs a device that is not in ``devices``.
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
    """Measure claimed suggestions until there are no more, and append the uids of their runs."""
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
    """Return a function that says why devices cannot go to a claim's point; call this on the RunEngine's loop.

    The service asked the devices that it knows. These are asked here, in a thread, for they may do I/O. A device that
    does not answer in time refuses nothing.
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
    """Measure one suggestion, tell the claimer how it ended, and return the uids of its runs."""
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
