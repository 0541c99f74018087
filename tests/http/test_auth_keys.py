"""Keys at work: made and revoked by another process while the service runs, and who did what."""

import json
import resource
import subprocess
import sys
import threading

import httpx
import pytest
from httpx_sse import connect_sse
from services import wait_until

from agent_service.errors import UsageError
from agent_service.service import stream_slots
from agent_service.service.keys import KeyFile, Keyring, Scope, scopes_of

COMMAND = (sys.executable, "-m", "agent_service", "keys")


def keys(*arguments):
    done = subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout.strip(), done.stderr.strip()


def holder(service, key):
    return httpx.Client(base_url=f"{service.url}/api/v1", headers={"Authorization": f"Apikey {key}"}, timeout=30)


def test_a_key_made_and_revoked_by_another_process_counts_at_once(start, tmp_path):
    service = start()
    code, key, said = keys("create", "alice", "--scopes", "read,approve", "--state", tmp_path / "state")
    assert (code, "shown this once" in said) == (0, True)
    with holder(service, key) as alice:
        found = alice.get("/service").json()
        assert (found["key"], found["scopes"]) == ("alice", ["read", "approve"])
        assert service.get("service")["scopes"] == ["read", "propose", "control", "approve", "admin"]
        with connect_sse(alice, "GET", "/events") as source:
            events = source.iter_sse()
            next(events)
            assert keys("revoke", "alice", "--state", tmp_path / "state")[0] == 0
            assert alice.get("/agents").status_code == 401
            assert list(events) == [], "the stream went on, at least to its next heartbeat"
    kept = "".join(one.read_text("utf-8", "replace") for one in (tmp_path / "state").rglob("*") if one.is_file())
    assert key not in kept


def test_what_the_command_refuses(tmp_path):
    code, out, said = keys("create", "eve", "--scopes", "read,aprove", "--state", tmp_path / "s")
    assert (code, out) == (2, "")
    assert "did you mean 'approve'" in said
    assert keys("create", "owner", "--scopes", "read", "--state", tmp_path / "s")[0] == 2
    assert keys("list", "--state", tmp_path / "nowhere")[0] == 2
    assert not (tmp_path / "nowhere").exists()


def test_the_owner_s_key_can_be_revoked(start, tmp_path):
    service = start()
    assert keys("revoke", "owner", "--state", tmp_path / "state")[0] == 0
    service.problem("GET", "agents", 401, "unauthenticated")
    service.close()
    again = start()
    assert again.get("agents")["items"] == []
    assert again.server.api_key != service.server.api_key


def test_facts_say_who(start, tmp_path):
    service = start()
    _, key = KeyFile(tmp_path / "state" / "keys.jsonl").create("bob", scopes_of("read,control,approve"))
    spec = {"name": "s", "type": "sobol", "config": {"bounds": {"x": [0, 1], "y": [0, 1]}}, "loop": {"max_runs": 1}}
    with holder(service, key) as bob:
        made = bob.post("/agents", json={**spec, "actuators": ["x", "y"], "sensors": ["signal"], "outcome": "signal"})
        assert made.status_code == 201, made.text
        bob.patch("/agents/s", json={"loop": {"approval": "required"}}).raise_for_status()
        bob.post("/agents/s/start").raise_for_status()
        wait_until(lambda: service.suggestions("s", state="proposed"))
        bob.post("/agents/s/pause").raise_for_status()
        assert service.status("s")["reason"] == "paused by bob"
        service.post("agents/s/resume")
        waiting = service.suggestions("s", state="proposed")[0]["id"]
        bob.post(f"/suggestions/{waiting}/approve").raise_for_status()
        service.until("s", "stopped")
        bob.post("/queue/abort", json={"reason": "smoke"}).raise_for_status()
        assert service.get("queue")["reason"] == "smoke (aborted by bob)"
    facts = [
        (one["kind"], one["data"].get("state"), one["data"].get("by"))
        for one in service.get("agents/s/history")["items"]
    ]
    assert [fact for fact in facts if fact[2]] == [
        ("agent.state", "created", "bob"),
        ("config", None, "bob"),
        ("agent.state", "starting", "bob"),
        ("suggestion.state", "proposed", "loop"),
        ("agent.state", "paused", "bob"),
        ("agent.state", "running", "owner"),
        ("suggestion.state", "approved", "bob"),
    ]
    assert ("suggestion.state", "ingested", None) in facts, "what the loop does is nobody's request"


