"""What bad input gets: a problem with a stable code, and nothing half-made."""

import json

import pytest

GOOD = {
    "name": "x",
    "type": "brainbox:Walker",
    "actuators": ["x", "y"],
    "sensors": ["signal"],
    "outcome": "signal",
}


def spec(**changes):
    return {key: value for key, value in {**GOOD, **changes}.items() if value is not None}


@pytest.fixture(scope="module")
def running(served):
    """An agent that waits for approval, so that it is running and does nothing."""
    served.create("running", loop={"approval": "required"})
    served.post("agents/running/start")
    return "running"


@pytest.mark.parametrize(
    ("changes", "code", "field", "said"),
    [
        ({"name": "no spaces"}, "invalid_input", "name", "letters"),
        ({"name": ""}, "invalid_input", "name", "letters"),
        ({"name": "a" * 65}, "invalid_input", "name", "64"),
        ({"name": "../etc"}, "invalid_input", "name", "letters"),
        ({"name": None}, "invalid_input", "name", "is missing"),
        ({"type": "baise"}, "unknown_type", None, "bayes"),
        ({"type": "nowhere:Thing"}, "unknown_type", None, "nowhere"),
        ({"type": "brainbox:Wlaker"}, "unknown_type", None, "Walker"),
        ({"type": "brainbox:thinking"}, "unknown_type", None, "not a class or function"),
        ({"config": {"stepp": 1}}, "invalid_config", "config.stepp", ""),
        ({"config": {"step": "far"}}, "invalid_config", "config.step", "number"),
        ({"config": 3}, "invalid_input", "config", "must be a mapping of names to values"),
        ({"plan": "aquire"}, "unknown_plan", None, "acquire"),
        ({"actuators": ["x", "z"]}, "unknown_device", None, "'z'"),
        ({"actuators": ["x", "fixed"]}, "unknown_device", None, "has no set"),
        ({"sensors": ["sygnal"]}, "unknown_device", None, "signal"),
        ({"guardrails": {"bounds": {"z": [0, 1]}}}, "invalid_input", None, "no actuator"),
        ({"guardrails": {"bounds": {"x": [1, 0]}}}, "invalid_input", "guardrails", "above"),
        ({"outcome": None}, "invalid_input", None, "outcome or evaluate"),
        ({"evaluate": "brainbox:peak"}, "invalid_input", None, "not both"),
        ({"outcome": None, "evaluate": "brainbox:pique"}, "invalid_input", None, "pique"),
        ({"loop": {"max_runs": 0}}, "invalid_input", "loop.max_runs", "must be 1 or more"),
        ({"executor": "rocket"}, "invalid_input", "executor", "auto"),
        ({"colour": "blue"}, "invalid_input", "colour", "not a known key"),
        ({"actuators": ["x", "x"]}, "invalid_input", None, "twice"),
    ],
)
def test_a_wrong_spec_makes_nothing(served, changes, code, field, said):
    found = served.problem("POST", "agents", 422, code, json=spec(**changes))
    assert said in found["detail"]
    if field:
        assert field in [one["field"] for one in found["errors"]]
    assert "x" not in [one["name"] for one in served.get("agents")["items"]]


@pytest.mark.parametrize(
    "body",
    [b"", b"not json", b"[]", b"null", b'{"name": ', b'"text"', b"\xff\xfe", b'{"name": "x", "config": NaN}'],
)
def test_a_body_that_is_no_spec(served, body):
    found = served.problem(
        "POST", "agents", 422, "invalid_input", content=body, headers={"Content-Type": "application/json"}
    )
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("agents?dryrun=true", spec(), "dryrun: is not a known key here; did you mean 'dry_run'?"),
        ("agents/x/start?pausd=true", None, "pausd: is not a known key here; did you mean 'paused'?"),
        ("agents/running/suggest?n_points=2", {}, "n_points: is not a known key here"),
        ("queue/resume?x&y=1", None, "x: is not a known key here; y: is not a known key here"),
    ],
)
def test_what_a_request_that_changes_something_asks_behind_the_question_mark_is_known(served, path, body, said):
    served.create("x")
    answer = served.http.post(f"/api/v1/{path}", json=body)
    assert answer.status_code == 422
    assert answer.json()["detail"] == said
    assert served.status("x")["state"] == "created"
    served.http.delete("/api/v1/agents/x")


