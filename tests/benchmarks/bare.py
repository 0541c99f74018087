"""What we are measured against: the smallest FastAPI application that answers the same JSON."""

import json
import os
import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()
_answer = json.loads(os.environ.get("BARE_ANSWER", "{}"))


@app.get("/healthz")
async def healthz():
    return {"status": "ok"}


@app.get("/status")
async def status():
    return _answer


class Body(BaseModel):
    n_points: int = 1
    points: list[dict[str, float]] = []


@app.post("/call")
async def call(body: Body):
    return _answer


if __name__ == "__main__":
    config = uvicorn.Config(app, log_level="warning", access_log=False, ws="none")
    config.port = 0
    bound = config.bind_socket()
    Path(sys.argv[1]).write_text(str(bound.getsockname()[1]))
    uvicorn.Server(config).run(sockets=[bound])