def test_facts_say_who_claimed(start, tmp_path):
    service = start(sink={"kind": "claim"}, source={"kind": "none"})
    _, key = KeyFile(tmp_path / "state" / "keys.jsonl").create("bob", scopes_of("read,control"))
    service.create("walker", loop={"max_failures": 1})
    service.post("agents/walker/start")
    with holder(service, key) as bob:
        found = bob.post("/suggestions/claim", json={"wait_s": 10}).json()
        bob.post(f"/suggestions/{found['id']}/release", json={"how": "fail"}).raise_for_status()
    service.until("walker", "stopped")
    history = service.get("agents/walker/history")["items"]
    facts = [one["data"] for one in history if one["kind"] == "queue.state"]
    assert [(one["command"], one["suggestion"], one["by"]) for one in facts] == [
        ("claim", found["id"], "bob"),
        ("release", found["id"], "bob"),
    ]
    assert service.suggestions("walker", state="failed")[0]["reason"] == "released by bob (fail)"


def test_a_stop_latches_says_who_and_survives_a_restart(start, tmp_path):
    service = start()
    file = KeyFile(tmp_path / "state" / "keys.jsonl")
    _, key = file.create("carol", scopes_of("control"))
    _, other = file.create("dave", scopes_of("read,approve"))
    with holder(service, key) as carol:
        carol.post("/queue/abort").raise_for_status()
    service.close()
    service = start()
    queue = service.get("queue")
    assert (queue["state"], queue["reason"]) == ("held", "aborted by carol")
    service.create("held")
    service.problem("POST", "agents/held/start", 409, "queue_held")
    with holder(service, other) as dave:
        assert dave.post("/queue/resume").status_code == 403
    with holder(service, key) as carol:
        assert carol.post("/queue/resume").json()["state"] == "idle"


def test_code_needs_admin(start, tmp_path):
    service = start()
    file = KeyFile(tmp_path / "state" / "keys.jsonl")
    _, control = file.create("control", scopes_of("read,control"))
    _, both = file.create("both", scopes_of("control,admin"))
    sobol = {"type": "sobol", "config": {"bounds": {"x": [0, 1]}}, "actuators": ["x"], "sensors": ["signal"]}
    code = [
        {"type": "brainbox:Walker", "actuators": ["x", "y"], "sensors": ["signal"], "outcome": "signal"},
        {"type": "live:abc", "actuators": ["x", "y"], "sensors": ["signal"], "outcome": "signal"},
        {**sobol, "evaluate": "brainbox:peak"},
        {**sobol, "outcome": "signal", "plan": "rig:gated"},
    ]
    with holder(service, control) as one, holder(service, both) as other:
        for i, spec in enumerate(code):
            assert one.post("/agents", json={"name": f"a{i}", **spec}).status_code == 403, spec
            answer = other.post("/agents", json={"name": f"a{i}", **spec})
            assert answer.status_code == (422 if spec["type"].startswith("live:") else 201), answer.text
        assert one.patch("/agents/a0", json={"config": {"step": 2}}).status_code == 403
        assert one.patch("/agents/a0", json={"loop": {"max_runs": 2}}).status_code == 200
        assert other.patch("/agents/a0", json={"config": {"step": 2}}).status_code == 200
        assert one.post("/agents", json={"name": "fine", **sobol, "outcome": "signal"}).status_code == 201


