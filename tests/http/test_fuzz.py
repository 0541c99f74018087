"""The whole OpenAPI document, served with schemathesis while agents run: no 5xx, no answer outside the document."""

import itertools
import random
from collections import Counter

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import (
    content_type_conformance,
    not_a_server_error,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.generation import GenerationMode
from services import running, wait_until

from agent_service.models import EventKind
from agent_service.server.app import create_app
from agent_service.service.config import ServiceConfig

BOUNDED = settings(
    max_examples=15,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
ENDLESS = ("/api/v1/events",)  # it never ends, so it has a test of its own that reads the beginning
NAMES = ("live", "rest", "nobody")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    state = tmp_path_factory.mktemp("state")
    with running(state, run_engine={"startup": "rig"}) as service:
        yield service
        wait_until(lambda: service.http.get("/healthz").status_code == 200)
    with running(state) as again:  # the journal folds
        assert again.get("service")["queue"]["state"] in ("idle", "running", "paused", "held")


@pytest.fixture(scope="module")
def document(served):
    return schemathesis.openapi.from_dict(served.http.get("/openapi.json").json())


def operations():
    """Return method and path of each operation, as the document of a service that does not run has them."""
    paths = create_app(ServiceConfig(service={"catalog": "none"})).openapi()["paths"]
    return [
        (method, path)
        for path, methods in sorted(paths.items())
        for method in methods
        if path not in ENDLESS and method in ("get", "post", "put", "patch", "delete")
    ]


def prepare(service):
    """Let there be an agent that runs, one that does not, and a queue that is not held."""
    service.http.post("/api/v1/queue/resume")
    for name, spec in (("live", {"loop": {"approval": "required", "n_points": 3}}), ("rest", {})):
        if service.http.get(f"/api/v1/agents/{name}").status_code == 404:
            service.create(name, **spec)
    service.http.post("/api/v1/agents/live/start")
    service.http.post("/api/v1/agents/live/resume")


def some_suggestion(service):
    known = [one["id"] for one in service.http.get("/api/v1/suggestions", params={"limit": 20}).json()["items"]]
    return known or ["none"]


@pytest.mark.parametrize(("method", "path"), operations(), ids=lambda one: one)
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["fitting", "unfitting"])
def test_no_answer_is_outside_the_document(served, document, method, path, mode):
    operation = document[path][method]
    if mode is GenerationMode.NEGATIVE and not (list(operation.iter_parameters()) or list(operation.body)):
        pytest.skip("it takes nothing that could be wrong")
    prepare(served)
    names, ids = itertools.cycle(NAMES), some_suggestion(served)
    seen = Counter()
    chosen = random.Random(f"{method} {path}")

    @given(case=operation.as_strategy(generation_mode=mode))
    @BOUNDED
    def fuzz(case):
        known = {"name": next(names), "suggestion_id": chosen.choice(ids), "variable": "gain"}
        if chosen.random() < 0.8:  # mostly resources that are there
            case.path_parameters = {key: known.get(key, value) for key, value in (case.path_parameters or {}).items()}
        if isinstance(case.body, dict) and path.endswith("/claim"):
            case.body.pop("wait_s", None)
        if mode is GenerationMode.POSITIVE and case.query:
            case.query.pop("timeout_s", None)  # 504 is the right answer to a deadline of a femtosecond
        headers = {**(case.headers or {}), "Authorization": f"Apikey {served.server.api_key}"}
        answer = case.call_and_validate(base_url=served.url, headers=headers, checks=CHECKS, timeout=30)
        seen[answer.status_code] += 1

    fuzz()
    assert seen.total() >= 1
    always = path != "/api/" and "variable" not in path and "job_id" not in path  # others need a script
    if mode is GenerationMode.POSITIVE and method == "get" and always:
        assert seen[200], f"nothing was reached: {seen}"
    assert served.http.get("/healthz").status_code == 200


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["fitting", "unfitting"])
def test_an_event_stream_begins_or_is_refused_as_the_document_says(served, document, mode):
    [path] = ENDLESS
    operation = document[path]["get"]
    described = served.http.get("/openapi.json").json()["paths"][path]["get"]["responses"]
    prepare(served)
    seen = Counter()

    @given(case=operation.as_strategy(generation_mode=mode))
    @BOUNDED
    def fuzz(case):
        headers = {**(case.headers or {}), "Authorization": f"Apikey {served.server.api_key}"}
        asked = case.as_transport_kwargs(base_url=served.url, headers=headers)
        with requests.request(**asked, stream=True, timeout=30) as answer:
            seen[answer.status_code] += 1
            assert str(answer.status_code) in described
            kind = answer.headers["content-type"].partition(";")[0]
            assert kind in described[str(answer.status_code)]["content"]
            if answer.status_code == 200:
                first = next(line for line in answer.iter_lines() if line.startswith(b"event: "))
                assert first.removeprefix(b"event: ").decode() in [str(one) for one in EventKind]
            else:
                assert answer.json()["code"] in ("invalid_input", "unauthenticated")  # some cases send a key of theirs

    fuzz()
    assert seen[200 if mode is GenerationMode.POSITIVE else 422], seen
    wait_until(lambda: "agent_service_event_streams 0.0" in served.http.get("/metrics").text, what="no stream open")
    assert served.http.get("/healthz").status_code == 200
