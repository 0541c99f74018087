"""What went wrong with an agent, as the service tells it: one line and a traceback without the service's own frames.

Whatever an executor meets is an `AgentFault`: what the agent's code raised (`fault`), and what befell the executor
itself on the way (`as_faults`): a broken connection, no descriptor left, no thread, no process.
"""

from __future__ import annotations

import contextlib
import traceback
from typing import TYPE_CHECKING

from agent_service.errors import AgentFault, BackendUnavailable, ServiceError, texts

if TYPE_CHECKING:
    from collections.abc import Generator


@contextlib.contextmanager
def as_faults(name: str) -> Generator[None]:
    """Let no other error of an executor out than those that `protocols.Executor` and `protocols.BrainHandle` name.

    Parameters
    ----------
    name
        The agent's name, for the message.

    Raises
    ------
    AgentFault
        For whatever is no `ServiceError`, and when there is nothing to host the agent in; it counts as ``died``.
    """
    try:
        yield
    except BackendUnavailable as error:
        raise AgentFault(f"agent {name!r} could not be hosted: {error.detail}", died=True) from error
    except ServiceError:
        raise
    except Exception as error:  # whatever the system raises
        raise AgentFault(f"the service lost agent {name!r}: {one_line(error)}", died=True) from error


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
    result = AgentFault(line, traceback=text)
    result.__cause__ = error
    return result


def one_line(error: BaseException) -> str:
    """Return an exception's class and message in one line, cut where it is long."""
    said = texts.one_line(str(error))
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
