"""Objectives, constraints and standard errors: from HTTP and functions to brains, the journal and the best."""

import pytest
from services import wait_until

from agent_service.client import Client
from agent_service.errors import Conflict

TWO = {"objectives": {"flux": "maximize", "width": "minimize"}, "outcome_constraints": {"temp": {"max": 80}}}
POINTS = [
    {"x": 0.0, "y": 0.0, "flux": 9.0, "width": 1.0, "temp": 90.0},
    {"x": 1.0, "y": 0.0, "flux": {"value": 5.0, "sem": 0.5}, "width": 5.0, "temp": 70.0},
    {"x": 2.0, "y": 0.0, "flux": {"value": 4.0, "sem": None}, "width": {"value": 3.0, "sem": 0}, "temp": 80.0},
    {"x": 3.0, "y": 0.0, "flux": 3.0, "width": 4.0, "temp": 10.0},
]


class Teller:
    """Says what it was told, and of which kinds; suggests one point again and again."""

    def __init__(self, takes_sem: bool = False):
        self.takes_sem = takes_sem
        self.told = []

    def suggest(self, num_points=None):
        return [{"x": 1.0, "y": 2.0}]

    def ingest(self, points):
        self.told.extend(points)

    def report(self):
        return {"told": [{name: repr(value) for name, value in point.items()} for point in self.told]}


class Offering(Teller):
    """Says what counts as good."""

    objectives = {"flux": "minimize"}  # noqa: RUF012 - as anybody would write it
    outcome_constraints = {"temp": {"min": 50}}  # noqa: RUF012
    observables = ["width", "nowhere"]  # noqa: RUF012


class Odd(Teller):
    """Has attributes of these names that are something else."""

    objectives = {"nothing": "maximize"}  # noqa: RUF012
    outcome_constraints = {"temp": "cold"}  # noqa: RUF012
    observables = "ring"


def uncertain(run, suggestions):
    """Evaluate: a value with its error, as Ax has it and as JSON has it."""
    return [
        {"_id": one["_id"], "flux": (1.5, 0.25), "width": {"value": 2, "sem": 0.5}, "temp": 7} for one in suggestions
    ]


def incomplete(run, suggestions):
    """Evaluate: without the constrained outcome."""
    return {"flux": 1.0, "width": 2.0}


def negative(run, suggestions):
    """Evaluate: with an error that is none."""
    return {"flux": (1.0, -2.0), "width": 2.0, "temp": 1.0}


@pytest.fixture
def client(served):
    with Client(served.url, api_key=served.server.api_key) as made:
        yield made


def create(served, name, kind="Teller", **fields):
    about = {"loop": {"approval": "required"}, "outcome": None, **TWO, **fields}
    served.create(name, type=f"{__name__}:{kind}", **about)
    served.post(f"agents/{name}/start")


def test_the_service_finds_the_front_and_moves_to_any_point_of_it(served, client):
    create(served, "two")
    assert client.agent("two").spec.outcomes == ["flux", "width", "temp"]
    client.ingest("two", POINTS[:1])
    client.pause("two")
    status = client.agent("two")
    assert (status.best, status.no_best) == (None, "none of 1 measured point meets outcome_constraints")
    assert client.best("two") == []
    assert served.get("agents/two/best")["note"] == status.no_best
    with pytest.raises(Conflict, match="none of 1 measured point meets outcome_constraints"):
        client.go_to_best("two")
    client.resume("two")
    client.ingest("two", POINTS[1:])
    client.pause("two")
    status = client.agent("two")
    assert (status.best.point["x"], status.front, status.objective) == (1.0, 2, "flux")
    front = client.best("two", by="measured")
    assert [(one.point["x"], one.sem) for one in front] == [(1.0, {"flux": 0.5}), (2.0, {"width": 0.0})]
    assert client.best("two", by="model") == []
    assert client.go_to_best("two").point["x"] == 1.0
    assert client.go_to_best("two", point=front[1].point).point["x"] == 2.0
    with pytest.raises(Conflict, match="another one by now"):
        client.go_to_best("two", point=POINTS[3] and {"x": 3.0, "y": 0.0})


@pytest.mark.parametrize("takes_sem", [False, True])
def test_each_brain_is_told_what_it_takes(served, client, takes_sem):
    name = f"teller-{takes_sem}"
    create(served, name, config={"takes_sem": takes_sem})
    client.ingest(name, POINTS[1:3])
    said = [("(5.0, 0.5)", "5.0"), ("4.0", "(3.0, 0.0)")] if takes_sem else [("5.0", "5.0"), ("4.0", "3.0")]
    for _ in range(2):
        told = client.report(name).report["told"]
        assert [(one["flux"], one["width"]) for one in told] == said
        assert not any("_sem" in one for one in told)
        client.stop(name)
        client.start(name)  # told again, by its facts
    facts = [event.data["points"] for event in client.history(name) if event.kind == "ingest"]
    assert [point.get("_sem") for point in facts[0]] == [{"flux": 0.5}, {"width": 0.0}]
    assert facts[0][0]["flux"] == 5.0, "whoever knows nothing of errors reads a number"


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ({"value": 1, "sem": -1}, "points.0.flux: has the sem -1"),
        ({"value": 1, "sem": "a"}, "points.0.flux: has the sem 'a'"),
        ({"value": 1, "sem": True}, "has the sem True"),
        ({"value": True, "sem": 1}, "is not a finite number"),
        ({"sem": 1}, "it is written {value: ..., sem: ...}"),
        ({"value": 1, "error": 1}, "it is written {value: ..., sem: ...}"),
        ([1, 2], "points.0.flux"),
        ("1", "is not a finite number"),
        (None, "points.0.flux"),
    ],
)
def test_an_error_that_is_none_is_refused(start, value, why):
    service = start()
    create(service, "teller")
    answer = service.http.post("/api/v1/agents/teller/ingest", json={"points": [{**POINTS[3], "flux": value}]})
    assert answer.status_code == 422, answer.text
    assert why in answer.json()["detail"]
    assert service.post("agents/teller/report")["report"]["told"] == []


