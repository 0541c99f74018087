"""What the child is started with, what it says first, and how errors travel."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agent_service.errors import FieldError, ServiceError, by_code, texts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent_service.plans.sinks.engine_settings import EngineSettings
    from agent_service.protocols import DeviceWords, PlanOrder


@dataclass(frozen=True, slots=True)
class ChildSettings:
    """What a child is started with."""

    engine: EngineSettings
    digest: str
    path: list[str]  # where modules are found
    log: str  # path of the file that it prints to
    turns: str  # path of its `TurnFile`
    waits_s: float  # for a service, with something to hand over
    keeps_documents: bool  # until their suggestion's fate is written, for the service has no spool


@dataclass(frozen=True, slots=True)
class Hello:
    """What a child says first: the plans that it has by number, and runs whose ends the service has not for good."""

    pid: int
    digest: str  # of the settings that it was started with
    orders: dict[int, PlanOrder] = field(default_factory=dict[int, "PlanOrder"])
    runs: tuple[str, ...] = ()
    quitting: bool = False  # it was told to end: it hands over what it has, and takes no plans


@dataclass(frozen=True, slots=True)
class Question:
    """What a child says of a plan when it asks whether that may begin."""

    found: Mapping[str, float] | None  # where its actuators are; None while the plan before it runs
    wholes: Mapping[str, Sequence[str]] | None  # the devices that move with them; None: they did not say it in time
    words: DeviceWords | None  # what they say of its point; None when they did not in time
    begun: tuple[int, ...] = ()  # plans that were permitted early and began last


def packed(error: BaseException) -> tuple[Any, ...]:
    """Return an error as plain values."""
    if isinstance(error, ServiceError):
        fields = [(wrong.field, wrong.message) for wrong in error.errors]
        return error.code, error.status, error.detail, fields, error.legal
    return ServiceError.code, ServiceError.status, texts.describe(error), [], ()


def unpacked(values: tuple[Any, ...]) -> ServiceError:
    """Return the error that `packed` packed."""
    code, status, detail, fields, legal = values
    return by_code(code, status)(detail, errors=[FieldError(*field) for field in fields], legal=legal)
