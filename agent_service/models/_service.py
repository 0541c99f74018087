"""The service itself: its queue, catalogue, readiness, problems, and jobs."""

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

    ``suspended``: a condition is not met, or a suspender of the RunEngine has tripped; it resumes by itself after that.
    """

    IDLE = "idle"
    RUNNING = "running"
    SUSPENDED = "suspended"
    PAUSED = "paused"
    HELD = "held"


class DeviceInfo(Answer):
    """A device that an agent may name; null: unknown."""

    name: str
    moves: bool | None = Field(default=None, description="whether it can be an actuator")
    reads: bool | None = Field(default=None, description="whether it can be a sensor")


class DeviceList(Answer):
    """The devices that agents may name, as last listed."""

    items: list[DeviceInfo]
    asked_at: datetime | None = Field(default=None, description="when they were listed; null: not yet")
    reason: str | None = Field(default=None, description="why they cannot be listed now; items may be old")


class QueueStatus(Answer):
    """The plan sink: what runs, what waits."""

    kind: str
    state: QueueState
    reason: str | None = None
    pending: int = 0
    current: str | None = Field(default=None, description="id of the suggestion whose plan runs")
    can_destroy: bool = Field(
        default=False,
        description="whether a queue server's worker died: a person may then destroy its environment",
    )


class ArchiveStatus(Answer):
    """The archive: the catalogue that it serves or writes to, and how far that lags."""

    catalog: str = Field(description="embedded, a URI, or none")
    state: Literal["none", "starting", "ready", "unavailable"]
    uri: str | None = None
    runs_behind: int = Field(default=0, description="complete runs not yet in the catalogue")
    facts_behind: int = Field(default=0, description="journal facts not yet in the agents' runs")
    runs_refused: int = Field(default=0, description="runs that the catalogue refused; kept in the state directory")
    decisions_refused: int = Field(
        default=0, description="decisions that the catalogue refused; kept in the state directory"
    )
    reason: str | None = None


class SourceState(StrEnum):
    """State of a source of documents; the service retries one that is away until it is there."""

    CONNECTED = "connected"
    RECONNECTING = "reconnecting"
    STOPPED = "stopped"


class SourceStatus(Answer):
    """A source of documents: whether it is there, and what it gave."""

    kind: str
    where: str = Field(default="", description="its address; empty for a source in the service's process")
    state: SourceState
    since: datetime
    reason: str | None = Field(default=None, description="why it is away, or why some documents were not taken")
    documents: int = Field(default=0, description="documents since the service started")
    last_document: datetime | None = None
    lag: int | None = Field(default=None, description="how much the other end has that has not arrived; null: unknown")


class SuspectRun(Answer):
    """A run that ended with documents missing; it does not count until it is whole."""

    uid: str
    suggestion_id: str = ""
    reason: str
    for_s: float = Field(description="for how long, in seconds")


class NotifyStatus(Answer):
    """Notices to people who look at no screen, since the service started."""

    to: list[str] = Field(description="who gets them: the webhook's host, the mail server")
    sent: int = 0
    waiting: int = 0
    failed: int = Field(default=0, description="how many were not taken, although sent again")
    dropped: int = Field(default=0, description="how many were dropped, the oldest first, because too many waited")
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
        description="runs that did not arrive whole and are awaited: at most 20, the oldest first",
    )
    faults: list[str] = Field(
        default=[],
        description="why the service cannot acknowledge or keep a run now, for example a full disk; and what the "
        "catalogue refused",
    )
    conditions: list[ConditionStatus] = Field(
        default=[], description="conditions for a measurement, and whether they are met: [conditions]"
    )
    notices: NotifyStatus | None = Field(default=None, description="[notify]; null: no notices")
    key: str = Field(default="", description="name of the key of this request")
    scopes: list[str] = Field(description="what that key may do: read, propose, control, approve, admin")
    guardrails: ServiceGuardrails = Field(
        default=ServiceGuardrails(),
        description="limits of each agent besides its own: [guardrails] in service.toml",
    )


class PanelKeyRequest(Request):
    """Ask for a panel key for the pages of an origin."""

    origin: str = Field(max_length=300, description="of the web page, such as https://hub.example.org")
    renews: str | None = Field(
        default=None, max_length=200, description="an earlier key to renew; if it is unknown by now, there is a new one"
    )


class PanelKeyAnswer(Answer):
    """A key for a notebook's page when its kernel does not answer."""

    key: str
    scopes: list[str] = Field(description="what it may do: at most read, propose, control, approve")
    lasts_s: float = Field(description="how long it lasts from now unless renewed, in seconds")


class LoginCodeAnswer(Answer):
    """A code that logs a browser in, once."""

    code: str
    lasts_s: float = Field(description="how long it can be used, in seconds")


class SessionRequest(Request):
    """Ask for a session; without a code, for the key of the request."""

    code: str | None = Field(default=None, max_length=200)


class SessionAnswer(Answer):
    """A session of the page: a key that ends with the key it was made from."""

    key: str
    name: str = Field(description="name of that key")
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
        """Whether it has ended."""
        return self not in (JobState.PENDING, JobState.RUNNING)


class Job(Answer):
    """A call that goes on after the answer 202; kept for a while after its end, but not over a restart."""

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
    call: str = Field(description="the end of its path: suggest, start, methods/NAME, ...")
    state: JobState = Field(description="pending: waits for its turn, for a brain makes one call at a time")
    progress: CallProgress | None = Field(default=None, description="null: the agent's code did not say")
    result: JsonValue = Field(default=None, description="if it succeeded: the answer to the request")
    problem: Problem | None = Field(default=None, description="if it failed: the answer to the request")
    created_at: datetime
    finished_at: datetime | None = None


class JobList(Page[Job]):
    """A page of jobs, oldest first."""
