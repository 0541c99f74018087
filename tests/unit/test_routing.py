"""Which run a document is of, as the gate tells everybody behind it."""

import pytest
from run_documents import documents

from agent_service.documents import gate
from agent_service.documents.gate import DocumentGate


def runs(routes, pairs):
    return [passed.routed.run for pair in pairs for passed in routes.put(*pair) if passed.routed]


def test_each_document_of_a_run_is_of_it_and_nothing_passes_after_its_end() -> None:
    routes = DocumentGate()
    pairs = [pair for both in zip(documents("r1"), documents("r2"), strict=True) for pair in both]
    assert runs(routes, pairs) == ["r1", "r2"] * 5
    assert len(routes) == 0
    assert runs(routes, documents("r1")) == []
    assert runs(routes, documents("r3")[1:]) == [""] * 4


@pytest.mark.parametrize(("open_runs", "run"), [(["r1"], "r1"), (["r1", "r2"], "")])
def test_a_resource_without_a_run_is_of_the_only_one_that_is_open(open_runs: list[str], run: str) -> None:
    routes = DocumentGate()
    for uid in open_runs:
        runs(routes, documents(uid)[:1])
    assert runs(routes, [("resource", {"uid": "res"})]) == [run]
    assert runs(routes, [("datum", {"datum_id": "res/0", "resource": "res"})]) == [run]


def test_a_run_whose_stop_never_came_is_forgotten_for_one_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "MAX_OPEN_RUNS", 2)
    routes = DocumentGate()
    for uid in ("r1", "r2", "r3"):
        runs(routes, documents(uid)[:1])
    assert runs(routes, documents("r1")[-1:]) == []
    assert runs(routes, documents("r3")[-1:]) == ["r3"]
