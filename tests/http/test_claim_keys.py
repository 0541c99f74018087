"""A claim belongs to the key that made it, and what is posted to the key that posts it."""

import contextlib

import pytest
import rig
from people import person, problem
from services import wait_until

CLAIM = {"sink": {"kind": "claim"}, "source": {"kind": "none"}}


@pytest.fixture
def programs(start):
    """A service that moves nothing itself, and two programs that measure for it."""
    service = start(**CLAIM)
    with person(service, "alice", "read,control") as alice, person(service, "bob", "read,control") as bob:
        yield service, alice, bob


def run_of(md, uid, *, x=0.0, signal=0.5, exit_status="success"):
    data = {"x": x, "y": 0.0, "signal": signal}
    keys = {key: {"source": "sim", "dtype": "number", "shape": []} for key in data}
    stamps = dict.fromkeys(data, 1.0)
    event = {"uid": f"{uid}-e", "time": 1.0, "descriptor": f"{uid}-d", "seq_num": 1, "data": data, "timestamps": stamps}
    return [
        ["start", {"uid": uid, "time": 1.0, **md}],
        ["descriptor", {"uid": f"{uid}-d", "time": 1.0, "run_start": uid, "name": "primary", "data_keys": keys}],
        ["event", event],
        ["stop", {"uid": f"{uid}-s", "time": 1.0, "run_start": uid, "exit_status": exit_status, "reason": ""}],
    ]


def post(client, documents):
    return client.post("documents", json={"documents": documents})


