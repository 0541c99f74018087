"""Types of brains, and their variables, methods, predictions and reports."""

from __future__ import annotations

from datetime import datetime

from pydantic import ConfigDict, Field, JsonValue

from agent_service.models._base import MAX_POINTS, MAX_PREDICTED, Answer, Page, Point, Request


class AgentTypeInfo(Answer):
    """An installed brain and the JSON Schema of its config."""

    name: str
    summary: str
    config_schema: dict[str, JsonValue]


class AgentTypeList(Page[AgentTypeInfo]):
    """The installed types."""

    loop_schema: dict[str, JsonValue] = Field(
        default_factory=dict[str, JsonValue], description="JSON Schema of an agent's `loop`, the same for all types"
    )


class Variable(Answer):
    """A variable of a brain, as of its last finished call."""

    name: str
    value: JsonValue
    writable: bool
    at: datetime
    problem: str | None = Field(default=None, description="why there is no value, if JSON cannot hold it")


class VariableValue(Request):
    """A new value of a variable."""

    value: JsonValue


class VariableList(Page[Variable]):
    """An agent's variables."""


class Method(Answer):
    """A method of a brain that people may call."""

    name: str
    doc: str = Field(default="", description="its docstring")
    parameters: dict[str, JsonValue] = Field(description="JSON Schema of its keyword arguments")
    replay: bool = Field(default=False, description="whether it is called again when the brain is rebuilt")


class MethodList(Page[Method]):
    """The methods that a brain declares; none before it is started."""


class MethodCall(Request):
    """Arguments of a method."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"kwargs": {"keep": 5}}, {"args": [5]}]})

    args: list[JsonValue] = Field(default_factory=list[JsonValue], max_length=MAX_POINTS)
    kwargs: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue])


class MethodAnswer(Answer):
    """What a method returned."""

    result: JsonValue


class PredictRequest(Request):
    """Ask for the brain's predictions at points."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"points": [{"x": 0.5, "y": -1.0}]}]})

    points: list[Point] = Field(min_length=1, max_length=MAX_PREDICTED, description="each with all actuators")


class Prediction(Answer):
    """A brain's predictions at points: by outcome, a mean and a standard deviation each, in the outcome's units."""

    mean: dict[str, list[float]] = Field(description="empty while the brain knows too little")
    std: dict[str, list[float]]
    acquisition: list[float] | None = Field(
        default=None, description="how much the brain wants to measure there, on a scale of its own"
    )
    n_ingests: int = Field(description="how often the brain had ingested by then")
    at: datetime


class Report(Answer):
    """A report of a brain."""

    seq: int
    at: datetime
    report: dict[str, JsonValue]


class ReportList(Page[Report]):
    """A page of reports."""
