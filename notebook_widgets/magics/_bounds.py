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

    A word is ``DEVICE=LOW:HIGH`` with either end left out for no limit there, ``DEVICE=any`` for none at all; or a
    mapping, or the name of one, as ``{"x": [-5, 5]}``.
    """
    found: dict[str, Any] = {"bounds": {}, "unbounded": []}
    for word in commas(words):
        device, equals, ends = word.partition("=")
        if not equals or device.startswith("{"):
            found["bounds"] |= _mapping(word, names)
        elif (text := names.text(ends).strip()) in ("any", ":"):
            found["unbounded"].append(device.strip())
        else:
            found["bounds"][device.strip()] = _ends(word, text)
    return found


def _ends(word: str, text: str) -> list[float | None]:
    low, colon, high = text.partition(":")
    try:
        ends = [float(one) if one.strip() else None for one in (low, high)]
    except ValueError:
        ends = []
    if not colon or not ends:
        raise _no_range(word)
    return ends


def _mapping(word: str, names: Names) -> dict[str, Any]:
    try:
        found = names.mapping("bounds", word)
    except UsageError as error:
        if word.isidentifier():  # a device without its range
            raise _no_range(word) from error
        raise
    if not isinstance(found, Mapping):
        raise _no_range(word)
    return {str(name): pair for name, pair in cast("Mapping[Any, Any]", found).items()}


def _no_range(word: str) -> UsageError:
    return UsageError(f"--bounds: {word} is no DEVICE=LOW:HIGH, as in x=-5:5, x=0: or x=:5; x=any is without limits")


def joined(before: Mapping[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Return the guardrails of a specification with what a line says of its actuators."""
    told: dict[str, Any] = {"bounds": {}, "unbounded": [], **before}
    named = {*given["bounds"], *given["unbounded"]}
    bounds = {name: pair for name, pair in told["bounds"].items() if name not in given["unbounded"]}
    unbounded = [name for name in told["unbounded"] if name not in named]
    return {**told, "bounds": {**bounds, **given["bounds"]}, "unbounded": [*unbounded, *given["unbounded"]]}
