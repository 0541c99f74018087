"""Hosts Python objects as agents of a running service, over its HTTP API.

What HTTP cannot carry (a brain, its class, a function) is registered as a live object, and its reference is sent.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from pydantic import ValidationError
from pydantic_core import to_jsonable_python

from agent_service import references
from agent_service.brains import live_objects, types
from agent_service.brains.adapter import missing_methods
from agent_service.errors import Conflict, FieldError, InvalidInput, NotFound, ServiceError
from agent_service.models import ID_KEY, MAX_POINTS, AgentSpec, AgentStatus, EventKind
from agent_service.models.own_names import for_brain, renamed
from agent_service.models.standard_errors import as_written
from agent_service.models.state_machines import AgentState, Command, legal_commands
from agent_service.models.validation_messages import sentence, validation_errors

if TYPE_CHECKING:
    from agent_service.client import Client

RETIRES_WITHIN_S: Final = 60.0
"""How long the run under way of a replaced agent may take."""

_POLL_S: Final = 0.05
_LIVE_FIELDS: Final = ("type", "evaluate", "plan")
_CHANGED_BY_PATCH: Final = ("config", "loop", "guardrails")


_Outcomes = list[tuple[dict[str, Any], dict[str, Any]]]
"""What an earlier agent of the name ingested: points, each with its origin, as in `Retold`."""


@dataclass(frozen=True, slots=True)
class HostResult:
    """The result of hosting an object."""

    status: AgentStatus
    replaced: bool = False  # whether there was an agent of that name, which it replaces
    ingested: int = 0  # how many outcomes of that one it was told
    stayed: bool = False  # whether the agent of that name stayed, with all it knows
    differs: tuple[str, ...] = ()  # fields in which it is another then than what was asked for


class LiveAgents:
    """Hosts objects of this process as agents of a service of this process. Used from one thread at a time."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._references: dict[str, list[str]] = {}

    def host(  # noqa: PLR0913 - each is a choice of the user's
        self, name: str, thing: object, *, start: bool, fresh: bool, fields: Mapping[str, Any], stays: bool = False
    ) -> HostResult:
        """Create an agent, and replace an agent of that name.

        ``thing`` is a brain, its class or factory, the name of a type, an `AgentSpec`, or a mapping of its fields;
        ``fields`` are more of them: ``evaluate`` and ``plan`` may be functions, ``actuators`` and ``sensors`` devices.
        Without ``start``, an agent that ingested outcomes is ``paused``. With ``fresh``, it begins without the outcomes
        of the agent that it replaces. With ``stays``, for a process that serves a notebook for weeks, an agent of that
        name stays if only its live objects differ: it keeps all that it knows, and goes on as it was when the service
        ended.

        Raises `InvalidInput` if something is wrong with it, `Conflict` if the run under way of the replaced agent does
        not end (that agent is untouched then), `AgentFault` if the brain could not be built: the agent is ``failed``.
        """
        made: list[str] = []
        try:
            spec = _spec(name, _fields(thing, fields), made)
            if stays and not fresh and (there := self._same(spec)):
                self._references[name] = _take_over(spec, there.spec)
                return self._go_on(spec, there, start=start)
            self._client.check(spec)
            earlier = self._retire(spec, fresh=fresh)
            known = earlier is not None and self._knows(name, thing) and not fresh
            if not known:
                live_objects.begin_again(spec.type)
            self._client.create(spec)
        except BaseException:
            for reference in made:
                references.forget(reference)
            raise
        self.forget(name)
        self._references[name] = made
        return self._begin(name, earlier, known=known, start=start)

    def _knows(self, name: str, thing: object) -> bool:
        """Return whether a brain already ingested what the agent of that name did: it is that agent's own."""
        return any(live_objects.knows(reference, _brain(thing)) for reference in self._references.get(name, ()))

    def forget(self, *names: str) -> None:
        """Forget the live objects of agents, or of all that were hosted."""
        for name in names or tuple(self._references):
            for reference in self._references.pop(name, ()):
                references.forget(reference)

    def _same(self, spec: AgentSpec) -> AgentStatus | None:
        """Return the agent of that name if it differs only in live objects, or in what a PATCH can change."""
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

    def _go_on(self, spec: AgentSpec, present: AgentStatus, *, start: bool) -> HostResult:
        """Let an agent go on as it was when the service ended; its live objects are here again."""
        was = self._was(spec.name) if present.state is AgentState.FAILED else None
        if was is not None:
            self._client.start(spec.name, paused=was is AgentState.PAUSED)
        elif start and present.state is AgentState.CREATED:
            self._client.start(spec.name)
        differs = tuple(key for key in _CHANGED_BY_PATCH if getattr(spec, key) != getattr(present.spec, key))
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

    def _begin(self, name: str, earlier: _Outcomes | None, *, known: bool, start: bool) -> HostResult:
        """Tell an agent what an earlier one had measured, which its brain may know, and start it if it is to be."""
        outcomes = earlier or []
        if outcomes:  # before it suggests anything
            self._client.start(name, paused=True)
            for first in range(0, len(outcomes), MAX_POINTS):
                batch = outcomes[first : first + MAX_POINTS]
                origins = [{**origin, "known": known} for _, origin in batch]
                self._client.ingest(name, [point for point, _ in batch], retold=origins)
        if start:
            begin = self._client.resume if outcomes else self._client.start
            begin(name)
        return HostResult(self._client.agent(name), replaced=earlier is not None, ingested=len(outcomes))

    def _retire(self, spec: AgentSpec, *, fresh: bool) -> _Outcomes | None:
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
        outcomes = [] if fresh else self._measured(spec)
        self._client.delete(spec.name)
        return outcomes

    def _measured(self, spec: AgentSpec) -> _Outcomes:
        """Return the outcomes that the present agent of that name has, as far as ``spec`` can use them."""
        outcomes: _Outcomes = []
        words: dict[str, str] = {}
        for event in self._client.history(spec.name):
            if event.kind is EventKind.AGENT_STATE and "spec" in event.data:
                outcomes = []  # an earlier agent had the name
                words = AgentSpec.model_validate(event.data["spec"]).names
            elif event.kind is EventKind.INGEST:
                outcomes += _outcomes_of(event.data)
        wanted = {*spec.actuators, *spec.outcomes}
        kept: _Outcomes = []
        for written, origin in outcomes:
            point = renamed(as_written(written), words)
            if wanted <= set(point):
                kept.append(({key: point[key] for key in point if key in wanted or not spec.outcomes}, origin))
        return kept