def test_nan_in_a_config_is_refused_and_not_echoed(served):
    body = json.dumps(spec(type="bayes", config={"bounds": {"x": [0, float("nan")], "y": [0, 1]}}))
    answer = served.http.post("/api/v1/agents", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert "nan" not in answer.text.lower()


def test_a_name_is_taken_once(served):
    served.create("taken")
    assert (
        "choose another name"
        in served.problem("POST", "agents", 409, "already_exists", json=spec(name="taken"))["detail"]
    )


def test_unknown_agents_are_named_with_what_is_near(served):
    served.create("aligner")
    found = served.problem("GET", "agents/alinger", 404, "not_found")
    assert "did you mean 'aligner'" in found["detail"]
    for method, path in [
        ("POST", "agents/nobody/start"),
        ("POST", "agents/nobody/suggest"),
        ("PATCH", "agents/nobody"),
        ("DELETE", "agents/nobody"),
        ("GET", "agents/nobody/history"),
        ("GET", "agents/nobody/variables"),
        ("GET", "agents/nobody/suggestions"),
    ]:
        served.problem(method, path, 404, "not_found", json={} if method != "GET" else None)


def test_a_command_out_of_turn_says_what_is_legal(served, running):
    found = served.problem("POST", f"agents/{running}/start", 409, "illegal_transition")
    assert "running" in found["detail"]
    assert set(found["legal"]) >= {"pause", "stop", "restart"}
    assert "start" not in found["legal"]
    served.create("resting")
    for command in ("pause", "resume", "stop", "suggest", "ingest", "report"):
        body = {"points": [{"x": 1}]} if command == "ingest" else {}
        found = served.problem("POST", f"agents/resting/{command}", 409, "illegal_transition", json=body)
        assert "start" in found["legal"]


@pytest.mark.parametrize(
    ("point", "field"),
    [
        ({"x": 1, "signal": 1}, "points.0.y"),
        ({"x": 1, "y": 1}, "points.0.signal"),
        ({"x": 1, "y": 1, "z": 1, "signal": 1}, "points.0.z"),
        ({"x": "one", "y": 1, "signal": 1}, "points.0.x"),
    ],
)
def test_a_foreign_or_missing_actuator(served, running, point, field):
    found = served.problem("POST", f"agents/{running}/ingest", 422, "invalid_point", json={"points": [point]})
    assert field in [one["field"] for one in found["errors"]]
    assert served.get(f"agents/{running}/variables/seen")["value"] == 0


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_are_none(served, running, number):
    body = '{"points": [{"x": NUMBER, "y": 0, "signal": 1}]}'.replace("NUMBER", number)
    answer = served.http.post(
        f"/api/v1/agents/{running}/ingest", content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 422
    json.dumps(answer.json(), allow_nan=False)


@pytest.mark.parametrize(
    "body", [{}, {"points": []}, {"points": [{"x": 1}], "run_uids": ["a"]}, {"point": [{"x": 1}]}, None]
)
def test_ingest_wants_points_or_runs(served, running, body):
    served.problem("POST", f"agents/{running}/ingest", 422, "invalid_input", json=body)


def test_suggest_wants_a_sensible_number(served, running):
    for body in ({"n_points": 0}, {"n_points": 1001}, {"n_points": "many"}, {"points": 1}, None):
        served.problem("POST", f"agents/{running}/suggest", 422, "invalid_input", json=body)


def test_an_unknown_suggestion_id(served, running):
    body = {"points": [{"_id": "0" * 36, "signal": 1}]}
    served.problem("POST", f"agents/{running}/ingest", 404, "not_found", json=body)


def test_a_body_over_10_mb(served, running):
    served.problem("POST", "agents", 413, "too_large", content=b" " * 10_000_001)

    def chunks():
        for _ in range(11):
            yield b" " * 1_000_000

    served.problem("POST", "agents", 413, "too_large", content=chunks())
    assert served.http.get("/healthz").status_code == 200


def test_nothing_there(served):
    served.problem("GET", "/api/v1/agent", 404, "not_found")
    served.problem("GET", "/", 404, "not_found")
    assert served.problem("PUT", "agents", 405, "invalid_input")["status"] == 405


def test_a_request_id_is_echoed_and_a_silly_one_replaced(served):
    answer = served.http.get("/healthz", headers={"X-Request-ID": "abc-123"})
    assert answer.headers["x-request-id"] == "abc-123"
    answer = served.http.get("/healthz", headers={"X-Request-ID": "a b\tc" * 100})
    assert len(answer.headers["x-request-id"]) == 32


@pytest.mark.parametrize("header", [None, "Apikey wrong", "Bearer wrong", "Basic abc", "wrong", "Apikey", "Apikey é"])
def test_every_route_but_health_asks_for_the_key(served, header):
    headers = {} if header is None else {"Authorization": header.encode()}
    import httpx

    with httpx.Client(base_url=served.url, headers=headers) as http:
        for path in ("service", "agents", "agent-types", "suggestions", "events", "queue", "agents/x/history"):
            answer = http.get(f"/api/v1/{path}")
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
            assert answer.headers["www-authenticate"] == "Apikey"
        assert http.post("/api/v1/queue/abort").status_code == 401
        assert http.get("/healthz").json() == {"status": "ok"}
        assert http.get("/readyz").json()["ready"] is True


def test_a_bearer_key_is_taken_too(served):
    import httpx

    headers = {"Authorization": f"Bearer {served.server.api_key}"}
    assert httpx.get(f"{served.url}/api/v1/service", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("call", "body", "field", "hint"),
    [
        ("POST agents", {**GOOD, "gaurdrails": {}}, "gaurdrails", "did you mean 'guardrails'?"),
        ("POST agents", {**GOOD, "loop": {"max_run": 3}}, "loop.max_run", "did you mean 'max_runs'?"),
        ("PATCH agents/walker", {"loops": {}}, "loops", "did you mean 'loop'?"),
        ("POST agents/walker/suggest", {"n_point": 1}, "n_point", "did you mean 'n_points'?"),
        ("POST queue/abort", {"reasons": "x"}, "reasons", "did you mean 'reason'?"),
    ],
)
def test_a_misspelt_key_is_answered_with_one_that_is_near(served, call, body, field, hint):
    method, _, path = call.partition(" ")
    found = served.problem(method, path, 422, "invalid_input", json=body)
    assert hint in {one["field"]: one["message"] for one in found["errors"]}[field]
