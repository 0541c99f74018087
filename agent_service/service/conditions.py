"""The signals that ``[conditions]`` names, looked for before anything relies on them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agent_service.errors import FieldError, ServiceError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent_service.protocols import Signals
    from agent_service.service.config import ServiceConfig


def wrong_signals(config: ServiceConfig, find: Callable[[str], object] | None) -> list[FieldError]:
    """Return what is wrong with the signals of the conditions; None for ``find``: nobody can look for them now."""
    if find is None:
        return []
    wrong: list[FieldError] = []
    for name, spec in config.conditions.items():
        for signal in spec.signals:
            try:
                find(signal)
            except ServiceError as error:
                wrong.append(FieldError(f"conditions.{name}", error.detail + _about_text(spec.texts[0], signal)))
    return wrong


def _about_text(rule: str, signal: str) -> str:
    """Return a hint where a rule compares with a word that is no signal: perhaps a text was meant."""
    left, sign, word = re.split(r"(==|!=)", rule, maxsplit=1) if re.search(r"==|!=", rule) else ("", "", "")
    return f'; a text stands in quotes: {left.strip()} {sign} "{signal}"' if word.strip() == signal else ""


def no_signals(config: ServiceConfig) -> list[FieldError]:
    """Return what is wrong where conditions are named, and their signals are nowhere that this process could read."""
    if not config.conditions or config.sink.own_engine or config.run_engine.startup is not None:
        return []
    advice = "name the module that makes them as run_engine.startup"
    return [FieldError("conditions", f"with sink {config.sink.kind} nothing here has signals; {advice}")]


def check_signals(config: ServiceConfig, signals: Signals | None) -> None:
    """Raise `UsageError` unless there are the signals that the conditions name; None: what has them is not yet made."""
    wrong = no_signals(config) or wrong_signals(config, None if signals is None else signals.check)
    if wrong:
        raise UsageError("; ".join(f"{error.field}: {error.message}" for error in wrong), errors=wrong)
