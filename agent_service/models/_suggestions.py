"""Suggestions, and what people and programs say of points."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, JsonValue, field_validator, model_validator

from agent_service.errors.texts import one_line
from agent_service.models._base import MAX_POINTS, Answer, FewNames, Finite, Name, Page, Point, Request, Uid
from agent_service.models.standard_errors import Measured
from agent_service.models.state_machines import SuggestionState
from agent_service.models.values import is_number

REASON_KEY: Final = "_reason"
"""Key of a brain's reason for a point, a text."""

PREDICTION_KEY: Final = "_prediction"
"""Key of a brain's prediction at a point: by outcome a number, or a number and its standard deviation."""

Reason = Annotated[str, Field(max_length=1000), AfterValidator(one_line)]
"""A person's reason, in one line."""


class SuggestRequest(Request):
    """Ask the brain for points now; they stay ``proposed`` until somebody approves them."""

    n_points: int = Field(default=1, ge=1, le=MAX_POINTS)


class Retold(Request):
    """The origin of an outcome that an earlier agent of the name ingested."""

    run_uid: Uid | None = Field(default=None, description="the run that measured it; null: it was ingested by hand")
    counts: bool = Field(default=False, description="whether that run counts towards max_runs: it was for a suggestion")
    known: bool = Field(
        default=False, description="whether the brain knows it: it is the same object, and does not ingest it again"
    )


class IngestRequest(Request):
    """Tell the brain outcomes: points by hand, or uids of runs in the catalogue; one of the two."""

    points: list[FewNames[dict[str, Measured]]] = Field(
        default_factory=list[dict[str, Measured]],
        max_length=MAX_POINTS,
        description="actuators and outcomes by name; an outcome is a number, or {value, sem} with its standard error",
        examples=[[{"x": 1.0, "flux": {"value": 3.2, "sem": 0.1}}]],
    )
    run_uids: list[Uid] = Field(default_factory=list[str], max_length=MAX_POINTS)
    retold: list[Retold] = Field(
        default_factory=list[Retold],
        max_length=MAX_POINTS,
        description="one for each of points: an earlier agent of this name ingested them, and they count once",
    )

    @model_validator(mode="after")
    def _one_of(self) -> IngestRequest:
        if self.retold and len(self.retold) != len(self.points):
            raise ValueError("give one entry of retold for each of points")
        if bool(self.points) == bool(self.run_uids):
            raise ValueError("give points or run_uids, one of the two and not empty")
        return self


class ApproveRequest(Request):
    """Approve a suggestion, with an edited point if given."""

    point: FewNames[Point] | None = None


class ApproveAllRequest(Request):
    """Approve several suggestions of one agent, all or none, each with the point that the person saw."""

    seen: dict[str, Point] = Field(
        min_length=1,
        max_length=MAX_POINTS,
        description="by id the point that the person saw; if one is another by now, none is approved",
    )


class GoToBestRequest(Request):
    """Which best point to move to."""

    by: Literal["measured", "model"] = Field(
        default="measured", description="the best that was measured, or the brain's own best"
    )
    point: Point | None = Field(
        default=None, description="the point that the person saw: if the best is another by now, it is refused"
    )
    despite_conditions: bool = Field(
        default=False, description="whether to move while a condition of the service is not met"
    )


class RejectRequest(Request):
    """Reject a suggestion."""

    reason: Reason = ""


class ProposeRequest(Request):
    """Propose a point to an agent; it waits for a person's approval, whatever the agent's ``approval`` is."""

    point: FewNames[Point]
    reason: Reason = Field(min_length=1, description="why it is worth a run, for whoever approves it")