def test_to_tighten_needs_control_and_to_loosen_approval(start, tmp_path):
    service = start()
    file = KeyFile(tmp_path / "state" / "keys.jsonl")
    _, control = file.create("program", scopes_of("read,control"))
    _, both = file.create("somebody", scopes_of("read,control,approve"))
    bounds = {"x": [-1, 1], "y": [-1, 1]}
    service.create("a", guardrails={"bounds": bounds, "budget_runs": 3}, loop={"approval": "required"})
    with holder(service, control) as program, holder(service, both) as person:
        for tighter in (
            {"guardrails": {"bounds": {**bounds, "x": [-1, 0]}}},
            {"guardrails": {"budget_runs": 2, "max_step": {"x": 1}, "plans": ["acquire"], "max_runs_per_minute": 9}},
            {"guardrails": {"budget_runs": 2}, "loop": {"approval": "required", "max_runs": 5}},
        ):
            answer = program.patch("/agents/a", json=tighter)
            assert answer.status_code == 200, answer.text
        kept = service.status("a")["spec"]
        for looser, rule in (
            ({"guardrails": {"bounds": {**bounds, "x": [-1, 0.5]}}}, "guardrails.bounds.x"),
            ({"guardrails": {"bounds": {"y": None}}}, "guardrails.bounds.y"),
            ({"guardrails": {"budget_runs": None}}, "guardrails.budget_runs"),
            ({"guardrails": {"budget_runs": 1, "max_step": {"x": 2}}}, "guardrails.max_step.x"),
            ({"guardrails": {"max_step": {"x": None}}}, "guardrails.max_step.x"),
            ({"guardrails": {"plans": ["acquire", "other"]}}, "guardrails.plans"),
            ({"guardrails": {"max_runs_per_minute": 10}}, "guardrails.max_runs_per_minute"),
            ({"loop": {"approval": "auto"}}, "loop.approval"),
        ):
            answer = program.patch("/agents/a", json=looser)
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), looser
            assert f"to loosen {rule} needs the scope 'approve'" in answer.json()["detail"]
            assert service.status("a")["spec"] == kept, "nothing is half-done"
            assert person.patch("/agents/a", json=looser).status_code == 200
            person.patch("/agents/a", json={key: kept[key] for key in looser}).raise_for_status()


def test_modules_can_be_limited(start):
    service = start(security={"modules": ["other", "brainbox"]})
    service.create("listed")
    found = service.problem(
        "POST", "agents", 422, "invalid_input", json={"name": "x", "type": "os:getcwd", "outcome": "a"}
    )
    assert found["errors"][0]["field"] == "type"
    found = service.problem(
        "POST", "agents", 422, "invalid_input", json={"name": "x", "type": "sobol", "evaluate": "brainboxes:peak"}
    )
    assert found["errors"][0]["field"] == "evaluate"


def test_streams_of_a_key_are_bounded(start, tmp_path, monkeypatch):
    monkeypatch.setattr(stream_slots, "MAX_STREAMS_OF_KEY", 2)
    service = start()
    _, key = KeyFile(tmp_path / "state" / "keys.jsonl").create("many", scopes_of("read"))
    with holder(service, key) as many:
        with many.stream("GET", "/events"), many.stream("GET", "/events"):
            answer = many.get("/events")
            assert (answer.status_code, answer.json()["code"]) == (429, "too_many")
            with service.http.stream("GET", "/api/v1/events") as another:
                assert another.status_code == 200

        def free():
            with many.stream("GET", "/events") as stream:
                return stream.status_code == 200

        wait_until(free, what="a place for a stream")


def test_an_address_for_all_needs_a_key_somebody_made(start, tmp_path):
    with pytest.raises(UsageError, match="agent-service keys create"):
        start(service={"host": "0.0.0.0"})
    state = tmp_path / "state"
    state.mkdir()
    _, key = KeyFile(state / "keys.jsonl").create("anybody", scopes_of("read"))
    service = start(service={"host": "0.0.0.0"})
    with holder(service, key) as one:
        assert one.get("/agents").status_code == 200


