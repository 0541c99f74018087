"""What brains show of themselves, and what they are made by."""

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
    """What a brain shows of itself, as of its last finished call."""

    name: str
    value: JsonValue
    writable: bool
    at: datetime
    problem: str | None = Field(default=None, description="why there is no value, when it is one that JSON cannot hold")


class VariableValue(Request):
    """A new value of a variable."""

    value: JsonValue


class VariableList(Page[Variable]):
    """An agent's variables."""


class Method(Answer):
    """A method that a brain lets people call."""

    name: str
    doc: str = Field(default="", description="its docstring")
    parameters: dict[str, JsonValue] = Field(description="JSON Schema of its keyword arguments")
    replay: bool = Field(default=False, description="whether it is called again when the brain is built anew")


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
    """Points to be told what the brain believes of them."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"points": [{"x": 0.5, "y": -1.0}]}]})

    points: list[Point] = Field(min_length=1, max_length=MAX_PREDICTED, description="each with all actuators")


class Prediction(Answer):
    """What a brain believes of points: a mean and a standard deviation for each, by outcome, in the outcome's units."""

    mean: dict[str, list[float]] = Field(description="empty while the brain knows too little to say")
    std: dict[str, list[float]]
    acquisition: list[float] | None = Field(
        default=None, description="what measuring there is worth to the brain, in a measure of its own"
    )
    n_ingests: int = Field(description="how often the brain had been told outcomes by then")
    at: datetime


class Report(Answer):
    """What a brain said of itself."""

    seq: int
    at: datetime
    report: dict[str, JsonValue]


class ReportList(Page[Report]):
    """A page of reports."""
