"""What is wrong in a service.toml, in the words of who wrote it: which agent, and numbers that stand in quotes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

from pydantic import BaseModel

from agent_service.errors import FieldError, texts
from agent_service.models.validation_messages import sentence

_OF_AGENT: Final = re.compile(r"agents\.(\d+)(?:\.(.*))?", re.DOTALL)


def said_of_file(wrong: Sequence[FieldError], agents: object) -> str:
    """Return one line with all that is wrong, where an agent goes by its name; ``agents`` are those of the file."""
    return sentence([FieldError(_place(error.field, agents), error.message) for error in wrong])


def _place(field: str, agents: object) -> str:
    match = _OF_AGENT.fullmatch(field)
    if match is None:
        return field
    number, inside = int(match[1]), match[2]
    there = cast("list[Any]", agents) if isinstance(agents, list) else []
    agent: Any = there[number] if number < len(there) else None
    name = cast("dict[str, Any]", agent).get("name") if isinstance(agent, dict) else getattr(agent, "name", None)
    table = f'"{texts.one_line(name, most=80)}"' if isinstance(name, str) else f"number {number + 1}"
    return f"[[agents]] {table}{f': {inside}' if inside else ''}"


def in_quotes(written: object, read: object, place: tuple[str, ...] = ()) -> Iterator[FieldError]:
    """Yield each text of a file that was read as a number, or as true or false: somebody meant something else.

    Examples
    --------
    >>> [wrong] = in_quotes({"service": {"port": "8000"}}, {"service": {"port": 8000}})
    >>> wrong.field, wrong.message
    ('service.port', 'must be a number, without quotes: write port = 8000')
    """
    if isinstance(written, Mapping):
        for key, value in cast("Mapping[str, object]", written).items():
            entry = cast("Mapping[str, object]", read).get(key) if isinstance(read, Mapping) else None
            entry = getattr(read, key, None) if isinstance(read, BaseModel) else entry
            yield from in_quotes(value, entry, (*place, key))
    elif isinstance(written, list):
        inside = cast("Sequence[object]", read) if isinstance(read, list | tuple) else ()
        for number, (value, entry) in enumerate(zip(cast("list[object]", written), inside, strict=False)):
            yield from in_quotes(value, entry, (*place, str(number)))
    elif isinstance(written, str) and isinstance(read, bool | int | float):
        what = "true or false" if isinstance(read, bool) else "a number"
        value = json.dumps(read)
        line = value if place[-1].isdigit() else f"{place[-1]} = {value}"
        yield FieldError(".".join(place), f"must be {what}, without quotes: write {line}")
