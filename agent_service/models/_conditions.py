"""Conditions for a measurement, as the beam or a shutter: as they are written, and their status."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from agent_service.models._base import Answer, Finite, Name, Page, Request
from agent_service.models.condition_rules import parse_condition, quoted
from agent_service.models.guardrail_rules import MAX_LENGTH

_RuleText = Annotated[
    str, Field(min_length=1, max_length=MAX_LENGTH), AfterValidator(lambda text: parse_condition(text).text)
]


def _signal(name: str) -> str:
    if not name.strip() or "`" in name:
        raise ValueError("must be the name of a signal, or the way to it, as ring.current")
    return name.strip()


class Suspender(Request):
    """A condition written as one of bluesky's suspenders."""

    kind: Literal["floor", "ceil", "bool_high", "bool_low", "band"] = Field(
        description="as SuspendFloor, SuspendCeil, SuspendBoolHigh, SuspendBoolLow, SuspendWhenOutsideBand"
    )
    signal: Annotated[Name, AfterValidator(_signal)] = Field(min_length=1, description="a signal of the startup")
    suspend: Finite | None = Field(default=None, description="of floor and ceil: the threshold")
    resume: Finite | None = Field(default=None, description="of floor and ceil: where it is met again")
    band: tuple[Finite, Finite] | None = Field(default=None, description="of band: its ends")

    @property
    def rules(self) -> tuple[str, str]:
        """The rule, and the rule for being met again."""
        name, again = quoted(self.signal), self.resume
        match self.kind:
            case "floor":
                rule, back = f"{name} >= {self.suspend}", f"{name} >= {again}"
            case "ceil":
                rule, back = f"{name} <= {self.suspend}", f"{name} <= {again}"
            case "bool_high":
                rule = back = f"{name} == 0"
            case "bool_low":
                rule = back = f"{name} != 0"
            case "band":
                low, high = self.band or (0.0, 0.0)
                rule = back = f"{low} < {name} < {high}"
        return rule, rule if again is None else back

    @model_validator(mode="after")
    def _whole(self) -> Suspender:
        given = {key for key in ("suspend", "resume", "band") if getattr(self, key) is not None}
        takes = {"floor": ["suspend", "resume"], "ceil": ["suspend", "resume"], "band": ["band"]}.get(self.kind, [])
        allowed = set(takes)
        if takes and takes[0] not in given:
            raise ValueError(f"a suspender of kind {self.kind} needs {takes[0]}")
        if strange := given - allowed:
            raise ValueError(f"a suspender of kind {self.kind} takes no {' and no '.join(sorted(strange))}")
        self._check_order()
        return self

    def _check_order(self) -> None:
        if self.band is not None and self.band[0] >= self.band[1]:
            raise ValueError("band is its lower end, then its upper one")
        if self.suspend is None or self.resume is None:
            return
        if self.kind == "floor" and self.resume < self.suspend:
            raise ValueError("resume of a floor is suspend or more, as SuspendFloor has it")
        if self.kind == "ceil" and self.resume > self.suspend:
            raise ValueError("resume of a ceil is suspend or less, as SuspendCeil has it")


class ConditionSpec(Request):
    """One of ``[conditions]``: a rule of signals; nothing is measured while it does not hold."""

    rule: _RuleText | None = Field(
        default=None,
        description="a rule of signals of the startup, by their names or the ways to them: "
        'ring_current > 100, shutter == "open"',
    )
    resume: _RuleText | None = Field(default=None, description="the rule for being met again; default: the same rule")
    suspender: Suspender | None = Field(default=None, description="the rule, written as one of bluesky's suspenders")
    settle_s: Finite = Field(
        default=10, ge=0, le=86_400, description="how long the rule must hold before it is met again, in seconds"
    )
    stale_after_s: Finite | None = Field(
        default=None,
        gt=0,
        description="after a longer loss, in seconds, waiting suggestions are withdrawn and the brain suggests anew; "
        "default: they wait as long as it takes",
    )

    @property
    def texts(self) -> tuple[str, str]:
        """The rule, and the rule for being met again."""
        if self.suspender is not None:
            return self.suspender.rules
        rule = self.rule or ""
        return rule, self.resume or rule

    @property
    def signals(self) -> list[str]:
        """The signals in its rules."""
        return list(dict.fromkeys(name for text in self.texts for name in parse_condition(text).names))

    @model_validator(mode="before")
    @classmethod
    def _short(cls, data: Any) -> Any:
        if isinstance(data, bool | int | float | list):
            message = 'must be a rule, as "ring_current > 100", or a table with rule or suspender'
            raise ValueError(message)  # noqa: TRY004 - what pydantic takes for what is wrong with a value
        return {"rule": data} if isinstance(data, str) else data

    @model_validator(mode="after")
    def _one_of(self) -> ConditionSpec:
        if (self.rule is None) == (self.suspender is None):
            raise ValueError("give rule or suspender, one of the two")
        if self.suspender is not None and self.resume is not None:
            raise ValueError("a suspender says itself from where it resumes: suspender.resume")
        return self


class ConditionState(StrEnum):
    """Whether a condition is met.

    ``silent``: a signal said nothing for a while, and nothing is measured until it does; ``settling``: its rule holds
    again, and its settle time runs.
    """

    MET = "met"
    SILENT = "silent"
    LOST = "lost"
    SETTLING = "settling"
    OFF = "off"


class SignalValue(Answer):
    """The last value of a signal."""

    signal: str
    value: float | str | None = Field(default=None, description="null: it cannot be read now")
    units: str = ""
    at: datetime | None = Field(default=None, description="when it arrived; null: not yet")
    fault: str | None = Field(default=None, description="why there is no value")


class ConditionStatus(Answer):
    """A condition of the service, and whether it is met."""

    name: str
    state: ConditionState
    text: str = Field(description="the state as text: ring_current 0.3 mA, needs > 100")
    since: datetime | None = None
    rule: str
    resume: str
    settle_s: float
    stale_after_s: float | None = None
    signals: list[SignalValue] = Field(default_factory=list[SignalValue])
    losses: int = Field(default=0, description="how often it was lost, as far as known")


class ConditionList(Page[ConditionStatus]):
    """The conditions of a service."""
