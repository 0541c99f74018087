"""Suggestions, and what a person or a program says of points."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field, model_validator

from agent_service.lifecycle import SuggestionState
from agent_service.models._base import MAX_POINTS, Answer, Finite, Point, Request


class SuggestRequest(Request):
    """Ask the brain for points now; they stay ``proposed`` until somebody approves them."""

    n_points: int = Field(default=1, ge=1, le=MAX_POINTS)


class IngestRequest(Request):
    """Tell the brain outcomes: points by hand, or uids of runs in the catalogue; one of the two."""

    points: list[dict[str, str | Finite]] = Field(default_factory=list[dict[str, str | float]], max_length=MAX_POINTS)
    run_uids: list[str] = Field(default_factory=list[str], max_length=MAX_POINTS)

    @model_validator(mode="after")
    def _one_of(self) -> IngestRequest:
        if bool(self.points) == bool(self.run_uids):
            msg = "give points or run_uids, one of the two and not empty"
            raise ValueError(msg)
        return self


class ApproveRequest(Request):
    """Approve a suggestion, with an edited point if one is given."""

    point: dict[str, Finite] | None = None


class RejectRequest(Request):
    """Reject a suggestion."""

    reason: str = Field(default="", max_length=1000)


class Suggestion(Answer):
    """A point with an id and a fate."""

    id: str
    agent: str
    state: SuggestionState
    point: Point
    plan: str | None = None
    run_uid: str | None = None
    outcome: dict[str, float] | None = None
    reason: str | None = None
    retry_of: str | None = None
    created_at: datetime
    updated_at: datetime


class SuggestAnswer(Answer):
    """The suggestions made, ``proposed``."""

    suggestions: list[Suggestion]


class IngestAnswer(Answer):
    """How many points the brain took in."""

    ingested: int


class SuggestionList(Answer):
    """A page of suggestions."""

    items: list[Suggestion]
    next: str | None = None
