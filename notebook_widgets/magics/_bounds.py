"""What ``--bounds`` says: where actuators may go, whatever an agent suggests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from agent_service.errors import UsageError
from notebook_widgets.magics._options import commas

if TYPE_CHECKING:
    from notebook_widgets.magics._namespace import Names


def guardrails_of(words: list[str], names: Names) -> dict[str, Any]:
    """Return the guardrails that ``--bounds`` says, or raise `UsageError`.

    A word is ``DEVICE=LOW:HIGH``, without an end where there is no limit; ``DEVICE=any`` for no limits; or a mapping,
    or the name of one, as ``{"x": [-5, 5]}``.
    """
    guardrails: dict[str, Any] = {"bounds": {}, "unbounded": []}
    for word in commas(words):
        device, equals, ends = word.partition("=")
        if not equals or device.startswith("{"):
            guardrails["bounds"] |= _mapping(word, names)
        elif (text := names.text(ends).strip()) in ("any", ":"):
            guardrails["unbounded"].append(device.strip())
        else:
            guardrails["bounds"][device.strip()] = _ends(word, text)
    return guardrails


def _ends(word: str, text: str) -> list[float | None]:
    low, colon, high = text.partition(":")
    try:
        ends = [float(end) if end.strip() else None for end in (low, high)]
    except ValueError:
        ends = []
    if not colon or not ends:
        raise _no_range(word)
    return ends


def _mapping(word: str, names: Names) -> dict[str, Any]:
    try:
        ranges = names.mapping("bounds", word)
    except UsageError as error:
        if word.isidentifier():  # a device without its range
            raise _no_range(word) from error
        raise
    if not isinstance(ranges, Mapping):
        raise _no_range(word)
    return {str(name): pair for name, pair in cast("Mapping[Any, Any]", ranges).items()}


def _no_range(word: str) -> UsageError:
    return UsageError(f"--bounds: {word} is no DEVICE=LOW:HIGH, as in x=-5:5, x=0: or x=:5; x=any is without limits")


def joined(before: Mapping[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Return the guardrails of a specification with what a line says of its actuators."""
    guardrails: dict[str, Any] = {"bounds": {}, "unbounded": [], **before}
    named = {*given["bounds"], *given["unbounded"]}
    bounds = {name: pair for name, pair in guardrails["bounds"].items() if name not in given["unbounded"]}
    unbounded = [name for name in guardrails["unbounded"] if name not in named]
    return {**guardrails, "bounds": {**bounds, **given["bounds"]}, "unbounded": [*unbounded, *given["unbounded"]]}