def claimed(service, client, name="walker", **body):
    if name not in [one["name"] for one in service.get("agents")["items"]]:
        service.create(name, loop={"max_runs": 3})
        service.post(f"agents/{name}/start")
    answer = client.post("suggestions/claim", json={"agent": name, "wait_s": 10, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


def fate(service, found):
    return service.get(f"suggestions/{found['id']}")["state"]


def test_nobody_else_renews_releases_or_measures(programs):
    service, alice, bob = programs
    found = claimed(service, alice)
    for route, body in [("renew", {"lease_s": 86_400}), ("release", {"how": "unused"}), ("release", {"how": "fail"})]:
        status, code, said = problem(bob.post(f"suggestions/{found['id']}/{route}", json=body))
        assert (status, code) == (403, "forbidden")
        assert "is claimed with the key 'alice'" in said
    assert fate(service, found) == "submitted"
    status, _, said = problem(post(bob, run_of(found["md"], "stolen")))
    assert status == 403
    assert "was claimed with the key 'alice'" in said
    outcome = {"points": [{"_id": found["id"], "signal": 9.0}]}
    assert problem(bob.post("agents/walker/ingest", json=outcome))[0] == 403
    assert alice.post(f"suggestions/{found['id']}/renew").status_code == 200
    post(alice, run_of(found["md"], "hers")).raise_for_status()
    wait_until(lambda: fate(service, found) == "ingested")
    assert service.get(f"suggestions/{found['id']}")["run_uid"] == "hers"


def test_a_person_with_approve_releases_what_a_program_that_died_held(programs):
    service, alice, _ = programs
    found = claimed(service, alice)
    with person(service, "carol", "control,approve") as carol:
        assert problem(carol.post(f"suggestions/{found['id']}/renew"))[0] == 403, "it would not be hers"
        carol.post(f"suggestions/{found['id']}/release", json={"how": "unused"}).raise_for_status()
    again = claimed(service, alice)
    assert again["id"] == found["id"]


def test_who_claims_it_next_holds_it(programs):
    service, alice, bob = programs
    found = claimed(service, alice)
    alice.post(f"suggestions/{found['id']}/release", json={"how": "unused"}).raise_for_status()
    assert problem(post(bob, run_of(found["md"], "early")))[0] == 403, "nobody has claimed it"
    assert claimed(service, bob)["id"] == found["id"]
    assert problem(post(alice, run_of(found["md"], "late")))[0] == 403
    post(bob, run_of(found["md"], "his")).raise_for_status()
    wait_until(lambda: fate(service, found) == "ingested")


def test_what_was_begun_is_not_given_back_even_if_nobody_has_heard_of_it_yet(programs):
    service, alice, _ = programs
    found = claimed(service, alice)
    post(alice, run_of(found["md"], "begun")[:1]).raise_for_status()
    assert problem(alice.post(f"suggestions/{found['id']}/release", json={"how": "unused"}))[0] == 409


@pytest.mark.parametrize("end", ["the lease", "a restart"])
def test_a_late_run_is_taken_from_who_claimed_it(start, end):
    service = start(**CLAIM)
    with contextlib.ExitStack() as stack:
        alice = stack.enter_context(person(service, "alice", "read,control"))
        bob = stack.enter_context(person(service, "bob", "read,control"))
        found = claimed(service, alice, lease_s=0.2 if end == "the lease" else 60)
        if end == "the lease":
            wait_until(lambda: fate(service, found) == "expired")
        else:
            service.close()
            service = start(**CLAIM)
            alice.base_url = bob.base_url = f"{service.url}/api/v1/"
            wait_until(lambda: fate(service, found) == "submitted")
        status, _, said = problem(post(bob, run_of(found["md"], "stolen")))
        assert status == 403
        assert "'alice'" in said
        post(alice, run_of(found["md"], "hers")).raise_for_status()
        wait_until(lambda: fate(service, found) == "ingested")


# documents ------------------------------------------------------------------------------------------------------------


def test_a_posted_document_never_touches_a_run_of_the_service_s_own_run_engine(start):
    rig.gate.clear()
    rig.measuring.clear()
    service = start()
    service.create("walker", plan="gated", loop={"max_runs": 1})
    service.post("agents/walker/start")
    [one] = wait_until(lambda: service.suggestions("walker", state="running"))
    uid = one["run_uid"]
    with person(service, "bob", "read,control") as bob:
        refused = [
            run_of({"agent_suggestion_uid": one["id"], "agent_name": "walker"}, "forged"),
            run_of({}, uid),
            [["stop", {"uid": "s", "time": 1.0, "run_start": uid, "exit_status": "success"}]],
            [["descriptor", {"uid": "d", "time": 1.0, "run_start": uid, "name": "primary", "data_keys": {}}]],
            [*run_of({}, "mine")[:1], ["stop", {"uid": "s", "time": 1.0, "run_start": uid, "exit_status": "fail"}]],
        ]
        for documents in refused:
            status, code, said = problem(post(bob, documents))
            assert (status, code) == (403, "forbidden"), said
        resource = {"uid": "r", "spec": "x", "root": "/", "resource_path": "a", "resource_kwargs": {}}
        assert problem(post(bob, [["resource", resource]]))[0] == 409, "it would be put into the only run that is open"
        for number in range(120):  # so many open ones that no other run has room
            post(bob, run_of({"plan_name": "flood"}, f"flood-{number}")[:2]).raise_for_status()
    rig.gate.set()
    service.until("walker", "stopped")
    ended = service.get(f"suggestions/{one['id']}")
    assert (ended["state"], ended["run_uid"]) == ("ingested", uid)


def test_a_flood_of_posted_runs_pushes_out_no_run_of_ours_that_all_hear(start):
    rig.gate.clear()
    service = start()
    service.create("listener", type="brainbox:Listener", listen="all")
    service.post("agents/listener/start")
    service.create("walker", plan="gated", loop={"max_runs": 1})
    service.post("agents/walker/start")
    [one] = wait_until(lambda: service.suggestions("walker", state="running"))
    with person(service, "bob", "read,control") as bob:
        for number in range(120):
            post(bob, run_of({}, f"flood-{number}")[:1]).raise_for_status()
    rig.gate.set()
    service.until("walker", "stopped")
    assert service.get(f"suggestions/{one['id']}")["state"] == "ingested"


def test_a_run_belongs_to_the_key_that_posts_it(programs):
    service, alice, bob = programs
    service.create("listener", type="brainbox:Listener", listen="all")
    service.post("agents/listener/start")
    start, descriptor, event, stop = run_of({}, "hers", x=1.0)
    post(alice, [start, descriptor]).raise_for_status()
    for documents in ([event], [stop], [start], [event, stop]):
        assert problem(post(bob, documents))[0] == 403
    own = run_of({}, "his", x=2.0)
    taken = [own[0], ["descriptor", {**own[1][1], "uid": "hers-d"}]]
    status, _, said = problem(post(bob, taken))
    assert status == 403
    assert "hers-d" in said
    assert problem(post(bob, [["event", {**event[1], "descriptor": "nobody-d"}]]))[0] == 409
    post(bob, own).raise_for_status()
    post(alice, [event, stop]).raise_for_status()
    post(alice, [event, stop]).raise_for_status()  # who got no answer sends it again
    post(alice, [start, descriptor, event, stop]).raise_for_status()

    def seen():
        return [one["x"] for one in service.post("agents/listener/report")["report"]["points"]]

    wait_until(lambda: seen() == [2.0, 1.0])


@pytest.mark.parametrize("uid", ["a/b", "", "..", "x" * 129, "a b", "a\nb", "\u00e9", "-a", "a\\b", "a%2fb", "a\x00"])
@pytest.mark.parametrize(
    "where", ["start", "stop", "descriptor", "event", "run_start", "claim", "ingest", "warm_start"]
)
def test_uids_are_looked_at(served, where, uid):
    documents = run_of({}, "good")
    positions = {"start": (0, "uid"), "descriptor": (1, "uid"), "event": (2, "uid"), "stop": (3, "uid")}
    if where in positions or where == "run_start":
        index, key = positions.get(where, (3, "run_start"))
        documents[index][1][key] = uid
        found = served.problem("POST", "documents", 422, "invalid_input", json={"documents": documents})
        assert found["errors"][0]["field"] == f"documents.{index}.1.{key}"
    elif where == "claim":
        if uid and uid.isprintable() and len(uid) < 200:
            return  # of another service: it is only compared
        documents[0][1]["agent_suggestion_uid"] = uid + "\n" + "x" * 200
        served.problem("POST", "documents", 422, "invalid_input", json={"documents": documents})
    elif where == "ingest":
        if "hand" not in [one["name"] for one in served.get("agents")["items"]]:
            served.create("hand")
            served.post("agents/hand/start?paused=true")
        found = served.problem("POST", "agents/hand/ingest", 422, "invalid_input", json={"run_uids": ["good", uid]})
        assert found["errors"][0]["field"] == "run_uids.1"
        assert "is no uid" in found["detail"]
    else:
        spec = {"name": "warm", "type": "brainbox:Walker", "actuators": ["x", "y"], "outcome": "signal"}
        found = served.problem("POST", "agents", 422, "invalid_input", json={**spec, "warm_start": [uid]})
        assert found["errors"][0]["field"] == "warm_start.0"


def test_datums_have_ids_as_area_detectors_make_them(served):
    start, descriptor, event, stop = run_of({}, "images")
    resource = {
        "uid": "r1",
        "run_start": "images",
        "spec": "x",
        "root": "/",
        "resource_path": "a",
        "resource_kwargs": {},
    }
    datum = {"datum_id": "r1/0", "resource": "r1", "datum_kwargs": {}}
    body = {"documents": [start, descriptor, ["resource", resource], ["datum", datum], event, stop]}
    assert served.post("documents", body) == {"accepted": 6}