def test_a_torn_line_counts_as_not_written_and_a_foreign_one_is_refused(tmp_path):
    path = tmp_path / "keys.jsonl"
    file = KeyFile(path)
    _, one = file.create("one", [Scope.READ])
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"at":"2026-')
    ring = Keyring(file, "own")
    ring.load()
    assert ring.find(one).name == "one"
    _, two = file.create("two", [Scope.READ])
    assert [json.loads(line)["name"] for line in path.read_text().splitlines()] == ["one", "two"]
    assert ring.find(two).name == "two"
    path.write_text("nonsense\n")
    with pytest.raises(UsageError, match="line 1 of"):
        file.read()
    assert ring.find(one) is None
    assert ring.find("own").name == "owner"


def test_two_processes_make_keys_at_once(tmp_path):
    path = tmp_path / "keys.jsonl"
    threads = [threading.Thread(target=KeyFile(path).create, args=(f"k{i}", [Scope.READ])) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {one.name for one in KeyFile(path).read().keys} == {f"k{i}" for i in range(16)}


def without_descriptors(pid):
    """Let a process open no file more, whichever it closes meanwhile, and return what it may open now."""
    standard_streams = 3  # a descriptor that is free later has a greater number
    return resource.prlimit(
        pid, resource.RLIMIT_NOFILE, (standard_streams, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    )


def test_a_moment_without_descriptors_locks_nobody_out(process):
    """The file of keys changes while it cannot be opened; the connections are there already."""
    owner = process.start()
    file = KeyFile(process.state / "keys.jsonl")
    _, alice = file.create("alice", scopes_of("read,control"))
    _, gone = file.create("gone", scopes_of("read"))
    at = [
        httpx.Client(base_url=f"{owner.url}/api/v1", headers={"Authorization": f"Apikey {key}"}, timeout=30)
        for key in (alice, gone, owner.api_key, "nobody")
    ]
    assert [one.get("/service").status_code for one in at] == [200, 200, 200, 401]
    panel = at[0].post("/panel-keys", json={"origin": "http://localhost:8888"})
    before = without_descriptors(process.child.pid)
    try:
        file.revoke("gone")
        answers = [one.get("/service") for one in at]
        assert [one.status_code for one in answers] == [503, 503, 200, 503]
        assert "cannot read its keys now" in answers[0].json()["detail"]
        assert str(process.state) not in answers[3].text
    finally:
        resource.prlimit(process.child.pid, resource.RLIMIT_NOFILE, before)
    assert [one.get("/service").status_code for one in at] == [200, 401, 200, 401]
    if panel.status_code < 300:
        at[3].headers["Authorization"] = f"Apikey {panel.json()['key']}"
        assert at[3].get("/service").status_code == 200
    for one in (*at, owner):
        one.close()
    _, said = process.end(15)
    assert said.count("until then only the owner's key is taken") == 1, "said once, not at each request"
    assert "can be read again" in said


def test_a_damaged_file_of_keys_is_looked_at_again(start, tmp_path):
    service = start()
    path = tmp_path / "state" / "keys.jsonl"
    _, alice = KeyFile(path).create("alice", scopes_of("read"))
    with holder(service, alice) as http:
        assert http.get("/service").status_code == 200
        whole = path.read_bytes()
        path.write_bytes(whole + b"no key\n")
        assert http.get("/service").status_code == 503
        path.write_bytes(whole)
        assert http.get("/service").status_code == 200
        path.unlink()
        path.symlink_to("/dev/zero")
        assert http.get("/service").status_code == 503
        assert service.http.get("/api/v1/service").status_code == 200


@pytest.mark.parametrize("name", ["owner", "loop", "neighbour", "epics"])
def test_no_key_has_a_name_that_says_who_needs_none(tmp_path, name):
    with pytest.raises(UsageError, match="is kept for the service itself"):
        KeyFile(tmp_path / "keys.jsonl").create(name, [Scope.READ])
