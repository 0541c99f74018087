"""The service itself: plan queue, catalogue, readiness, problems, and jobs: calls that take longer than one waits."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import ConfigDict, Field, JsonValue

from agent_service.models._agent_status import CallProgress
from agent_service.models._base import Answer, Page, Request
from agent_service.models._conditions import ConditionStatus
from agent_service.models._guardrails import ServiceGuardrails


class QueueState(StrEnum):
    """State of the plan sink. Abort latches ``held``: nothing moves until somebody resumes.

    ``suspended``: a condition is not met, or a suspender of the RunEngine has tripped; it goes on by itself when that
    is over.
    """

    IDLE = "idle"
    RUNNING = "running"
    SUSPENDED = "suspended"
    PAUSED = "paused"
    HELD = "held"


class DeviceInfo(Answer):
    """A device that an agent may name; null: nobody can say."""

    name: str
    moves: bool | None = Field(default=None, description="whether it can be an actuator")
    reads: bool | None = Field(default=None, description="whether it can be a sensor")


class DeviceList(Answer):
    """The devices that agents may name, as whoever has them said last."""

    items: list[DeviceInfo]
    asked_at: datetime | None = Field(default=None, description="when they were told; null: never yet")
    reason: str | None = Field(default=None, description="why they are not told now; what is listed may be old then")


class QueueStatus(Answer):
    """The plan sink: what runs, what waits."""

    kind: str
    state: QueueState
    reason: str | None = None
    pending: int = 0
    current: str | None = Field(default=None, description="id of the suggestion whose plan runs")
    can_destroy: bool = Field(
        default=False,
        description="whether the worker of a queue server died, so that a person may destroy its environment",
    )


class ArchiveStatus(Answer):
    """The archive child: the catalogue it serves or writes to, and how far that lags."""

    catalog: str = Field(description="embedded, a URI, or none")
    state: Literal["none", "starting", "ready", "unavailable"]
    uri: str | None = None
    runs_behind: int = Field(default=0, description="complete runs not yet in the catalogue")
    facts_behind: int = Field(default=0, description="journal facts not yet in the agents' runs")
    runs_refused: int = Field(default=0, description="runs the catalogue refused; kept in the state directory")
    decisions_refused: int = Field(
        default=0, description="decisions of agents that the catalogue refused; kept in the state directory"
    )
    reason: str | None = None


class SourceState(StrEnum):
    """State of a source of documents; one that is away is tried again until it is there."""

    CONNECTED = "connected"
    RECONNECTING = "reconnecting"
    STOPPED = "stopped"


class SourceStatus(Answer):
    """A source of documents: whether it is there, and what came of it."""

    kind: str
    where: str = Field(default="", description="address of what is heard; empty for a source of the service's process")
    state: SourceState
    since: datetime
    reason: str | None = Field(default=None, description="why it is away, or why some of what it gave was not taken")
    documents: int = Field(default=0, description="documents since the service started")
    last_document: datetime | None = None
    lag: int | None = Field(
        default=None, description="what the other end has and is not here yet; null: nobody can say"
    )


class SuspectRun(Answer):
    """A run whose end was heard though documents are missing; it counts for nothing until it is whole."""

    uid: str
    suggestion_id: str = ""
    reason: str
    for_s: float = Field(description="how long it has been so, in seconds")


class NotifyStatus(Answer):
    """Notices to people who look at no screen, since the service started."""

    to: list[str] = Field(description="who takes them: the webhook's host, the mail server")
    sent: int = 0
    waiting: int = 0
    failed: int = Field(default=0, description="that nobody took, however often they were sent")
    dropped: int = Field(default=0, description="that were left out, the oldest first, for too many waited")
    trouble: str | None = Field(default=None, description="why the last one was not taken")


class ServiceStatus(Answer):
    """The service itself."""

    version: str
    session: str
    started_at: datetime
    uptime_s: float
    state_dir: str
    agents: dict[str, int] = Field(description="number of agents by state")
    queue: QueueStatus
    archive: ArchiveStatus
    sources: list[SourceStatus] = Field(default=[], description="where documents come from")
    suspects: list[SuspectRun] = Field(
        default=[],
        description="runs that did not arrive whole and are waited for, at most 20 of them, the oldest first",
    )
    faults: list[str] = Field(
        default=[],
        description="why nothing can be acknowledged, or no run kept, now, a full disk for example; and what the "
        "catalogue refused",
    )
    conditions: list[ConditionStatus] = Field(
        default=[], description="without which nothing is measured, and whether they are met: [conditions]"
    )
    notices: NotifyStatus | None = Field(default=None, description="[notify]; null: nobody is told")
    key: str = Field(default="", description="name of the key that asks")
    scopes: list[str] = Field(description="what that key may do: read, propose, control, approve, admin")
    guardrails: ServiceGuardrails = Field(
        default=ServiceGuardrails(),
        description="limits that hold for each agent beside its own: [guardrails] in service.toml",
    )


class PanelKeyRequest(Request):
    """For whose pages a panel key is asked."""

    origin: str = Field(max_length=300, description="of the web page, such as https://hub.example.org")
    renews: str | None = Field(
        default=None, max_length=200, description="an earlier one, whose time begins anew; unknown by now: a new one"
    )


class PanelKeyAnswer(Answer):
    """A key that a notebook's page may use when its kernel does not answer."""

    key: str
    scopes: list[str] = Field(description="what it may do: at most read, propose, control, approve")
    lasts_s: float = Field(description="how long it lasts from now unless it is renewed, in seconds")


