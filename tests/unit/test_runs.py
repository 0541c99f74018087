import threading

import numpy as np
import pytest
from run_documents import documents

from agent_service.documents.runs import Run


def test_pages_are_read_as_events() -> None:
    run = Run.from_documents(documents(values=()))
    page = {"descriptor": "r1-d", "seq_num": [1, 2], "time": [0, 1], "data": {"flux": [1.0, 2.0]}, "timestamps": {}}
    run = Run((*run.documents[:-1], ("event_page", page), run.documents[-1]))
    assert run.data("flux").tolist() == [1.0, 2.0]
    assert [event["seq_num"] for event in run.events()] == [1, 2]


def test_an_event_measured_again_after_a_pause_replaces_the_first() -> None:
    again = ("event", {"descriptor": "r1-d", "seq_num": 2, "data": {"flux": 5.0}})
    given = documents()
    run = Run.from_documents([*given[:-1], again, given[-1]])
    assert run.data("flux").tolist() == [1.0, 5.0]


def test_streams_are_apart() -> None:
    baseline = [
        ("descriptor", {"uid": "b", "run_start": "r1", "name": "baseline", "data_keys": {"ring": {}}}),
        ("event", {"descriptor": "b", "seq_num": 1, "data": {"ring": 300.0}}),
    ]
    given = documents()
    run = Run.from_documents([*given[:-1], *baseline, given[-1]])
    assert run.data("ring", stream="baseline").tolist() == [300.0]
    with pytest.raises(KeyError, match="has a field 'ring'; it has: flux"):
        run.data("ring")


def test_arrays_are_stacked() -> None:
    run = Run.from_documents(documents(values=(np.ones((2, 3)), np.zeros((2, 3)))))
    assert run.data("flux").shape == (2, 2, 3)


def test_events_of_different_kinds_become_one_array() -> None:
    values = (np.ones(2, dtype="uint16"), np.zeros(2, dtype="float32"))
    assert Run.from_documents(documents(values=values)).data("flux").dtype == np.asarray(values).dtype


def test_a_long_run_is_not_freed_by_who_lets_go_of_it() -> None:
    freed = threading.Event()
    thread: list[str] = []

    class Noted:
        def __del__(self) -> None:
            thread.append(threading.current_thread().name)
            freed.set()

    run = Run((("start", {"uid": "r1"}), *[("event", {"data": {"flux": Noted()}})], *[("event", {})] * 1000))
    del run
    assert freed.wait(20)
    assert thread == ["free-documents"]


def test_an_open_run_is_not_complete() -> None:
    assert not Run.from_documents(documents()[:-1]).complete
    assert not Run.from_documents([*documents()[:-1], ("stop", {})]).complete, "a catalogue shows an empty stop"
    with pytest.raises(ValueError, match="no start document"):
        Run.from_documents(documents()[1:])
