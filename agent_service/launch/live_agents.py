"""Hosting what somebody has in Python: from an object to an agent of a running service, over its HTTP API.

What cannot travel by HTTP (a brain, its class, a function) is registered as a live object, and its reference travels.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, cast

from pydantic import ValidationError
from pydantic_core import to_jsonable_python

from agent_service import references
from agent_service.brains import live_objects
from agent_service.brains.adapter import missing_methods
from agent_service.errors import Conflict, InvalidInput, NotFound
from agent_service.models import ID_KEY, MAX_POINTS, AgentSpec, AgentStatus, EventKind
from agent_service.models.own_names import for_brain, renamed
from agent_service.models.states import AgentState, Command, legal_commands
from agent_service.models.validation_messages import sentence, validation_errors

if TYPE_CHECKING:
    from agent_service.client import Client

RETIRES_WITHIN_S: Final = 60.0
"""How long the run under way of an agent that is replaced may take."""

_POLL_S: Final = 0.05
_LIVE_FIELDS: Final = ("type", "evaluate", "plan")
_CHANGED_BY_PATCH: Final = ("config", "loop", "guardrails")


@dataclass(frozen=True, slots=True)
class _Told:
    """An outcome that an earlier agent of the name had, and where it came from."""

    point: dict[str, Any]
    run_uid: str | None
    counts: bool
    known: bool = False


@dataclass(frozen=True, slots=True)
class HostResult:
    """What became of an object that was to be hosted.

    Parameters
    ----------
    status
        The agent.
    replaced
        Whether there was an agent of that name, which it replaces.
    ingested
        How many outcomes of that one it was told.
    stayed
        Whether the agent of that name stayed, with all it knows.
    differs
        Fields in which it differs from what was asked for, when it stayed.
    """

    status: AgentStatus
    replaced: bool = False
    ingested: int = 0
    stayed: bool = False
    differs: tuple[str, ...] = ()


class LiveAgents:
    """Hosts objects of this process as agents of a service of this process. Used from one thread at a time.

    Parameters
    ----------
    client
        A client of the service.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._references: dict[str, list[str]] = {}

    def host(  # noqa: PLR0913 - each is a choice of the user's
        self, name: str, thing: object, *, start: bool, fresh: bool, fields: Mapping[str, Any], stays: bool = False
    ) -> HostResult:
        """Create an agent, in the place of one of that name if there is one.

        Parameters
        ----------
        name
            The agent's name.
        thing
            A brain, its class or factory, the name of a type, an `AgentSpec`, or a mapping of its fields.
        start
            Whether to start it. One that was told outcomes and is not to be started is ``paused``.
        fresh
            Whether it begins from nothing, rather than with the outcomes that the agent it replaces had measured.
        stays
            Whether an agent of that name that is the same but for its live objects stays, with all it knows, and goes
            on as it was when the service ended: for a process that serves a notebook for weeks.
        fields
            Fields of `AgentSpec`. ``evaluate`` and ``plan`` may be functions; ``actuators`` and ``sensors`` devices.

        Raises
        ------
        InvalidInput
            Something is wrong with it; the agent that it was to replace is untouched then.
        Conflict
            The run under way of the agent to replace does not end.
        AgentFault
            The brain could not be built; the agent is ``failed``.
        """
        made: list[str] = []
        try:
            spec = _spec(name, _fields(thing, fields), made)
            if stays and not fresh and (there := self._same(spec)):
                self._references[name] = _take_over(spec, there.spec)
                return self._go_on(spec, there, start=start)
            self._client.check(spec)
            points = self._retire(spec, fresh=fresh)
            if points is not None and self._knows(name, thing) and not fresh:
                points = [replace(one, known=True) for one in points]
            else:
                live_objects.begin_again(spec.type)
            status = self._client.create(spec)
        except BaseException:
            for one in made:
                references.forget(one)
            raise
        self.forget(name)
        self._references[name] = made
        return self._begin(status, points, start=start)

    def _knows(self, name: str, thing: object) -> bool:
        """Return whether a brain was told already what the agent of that name was told: it is that agent's own."""
        return any(live_objects.knows(reference, _brain(thing)) for reference in self._references.get(name, ()))

    def forget(self, *names: str) -> None:
        """Forget the live objects of agents, or of all that were hosted."""
        for name in names or tuple(self._references):
            for one in self._references.pop(name, ()):
                references.forget(one)

    def _same(self, spec: AgentSpec) -> AgentStatus | None:
        """Return the agent of that name if only its live objects, or what a PATCH changes, are not the same."""
        try:
            there = self._client.agent(spec.name)
        except NotFound:
            return None
        masked: dict[str, Any] = dict.fromkeys(_CHANGED_BY_PATCH)
        for key in _LIVE_FIELDS:
            ours, theirs = getattr(spec, key), getattr(there.spec, key)
            if references.is_live(ours) and references.is_live(theirs):
                masked[key] = None
        # as they were written
        same = for_brain(spec).model_copy(update=masked) == for_brain(there.spec).model_copy(update=masked)
        return there if same else None

    def _go_on(self, spec: AgentSpec, there: AgentStatus, *, start: bool) -> HostResult:
        """Let an agent go on as it was when the service ended; its live objects are here again."""
        was = self._was(spec.name) if there.state is AgentState.FAILED else None
        if was is not None:
            self._client.start(spec.name, paused=was is AgentState.PAUSED)
        elif start and there.state is AgentState.CREATED:
            self._client.start(spec.name)
        differs = tuple(key for key in _CHANGED_BY_PATCH if getattr(spec, key) != getattr(there.spec, key))
        return HostResult(self._client.agent(spec.name), stayed=True, differs=differs)

    def _was(self, name: str) -> AgentState | None:
        """Return what an agent was when the service ended, if it has not been alive since."""
        for event in self._client.history(name, newest_first=True):
            if event.kind is EventKind.AGENT_STATE:
                if "was" in event.data:
                    return AgentState(event.data["was"])
                if event.data["state"] in (AgentState.RUNNING, AgentState.PAUSED, AgentState.CREATED):
                    return None
        return None

    def _begin(self, status: AgentStatus, earlier: list[_Told] | None, *, start: bool) -> HostResult:
        replaced, told, name = earlier is not None, earlier or [], status.name
        if told:  # before it suggests anything
            self._client.start(name, paused=True)
            for first in range(0, len(told), MAX_POINTS):
                some = told[first : first + MAX_POINTS]
                origins = [{"run_uid": one.run_uid, "counts": one.counts, "known": one.known} for one in some]
                self._client.ingest(name, [one.point for one in some], retold=origins)
        if start:
            status = self._client.resume(name) if told else self._client.start(name)
        return HostResult(self._client.agent(name), replaced=replaced, ingested=len(told))

    def _retire(self, spec: AgentSpec, *, fresh: bool) -> list[_Told] | None:
        """Stop and remove the agent of that name; return what it had measured, None when there is none."""
        try:
            status = self._client.agent(spec.name)
        except NotFound:
            return None
        if Command.STOP in legal_commands(status.state):
            status = self._client.stop(spec.name)
        deadline = time.monotonic() + RETIRES_WITHIN_S
        while status.state is AgentState.STOPPING:
            if time.monotonic() > deadline:
                raise Conflict(
                    f"agent {spec.name!r} is to be replaced, and its run under way has not ended for "
                    f"{RETIRES_WITHIN_S:g} s; abort the queue, or wait and try again"
                )
            time.sleep(_POLL_S)
            status = self._client.agent(spec.name)
        points = [] if fresh else self._measured(spec)
        self._client.delete(spec.name)
        return points

    def _measured(self, spec: AgentSpec) -> list[_Told]:
        """Return the outcomes that the present agent of that name has, as far as ``spec`` can use them."""
        found: list[_Told] = []
        names: dict[str, str] = {}
        for event in self._client.history(spec.name):
            if event.kind is EventKind.AGENT_STATE and "spec" in event.data:
                found, names = [], AgentSpec.model_validate(event.data["spec"]).names  # an earlier agent had the name
            elif event.kind is EventKind.INGEST:
                found += _told(event.data)
        wanted = {*spec.actuators, *spec.outcomes}
        kept: list[_Told] = []
        for one in found:
            told = renamed(one.point, names)
            point = {key: value for key, value in told.items() if key in wanted or not spec.outcomes}
            if wanted <= set(point):
                kept.append(replace(one, point=point))
        return kept


