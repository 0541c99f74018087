"""A configuration looked at without starting anything: what ``agent-service check`` does."""

from __future__ import annotations

import asyncio
import inspect
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from agent_service.agents.device_limits import wholes_by_ways
from agent_service.agents.guardrail_checks import check_parts
from agent_service.agents.spec_checks import unknown_in_rules
from agent_service.archive import tiled_profiles
from agent_service.brains import types
from agent_service.brains.allowed_modules import Listed
from agent_service.brains.evaluate import load_function
from agent_service.documents import outcomes
from agent_service.documents.sources.run_engine import asks
from agent_service.errors import BackendUnavailable, FieldError, InvalidInput, OutOfBounds, ServiceError, UsageError
from agent_service.executors import dask
from agent_service.journal import look_at
from agent_service.models import own_names
from agent_service.models.spelling import near
from agent_service.plans import beamline, startup
from agent_service.plans.device_lookup import it_has
from agent_service.plans.device_positions import wholes_of
from agent_service.plans.device_settings import awaiting
from agent_service.plans.namespace import Namespace
from agent_service.plans.sinks import bluesky_loop
from agent_service.plans.sinks.blueapi import blueapi_of
from agent_service.plans.sinks.blueapi.config import BlueapiSection
from agent_service.plans.sinks.queue_server import allowed
from agent_service.plans.sinks.queue_server.config import QueueServerSection
from agent_service.service import conditions, notice_channels
from agent_service.service.compose import import_from
from agent_service.service.compose_engine import not_here
from agent_service.service.compose_sources import wrong_sources

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agent_service.models import AgentSpec, ServiceGuardrails
    from agent_service.plans.sinks.blueapi.peer import BlueapiPeer
    from agent_service.service.config import ServiceConfig


_ANSWERS_WITHIN_S: Final = 10.0
"""How long a device of ophyd-async may take to say which fields it has."""


def check(config: ServiceConfig, *, devices: bool = False) -> list[FieldError]:
    """Return what would keep a configuration from being served, beyond what its model says, and where in it.

    Modules of the agents' types and functions are imported. No address is bound, no state directory is made. A Dask
    cluster that agents are to live on is asked, and the journal's database. With
    ``devices`` the startup is loaded, which may connect to hardware, and the agents' devices and plans are looked for
    in it, or at the facility that plans go to; the simulated beamline is loaded in any case. Who takes notices is asked
    then, too, whether one would be taken; none is sent. So are sources of the kinds zmq, tiled and stomp.

    Examples
    --------
    >>> from agent_service.service.config import ServiceConfig
    >>> agent = {"name": "a", "type": "sobol", "config": {"bounds": {"motor": [0, 1]}}, "outcome": "det"}
    >>> wrong = check(ServiceConfig(agents=[{**agent, "actuators": ["motor"], "sensors": ["dett"]}]))
    >>> wrong[0].field
    'agents.0.sensors'
    """
    import_from(config)
    wrong: list[FieldError] = []
    namespace: Namespace | None = None
    makes_signals = bool(config.conditions) and config.run_engine.startup is not None
    if (config.sink.own_engine or makes_signals) and (devices or config.run_engine.startup is None):
        try:
            if config.run_engine.startup is not None:
                bluesky_loop.running()  # devices of ophyd-async are connected on it
            namespace = startup.load(
                config.run_engine.startup, default=beamline.simulated, listed=Listed.of(config.security.modules)
            )
        except ServiceError as error:
            wrong.append(FieldError("run_engine.startup", error.detail))
    if devices and isinstance(config.sink, QueueServerSection):
        wrong += [FieldError(field, message) for field, message in allowed.ask(config.sink, config.agents)]
    wrong += conditions.no_signals(config) or conditions.wrong_signals(config, namespace and namespace.device)
    if not config.sink.own_engine:  # whoever measures has the agents' devices
        namespace = None
    wrong += _check_configure(config, namespace)
    limits = config.guardrails
    if namespace is not None:
        try:
            limits = own_names.limits(limits, namespace.own_name, known=True)
        except InvalidInput as error:
            wrong += error.errors
    facility = _facility(config, wrong) if devices else None
    if devices:
        wrong += asyncio.run(notice_channels.untaken(config.notify))
    if why := not_here(config.run_engine):
        wrong.append(FieldError("run_engine.cpu_affinity", why))
    wrong += _check_journal(config) + wrong_sources(config, ask=devices) + _check_catalogue(config)
    return wrong + _check_cluster(config) + _check_agents(config, namespace, facility, limits)


def _check_catalogue(config: ServiceConfig) -> list[FieldError]:
    """Look for the Tiled profile that is named."""
    try:
        if name := tiled_profiles.named(config.service.catalog):
            tiled_profiles.read(name)
    except UsageError as error:
        return [FieldError("service.catalog", error.detail)]
    return []


def _check_journal(config: ServiceConfig) -> list[FieldError]:
    """Ask the database, if there is one, whether it could hold the journal."""
    if config.journal.url is None:
        return []
    try:
        look_at(config.journal.url.get_secret_value())
    except ServiceError as error:
        return [FieldError("journal.url", error.detail)]
    return []


def _check_cluster(config: ServiceConfig) -> list[FieldError]:
    """Ask the cluster, if there is one, whether the agents could live there."""
    section = config.executors.dask
    if section is None:
        return []
    on_it = [spec.resources for spec in config.agents if spec.executor == "dask" and spec.resources]
    return [FieldError("executors.dask", message) for message in dask.wrong_with_cluster(section, on_it)]


