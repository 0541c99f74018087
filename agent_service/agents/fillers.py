"""Filler points: cheap ones, measured while the brain of an agent is not ready, so that the beam is not idle."""

from __future__ import annotations

import asyncio
import contextlib
import math
import zlib
from typing import TYPE_CHECKING, Any, Final, cast

from agent_service import references
from agent_service.agents.record.suggestions import FILLER
from agent_service.agents.sent_points import fitting
from agent_service.errors import InvalidPoint, ServiceError
from agent_service.models.spaces import fitted
from agent_service.models.state_machines import AgentState, SuggestionState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from scipy.stats import qmc

    from agent_service.agents.agent import HostedAgent
    from agent_service.models import AgentSpec, Point, Suggestion

SOBOL: Final = "sobol"
"""What ``loop.filler`` says for a Sobol sequence over where the agent searches; anything else is another agent."""

_MAX_TRIES: Final = 32
"""Points that the guardrails may forbid in a row before there is no filler point."""


class Fillers:
    """Finds the filler points of one agent; belongs to the event loop.

    Parameters
    ----------
    find
        Returns the agent of a name, or raises `NotFound`.
    """

    def __init__(self, agent: HostedAgent, *, find: Callable[[str], HostedAgent]) -> None:
        self._agent = agent
        self._find = find
        self._sequence: qmc.Sobol | None = None

    async def next(self) -> Point | None:
        """Return a point that the guardrails allow; None when there is none, which is logged once and noted."""
        source = self._agent.spec.loop.filler
        try:
            point = await self._sobol() if source == SOBOL else await self._of(str(source))
        except _NoFillerError as error:
            self._say(f"no filler point is measured: {error}")
            return None
        self._agent.no_filler = None
        return point

    def _say(self, line: str) -> None:
        if line != self._agent.no_filler:
            self._agent.no_filler = line
            self._agent.log(line, level="warning")

    async def _sobol(self) -> Point:
        ends = region(self._agent)
        if self._sequence is None or self._sequence.d != len(ends):
            self._sequence = await asyncio.to_thread(self._begin_sequence, len(ends))
        why = ""
        for _ in range(_MAX_TRIES):
            (row,) = self._sequence.random(1)
            at = _point_at(self._agent.spec, ends, row)
            if not (why := self._agent.guardrails.why_not(at)):
                return at
        raise _NoFillerError(f"{_MAX_TRIES} in a row are forbidden; the last: {why}")

    def _begin_sequence(self, dimensions: int) -> qmc.Sobol:
        """Return the agent's sequence, the same after a restart, where it was; the import takes a second."""
        sequence: qmc.Sobol = references.module("scipy.stats.qmc").Sobol(
            dimensions, rng=zlib.crc32(self._agent.name.encode())
        )
        if so_far := self._agent.record.fillers:
            sequence.fast_forward(so_far)
        return sequence

    async def _of(self, name: str) -> Point:
        """Take a point of another agent's; it is told that this agent has it."""
        try:
            other = self._find(name)
            if missing := set(self._agent.spec.actuators) ^ set(other.spec.actuators):
                listed = ", ".join(sorted(missing))
                raise _NoFillerError(f"agent {name!r} has other actuators; the difference is {listed}")
            batch = await other.suggest(1, by=FILLER)
            if not batch:
                raise _NoFillerError(f"agent {name!r} has nothing to suggest")
            taken = batch[0]
            if self._agent.record.state is not AgentState.RUNNING:
                await _close(
                    other, taken, f"agent {self._agent.name!r} does not measure it: it is not running any more"
                )
                raise _NoFillerError("the agent is not running any more")
            try:
                point = fitting(taken.point, self._agent.spec)
                why = self._agent.guardrails.why_not(point)
            except InvalidPoint as error:
                point, why = taken.point, error.detail
            if why:
                await _close(other, taken, f"agent {self._agent.name!r} may not measure it: {why}")
                raise _NoFillerError(why)
            await _close(other, taken, f"given to agent {self._agent.name!r}, as a filler point")
        except ServiceError as error:
            raise _NoFillerError(error.detail) from error
        return point


async def _close(agent: HostedAgent, taken: Suggestion, reason: str) -> None:
    await agent.fail_suggestion(taken, SuggestionState.REJECTED, reason, fault=False)


def region(agent: HostedAgent) -> dict[str, tuple[float, float]]:
    """Return where an agent searches, by actuator: what config and space bound, within what the limits allow.

    Of an actuator whose dimension is no range, it is which of the values, counted from 0.
    """
    limits = agent.guardrails.limits
    words = {word: name for name, word in agent.spec.names.items()}
    own = {words.get(written, written): pair for written, pair in _bounds_of(agent.spec.config).items()}
    ends: dict[str, tuple[float, float]] = {}
    for name in agent.spec.actuators:
        dimension = agent.spec.space.get(name)
        if dimension is not None and (among := dimension.size) is not None:
            ends[name] = 0, among
            continue
        pairs = [pair for pair in (own.get(name), limits.get(name), dimension and dimension.ends) if pair is not None]
        low = max((-math.inf if pair[0] is None else pair[0] for pair in pairs), default=-math.inf)
        high = min((math.inf if pair[1] is None else pair[1] for pair in pairs), default=math.inf)
        if not (math.isfinite(low) and math.isfinite(high)):
            raise _NoFillerError(f"{name} has no lowest and highest position; set guardrails.bounds for it")
        if low > high:
            raise _NoFillerError(f"the agent searches {name} where the guardrails do not allow it")
        ends[name] = low, high
    return ends


def _point_at(spec: AgentSpec, ends: Mapping[str, tuple[float, float]], row: Iterable[float]) -> Point:
    """Return the point at a place in the unit cube, as the agent's space has it."""
    raw: Point = {}
    for (name, (low, high)), u in zip(ends.items(), row, strict=True):
        dimension = spec.space.get(name)
        if dimension is None or dimension.type == "float":
            raw[name] = low + float(u) * (high - low)
        elif dimension.size is None:
            raw[name] = min(math.floor(high), math.ceil(low) + math.floor(u * (math.floor(high) - math.ceil(low) + 1)))
        else:
            raw[name] = dimension.nth(math.floor(u * high))
    return fitted(raw, spec.actuators, spec.space, measured=True)[0]


def _bounds_of(config: Mapping[str, Any]) -> Mapping[str, tuple[float, float]]:
    """Return what ``bounds`` in a configuration says, where it says it as pairs of numbers."""
    bounds = config.get("bounds")
    if not isinstance(bounds, dict):
        return {}
    ends: dict[str, tuple[float, float]] = {}
    for name, pair in cast("dict[str, Any]", bounds).items():
        with contextlib.suppress(TypeError, ValueError):  # another shape: it says nothing here
            low, high = pair
            ends[name] = float(low), float(high)
    return ends


class _NoFillerError(Exception):
    """There is no filler point; the message says why."""
