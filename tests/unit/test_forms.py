"""Forms: fields from JSON Schema, what was filled in back into a configuration, messages back to their fields."""

import pytest
from pydantic import BaseModel, Field

from agent_service.brains import types
from agent_service.errors import FieldError, InvalidInput
from agent_service.models import AgentSpec, AgentStatus, utcnow
from notebook_widgets.panels import forms


def status(config, **spec):
    made = AgentSpec(
        name="a", type="bayes", config=config, actuators=["x", "motor.y"], sensors=["s"], outcome="s", **spec
    )
    return AgentStatus(
        name="a", state="created", type="bayes", executor="thread", config=config, created_at=utcnow(), spec=made
    )


def form(config, schema=None, **spec):
    found = types.resolve("bayes").schema() if schema is None else schema
    return forms.agent_form(status(config, **spec), found)


def by_path(groups):
    return {field["path"]: field for group in groups for field in group["fields"]}


BOUNDS = {"bounds": {"x": [-1, 2]}}


def test_the_fields_of_a_real_brain():
    found = by_path(form(BOUNDS))
    assert found["config.bounds.x"]["kind"] == "range"
    assert found["config.bounds.x"]["value"] == [-1, 2]
    assert found["config.bounds.motor.y"]["value"] is None  # an actuator that has no bounds yet
    assert found["config.bounds.motor.y"]["keys"] == ["bounds", "motor.y"]
    assert found["config.maximize"]["kind"] == "boolean"
    assert found["config.maximize"]["value"] is True  # the default
    assert (found["config.objective"]["kind"], found["config.objective"]["nullable"]) == ("text", True)
    assert (found["config.xi"]["minimum"], found["config.xi"]["maximum"]) == (0, 10)
    assert found["loop.approval"]["choices"] == ["auto", "required"]
    assert found["guardrails.bounds.x"]["kind"] == "range"


def test_a_type_that_the_service_does_not_list_shows_what_it_is_configured_with():
    found = by_path(form({"step": 1.5, "on": False, "label": "a", "table": [1, 2]}, schema={}))
    kinds = {path: field["kind"] for path, field in found.items() if path.startswith("config")}
    assert kinds == {
        "config.step": "number",
        "config.on": "boolean",
        "config.label": "text",
        "config.table": "json",
    }
    assert found["config.table"]["value"] == "[1, 2]"


def test_references_nested_models_and_choices():
    class Inner(BaseModel):
        depth: int = 3

    class Config(BaseModel):
        inner: Inner = Inner()
        mode: str | None = Field(default="slow", json_schema_extra={"enum": ["slow", "fast"]})

    found = {
        field["path"]: field for field in forms.fields(Config.model_json_schema(), {"inner": {"depth": 5}}, "config")
    }
    assert found["config.inner.depth"]["value"] == 5
    assert found["config.mode"]["kind"] == "choice"


def test_what_is_filled_in_becomes_a_configuration():
    config, loop, guardrails = form(BOUNDS)
    filled = {
        "config.bounds.x": ["-3", "4.5"],
        "config.bounds.motor.y": [0, 1],
        "config.n_initial": "12",
        "config.objective": None,
        "config.xi": None,
        "guardrails.bounds.x": ["0", "1"],
        "loop.max_runs": None,
    }
    assert forms.assemble(config, filled, BOUNDS) == {
        "bounds": {"x": [-3.0, 4.5], "motor.y": [0.0, 1.0]},
        "n_initial": 12,
        "objective": None,
    }
    assert forms.assemble(guardrails, filled, {"bounds": {}}) == {"bounds": {"x": [0.0, 1.0]}}
    assert forms.assemble(loop, filled, {"max_runs": 3, "n_points": 2}) == {"max_runs": None, "n_points": 2}


def test_an_emptied_range_is_taken_out_and_the_present_configuration_is_not_touched():
    _, _, guardrails = form(BOUNDS, guardrails={"bounds": {"x": [0, 1]}})
    present = {"bounds": {"x": [0.0, 1.0]}}
    assert forms.assemble(guardrails, {"guardrails.bounds.x": None}, present) == {"bounds": {}}
    assert present == {"bounds": {"x": [0.0, 1.0]}}


@pytest.mark.parametrize(
    ("filled", "bounds"),
    [(["", "5"], [None, 5.0]), (["-1", ""], [-1.0, None]), (["-1", "5"], [-1.0, 5.0])],
)
def test_the_allowed_region_may_be_open_at_one_end(filled, bounds):
    _, _, guardrails = form(BOUNDS, guardrails={"bounds": {"x": [None, 5]}})
    assert guardrails["fields"][0]["value"] == [None, 5.0]
    assert forms.assemble(guardrails, {"guardrails.bounds.x": filled}, {"bounds": {}}) == {"bounds": {"x": bounds}}


@pytest.mark.parametrize(("value", "said"), [(["1", ""], "both ends"), (["1", "two"], "no number")])
def test_a_range_that_cannot_be_read(value, said):
    config, *_ = form(BOUNDS)
    with pytest.raises(InvalidInput, match=said) as wrong:
        forms.assemble(config, {"config.bounds.x": value}, BOUNDS)
    assert [one.field for one in wrong.value.errors] == ["config.bounds.x"]


def test_json_that_cannot_be_read():
    (config, *_) = form({"table": [1]}, schema={})
    with pytest.raises(InvalidInput, match="no JSON"):
        forms.assemble(config, {"config.table": "[1,"}, {"table": [1]})


def test_messages_find_their_field():
    groups = form(BOUNDS)
    errors = [
        FieldError("config.bounds.x.1", "too high"),
        FieldError("config.bounds.x.0", "too low"),
        FieldError("config.bounds", "names nothing"),
        FieldError("loop.max_runs", "too few"),
        FieldError("config", "does not fit"),
        FieldError("elsewhere", "odd"),
    ]
    found = forms.messages(errors, groups)
    assert found["config.bounds.x"] == "too high; too low; names nothing"
    assert found["loop.max_runs"] == "too few"
    assert found[""] == "elsewhere: odd"
