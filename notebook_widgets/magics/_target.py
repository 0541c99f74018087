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
    """One agent to host: what it will be called, and the fields of its specification.

    ``type`` among them may be a brain, its class, or a factory.
    """

    name: str
    fields: dict[str, Any]


def target(line: Line, names: Names) -> Target:
    """Return the agent that a line describes; `UsageError` when a word of it means nothing, or not what it should."""
    fields = _thing(line.target, names)
    given = _given(line, names)
    loop = {**fields.get("loop", {}), **given.pop("loop")}
    if "guardrails" in given:
        given["guardrails"] = joined(dict(fields.get("guardrails") or {}), given["guardrails"])
    name = given.pop("name", None) or fields.pop("name", None) or name_of(line.target)
    if {"outcome", "evaluate"} & given.keys():
        fields = {key: one for key, one in fields.items() if key not in ("outcome", "evaluate")}
    return Target(name, {**fields, **given, **({"loop": loop} if loop else {})})


def installed() -> list[str]:
    """Return the names of the installed types; imports none of them."""
    return sorted({one.name for one in entry_points(group=GROUP)})


def is_file(word: str) -> bool:
    """Return whether a line's target is a service.toml."""
    return plain(word).endswith(".toml")


def _thing(word: str, names: Names) -> dict[str, Any]:
    """Return the fields that the target says by itself, its type at least."""
    if REFERENCE.fullmatch(word) or (word not in names.names and word in installed()):
        return {"type": word}
    found: Any = names.value(word, also=installed())
    if hasattr(found, "model_dump") and hasattr(found, "actuators"):  # an AgentSpec, seen without importing it
        return dict(found.model_dump(exclude_unset=True))
    if isinstance(found, Mapping):
        said: dict[str, Any] = {str(key): one for key, one in cast("Mapping[Any, Any]", found).items()}
        if "type" not in said:
            raise UsageError(
                f"{word} is a mapping without 'type'; a configuration goes with its type: "
                f"%agent_serve bayes --config {word}"
            )
        return said
    if isinstance(found, str):
        return {"type": found}
    if not isinstance(found, type) and not callable(found) and not callable(getattr(found, "ingest", None)):
        raise UsageError(
            f"{word} is of type {type(found).__name__} and no agent: one has suggest(num_points) and ingest(points)"
        )
    return {"type": found}


def _given(line: Line, names: Names) -> dict[str, Any]:
    """Return the fields that the options say."""
    found: dict[str, Any] = {"loop": {}}
    for option in SERVE:
        if option.belongs != "agent" or option.name not in line:
            continue
        words = line.given[option.name]
        match option.name:
            case "config" | "run" if option.name == "config" or plain(words[0]) not in ("first", "last"):
                found[option.name] = names.mapping(option.name, words[0])
            case "evaluate":
                found["evaluate"] = names.function("evaluate", words[0])
            case "plan":
                found["plan"] = names.plan(words[0])
            case "actuators" | "sensors":
                found[option.name] = names.devices(option.name, commas(words))
            case "bounds":
                found["guardrails"] = guardrails_of(words, names)
            case "outcome":
                fields = [names.text(one) for one in commas(words)]
                found["outcome"] = fields[0] if len(fields) == 1 else fields
            case "max-runs" | "approval":
                text = names.text(words[0])
                found["loop"] |= (
                    {"approval": text} if option.name == "approval" else {"max_runs": number("max-runs", text)}
                )
            case _:
                found[option.name] = names.text(words[0])
    return found


def number(option: str, text: str) -> int:
    """Return an option's whole number; `UsageError` when it is none."""
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"--{option} needs a whole number, not {text!r}") from None
