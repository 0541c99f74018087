"""What a body may hold: whatever it is, the service neither grows by it nor fails."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from agent_service.errors import InvalidInput, TooLarge
from agent_service.models import DocumentBatch
from agent_service.server.body import LIMITS, MAX_DEPTH, Limits, refuse_oversized

MOST_MB = 150
MANY = 99_000  # just below what may be
LONG = "k" * 200_000
SPEC = {"name": "z", "type": "brainbox:Walker", "actuators": ["x", "y"], "sensors": ["signal"], "outcome": "signal"}
JSON = {"Content-Type": "application/json"}

VALUES = {
    "nulls": "[" + ",".join(["null"] * MANY) + "]",
    "too many nulls": "[" + ",".join(["null"] * 4 * MANY) + "]",
    "empties": "[" + ",".join(["{}"] * MANY) + "]",
    "keys": "{" + ",".join(f'"{i}":null' for i in range(MANY)) + "}",
    "points": "[{" + ",".join(f'"{i}":null' for i in range(MANY)) + "}]",
    "the same key": "{" + ",".join(['"a":null'] * MANY) + "}",
    "a long key above many": f'{{"{LONG}":[' + ",".join(["null"] * 50_000) + "]}",
    "long keys, deep": f'{{"{"k" * 4000}":' * 60 + "[null]" + "}" * 60,
    "deep": "[" * 100_000 + "]" * 100_000,
    "deep and open": '{"a":' * 50_000,
    "a text without end": '"' + '\\"' * 500_000,
    "no number": "1e400",
    "a number of 100000 digits": "9" * 100_000,
    "a number of 4000 digits": "9" * 4000,
    "a long text": json.dumps("t" * 460_000),
    "no text": '"\\ud800"',
    "NaN": "NaN",
}
PATHS = [
    ("PATCH", "agents/documents"),
    ("PUT", "agents/a/variables/documents"),
    ("POST", "agents/a/methods/documents"),
]
"""Paths that end as that of documents does: an agent, a variable or a method may have that name."""

ROUTES = {
    ("POST", "agents"): ["name", "type", "config", "actuators", "outcome", "warm_start", "guardrails", "loop", "plan"],
    ("PATCH", "agents/a"): ["config", "guardrails", "loop", "name"],
    ("POST", "agents/a/suggest"): ["n_points"],
    ("POST", "agents/a/ingest"): ["points", "run_uids"],
    ("PUT", "agents/a/variables/gain"): ["value"],
    ("POST", "agents/p/methods/add"): ["args", "kwargs"],
    ("POST", "documents"): ["documents"],
    ("POST", "suggestions/ID/approve"): ["point"],
    ("POST", "suggestions/ID/reject"): ["reason"],
    ("POST", "suggestions/claim"): ["agent", "lease_s"],
    ("POST", "suggestions/ID/release"): ["reason", "how"],
    ("POST", "queue/abort"): ["reason"],
}


def megabytes(pid, field):
    line = next(one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith(field))
    return int(line.split()[1]) / 1024


@pytest.mark.long
def test_no_body_makes_the_service_grow(process):
    """A real service under uvicorn, and each field of each route that takes a body."""
    client = process.start()
    for name, spec in (("a", {}), ("p", {"type": "brainbox:Patient", "config": {"where": "nowhere"}})):
        client.create({**SPEC, "name": name, **spec, "executor": "thread", "loop": {"approval": "required"}})
        client.start(name)
    [suggestion] = client.suggest("a")
    import httpx

    pid = process.child.pid
    headers = {"Authorization": f"Apikey {client.api_key}", **JSON}
    http = httpx.Client(base_url=f"{client.url}/api/v1/", headers=headers, timeout=60)
    with client, http:
        for (method, path), fields in ROUTES.items():
            url = path.replace("ID", suggestion.id)
            for what, value in VALUES.items():
                bodies = [value, *(_body(path, field, value) for field in fields)]
                for body in bodies:
                    Path(f"/proc/{pid}/clear_refs").write_text("5")
                    before = megabytes(pid, "VmRSS")
                    answer = http.request(method, url, content=body)
                    grew = megabytes(pid, "VmHWM") - before
                    assert answer.status_code < 500, (method, path, what, answer.text[:300])
                    assert grew < MOST_MB, (method, path, what, len(body), grew)
                    assert len(answer.content) < 100_000 or answer.status_code < 300, (method, path, what)
                    http.delete("agents/z")
        assert http.get("agents/a").json()["state"] == "running"


def _body(path, field, value):
    if path != "agents":
        return f'{{"{field}":{value}}}'
    others = {key: one for key, one in SPEC.items() if key != field}
    return json.dumps(others)[:-1] + f',"{field}":{value}}}'


def test_an_array_as_large_as_a_body_can_be_is_taken_as_a_document(served):
    image = "[" + ",".join(["1234"] * 1_900_000) + "]"
    start = {"uid": "u-1", "time": 0.0}
    doc = '{"uid": "e-1", "time": 0, "descriptor": "d-1", "seq_num": 1, "timestamps": {"x": 0}, "data": {"x": %s}}'
    keys = {"x": {"source": "sim", "dtype": "array", "shape": [1_900_000]}}
    descriptor = {"uid": "d-1", "time": 0.0, "run_start": "u-1", "name": "primary", "data_keys": keys}
    first = f'["start", {json.dumps(start)}], ["descriptor", {json.dumps(descriptor)}]'
    body = f'{{"documents": [{first}, ["event", {doc % image}]]}}'
    assert len(body) < 10_000_000
    answer = served.http.post("/api/v1/documents", content=body, headers=JSON)
    assert answer.status_code == 202, answer.text[:300]


@pytest.mark.parametrize(
    ("key", "code", "said"),
    [("k" * 1001, 422, "longer than a key may be"), ("k" * 1000, 201, "")],
)
def test_how_long_a_key_may_be(served, key, code, said):
    spec = {**SPEC, "name": f"long-{code}", "type": "brainbox:factory", "config": {"start": 0}}
    if code == 201:
        spec["guardrails"] = {}
    else:
        spec["config"] = {"start": 0, "deep": [{key: 1}]}
    answer = served.http.post("/api/v1/agents", json=spec)
    assert answer.status_code == code, answer.text
    assert said in answer.text
    assert len(answer.content) < 5000


LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
TREES = st.recursive(
    LEAVES, lambda one: st.lists(one, max_size=4) | st.dictionaries(st.text(max_size=4), one, max_size=4), max_leaves=40
)


def counted(tree):
    """Values in a tree, counted the plain way; an empty list or object counts as if it held one."""
    if isinstance(tree, dict):
        tree = list(tree.values())
    if not isinstance(tree, list):
        return 1
    return 1 + (sum(counted(one) for one in tree) or 1)


@settings(max_examples=300, deadline=None)
@given(TREES, st.integers(1, 60))
def test_values_are_counted_and_what_stands_in_texts_is_not(tree, most):
    limits = Limits(values=most, containers=1000)
    if counted(tree) > most:
        with pytest.raises(TooLarge):
            refuse_oversized(json.dumps(tree).encode(), limits)
    else:
        refuse_oversized(json.dumps(tree).encode(), limits)


def test_how_deep_a_body_may_be():
    for text in ("[" * MAX_DEPTH + "]" * MAX_DEPTH, json.dumps("[{" * 1000), "[]" * 500):
        refuse_oversized(text.encode(), LIMITS)
    with pytest.raises(InvalidInput, match="nested deeper"):
        refuse_oversized(('{"a":[' * MAX_DEPTH).encode(), LIMITS)


def test_what_is_wrong_is_said_with_where():
    with pytest.raises(ValueError, match=r"documents\.0\.1\.a\.2\.b is not a finite number"):
        DocumentBatch.model_validate({"documents": [["event", {"a": [1, 2, {"b": float("nan")}]}]]})


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_a_body_in_another_encoding_hides_nothing(encoding):
    """The bytes of some letters hold that of a quote, and what stands behind one would count as text."""
    for text in ('{"\u2222":[' + ",".join(["{}"] * 2 * MANY) + "]}", '{"a":1}', "[[]]"):
        with pytest.raises(InvalidInput, match="UTF-8"):
            refuse_oversized(text.encode(encoding), LIMITS)


@pytest.mark.parametrize("body", [b"", b"1", b"[]", b'{"a":"\xe2\x88\x80"}', b'\xef\xbb\xbf{"a":1}'])
def test_a_body_in_utf_8_passes(body):
    refuse_oversized(body, LIMITS)


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_only_a_batch_of_documents_may_hold_what_one_may(served, method, path):
    answer = served.http.request(
        method, f"/api/v1/{path}", content="[" + ",".join(["1"] * 2 * MANY) + "]", headers=JSON
    )
    assert answer.status_code == 413
    assert "smaller parts" in answer.json()["detail"]
