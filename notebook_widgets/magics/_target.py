"""What ``%agent_serve`` is to serve: from the line's target and options to an agent's name and fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Final, cast

from agent_service.errors import UsageError
from notebook_widgets.magics._bounds import guardrails_of, joined
from notebook_widgets.magics._namespace import REFERENCE, name_of
from notebook_widgets.magics._options import SERVE, commas, plain

if TYPE_CHECKING:
    from notebook_widgets.magics._namespace import Names
    from notebook_widgets.magics._options import Line

GROUP: Final = "agent_service.agents"


@dataclass(frozen=True, slots=True)
class Target:
    """One agent to host: its name, and the fields of its specification.

    ``type`` among them may be a brain, its class, or a factory.
    """

    name: str
    fields: dict[str, Any]


def target(line: Line, names: Names) -> Target:
    """Return the agent that a line describes; `UsageError` if a word in it means nothing, or the wrong thing."""
    fields = _thing(line.target, names)
    given = _given(line, names)
    loop = {**fields.get("loop", {}), **given.pop("loop")}
    if "guardrails" in given:
        given["guardrails"] = joined(dict(fields.get("guardrails") or {}), given["guardrails"])
    name = given.pop("name", None) or fields.pop("name", None) or name_of(line.target)
    if {"outcome", "evaluate"} & given.keys():
        fields = {key: value for key, value in fields.items() if key not in ("outcome", "evaluate")}
    return Target(name, {**fields, **given, **({"loop": loop} if loop else {})})


def installed() -> list[str]:
    """Return the names of the installed types; import none."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def is_file(word: str) -> bool:
    """Return whether a line's target is a service.toml."""
    return plain(word).endswith(".toml")


def _thing(word: str, names: Names) -> dict[str, Any]:
    """Return the fields that the target itself sets: at least its type."""
    if REFERENCE.fullmatch(word) or (word not in names.names and word in installed()):
        return {"type": word}
    value: Any = names.value(word, also=installed())
    if hasattr(value, "model_dump") and hasattr(value, "actuators"):  # an AgentSpec, seen without importing it
        return dict(value.model_dump(exclude_unset=True))
    if isinstance(value, Mapping):
        fields: dict[str, Any] = {str(key): field for key, field in cast("Mapping[Any, Any]", value).items()}
        if "type" not in fields:
            raise UsageError(
                f"{word} is a mapping without 'type'; a configuration goes with its type: "
                f"%agent_serve bayes --config {word}"
            )
        return fields
    if isinstance(value, str):
        return {"type": value}
    if getattr(value, "__module__", None) == "builtins" and not isinstance(value, type):
        raise UsageError(f"{word} is Python's own and no agent: one has suggest(num_points) and ingest(points)")
    if not isinstance(value, type) and not callable(value) and not callable(getattr(value, "ingest", None)):
        raise UsageError(
            f"{word} is of type {type(value).__name__} and no agent: one has suggest(num_points) and ingest(points)"
        )
    return {"type": value}


def _given(line: Line, names: Names) -> dict[str, Any]:
    """Return the fields that the options set."""
    given: dict[str, Any] = {"loop": {}}
    for option in SERVE:
        if option.belongs != "agent" or option.name not in line:
            continue
        words = line.given[option.name]
        match option.name:
            case "config" | "run" if option.name == "config" or plain(words[0]) not in ("first", "last"):
                given[option.name] = names.mapping(option.name, words[0])
            case "evaluate":
                given["evaluate"] = names.function("evaluate", words[0])
            case "plan":
                given["plan"] = names.plan(words[0])
            case "actuators" | "sensors":
                given[option.name] = names.devices(option.name, commas(words))
            case "bounds":
                given["guardrails"] = guardrails_of(words, names)
            case "outcome":
                fields = [names.text(word) for word in commas(words)]
                given["outcome"] = fields[0] if len(fields) == 1 else fields
            case "max-runs" | "approval":
                text = names.text(words[0])
                given["loop"] |= (
                    {"approval": text} if option.name == "approval" else {"max_runs": number("max-runs", text)}
                )
            case _:
                given[option.name] = names.text(words[0])
    return given


def number(option: str, text: str) -> int:
    """Return an option's whole number; `UsageError` if it is none."""
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"--{option} needs a whole number, not {text!r}") from None