def _check_agents(
    config: ServiceConfig, namespace: Namespace | None, facility: BlueapiPeer | None, limits: ServiceGuardrails
) -> list[FieldError]:
    wrong: list[FieldError] = []
    names: set[str] = set()
    listed = Listed.of(config.security.modules)
    for number, spec in enumerate(config.agents):
        if spec.name in names:
            wrong.append(FieldError(f"agents.{number}.name", f"there are two agents {spec.name!r}; rename one"))
        names.add(spec.name)
        try:
            listed.refuse_named(spec)
        except InvalidInput as refused:
            wrong += [FieldError(f"agents.{number}.{error.field}", error.message) for error in refused.errors]
            continue
        wrong += [
            FieldError(f"agents.{number}.{error.field}", error.message)
            for error in [*_check_agent(spec, namespace, listed, limits), *_ask(facility, spec)]
        ]
    return wrong


def _facility(config: ServiceConfig, wrong: list[FieldError]) -> BlueapiPeer | None:
    """Return the facility that plans go to, to be asked what it has; None where that cannot be."""
    if not isinstance(config.sink, BlueapiSection):
        return None
    _, peer = blueapi_of(config.sink)
    try:
        peer.plans()
    except BackendUnavailable as error:
        hint = "; start it, or give its address as sink.url" if error.__cause__ is not None else ""
        wrong.append(FieldError("sink", error.detail + hint))
        return None
    return peer


def _ask(facility: BlueapiPeer | None, spec: AgentSpec) -> list[FieldError]:
    try:
        if facility is not None:
            facility.check(spec)
    except ServiceError as error:
        return list(error.errors) or [FieldError("plan", error.detail)]
    return []


def _check_configure(config: ServiceConfig, namespace: Namespace | None) -> list[FieldError]:
    reference = config.run_engine.configure
    if not config.sink.own_engine or (namespace is None and reference is None):
        return []
    try:
        startup.configurer(namespace or Namespace({}, source="nothing"), reference)
    except ServiceError as error:
        return [FieldError("run_engine.configure", error.detail)]
    return []


def _check_agent(
    spec: AgentSpec, namespace: Namespace | None, listed: Listed, limits: ServiceGuardrails
) -> list[FieldError]:
    wrong: list[FieldError] = []
    try:
        types.resolve(spec.type, listed).validate(spec)
    except ServiceError as error:
        wrong += error.errors or [FieldError("type", error.detail)]
    try:
        outcomes.check_names(spec)
    except ServiceError as error:
        wrong += error.errors
    try:
        if spec.evaluate:
            load_function(spec.evaluate, listed)
    except ServiceError as error:
        wrong.append(FieldError("evaluate", error.detail))
    if namespace is None:
        return wrong + _check_parts(spec, wholes_by_ways(spec.actuators, spec.names), limits)
    looked_for: list[tuple[str, Callable[[str], object], str]] = [("plan", namespace.plan, spec.plan)]
    looked_for += [("actuators", _actuator(namespace), name) for name in spec.actuators]
    looked_for += [("sensors", namespace.device, name) for name in spec.sensors]
    for field, look, name in looked_for:
        try:
            look(name)
        except ServiceError as error:
            wrong.append(FieldError(field, error.detail))
    if not wrong:
        try:
            spec = own_names.named(spec, namespace.own_name)
        except InvalidInput as error:
            return list(error.errors)
        wrong += [
            FieldError("guardrails.rules", message) for message in unknown_in_rules(spec, limits, namespace.actuator)
        ]
        wholes = wholes_of([namespace.actuator(name) for name in spec.actuators], namespace.same_setpoint)
        wrong += _check_parts(spec, wholes, limits) + _check_outcome(spec, namespace)
    return wrong


def _check_parts(spec: AgentSpec, wholes: Mapping[str, Sequence[str]], limits: ServiceGuardrails) -> list[FieldError]:
    """Return which actuators move a device that is limited, past its limits."""
    try:
        check_parts(wholes, spec.guardrails, limits)
    except OutOfBounds as refused:
        return list(refused.errors)
    return []


def _check_outcome(spec: AgentSpec, namespace: Namespace) -> list[FieldError]:
    """Return what is wrong with an outcome that no sensor measures, where the sensors say at once what they do."""
    if spec.plan != "acquire" or not spec.sensors:  # any other may read more than the agent's devices
        return []
    fields: set[str] = set()
    for name in (*spec.sensors, *spec.actuators):
        try:
            described = namespace.device(name).describe()
            fields |= set(_awaited(described) if inspect.isawaitable(described) else described)
        except Exception:  # noqa: BLE001 - whatever a device raises: nothing is known then
            return []
    return [
        FieldError("outcome", f"no sensor of the agent has the field {name!r}; {near(name, fields)}{it_has(fields)}")
        for name in spec.outcomes
        if name not in fields
    ]


def _actuator(namespace: Namespace) -> Callable[[str], object]:
    return lambda name: namespace.actuator(namespace.own_name(name))


def _awaited(answer: Any) -> Any:
    """Await what a device of ophyd-async answers, on the loop that its startup connected it on."""
    return awaiting(asks(SimpleNamespace(loop=bluesky_loop.running())), _ANSWERS_WITHIN_S)(answer)
