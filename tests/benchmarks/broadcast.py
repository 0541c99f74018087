"""What `streams` measures: a server whose events carry the time at which they happened; the service's, or a bare one.

Run as ``python -m tests.benchmarks.broadcast PORT_FILE RATE ours|bare FOLDER``.
"""

import asyncio
import contextlib
import sys
import time
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from agent_service.models import EventKind
from agent_service.server.app import create_app
from agent_service.service.config import ServiceConfig

DATA = {"level": "info", "message": "x" * 120}


async def publish(put, rate):
    """Call ``put`` with the data of an event, ``rate`` times a second; what could not be in time follows at once."""
    due = time.perf_counter()
    while True:
        put({**DATA, "at": time.time()})
        due += 1 / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))


def bare(rate):
    """Return the smallest FastAPI application that tells all who listen the same: each event encoded once."""
    queues = set()

    def put(data):
        event = f'event: log\ndata: {{"data":{{"at":{data["at"]!r},"message":"{data["message"]}"}}}}\n\n'.encode()
        for queue in queues:
            queue.put_nowait(event)

    async def told():
        queue = asyncio.Queue()
        queues.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            queues.discard(queue)

    @contextlib.asynccontextmanager
    async def lifespan(app):
        task = asyncio.create_task(publish(put, rate))
        yield
        task.cancel()

    app = FastAPI(lifespan=lifespan)

    @app.get("/api/v1/events")
    async def events():
        return StreamingResponse(told(), media_type="text/event-stream")

    return app


def ours(rate, folder):
    """Return the service, which tells transient events as often."""
    section = {"catalog": "none", "state": folder / "state"}
    app = create_app(ServiceConfig(service=section, source={"kind": "none"}, sink={"kind": "claim"}))
    begin = app.router.lifespan_context

    @contextlib.asynccontextmanager
    async def lifespan(app):
        async with begin(app):
            journal = app.state.service.journal
            task = asyncio.create_task(publish(lambda data: journal.publish(EventKind.LOG, None, data), rate))
            yield
            task.cancel()

    app.router.lifespan_context = lifespan
    return app


if __name__ == "__main__":
    port_file, rate, which, folder = Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
    app = bare(rate) if which == "bare" else ours(rate, folder)
    config = uvicorn.Config(app, log_level="warning", access_log=False, ws="none", timeout_graceful_shutdown=1)
    config.port = 0
    bound = config.bind_socket()
    port_file.write_text(str(bound.getsockname()[1]))
    uvicorn.Server(config).run(sockets=[bound])
