"""Jobs: calls that take longer than somebody wanted to wait."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import ConfigDict, Field, JsonValue

from agent_service.models._agent_status import CallProgress
from agent_service.models._base import Answer, Page
from agent_service.models._service import Problem


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
