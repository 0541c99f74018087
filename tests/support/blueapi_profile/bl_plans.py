"""The plans of the test's blueapi: those of the sink suite that make sense there, typed as it asks for it."""

import json
import os
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
from bluesky.protocols import Movable, Readable
from bluesky.utils import MsgGenerator

from agent_service.plans.blueapi import acquire

Points = list[dict[str, float]]


def raises(suggestions: Points, actuators: list[Movable], sensors: list[Readable], md: dict[str, Any]) -> MsgGenerator:
    yield from bps.null()
    raise ValueError("the shutter is closed,\nsays the plan")


def says_fail(
    suggestions: Points, actuators: list[Movable], sensors: list[Readable], md: dict[str, Any]
) -> MsgGenerator:
    yield from bps.open_run(md=md)
    yield from bps.close_run(exit_status="fail", reason="the sample is gone")


def two_runs(
    suggestions: Points, actuators: list[Movable], sensors: list[Readable], md: dict[str, Any]
) -> MsgGenerator:
    yield from bp.count(sensors, md=md)
    yield from bp.count(sensors, md=md)


def remembers(
    suggestions: Points, actuators: list[Movable], sensors: list[Readable], md: dict[str, Any]
) -> MsgGenerator:
    yield from bp.count(sensors, md=md)


def waits(suggestions: Points, actuators: list[Movable], sensors: list[Readable], md: dict[str, Any]) -> MsgGenerator:
    """A run of many checkpoints that goes on until there is a file of the suggestion's name where the test wants it."""
    go = Path(md["go"])

    @bpp.run_decorator(md=md)
    def inner() -> MsgGenerator:
        while not go.exists():
            yield from bps.checkpoint()
            yield from bps.sleep(0.01)
        yield from bps.trigger_and_read([*sensors, *actuators])

    yield from inner()


def persons_scan(seconds: float) -> MsgGenerator:
    """What a person does at the beamline meanwhile."""

    @bpp.run_decorator(md={"purpose": "a person's"})
    def inner() -> MsgGenerator:
        for _ in range(int(seconds * 100)):
            yield from bps.checkpoint()
            yield from bps.sleep(0.01)

    yield from inner()


def recorded(
    suggestions: Points, actuators: list[Movable], sensors: list[Readable], md: dict[str, Any] | None = None
) -> MsgGenerator:
    """Do what ``acquire`` does; each document is in the file of the environment before anybody else hears of it."""
    file = Path(os.environ["DOCUMENTS"])

    def write(name: str, document: dict[str, Any]) -> None:
        with file.open("a") as lines:
            lines.write(json.dumps([name, document], default=float) + "\n")

    return (yield from bpp.subs_wrapper(acquire(suggestions, actuators, sensors, md), write))
