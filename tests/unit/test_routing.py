"""Which run a document is of."""

import pytest
from run_documents import documents

from agent_service.documents import routing
from agent_service.documents.routing import Routing


def test_each_document_of_a_run_is_of_it_and_nothing_is_remembered_after_its_end() -> None:
    routes = Routing()
    pairs = [pair for both in zip(documents("r1"), documents("r2"), strict=True) for pair in both]
    assert [routes.route(*pair).run for pair in pairs] == ["r1", "r2"] * 5
    assert len(routes) == 0
    assert [routes.route(*pair).run for pair in documents("r1")[1:]] == [""] * 4


@pytest.mark.parametrize(("open_runs", "run"), [(["r1"], "r1"), (["r1", "r2"], "")])
def test_a_resource_without_a_run_is_of_the_only_one_that_is_open(open_runs: list[str], run: str) -> None:
    routes = Routing()
    for uid in open_runs:
        routes.route(*documents(uid)[0])
    assert routes.route("resource", {"uid": "res"}).run == run
    assert routes.route("datum", {"datum_id": "res/0", "resource": "res"}).run == run


def test_a_run_whose_stop_never_came_is_forgotten_for_one_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing, "MAX_OPEN_RUNS", 2)
    routes = Routing()
    for uid in ("r1", "r2", "r3"):
        routes.route(*documents(uid)[0])
    assert routes.route(*documents("r1")[-1]).run == ""
    assert routes.route(*documents("r3")[-1]).run == "r3"
