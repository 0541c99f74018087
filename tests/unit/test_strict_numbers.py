"""Everywhere in a service.toml and in a specification: true and false are no numbers."""

import tomllib

import pytest
from pydantic import BaseModel

from agent_service.brains import types
from agent_service.brains.allowed_modules import ANY
from agent_service.errors import InvalidInput, UsageError
from agent_service.models import AgentSpec
from agent_service.models.strict_numbers import wants_numbers
from agent_service.service.config import ServiceConfig, load

AGENT = {"name": "a", "type": "sobol", "outcome": "det"}


def numbers_of(model, path=()):
    """Every field of a model, and of those within it, that takes numbers."""
    for name, field in model.model_fields.items():
        if wants_numbers(field.annotation):
            yield (*path, name)
        elif isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from numbers_of(field.annotation, (*path, name))


def nested(path, value):
    for name in reversed(path):
        value = {name: value}
    return value


FIELDS = [path for path in numbers_of(ServiceConfig) if "model_" not in path[0]]
AGENTS_FIELDS = list(numbers_of(AgentSpec))


def test_there_are_fields_to_look_at():
    assert ("service", "port") in FIELDS
    assert ("run_engine", "seed") in FIELDS
    assert ("loop", "max_runs") in AGENTS_FIELDS
    assert ("guardrails", "bounds") in AGENTS_FIELDS


@pytest.mark.parametrize("path", FIELDS, ids=".".join)
def test_of_a_service(tmp_path, path):
    with pytest.raises(ValueError, match=f"{path[-1]}"):
        ServiceConfig(**nested(path, True))


@pytest.mark.parametrize("path", AGENTS_FIELDS, ids=".".join)
@pytest.mark.parametrize("value", [True, {"x": [False, 1]}, {"x": True}])
def test_of_an_agent(path, value):
    with pytest.raises(ValueError, match=r"not a number|must be a number|mapping|number"):
        AgentSpec(**AGENT, actuators=["x"], **nested(path, value))


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("sobol", {"bounds": {"x": [True, 2]}}),
        ("sobol", {"bounds": {"x": [0, 2]}, "seed": True}),
        ("bayes", {"bounds": {"x": [0, 2]}, "n_initial": True}),
        ("brainbox:Walker", {"step": True}),
    ],
)
def test_of_a_brain(kind, config):
    spec = AgentSpec(name="a", type=kind, config=config, actuators=["x"], outcome="det")
    with pytest.raises(InvalidInput, match="number"):
        types.resolve(kind, ANY).validate(spec)


def test_in_the_words_of_the_file(tmp_path):
    text = '[[agents]]\nname = "tune"\ntype = "sobol"\noutcome = "det"\nloop = { max_runs = true }\n'
    assert tomllib.loads(text)
    (tmp_path / "service.toml").write_text(text)
    with pytest.raises(UsageError, match=r"max_runs must be a number, not true or false"):
        load(tmp_path / "service.toml")


def test_what_is_true_or_false_stays_so(monkeypatch):
    config = ServiceConfig(service={"require_state": True}, run_engine={"process": False, "md": {"test": True}})
    assert config.service.require_state
    assert config.run_engine.process is False
    monkeypatch.setenv("AGENT_SERVICE_SERVICE__PORT", "8123")  # the environment has texts only
    assert load().service.port == 8123
