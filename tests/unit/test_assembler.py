"""Interleaved documents become runs."""

from typing import Any

import pytest
from routed import RoutedAssembler
from run_documents import documents


def test_interleaved_runs_are_told_apart() -> None:
    first, second = documents("r1", (1.0, 2.0)), documents("r2", (3.0, 4.0))
    runs = RoutedAssembler()
    found = [run for pair in zip(first, second, strict=True) for one in pair if (run := runs.take(*one))]
    assert [run.uid for run in found] == ["r1", "r2"]
    assert [run.data("flux").tolist() for run in found] == [[1.0, 2.0], [3.0, 4.0]]
    assert all(run.complete for run in found)
    assert len(runs) == 0
    assert len(runs.routing) == 0


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
