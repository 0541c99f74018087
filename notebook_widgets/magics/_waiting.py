"""Waiting, in a magic, for an awaitable: the only place that uses nest-asyncio.

``%agent_serve make_agent()`` takes any expression, and ``make_agent`` may be an ``async def``: for example one that
connects to devices or asks a database. A magic is an ordinary function. A cell calls it, the kernel's event loop runs
the cell, and that loop cannot go on before the magic returns. But the coroutine must run on that loop, to which the
connections and locks that it uses or makes belong; neither another thread nor another loop can run it. nest-asyncio
runs a loop from inside one of its own callbacks.

It replaces asyncio's Task and ``asyncio.run`` for the whole process. So it is imported only here, and only when a magic
meets a coroutine while a loop runs. If the cell awaits the coroutine (``agent = await make_agent()``), it is not
needed. Nothing else of this project waits on a running loop: panels and the service have threads with loops of their
own, and `agent_service.Client` blocks without one.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from agent_service.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable

T = TypeVar("T")


def waited(awaitable: Awaitable[T]) -> T:
    """Return the result of an awaitable, from a function that cannot await it. In the main thread.

    If a loop runs in this thread, it goes on meanwhile, with its other tasks; else IPython's own loop is used, as for
    an ``await`` in a cell. Raises `UsageError` if nest-asyncio does not support the running loop (uvloop's, say).
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        from IPython.core.async_helpers import get_asyncio_loop  # noqa: PLC0415 - a kernel never comes here

        return get_asyncio_loop().run_until_complete(_coroutine(awaitable))
    import nest_asyncio  # noqa: PLC0415 - changes the whole process: only for those who need it

    nested: Any = nest_asyncio
    try:
        nested.apply(loop)
    except ValueError:
        close = getattr(awaitable, "close", None)
        if close is not None:
            close()
        raise UsageError(
            f"this kernel's event loop ({type(loop).__module__}) cannot wait inside a magic; await it in the cell "
            "first: agent = await ..., then %agent_serve agent"
        ) from None
    return loop.run_until_complete(_coroutine(awaitable))


async def _coroutine(awaitable: Awaitable[T]) -> T:
    return await awaitable