class LoginCodeAnswer(Answer):
    """A code that logs a browser in, once."""

    code: str
    lasts_s: float = Field(description="how long it can be used, in seconds")


class SessionRequest(Request):
    """For what a session is asked; without a code, for the key that the request shows."""

    code: str | None = Field(default=None, max_length=200)


class SessionAnswer(Answer):
    """A session of the page: a key that ends with the one it is of."""

    key: str
    name: str = Field(description="of the key that it is of")
    scopes: list[str]
    lasts_s: float = Field(description="how long it lasts, in seconds")


class ReadyPart(Answer):
    """Whether a part of the service is ready, and if not, why."""

    ready: bool
    reason: str | None = None


class Readiness(Answer):
    """Whether the service takes work, part by part."""

    ready: bool
    parts: dict[str, ReadyPart]


class ProblemField(Answer):
    """What is wrong with one field."""

    field: str
    message: str


class Problem(Answer):
    """An RFC 9457 problem. It never echoes the input."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str | None = None
    errors: list[ProblemField] = Field(default_factory=list[ProblemField])
    legal: list[str] = Field(default_factory=list[str])
    traceback: str | None = Field(default=None, description="the agent's own traceback, for an agent_fault")


class JobState(StrEnum):
    """State of a job."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def finished(self) -> bool:
        """Whether nothing more comes of it."""
        return self not in (JobState.PENDING, JobState.RUNNING)


class Job(Answer):
    """A call that goes on behind the answer 202; kept for a while after its end, and not across a restart."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "6f1c2f0e-6a51-4b0b-9c0e-0d8f3c1f3f55",
                    "agent": "aligner",
                    "call": "suggest",
                    "state": "running",
                    "progress": {"done": 3, "total": 10, "message": "fitting", "at": "2026-11-23T02:00:07Z"},
                    "result": None,
                    "problem": None,
                    "created_at": "2026-11-23T02:00:00Z",
                    "finished_at": None,
                }
            ]
        }
    )

    id: str
    agent: str
    call: str = Field(description="what was asked, as the end of its path: suggest, start, methods/NAME, ...")
    state: JobState = Field(description="pending: waits for its turn, as a brain does one thing at a time")
    progress: CallProgress | None = Field(default=None, description="null: the agent's code did not say")
    result: JsonValue = Field(default=None, description="when it succeeded: what the request would have answered")
    problem: Problem | None = Field(default=None, description="when it failed: what the request would have answered")
    created_at: datetime
    finished_at: datetime | None = None


class JobList(Page[Job]):
    """A page of jobs, oldest first."""
