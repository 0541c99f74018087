"""Documents as msgpack: what Bluesky's publishers send is read, and nothing that was pickled is ever loaded."""

import contextlib
import datetime as dt
import os
import pickle

import msgpack
import msgpack_numpy
import numpy as np
import pytest
from hypothesis import given, strategies as st

from agent_service.documents.packing import Unreadable, document, pack, unpack


class Evil:
    """Makes a folder wherever it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_arrays_and_numbers_arrive_as_they_were() -> None:
    sent = {
        "image": np.arange(12, dtype="<u2").reshape(3, 4),
        "number": np.float32(1.5),
        "complex": 1 + 2j,
        "inside": [{"flags": np.array([True, False])}, (1, 2)],
        "names": np.array(["a", "b"]),
        "structured": np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
        "objects": np.array([1, "a", None], dtype=object),
        "set": {2, 1},
    }
    found = unpack(pack(sent))
    assert found["image"].dtype == sent["image"].dtype
    assert found["image"].tolist() == sent["image"].tolist()
    assert (found["number"], found["complex"]) == (1.5, 1 + 2j)
    assert found["inside"][0]["flags"].tolist() == [True, False]
    assert found["inside"][1] == [1, 2]
    assert found["names"].tolist() == ["a", "b"]
    assert found["structured"] == [[1, 2.0]] or found["structured"] == [(1, 2.0)]
    assert (found["objects"], found["set"]) == ([1, "a", None], [1, 2])


def test_what_msgpack_has_no_word_for_arrives_as_what_comes_nearest() -> None:
    """A publisher that raises would end the run."""
    sent = {
        "time": dt.datetime(2026, 1, 2, 3, 4, tzinfo=dt.UTC),
        "numpy's": np.datetime64("2026-01-02T03:04"),
        "span": np.timedelta64(3, "s"),
        "times": np.array(["2026-01-02", "NaT"], dtype="M8[D]"),
        "file": os.fsdecode(b"scan\x80.h5"),
        "large": [2**64 - 1, 2**64],
    }
    found = unpack(pack(sent))
    assert found["time"] == "2026-01-02 03:04:00+00:00"
    assert (found["numpy's"], found["file"]) == ("2026-01-02T03:04", "scan\\udc80.h5")
    assert (found["times"], found["span"]) == (["2026-01-02", "NaT"], "3 seconds")
    assert found["large"] == [2**64 - 1, str(2**64)]


def test_what_others_write_of_times_and_odd_texts_is_read() -> None:
    """bluesky-kafka's own serializer, or a publisher in another language."""
    time = dt.datetime(2026, 1, 2, 3, 4, tzinfo=dt.UTC)
    assert unpack(msgpack.packb({"time": time}, datetime=True)) == {"time": time}
    assert unpack(msgpack.packb(["scan\udc80"], unicode_errors="surrogateescape")) == ["scan\\x80"]


def test_what_msgpack_numpy_writes_is_read() -> None:
    sent = {"image": np.ones((2, 2)), "scalar": np.int64(3)}
    found = unpack(msgpack.packb(sent, default=msgpack_numpy.encode))
    assert (found["image"].tolist(), found["scalar"]) == ([[1.0, 1.0], [1.0, 1.0]], 3)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_refused_and_does_nothing(tmp_path, protocol) -> None:
    with pytest.raises(Unreadable) as refused:
        unpack(pickle.dumps({"uid": Evil(tmp_path / "made")}, protocol))
    assert protocol < 2 or "agent_service.plans.publish" in str(refused.value)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("kind", [b"O", "O", b"", b"V"])
@pytest.mark.parametrize("type_", ["|O", [["a", "|O"]], "<f8"])
def test_a_pickle_within_an_array_is_refused_and_does_nothing(tmp_path, kind, type_) -> None:
    data = pickle.dumps(Evil(tmp_path / "made"))
    array = {b"nd": True, b"type": type_, b"kind": kind, b"shape": [1], b"data": data}
    body = msgpack.packb({"uid": "a", "data": array})
    with contextlib.suppress(Unreadable):
        unpack(body)
    assert not (tmp_path / "made").exists()


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body) -> None:
    with contextlib.suppress(Unreadable):  # and nothing else
        document("event", unpack(body))


@pytest.mark.parametrize("name", ["", "stat", None, 3])
def test_what_is_no_document_is_refused(name) -> None:
    with pytest.raises(Unreadable, match="no Bluesky document"):
        document(name, {})
