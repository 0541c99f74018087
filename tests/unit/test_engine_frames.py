"""Messages between the service and its RunEngine's process, in pieces of any size."""

import asyncio
import enum
import pickle
import struct

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from agent_service.errors import QueueHeld, UnknownDevice
from agent_service.models import QueueState, QueueStatus
from agent_service.plans.sinks.engine_process._frames import FrameProtocol, encoded
from agent_service.plans.sinks.engine_process._messages import packed, unpacked
from agent_service.protocols import PlanOrder, PlanResult


class Wire:
    """Gives the bytes of frames to a protocol, a few at a time, as a transport does."""

    def __init__(self) -> None:
        self.heard: list[list[tuple]] = []
        self.protocol = FrameProtocol(self.heard.append, lambda: None)

    def give(self, data: bytes, sizes) -> None:
        while data:
            piece, data = data[: (size := next(sizes))], data[size:]
            self.protocol.data_received(piece)


def endless(sizes):
    while True:
        yield from sizes


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([0, 10, 4000, 70_000, 400_000]), min_size=1, max_size=5), st.data())
def test_frames_arrive_whole_however_they_are_cut(lengths, data) -> None:
    images = [np.arange(length, dtype="u1") for length in lengths]
    frames = [[("document", 1, "event", {"image": image}), ("text", "é" * (len(image) // 7))] for image in images]
    sizes = data.draw(st.lists(st.integers(1, 300_000), min_size=1, max_size=20).filter(lambda found: max(found) > 999))
    wire = Wire()
    wire.give(b"".join(bytes(piece) for frame in frames for piece in encoded(frame)), endless(sizes))
    assert len(wire.heard) == len(frames)
    for heard, frame in zip(wire.heard, frames, strict=True):
        assert heard[1] == frame[1]
        assert np.array_equal(heard[0][3]["image"], frame[0][3]["image"])


def test_what_passes_between_them_comes_out_as_it_went_in() -> None:
    messages = [
        ("status", QueueStatus(kind="run_engine", state=QueueState.HELD, reason="smoke")),
        ("ended", 3, PlanResult("success", "", ("uid",))),
        ("hello", {7: PlanOrder("s", "a", {"x": 1.0}, "acquire", ("x",), ("det",))}),
        ("document", 1, "event", {"data": {"a": np.float32(1.5), "b": np.array(["x"]), "c": (1, 2), "d": {3}}}),
    ]
    wire = Wire()
    wire.give(b"".join(bytes(piece) for piece in encoded(messages)), endless([1000]))
    assert wire.heard == [messages]


def test_a_value_of_somebody_elses_class_becomes_its_text_or_number() -> None:
    class Colour(enum.Enum):
        RED = 1

    class Metres(float): ...

    wire = Wire()
    wire.give(b"".join(bytes(piece) for piece in encoded([(Colour.RED, Metres(1.5))])), endless([100]))
    assert wire.heard == [[("Colour.RED", 1.5)]]
    assert type(wire.heard[0][0][1]) is float


def test_nothing_is_imported_for_what_a_process_sends() -> None:
    body = pickle.dumps([asyncio.sleep])
    head = struct.pack("<QII", 16 + len(body), len(body), 0)
    wire = Wire()
    with pytest.raises(pickle.UnpicklingError, match="nothing that a RunEngine's process may send"):
        wire.give(head + body, endless([100]))


@pytest.mark.parametrize("error", [QueueHeld("held", legal=["resume"]), UnknownDevice("no device 'x'")])
def test_errors_travel(error) -> None:
    found = unpacked(packed(error))
    assert (type(found), found.detail, found.legal) == (type(error), error.detail, error.legal)