def _told(data: Mapping[str, Any]) -> list[_Told]:
    """Return the outcomes of one fact, each with the run that measured it, if one did."""
    points: list[dict[str, Any]] = data["points"]
    uids: list[str] = data["run_uids"]
    origins: list[dict[str, Any]] = data.get("retold") or [
        {"run_uid": uid, "counts": bool(uid and point.get(ID_KEY))}
        for point, uid in zip(
            points, uids if len(uids) == len(points) else [*uids, None][:1] * len(points), strict=True
        )
    ]
    bare = ({key: value for key, value in point.items() if key != ID_KEY} for point in points)
    return [_Told(point, origin["run_uid"], origin["counts"]) for point, origin in zip(bare, origins, strict=True)]


def _brain(thing: object) -> object:
    """Return the brain in what is to be hosted."""
    return cast("Mapping[str, Any]", thing).get("type") if isinstance(thing, Mapping) else thing


def _take_over(spec: AgentSpec, earlier: AgentSpec) -> list[str]:
    """Let the live objects of a specification stand for those of an earlier one; return their references."""
    earlier_references: list[str] = []
    for key in _LIVE_FIELDS:
        if references.is_live(reference := getattr(spec, key)):
            earlier_references.append(getattr(earlier, key))
            references.take_over(reference, earlier_references[-1])
    return earlier_references