def test_what_a_point_lacks_is_said(served):
    create(served, "lacking", outcome=None, evaluate=f"{__name__}:uncertain")
    point = {"x": 1.0, "y": 1.0, "flux": 1.0, "width": 1.0}
    found = served.problem("POST", "agents/lacking/ingest", 422, "invalid_point", json={"points": [point]})
    assert "points.0.temp is missing" in found["detail"]


def test_a_function_returns_errors_and_they_survive(start, tmp_path):
    service = start(tmp_path / "state")
    about = {"outcome": None, **TWO, "loop": {"max_runs": 1}, "config": {"takes_sem": True}}
    service.create("sure", type=f"{__name__}:Teller", evaluate=f"{__name__}:uncertain", **about)
    service.post("agents/sure/start")
    stopped = service.until("sure", "stopped", "failed")
    assert (stopped["best"]["outcome"], stopped["best"]["sem"]) == (
        {"flux": 1.5, "width": 2.0, "temp": 7.0},
        {"flux": 0.25, "width": 0.5},
    )
    [suggestion] = service.suggestions("sure")
    table = service.get("agents/sure/points")
    assert [column["name"] for column in table["columns"] if column["kind"] == "sem"] == ["flux_sem", "width_sem"]
    assert (table["items"][0]["flux"], table["items"][0]["flux_sem"], table["items"][0]["width_sem"]) == (
        1.5,
        0.25,
        0.5,
    )
    assert (suggestion["outcome"], suggestion["sem"]) == (stopped["best"]["outcome"], stopped["best"]["sem"])
    service.close()
    service = start(tmp_path / "state")
    assert service.status("sure")["best"] == stopped["best"]
    assert service.suggestions("sure") == [suggestion]
    service.http.patch("/api/v1/agents/sure", json={"loop": {"max_runs": 2}})
    service.post("agents/sure/start?paused=true")
    assert service.post("agents/sure/report")["report"]["told"][0]["flux"] == "(1.5, 0.25)"
    service.post("agents/sure/stop")


@pytest.mark.parametrize(
    ("function", "why"),
    [
        ("incomplete", "evaluate returned no temp, of which objectives and outcome_constraints are; it returned flux"),
        ("negative", "of which flux has the sem -2.0; a standard error is a finite number of 0 or more"),
    ],
)
def test_a_function_that_returns_too_little_fails_the_suggestion(start, function, why):
    service = start()
    about = {"outcome": None, **TWO, "loop": {"max_failures": 1}}
    service.create("unsure", type=f"{__name__}:Teller", evaluate=f"{__name__}:{function}", **about)
    service.post("agents/unsure/start")
    service.until("unsure", "stopped")
    assert why in wait_until(lambda: service.suggestions("unsure", state="failed"))[0]["reason"]


def test_what_the_type_offers_counts_where_the_specification_says_nothing(served, client):
    names = {"outcome": ["flux", "width", "temp"], "objectives": {}, "outcome_constraints": {}}
    create(served, "offering", "Offering", **names)
    client.ingest("offering", POINTS)
    status = client.agent("offering")
    assert list(status.spec.objectives) == ["flux"]
    assert status.spec.observables == ["width"]
    assert (status.best.point["x"], status.best_of) == (2.0, "lowest")
    create(served, "stronger", "Offering", **{**names, "objectives": {"flux": "maximize"}})
    client.ingest("stronger", POINTS)
    assert client.agent("stronger").best.point["x"] == 0.0
    create(served, "odd", "Odd", **names)
    assert client.agent("odd").spec.objectives == {}
    for name in ("offering", "stronger", "odd"):
        client.stop(name)
    client.update("offering", config={"takes_sem": True})  # what is offered is offered again, and not written twice
    client.start("offering")
    assert list(client.agent("offering").spec.objectives) == ["flux"]


def test_an_outcome_is_not_called_as_the_errors_are(served):
    body = {"name": "a", "type": f"{__name__}:Teller", "actuators": ["x"], "objectives": {"_sem": "maximize"}}
    found = served.problem("POST", "agents", 422, "invalid_input", json=body)
    assert "where a point says the standard errors of its outcomes" in found["detail"]
