"""Suggestions, and what a person or a program says of points."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, JsonValue, model_validator

from agent_service.errors.texts import one_line
from agent_service.models._base import MAX_POINTS, Answer, FewNames, Finite, Number, Page, Point, Request, Uid
from agent_service.models.state_machines import SuggestionState

Reason = Annotated[str, Field(max_length=1000), AfterValidator(one_line)]
"""What a person says, in one line."""


class SuggestRequest(Request):
    """Ask the brain for points now; they stay ``proposed`` until somebody approves them."""

    n_points: int = Field(default=1, ge=1, le=MAX_POINTS)


class Retold(Request):
    """Of an outcome that an earlier agent of the name had: where it comes from."""

    run_uid: Uid | None = Field(default=None, description="the run that measured it; null: it was ingested by hand")
    counts: bool = Field(default=False, description="whether that run was for a suggestion: it counts towards max_runs")
    known: bool = Field(
        default=False, description="whether the brain knows it: it is the very object that was told, so it is not again"
    )


class IngestRequest(Request):
    """Tell the brain outcomes: points by hand, or uids of runs in the catalogue; one of the two."""

    points: list[FewNames[dict[str, str | Number]]] = Field(
        default_factory=list[dict[str, str | int | float]], max_length=MAX_POINTS
    )
    run_uids: list[Uid] = Field(default_factory=list[str], max_length=MAX_POINTS)
    retold: list[Retold] = Field(
        default_factory=list[Retold],
        max_length=MAX_POINTS,
        description="one for each of points: an earlier agent of this name was told them, and they count once",
    )

    @model_validator(mode="after")
    def _one_of(self) -> IngestRequest:
        if self.retold and len(self.retold) != len(self.points):
            raise ValueError("give one entry of retold for each of points")
        if bool(self.points) == bool(self.run_uids):
            raise ValueError("give points or run_uids, one of the two and not empty")
        return self


class ApproveRequest(Request):
    """Approve a suggestion, with an edited point if one is given."""

    point: FewNames[Point] | None = None


class GoToBestRequest(Request):
    """Which best point to move to."""

    by: Literal["measured", "model"] = Field(
        default="measured", description="the best that was measured, or what the brain says is the best"
    )
    point: dict[str, Number] | None = Field(
        default=None, description="the point that the person saw: another one by now is refused"
    )
    despite_conditions: bool = Field(
        default=False, description="whether to move while a condition of the service is not met"
    )


class RejectRequest(Request):
    """Reject a suggestion."""

    reason: Reason = ""


class Suggestion(Answer):
    """A point with an id and a fate."""

    id: str
    agent: str
    state: SuggestionState
    point: Point
    plan: str | None = None
    run_uid: str | None = Field(default=None, description="its run; of several, the first, then the one that counts")
    run_uids: list[str] = Field(
        default_factory=list[str], description="all runs that its plan made, where they were several or all may count"
    )
    outcome: dict[str, float] | None = None
    reason: str | None = None
    retry_of: str | None = None
    void: bool = Field(default=False, description="whether its run does not count: a condition was not met meanwhile")
    created_at: datetime
    updated_at: datetime


class ClaimRequest(Request):
    """Claim an approved suggestion, to measure it in a RunEngine of one's own."""

    agent: str | None = Field(default=None, description="only this agent's suggestions; null: anybody's")
    lease_s: Finite = Field(
        default=60, gt=0, le=86_400, description="how long the claim holds without a renewal or a document of its run"
    )
    wait_s: Finite = Field(default=0, ge=0, le=30, description="how long to wait for one")
    says_done: bool = Field(
        default=False,
        description="whether you release it with how = done when its plan has ended; false: its run's end is the end",
    )


class RenewRequest(Request):
    """Begin the lease of a claim anew."""

    lease_s: Finite | None = Field(default=None, gt=0, le=86_400, description="null: as long as before")


class ReleaseRequest(Request):
    """End a claim: without an outcome, or because its plan has ended and the documents say the rest."""

    how: Literal["fail", "abort", "unused", "done"] = Field(
        default="fail",
        description="fail: it could not be measured; abort: a person ended it, which does not count towards "
        "max_failures; unused: nothing moved, somebody else may claim it; done: its plan has ended",
    )
    runs: int | None = Field(
        default=None, ge=0, description="with done: how many runs the plan made; null: those that began so far"
    )
    reason: Reason = ""


class Claim(Suggestion):
    """A suggestion that is yours to measure, once, and what its plan needs."""

    actuators: list[str] = Field(description="devices to move")
    sensors: list[str] = Field(description="devices to read")
    md: dict[str, JsonValue] = Field(description="metadata for the start document of its run")
    lease_s: float = Field(description="how long the claim holds without a renewal or a document of its run")


class SuggestAnswer(Answer):
    """The suggestions made, ``proposed``."""

    suggestions: list[Suggestion]


class IngestAnswer(Answer):
    """How many points the brain took in."""

    ingested: int


class SuggestionList(Page[Suggestion]):
    """A page of suggestions."""
