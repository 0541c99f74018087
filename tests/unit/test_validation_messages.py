"""What is wrong with an input, in plain words: nothing of the library that found it."""

import re
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, get_args

import pytest
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticKnownError
from pydantic_core.core_schema import ErrorType

from agent_service.models import AgentSpec
from agent_service.models.validation_messages import field_errors, sentence, validation_errors
from agent_service.service.config import ServiceConfig


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["one", "two"] = "one"


WHOLE, NUMBER, SWITCH = "must be a whole number", "must be a number", "must be true or false"
TEXT, LIST, MAPPING = "must be a text", "must be a list", "must be a mapping of names to values"


@pytest.mark.parametrize(
    ("kind", "given", "words"),
    [
        (int, "x", WHOLE),
        (int, None, WHOLE),
        (int, 1.5, WHOLE),
        (int, "9" * 5000, "is too large a number"),
        (float, "x", NUMBER),
        (float, [], NUMBER),
        (Annotated[float, Field(allow_inf_nan=False)], float("nan"), "is not a finite number"),
        (bool, "x", SWITCH),
        (bool, [], SWITCH),
        (str, 1, TEXT),
        (str, b"\xff", "must be a text in UTF-8"),
        (Annotated[str, Field(min_length=2)], "x", "must have 2 or more characters"),
        (Annotated[str, Field(max_length=2)], "xxx", "may have at most 2 characters"),
        (Annotated[int, Field(ge=1)], 0, "must be 1 or more"),
        (Annotated[float, Field(gt=0)], 0, "must be greater than 0"),
        (Annotated[int, Field(le=65535)], 70000, "must be 65535 or less"),
        (Annotated[float, Field(lt=0.5)], 1, "must be less than 0.5"),
        (list[int], 1, LIST),
        (tuple[float, float], "x", LIST),
        (tuple[float, float], [1], "1: is missing"),
        (set[int], 1, LIST),
        (frozenset[int], 1, LIST),
        (Annotated[list[int], Field(min_length=1)], [], "must hold 1 or more, and holds 0"),
        (Annotated[list[int], Field(max_length=1)], [1, 2], "may hold up to 1, and holds 2"),
        (dict[str, int], 1, MAPPING),
        (Inner, 1, MAPPING),
        (Inner, {"kind": "three"}, "kind: must be 'one' or 'two'"),
        (Inner, {"odd": 1}, "odd: is not a known key here"),
        (None, 1, "must be left out"),
        (Path, 1, "must be a path"),
        (datetime, "x", "must be a date and time, for example 2026-11-28T12:00:00Z"),
        (datetime, [], "must be a date and time, for example 2026-11-28T12:00:00Z"),
    ],
)
def test_in_plain_words(kind, given, words):
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(kind).validate_python(given)
    assert sentence(validation_errors(caught.value)) == words


def test_a_function_of_ours_speaks_for_itself():
    with pytest.raises(ValidationError) as caught:
        ServiceConfig(source={"kind": "none"})
    assert sentence(validation_errors(caught.value)).startswith("source.kind = ")


CONTEXT = {
    "gt": 1, "ge": 1, "lt": 1, "le": 1, "multiple_of": 2, "field_type": "List", "min_length": 1, "max_length": 1,
    "actual_length": 2, "pattern": "x", "expected": "'a'", "error": "odd", "method_name": "m", "attribute": "a",
    "class": "C", "class_name": "C", "tag": "x", "expected_tags": "'a'", "discriminator": "kind", "encoding": "utf8",
    "encoding_error": "odd", "tz_expected": 1, "tz_actual": 2, "expected_schemes": "'a'", "expected_version": 4,
    "max_digits": 1, "decimal_places": 1, "whole_digits": 1,
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(get_args(ErrorType)))
def test_no_phrase_of_the_library_is_left(kind):
    for context in (CONTEXT, None):
        try:
            error = PydanticKnownError(kind, context)
            message = error.message()
        except (TypeError, ValueError, KeyError):
            continue
        found = field_errors([{"type": kind, "loc": ("x",), "msg": message, "input": 1, "ctx": context or {}}])
        assert not re.search(r"Input|should|\{|valid (?!JSON)|^Field", found[0].message), found
        return
    pytest.fail(f"no error of the type {kind} could be made")


@pytest.mark.parametrize(
    ("given", "field", "hint"),
    [
        ({"gaurdrails": {}}, "gaurdrails", "did you mean 'guardrails'?"),
        ({"guardrails": {"boundss": {}}}, "guardrails.boundss", "did you mean 'bounds' or 'unbounded'?"),
        ({"loop": {"max_run": 1}}, "loop.max_run", "did you mean 'max_runs'?"),
    ],
)
def test_a_key_that_is_misspelt(given, field, hint):
    with pytest.raises(ValidationError) as caught:
        AgentSpec.model_validate({"name": "a", "type": "sobol", "actuators": ["x"], "outcome": "y", **given})
    wrong = {one.field: one.message for one in validation_errors(caught.value, AgentSpec)}
    assert hint in wrong[field]