def _outcomes_of(data: Mapping[str, Any]) -> _Outcomes:
    """Return the outcomes of one fact, each with the run that measured it, if one did."""
    points: list[dict[str, Any]] = data["points"]
    uids: list[str] = data["run_uids"]
    each = uids if len(uids) == len(points) else [*uids, None][:1] * len(points)
    origins: list[dict[str, Any]] = data.get("retold") or [
        {"run_uid": uid, "counts": bool(uid and point.get(ID_KEY))} for point, uid in zip(points, each, strict=True)
    ]
    bare = ({key: value for key, value in point.items() if key != ID_KEY} for point in points)
    return list(zip(bare, origins, strict=True))


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
        spec = {**thing.model_dump(exclude_unset=True), **fields}
    elif isinstance(thing, Mapping):
        spec = {**cast("Mapping[str, Any]", thing), **fields}
    else:
        spec = {"type": thing, **fields}
    brain = spec.get("type")
    if "config" in spec:
        spec["config"] = _json(spec["config"])
    if "listen" not in spec and not isinstance(brain, str) and missing_methods(brain) == ["suggest"]:
        spec["listen"] = "all"
    for key in ("actuators", "sensors", "outcome"):
        value = getattr(brain, key, None)
        if key not in spec and isinstance(value, str | list | tuple):
            spec[key] = value
    _infer(spec)
    for key in ("actuators", "sensors"):
        if key in spec:
            spec[key] = [getattr(device, "name", device) for device in _as_list(spec[key])]
    return spec


def _infer(spec: dict[str, Any]) -> None:
    """Take actuators and outcome from a configuration with ``bounds`` and ``objective``, as the shipped types have."""
    config = spec.get("config")
    if isinstance(config, Mapping):
        settings = cast("Mapping[str, Any]", config)
        if "actuators" not in spec and isinstance(settings.get("bounds"), Mapping):
            spec["actuators"] = list(settings["bounds"])
        if not {"outcome", "evaluate"} & spec.keys() and isinstance(settings.get("objective"), str):
            spec["outcome"] = settings["objective"]
    if "sensors" not in spec and spec.get("outcome"):
        spec["sensors"] = _as_list(spec["outcome"])


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


def _spec(name: str, spec: dict[str, Any], made: list[str]) -> AgentSpec:
    if "type" not in spec:
        raise InvalidInput(f"agent {name!r} has no type: give a brain, its class, or the name of a type")
    for key in _LIVE_FIELDS:
        thing = spec.get(key)
        if thing is not None and not isinstance(thing, str):
            made.append(live_objects.register(thing))
            spec[key] = made[-1]
    try:
        return AgentSpec.model_validate({**spec, "name": name})
    except ValidationError as error:
        wrong = [*validation_errors(error, AgentSpec), *_wrong_config(spec)]
        raise InvalidInput(f"agent {name!r}: {sentence(wrong)}", errors=wrong) from None


def _wrong_config(spec: Mapping[str, Any]) -> list[FieldError]:
    """Return which keys of a configuration its type does not know: a misspelt one may be why the rest is not whole."""
    kind, config = spec.get("type"), spec.get("config")
    if not isinstance(kind, str) or not config:
        return []
    try:
        by_itself = AgentSpec.model_validate({"name": "agent", "type": kind, "config": config, "outcome": "outcome"})
        types.resolve(kind).validate(by_itself)
    except ValidationError:
        return []
    except ServiceError as error:
        return [wrong for wrong in error.errors if wrong.message.startswith(("is not a known key", "is unknown"))]
    return []