class Suggestion(Answer):
    """A point with an id and a fate."""

    id: str
    agent: str
    state: SuggestionState
    point: Point
    plan: str | None = None
    run_uid: str | None = Field(default=None, description="its run; of several the first, later the one that counts")
    run_uids: list[str] = Field(
        default_factory=list[str], description="all runs of its plan, if there were several or all may count"
    )
    outcome: dict[str, float] | None = None
    sem: dict[str, float] = Field(
        default_factory=dict[str, float], description="standard errors of outcomes, where they are known"
    )
    extra: dict[str, JsonValue] = Field(
        default_factory=dict[str, JsonValue],
        description="what the brain said of the point; the brain gets it back with the outcome, except keys that begin "
        "with an underscore",
    )
    reason: str | None = None
    proposed_by: str | None = Field(
        default=None, description="name of the key that proposed the point; null: the agent's own brain did"
    )
    approved_by: str | None = Field(default=None, description="name of the key that approved it, if a person did")
    approved_at: datetime | None = None
    suggested_point: Point | None = Field(
        default=None,
        description="the point before a person edited and approved it; null: not edited",
    )
    rejected_by: str | None = Field(default=None, description="name of the key that rejected it, if a person did")
    traceback: str | None = Field(
        default=None,
        description="Python's traceback, if its plan raised; the middle of a long one is cut",
    )
    retry_of: str | None = None
    filler: bool = Field(
        default=False, description="whether it was measured while the brain was not ready, and not suggested by it"
    )
    void: bool = Field(default=False, description="whether its run does not count, because a condition was not met")
    created_at: datetime
    updated_at: datetime

    @property
    def remarks(self) -> list[str]:
        """What a person needs to know beside the point: who proposed it and why, and its brain's prediction."""
        why, expected = self.extra.get(REASON_KEY), self.extra.get(PREDICTION_KEY)
        who = f"proposed by {self.proposed_by}" if self.proposed_by else ""
        return [
            *filter(None, [": ".join(filter(None, [who, one_line(str(why)) if why else ""]))]),
            *([f"expects {_expected(expected)}"] if expected is not None else []),
            *([self.reason] if self.reason else []),
        ]


def _expected(value: JsonValue) -> str:
    """Return a prediction as text: by outcome a number, or a number and its standard deviation; else unchanged."""
    if not isinstance(value, dict):
        return one_line(json.dumps(value))
    return ", ".join(f"{one_line(name)} {_number(each)}" for name, each in value.items())


def _number(value: JsonValue) -> str:
    parts = value if isinstance(value, list) else list(value.values()) if isinstance(value, dict) else [value]
    numbers = [f"{part:.4g}" for part in parts if is_number(part)]
    return " ± ".join(numbers) if len(numbers) == len(parts) in (1, 2) else one_line(json.dumps(value))


class ClaimDone(Request):
    """A plan that has ended; documents say what it measured."""

    id: str = Field(description="the suggestion that was claimed")
    runs: int = Field(ge=0, description="how many runs its plan made")


class ClaimRequest(Request):
    """Claim an approved suggestion, to measure it in your own RunEngine."""

    agent: str | None = Field(default=None, description="only this agent's suggestions; null: any agent's")
    actuators: FewNames[list[Name]] | None = Field(
        default=None, description="only suggestions that move no others: the devices of whoever claims; null: any"
    )
    tag: Name | None = Field(
        default=None, description="only suggestions of agents with this tag, as a beamline's name; null: any"
    )
    lease_s: Finite = Field(
        default=60, gt=0, le=86_400, description="how long the claim holds without a renewal or a document of its run"
    )
    wait_s: Finite = Field(default=0, ge=0, le=30, description="how long to wait for a suggestion")
    says_done: bool = Field(
        default=False,
        description="whether you release it with how = done when its plan has ended; false: it ends with its run",
    )
    done: ClaimDone | None = Field(
        default=None, description="your last claim, whose plan has ended: it is released first, as done"
    )
    session: str | None = Field(
        default=None,
        max_length=100,
        description="id of the session that claims, from its item at the queue server; only sessions may claim there",
    )

    @field_validator("actuators")
    @classmethod
    def _some(cls, actuators: list[str] | None) -> list[str] | None:
        if actuators == []:
            raise ValueError("no suggestion moves nothing; name the devices that you can move, or give null for any")
        return actuators


class RenewRequest(Request):
    """Renew the lease of a claim."""

    lease_s: Finite | None = Field(default=None, gt=0, le=86_400, description="null: as long as before")


class ReleaseRequest(Request):
    """End a claim: without an outcome, or because its plan has ended and documents say the rest."""

    how: Literal["fail", "abort", "unused", "done"] = Field(
        default="fail",
        description="fail: it was not measured; abort: a person ended it, which does not count towards "
        "max_failures; unused: nothing moved, anybody may claim it; done: its plan has ended",
    )
    runs: int | None = Field(
        default=None, ge=0, description="with done: how many runs the plan made; null: those that began so far"
    )
    reason: Reason = ""


class Claim(Suggestion):
    """A suggestion for you to measure, once, and what its plan needs."""

    actuators: list[str] = Field(description="devices to move")
    sensors: list[str] = Field(description="devices to read")
    md: dict[str, JsonValue] = Field(description="metadata for the start document of its run")
    lease_s: float = Field(description="how long the claim holds without a renewal or a document of its run")


class SuggestAnswer(Answer):
    """The new suggestions, ``proposed``."""

    suggestions: list[Suggestion]


class IngestAnswer(Answer):
    """How many points the brain ingested."""

    ingested: int


class SuggestionList(Page[Suggestion]):
    """A page of suggestions."""
