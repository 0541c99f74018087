"""What an agent's code raised, as the service tells it: one line and a traceback without the service's own frames."""

from __future__ import annotations

import traceback

from agent_service.errors import AgentFault
from agent_service.models import utf8


def fault(error: BaseException) -> AgentFault:
    """Turn what an agent raised into an `AgentFault` with its traceback, without the executor's own frames."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_globals.get("__name__", "").startswith("agent_service.executors"):
        frames = frames.tb_next
    try:
        line = one_line(error)
        text = "".join(traceback.format_exception(type(error), error, frames))
    except Exception as second:  # noqa: BLE001 - even its message may raise
        line = f"{type(error).__name__}: and its message could not be made ({type(second).__name__})"
        text = ""
    result = AgentFault(utf8(line), traceback=utf8(text))
    result.__cause__ = error
    return result


def one_line(error: BaseException) -> str:
    """Return an exception's class and message in one line."""
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
