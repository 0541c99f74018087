"""What brains show of themselves, and what they are made by."""

from __future__ import annotations

from datetime import datetime

from pydantic import ConfigDict, Field, JsonValue

from agent_service.models._base import MAX_POINTS, Answer, Page, Request


class AgentTypeInfo(Answer):
    """An installed brain and the JSON Schema of its config."""

    name: str
    summary: str
    config_schema: dict[str, JsonValue]


class AgentTypeList(Page[AgentTypeInfo]):
    """The installed types."""


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


class Report(Answer):
    """What a brain said of itself."""

    seq: int
    at: datetime
    report: dict[str, JsonValue]


class ReportList(Page[Report]):
    """A page of reports."""
