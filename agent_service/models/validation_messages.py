"""The words for what is wrong with a value: what pydantic refused, as people are told."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from agent_service.errors import MAX_ERRORS, MAX_FIELD, FieldError, texts
from agent_service.models.spelling import near, near_key, place_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import (
        BaseModel,
        ValidationError,
    )
    from pydantic_core import ErrorDetails


_SHOULD: Final = re.compile(r"^[A-Z][\w ]* should ")

_WHOLE: Final = "must be a whole number"
_NUMBER: Final = "must be a number"
_SWITCH: Final = "must be true or false"
_TEXT: Final = "must be a text"
_LIST: Final = "must be a list"
_MAPPING: Final = "must be a mapping of names to values"
_TIME: Final = "must be a date and time, for example 2026-11-28T12:00:00Z"
_UNKNOWN: Final = "is not a known key here"
_MISSING: Final = "is missing"

_DETAIL: Final = {
    "extra_forbidden": _UNKNOWN,
    "unexpected_keyword_argument": _UNKNOWN,
    "missing": _MISSING,
    "missing_argument": _MISSING,
    "missing_keyword_only_argument": _MISSING,
    "missing_positional_only_argument": _MISSING,
    "unexpected_positional_argument": "is one argument too many",
    "multiple_argument_values": "is given twice",
    "none_required": "must be left out",
    "string_type": _TEXT,
    "string_sub_type": _TEXT,
    "string_unicode": "must be a text in UTF-8",
    "string_too_short": "must have {min_length} or more characters",
    "string_too_long": "may have at most {max_length} characters",
    "bool_type": _SWITCH,
    "bool_parsing": _SWITCH,
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_from_float": _WHOLE,
    "int_parsing_size": "is too large a number",
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": "is not a finite number",
    "greater_than": "must be greater than {gt:g}",
    "greater_than_equal": "must be {ge:g} or more",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be {le:g} or less",
    "multiple_of": "must be a multiple of {multiple_of:g}",
    "list_type": _LIST,
    "tuple_type": _LIST,
    "set_type": _LIST,
    "frozen_set_type": _LIST,
    "iterable_type": _LIST,
    "arguments_type": "must be a list or a mapping of arguments",
    "too_short": "must hold {min_length} or more, and holds {actual_length}",
    "too_long": "may hold up to {max_length}, and holds {actual_length}",
    "dict_type": _MAPPING,
    "mapping_type": _MAPPING,
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
    "dataclass_type": _MAPPING,
    "invalid_key": "has a key that is no text",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "union_tag_not_found": "does not say its kind",
    "path_type": "must be a path",
    "json_invalid": "is not valid JSON",
    "json_type": "must be JSON",
    "datetime_type": _TIME,
    "datetime_parsing": _TIME,
    "datetime_object_invalid": _TIME,
    "datetime_from_date_parsing": _TIME,
    "recursion_loop": "holds itself",
    "frozen_field": "cannot be changed",
}
"""What is said of each kind of error; `_words` puts the others plainly."""

_PATTERNS: Final = (
    ("^https?://", "must begin with http:// or https://, as http://127.0.0.1:8000"),
    ("^(tcp://", "must be an address of 0MQ, as tcp://127.0.0.1:60615"),
    ("^[^/", "must be the name of a machine alone, without a scheme or a path"),
    ("^[^ ]", "must hold no space"),
    ("^\\S", "must be a text without spaces, and not empty"),
    ("\\S", "must be a name, and not blank"),
    ("", "may hold up to 64 letters, digits, '_', '.' and '-', and begins with a letter or digit"),
)
"""What is said where a pattern that begins so is not met; the last is that of names."""


def _words(error: ErrorDetails) -> str:
    detail = _DETAIL.get(error["type"])
    if error["type"] == "string_pattern_mismatch":
        pattern = str(error.get("ctx", {}).get("pattern"))
        return next(words for begin, words in _PATTERNS if pattern.startswith(begin))
    if error["type"] == "union_tag_invalid":
        given = error.get("ctx", {})
        kinds = re.findall(r"'([^']*)'", str(given.get("expected_tags")))
        there = f"the kinds are {given.get('expected_tags')}"
        return f"is of no known kind; {near(texts.one_line(str(given.get('tag'))), kinds)}{there}"
    if detail is not None:
        return detail.format_map(error.get("ctx", {}))
    if error["type"] == "value_error":  # ours
        return error["msg"].removeprefix("Value error, ")
    return re.sub(r"\bvalid ", "", _SHOULD.sub("must ", error["msg"]).removeprefix("Input "))


def field_errors(
    errors: Sequence[ErrorDetails], *, drop: int = 0, model: type[BaseModel] | None = None
) -> list[FieldError]:
    """Turn pydantic's errors into ours: a dotted path and a message, without the input.

    ``drop`` leading parts of each location are left out (FastAPI puts ``body`` there). A key that ``model``, which
    refused the input, does not know is answered with one that is near.
    """
    wrong: list[FieldError] = []
    for error in errors[:MAX_ERRORS]:
        place = error["loc"][drop:] if model is None else place_of(model, error["loc"][drop:])
        path = ".".join(texts.cut(str(part), most=MAX_FIELD) for part in place)
        message = _words(error)
        if error["type"] == "extra_forbidden" and model is not None and (hint := near_key(model, error["loc"][drop:])):
            message = f"{message}; {hint}"
        wrong.append(FieldError(path, message))
    return wrong


def validation_errors(error: ValidationError, model: type[BaseModel] | None = None) -> list[FieldError]:
    """Return what a model of ours refused, as `field_errors` has it."""
    return field_errors(error.errors(include_url=False, include_input=False), model=model)


def sentence(wrong: Sequence[FieldError]) -> str:
    """Put errors of fields into one line; an error of the whole input has no field to name."""
    return "; ".join(f"{error.field}: {error.message}" if error.field else error.message for error in wrong)
