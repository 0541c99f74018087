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
from agent_service.plans.sinks.engine_process._frames import BrokenFrames, FrameProtocol, encoded
from agent_service.plans.sinks.engine_process._messages import packed, unpacked
from agent_service.protocols import PlanOrder, PlanResult


class Wire:
    """Gives the bytes of frames to a protocol, a few at a time, as a transport does."""

    def __init__(self) -> None:
        self.heard: list[tuple] = []
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
    sent = [message for frame in frames for message in frame]
    assert len(wire.heard) == len(sent)
    assert wire.heard[1::2] == sent[1::2]
    for heard, frame in zip(wire.heard[::2], frames, strict=True):
        assert np.array_equal(heard[3]["image"], frame[0][3]["image"])


def test_what_passes_between_them_comes_out_as_it_went_in() -> None:
    messages = [
        ("status", QueueStatus(kind="run_engine", state=QueueState.HELD, reason="smoke")),
        ("ended", 3, PlanResult("success", "", ("uid",))),
        ("hello", {7: PlanOrder("s", "a", {"x": 1.0}, "acquire", ("x",), ("det",))}),
        ("document", 1, "event", {"data": {"a": np.float32(1.5), "b": np.array(["x"]), "c": (1, 2), "d": {3}}}),
    ]
    wire = Wire()
    wire.give(b"".join(bytes(piece) for piece in encoded(messages)), endless([1000]))
    assert wire.heard == messages


def test_a_value_of_somebody_elses_class_becomes_its_text_or_number() -> None:
    class Colour(enum.Enum):
        RED = 1

    class Metres(float): ...

    wire = Wire()
    wire.give(b"".join(bytes(piece) for piece in encoded([(Colour.RED, Metres(1.5))])), endless([100]))
    assert wire.heard == [("Colour.RED", 1.5)]
    assert type(wire.heard[0][1]) is float


def framed(body: bytes, count: int = 0) -> bytes:
    """Return a frame around any bytes."""
    return struct.pack("<QII", 16 + len(body), len(body), count) + body


def by_name(module: str, name: str) -> bytes:
    """Return a pickle that loads a thing by its name."""
    return b"\x80\x04" + b"".join(b"\x8c" + bytes([len(text)]) + text.encode() for text in (module, name)) + b"\x93."


BEHIND = [("text", "behind")]


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (pickle.dumps([asyncio.sleep]), "asyncio.tasks.sleep"),
        (by_name("agent_service.plans.sinks.engine_process._child", "os.system"), "_child.os.system"),
        (by_name("numpy", "ndarray.tolist"), "numpy.ndarray.tolist"),
        (by_name("builtins", "str.join"), "builtins.str.join"),
    ],
)
def test_nothing_is_imported_for_what_a_process_sends(body, name, caplog) -> None:
    wire = Wire()
    wire.give(framed(body) + b"".join(bytes(piece) for piece in encoded(BEHIND)), endless([100]))
    assert wire.heard == BEHIND
    assert f"{name} is nothing that a RunEngine's process may send" in caplog.text


@pytest.mark.parametrize(("body", "count"), [(b"no pickle", 0), (b"", 0), (b"short", 9), (pickle.dumps(3), 0)])
def test_a_frame_that_cannot_be_read_does_not_keep_those_behind_it(body, count, caplog) -> None:
    wire = Wire()
    wire.give(framed(body, count) + b"".join(bytes(piece) for piece in encoded(BEHIND)), endless([7]))
    assert wire.heard == BEHIND
    assert f"a frame of {16 + len(body)} bytes could not be read" in caplog.text


def test_a_message_that_its_hearer_fails_on_does_not_keep_those_behind_it(caplog) -> None:
    heard = []

    def hear(message):
        heard.append(message)
        raise LookupError(message[0])

    messages = [("first", 1), ("second", 2)]
    FrameProtocol(hear, lambda: None).data_received(b"".join(bytes(piece) for piece in encoded(messages)))
    assert heard == messages
    assert "a message could not be taken: ('first', 1)" in caplog.text


@pytest.mark.parametrize("whole", [0, 1, 15])
def test_a_head_that_is_none_is_refused(whole) -> None:
    with pytest.raises(BrokenFrames, match=f"says that it has {whole} bytes, and its head alone has 16"):
        Wire().give(struct.pack("<QII", whole, 0, 0) + b"more", endless([100]))


def test_a_value_of_a_class_inside_another_becomes_its_text() -> None:
    wire = Wire()
    wire.give(b"".join(bytes(piece) for piece in encoded([("x", Guest.Inner())])), endless([100]))
    assert wire.heard == [("x", "inside")]


class Guest:
    class Inner:
        def __str__(self) -> str:
            return "inside"


Guest.__module__ = Guest.Inner.__module__ = "agent_service.guest"  # ours, and yet it is not to be found by its name


@pytest.mark.parametrize("error", [QueueHeld("held", legal=["resume"]), UnknownDevice("no device 'x'")])
def test_errors_travel(error) -> None:
    found = unpacked(packed(error))
    assert (type(found), found.detail, found.legal) == (type(error), error.detail, error.legal)
