"""An outcome may not have an actuator's name: a brain could not tell them apart."""

import pytest

ABOUT = {"type": "brainbox:Walker", "actuators": ["x", "y"], "sensors": ["signal"]}


@pytest.mark.parametrize("dry_run", ["true", "false"])
def test_it_is_refused_at_creation(served, dry_run):
    body = {"name": "confused", "outcome": ["signal", "x"], **ABOUT}
    problem = served.problem("POST", "agents", 422, "invalid_input", json=body, params={"dry_run": dry_run})
    assert problem["detail"].startswith("outcome 'x' is an actuator of this agent")
    assert [one["field"] for one in problem["errors"]] == ["outcome"]
    assert "confused" not in [one["name"] for one in served.get("agents")["items"]]


def test_it_is_named_once(served):
    body = {"name": "confused", "outcome": ["signal", "other", "signal"], **ABOUT}
    problem = served.problem("POST", "agents", 422, "invalid_input", json=body)
    assert problem["errors"] == [{"field": "outcome", "message": "'signal' is named twice"}]


def test_nor_is_it_called_as_what_says_whose_point_it_is(served):
    body = {"name": "confused", "outcome": ["signal", "_id"], **ABOUT}
    problem = served.problem("POST", "agents", 422, "invalid_input", json=body)
    assert problem["errors"] == [
        {"field": "outcome", "message": "'_id' is where a point says which suggestion it is of; give it another name"}
    ]


def test_a_function_that_returns_one_fails_its_suggestion(served):
    served.create("shifty", evaluate="brainbox:shifted", loop={"max_failures": 1})
    served.post("agents/shifty/start")
    served.until("shifty", "stopped")
    [one] = served.suggestions("shifty")
    assert one["state"] == "failed"
    assert "another x than was suggested, and x is an actuator; an outcome needs another name" in one["reason"]


def test_a_function_may_return_the_positions_that_were_suggested(served):
    served.create("copying", evaluate="brainbox:copied", loop={"max_runs": 2})
    served.post("agents/copying/start")
    served.until("copying", "stopped")
    assert [list(one["outcome"]) for one in served.suggestions("copying")] == [["signal"], ["signal"]]


def test_by_hand_too(served):
    served.create("handy", evaluate="brainbox:peak", loop={"approval": "required"})
    served.post("agents/handy/start")
    point = {"x": 1.0, "y": 2.0}
    problem = served.problem("POST", "agents/handy/ingest", 422, "invalid_point", json={"points": [point]})
    assert "points.0 has no outcome, by a name that is no actuator's" in problem["detail"]
    assert served.post("agents/handy/ingest", {"points": [{**point, "signal": 1.0}]}) == {"ingested": 1}


def test_an_agent_of_an_older_version_is_told_nothing_wrong(served):
    """Its creation was allowed; the journal keeps it."""
    served.create("old", loop={"max_failures": 1})
    life = served.server.service.supervisor.life("old")
    life.agent.record.spec = life.agent.spec.model_copy(update={"outcome": "x"})
    served.post("agents/old/start")
    served.until("old", "stopped")
    [one] = served.suggestions("old")
    assert (one["state"], one["reason"]) == (
        "failed",
        "the outcome 'x' has the name of an actuator; give it another name",
    )
