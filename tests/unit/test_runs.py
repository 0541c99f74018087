import threading
from typing import Any

import numpy as np
import pytest
from routed import RoutedAssembler

from agent_service.documents.runs import Run

Documents = list[tuple[str, dict[str, Any]]]


def documents(uid: str = "r1", values: tuple[Any, ...] = (1.0, 2.0), field: str = "flux", **start: Any) -> Documents:
    events = [
        ("event", {"uid": f"{uid}-e{n}", "descriptor": f"{uid}-d", "seq_num": n, "data": {field: value}})
        for n, value in enumerate(values, 1)
    ]
    return [
        ("start", {"uid": uid, **start}),
        ("descriptor", {"uid": f"{uid}-d", "run_start": uid, "name": "primary", "data_keys": {field: {}}}),
        *events,
        ("stop", {"uid": f"{uid}-s", "run_start": uid, "exit_status": "success"}),
    ]


def test_interleaved_runs_are_told_apart() -> None:
    first, second = documents("r1", (1.0, 2.0)), documents("r2", (3.0, 4.0))
    runs = RoutedAssembler()
    found = [run for pair in zip(first, second, strict=True) for one in pair if (run := runs.take(*one))]
    assert [run.uid for run in found] == ["r1", "r2"]
    assert [run.data("flux").tolist() for run in found] == [[1.0, 2.0], [3.0, 4.0]]
    assert all(run.complete for run in found)
    assert len(runs) == 0
    assert len(runs.routing) == 0


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


def test_documents_of_unknown_and_unwanted_runs_are_dropped() -> None:
    runs = RoutedAssembler(wanted=lambda start: start.get("agent_name") == "aligner")
    assert not [run for one in documents()[1:] if (run := runs.take(*one))]
    assert not [run for one in documents("r2") if (run := runs.take(*one))]
    assert len(runs) == 0
    assert [run.uid for one in documents("r3", agent_name="aligner") if (run := runs.take(*one))] == ["r3"]


def test_discard() -> None:
    runs = RoutedAssembler()
    *most, stop = documents()
    for one in most:
        runs.take(*one)
    runs.discard("r1")
    runs.discard("r1")
    assert runs.take(*stop) is None
    assert len(runs.routing) == 0


def test_it_is_bounded_in_runs() -> None:
    runs = RoutedAssembler(max_open_runs=2)
    for uid in ("r1", "r2", "r3"):
        runs.take(*documents(uid)[0])
    assert len(runs) == 2
    assert runs.take(*documents("r1")[-1]) is None
    assert runs.take(*documents("r3")[-1]) is not None


def test_it_is_bounded_in_documents() -> None:
    runs = RoutedAssembler(max_documents=4)
    assert not [run for one in documents(values=(1.0, 2.0, 3.0)) if (run := runs.take(*one))]
    assert len(runs) == 0
    assert [run.uid for one in documents("r3", values=(1.0,)) if (run := runs.take(*one))] == ["r3"]


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("start", {}),
        ("start", {"uid": None}),
        ("descriptor", {"run_start": "r1"}),
        ("descriptor", {"run_start": ["r1"]}),
        ("event", {"descriptor": ["r1-d"]}),
        ("event", {"descriptor": "r1-d", "data": None, "seq_num": {}}),
        ("event", {"descriptor": "r1-d"}),
        ("event_page", {"descriptor": "r1-d", "seq_num": 3}),
        ("event_page", {"descriptor": "r1-d", "seq_num": [3, 4], "data": {"flux": [1.0]}}),
        ("datum", {"resource": "x"}),
        ("stop", {}),
        ("nonsense", {}),
    ],
)
def test_an_odd_document_does_no_harm(name: str, document: dict[str, Any]) -> None:
    runs = RoutedAssembler()
    *most, stop = documents()
    for one in most:
        runs.take(*one)
    assert runs.take(name, document) is None
    run = runs.take(*stop)
    assert run is not None
    assert run.data("flux").tolist()[:2] == [1.0, 2.0]


def test_a_second_start_of_the_same_run_is_ignored() -> None:
    runs = RoutedAssembler()
    start, *most, stop = documents()
    for one in (start, *most, start):
        runs.take(*one)
    run = runs.take(*stop)
    assert run is not None
    assert len(run.events()) == 2
