"""What the child is started with, what it says first, and how errors travel."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agent_service.errors import FieldError, ServiceError, by_code, texts

if TYPE_CHECKING:
    from agent_service.plans.sinks.engine_settings import EngineSettings
    from agent_service.protocols import PlanOrder


@dataclass(frozen=True, slots=True)
class ChildSettings:
    """What a child is started with.

    Parameters
    ----------
    engine, digest
        What its RunEngine is made of, and the mark of that: see `EngineSettings`.
    listening
        The socket that it listens on.
    turns
        Path of its `TurnFile`.
    waits_s
        How long it waits for a service, in seconds, with something to hand over.
    keeps_documents
        Whether the service has no spool, so that documents are kept until their suggestion's fate is written.
    """

    engine: EngineSettings
    digest: str
    listening: int
    turns: str
    waits_s: float
    keeps_documents: bool


@dataclass(frozen=True, slots=True)
class Hello:
    """What a child says first.

    Parameters
    ----------
    pid
        Its process id.
    digest
        Of the settings that it was started with.
    orders
        The plans that it has, by number: those that wait, the one that runs, and those whose ends were not written yet.
    runs
        Uids of runs whose ends the service does not have for good.
    """

    pid: int
    digest: str
    orders: dict[int, PlanOrder] = field(default_factory=dict[int, "PlanOrder"])
    runs: tuple[str, ...] = ()


def packed(error: BaseException) -> tuple[Any, ...]:
    """Return an error as plain values."""
    if isinstance(error, ServiceError):
        fields = [(wrong.field, wrong.message) for wrong in error.errors]
        return error.code, error.status, error.detail, fields, error.legal
    return ServiceError.code, ServiceError.status, texts.describe(error), [], ()


def unpacked(values: tuple[Any, ...]) -> ServiceError:
    """Return the error that `packed` packed."""
    code, status, detail, fields, legal = values
    return by_code(code, status)(detail, errors=[FieldError(*one) for one in fields], legal=legal)
