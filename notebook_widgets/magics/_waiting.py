"""Waiting, in a magic, for what must be awaited: the one synchronous face of asynchronous code, and nest-asyncio's use.

``%agent_serve make_agent()`` takes any expression, and ``make_agent`` may be an ``async def``: one that connects to
devices or asks a database, say. A magic is an ordinary function. It is called by a cell, the cell by the kernel's
event loop, and that loop cannot go on before the magic returns. The coroutine must nevertheless run on that very loop,
for the connections and locks that it uses or makes belong to it, so neither another thread nor a loop of its own will
do. Going on with a loop from inside one of its own callbacks is what nest-asyncio is for.

It exchanges asyncio's Task and ``asyncio.run`` for the whole process. So it is imported here only, and only when a
magic met a coroutine while a loop was running; whoever awaits it in the cell (``agent = await make_agent()``) does
without. Nothing else of this project waits on a running loop: panels and the service have threads with loops of their
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
    """Return what an awaitable comes to, from a function that cannot await it. In the main thread.

    Where a loop runs in this thread, it goes on meanwhile and so do its other tasks; else IPython's own loop is used,
    as for an ``await`` in a cell. Raises `UsageError` when nest-asyncio does not know the running loop's kind
    (uvloop's, say).
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
