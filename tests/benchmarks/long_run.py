"""The largest callback on the event loop while a run of 100,000 documents, an image in each, becomes an outcome."""

import asyncio
import threading
import time
from asyncio.events import Handle

import numpy as np

WANTED = "no callback over 20 ms"

EVENTS = 99_997
"""With the start, the descriptor and the stop document the longest run that has an outcome."""

IMAGE = (16, 16)


class Emitter:
    """Somebody's RunEngine, as a service subscribes to it: 16 x 16 pixels out of one buffer, as fast as a camera."""

    loop = None

    def __init__(self):
        self._callback = None

    def subscribe(self, callback):
        self._callback = callback
        return 0

    def unsubscribe(self, token):
        self._callback = None

    def measure(self, uid, events):
        emit, frame, keys = self._callback, np.zeros(IMAGE, dtype="uint16"), {"dtype": "array", "shape": list(IMAGE)}
        emit("start", {"uid": uid, "time": time.time()})
        described = {"uid": f"{uid}-d", "run_start": uid, "name": "primary", "data_keys": {"camera": keys}}
        emit("descriptor", described)
        for number in range(1, events + 1):
            frame += 1
            now = time.time()
            event = {"uid": f"{uid}-{number}", "descriptor": f"{uid}-d", "seq_num": number, "time": now, "filled": {}}
            emit("event", {**event, "data": {"camera": frame}, "timestamps": {"camera": now}})
            time.sleep(0.0001)
        emit("stop", {"uid": f"{uid}-s", "run_start": uid, "time": time.time(), "exit_status": "success"})


class Callbacks:
    """How long the callbacks of this thread's event loop take, those of its tasks included."""

    def __init__(self):
        self.cpu_s, self.wall_s, self.which = 0.0, 0.0, ""

    def __enter__(self):
        self._run, thread = Handle._run, threading.get_ident()

        def run(handle):
            if threading.get_ident() != thread:
                return self._run(handle)
            began, cpu = time.perf_counter(), time.thread_time()
            result = self._run(handle)
            took_s, cpu_s = time.perf_counter() - began, time.thread_time() - cpu
            if cpu_s > self.cpu_s:
                self.cpu_s, self.which = cpu_s, repr(handle)[:300]
            self.wall_s = max(self.wall_s, took_s)
            return result

        Handle._run = run
        return self

    def __exit__(self, *error):
        Handle._run = self._run


def measure(folder):
    """Return lines to print."""
    return asyncio.run(_measured(folder))


async def _measured(folder):
    from agent_service.models import AgentSpec
    from agent_service.service.compose import compose
    from agent_service.service.config import ServiceConfig
    from agent_service.service.panel_keys import PanelKeys

    config = ServiceConfig(service={"catalog": "none", "state": folder / "state"}, sink={"kind": "claim"})
    emitter = Emitter()
    service = await compose(config, emitter, PanelKeys(), headless=False)
    await service.start()
    spec = {"type": "tests.benchmarks.brains:Listener", "executor": "thread", "actuators": [], "sensors": []}
    lines = []
    try:
        agent = await service.create(AgentSpec(name="listener", outcome="camera", listen="all", **spec))
        await service.supervisor.lives["listener"].start()
        await _run(emitter, agent, "warm", 10)
        with Callbacks() as callbacks:
            began = time.perf_counter()
            await _run(emitter, agent, "long", EVENTS)
            took_s = time.perf_counter() - began
        lines.append(
            f"{EVENTS} events in {took_s:.0f} s: the largest callback took {callbacks.cpu_s * 1e3:.1f} ms of CPU, "
            f"{callbacks.wall_s * 1e3:.1f} ms in all beside the other threads ({callbacks.which})"
        )
    finally:
        await service.stop()
    return lines


async def _run(emitter, agent, uid, events):
    await asyncio.to_thread(emitter.measure, uid, events)
    while not agent.keeper.told.knows_run(uid):
        await asyncio.sleep(0.05)