def _fields(thing: object, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a specification: what is given, what the object says of itself, and what follows."""
    if isinstance(thing, AgentSpec):
        found = {**thing.model_dump(exclude_unset=True), **fields}
    elif isinstance(thing, Mapping):
        found = {**cast("Mapping[str, Any]", thing), **fields}
    else:
        found = {"type": thing, **fields}
    brain = found.get("type")
    if "config" in found:
        found["config"] = _json(found["config"])
    if "listen" not in found and not isinstance(brain, str) and missing_methods(brain) == ["suggest"]:
        found["listen"] = "all"
    for key in ("actuators", "sensors", "outcome"):
        said = getattr(brain, key, None)
        if key not in found and isinstance(said, str | list | tuple):
            found[key] = said
    _infer(found)
    for key in ("actuators", "sensors"):
        if key in found:
            found[key] = [getattr(one, "name", one) for one in _as_list(found[key])]
    return found


def _infer(found: dict[str, Any]) -> None:
    """Take actuators and outcome from a configuration with ``bounds`` and ``objective``, as the shipped types have."""
    config = found.get("config")
    if isinstance(config, Mapping):
        told = cast("Mapping[str, Any]", config)
        if "actuators" not in found and isinstance(told.get("bounds"), Mapping):
            found["actuators"] = list(told["bounds"])
        if not {"outcome", "evaluate"} & found.keys() and isinstance(told.get("objective"), str):
            found["outcome"] = told["objective"]
    if "sensors" not in found and found.get("outcome"):
        found["sensors"] = _as_list(found["outcome"])


def _json(config: object) -> object:
    """Return a configuration as JSON has it: tuples become lists, numpy's numbers and arrays Python's own."""

    def other(value: object) -> object:
        simpler = getattr(value, "tolist", None)
        if not callable(simpler):
            raise InvalidInput(
                f"config holds a value of type {type(value).__name__}; it takes what JSON has: numbers, texts, lists, "
                "mappings. Serve the object itself instead of its class and config"
            )
        return simpler()

    return to_jsonable_python(config, fallback=other, inf_nan_mode="constants")


def _as_list(value: object) -> list[Any]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        return [value]
    return list(cast("Sequence[Any]", value))


def _spec(name: str, found: dict[str, Any], made: list[str]) -> AgentSpec:
    if "type" not in found:
        raise InvalidInput(f"agent {name!r} has no type: give a brain, its class, or the name of a type")
    for key in _LIVE_FIELDS:
        thing = found.get(key)
        if thing is not None and not isinstance(thing, str):
            made.append(live_objects.register(thing))
            found[key] = made[-1]
    try:
        return AgentSpec.model_validate({**found, "name": name})
    except ValidationError as error:
        wrong = validation_errors(error)
        raise InvalidInput(f"agent {name!r}: {sentence(wrong)}", errors=wrong) from None
