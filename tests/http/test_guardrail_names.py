"""Guardrails under either name of a device: by the way to it and by its own; a name of nothing is no silent limit."""

import pytest
from services import running

from agent_service.errors import InvalidInput
from agent_service.service.check import check
from agent_service.service.config import ServiceConfig

TUNE = {
    "name": "tune",
    "type": "sequence",
    "config": {"points": [{"stage.x": 1, "stage.y": 1}]},
    "actuators": ["stage.x", "stage.y"],
    "sensors": ["signal"],
    "outcome": "stage_signal",
}
STARTUP = """
from ophyd import Component, Device
from ophyd.sim import SynAxis, SynSignal

class Stage(Device):
    x = Component(SynAxis)
    y = Component(SynAxis)

stage = Stage(name="stage")
signal = SynSignal(name="stage_signal", func=lambda: -stage.x.position ** 2)
"""


@pytest.fixture
def startup(tmp_path):
    path = tmp_path / "two_names.py"
    path.write_text(STARTUP)
    return {"startup": str(path)}


@pytest.mark.parametrize(
    "guardrails",
    [
        {"bounds": {"stage.x": [-1, 1]}, "unbounded": ["stage_y"]},
        {"bounds": {"stage_x": [-1, 1]}, "unbounded": ["stage.y"]},
        {"bounds": {"stage_x": [-1, 1]}, "max_step": {"stage.y": 2}, "unbounded": ["stage_y", "stage.y"]},
        {"bounds": {"stage_x": [-1, 1]}, "rules": ["abs(stage_x - stage.y) <= 8"]},
    ],
)
def test_either_name_does(tmp_path, startup, guardrails):
    assert check(ServiceConfig(run_engine=startup, agents=[{**TUNE, "guardrails": guardrails}]), devices=True) == []
    with running(tmp_path / "state", run_engine=startup) as served:
        served.create(**{**TUNE, "guardrails": guardrails})
        status = served.status("tune")
        assert status["spec"]["guardrails"]["bounds"] == {"stage_x": [-1, 1]}
        answer = served.http.patch("/api/v1/agents/tune", json={"guardrails": {"bounds": {"stage.x": [-2, 2]}}})
        assert answer.json()["spec"]["guardrails"]["bounds"] == {"stage_x": [-2, 2]}


@pytest.mark.parametrize(
    ("guardrails", "field", "words"),
    [
        ({"bounds": {"stage_z": [0, 1]}}, "guardrails.bounds", "names stage_z, which is no actuator of this agent"),
        ({"unbounded": ["stage.z"]}, "guardrails.unbounded", "it has stage_x, stage_y"),
        ({"max_step": {"stagex": 1}}, "guardrails.max_step", "it has stage_x, stage_y"),
        (
            {"rules": ["stage_z <= 1"]},
            "guardrails.rules",
            "hold stage_z <= 1, which names no actuator of this agent; it has stage_x, stage_y",
        ),
        ({"bounds": {"stage.x": [0, 1], "stage_x": [0, 9]}}, "guardrails.bounds", "one device, 'stage_x'"),
    ],
)
def test_what_names_no_actuator_is_refused_and_says_what_there_is(tmp_path, startup, guardrails, field, words):
    spec = {**TUNE, "guardrails": guardrails}
    wrong = check(ServiceConfig(run_engine=startup, agents=[spec]), devices=True)
    assert [one.field for one in wrong] == [f"agents.0.{field}"]
    assert words in wrong[0].message
    with running(tmp_path / "state", run_engine=startup) as served:
        answer = served.http.post("/api/v1/agents", json=spec)
        assert answer.status_code == 422
        assert words in answer.json()["detail"]
        served.create(**TUNE)
        answer = served.http.patch("/api/v1/agents/tune", json={"guardrails": guardrails})
        assert answer.status_code == 422
        assert words in answer.json()["detail"]


@pytest.mark.parametrize(
    "guardrails",
    [
        {"bounds": {"stage_z": [0, 1]}},
        {"max_step": {"stage_z": 1}},
        {"unbounded": ["stage_z"]},
        {"rules": ["stage.x <= stage_z"]},
        {"bounds": {"stage.x": [0, 1], "stage_z": [0, 1]}},
    ],
)
def test_a_limit_for_all_agents_on_what_is_not_there_is_refused(tmp_path, startup, guardrails):
    wrong = check(ServiceConfig(run_engine=startup, guardrails=guardrails), devices=True)
    assert len(wrong) == 1
    assert wrong[0].field == f"guardrails.{next(iter(guardrails))}"
    assert "stage_z would be no limit of anything: there is no device 'stage_z'" in wrong[0].message
    with (
        pytest.raises(InvalidInput, match="stage_z would be no limit"),
        running(tmp_path / "state", run_engine=startup, guardrails=guardrails),
    ):
        pass


def test_who_has_no_devices_keeps_limits_as_they_are_written(tmp_path):
    section = {"sink": {"kind": "claim"}, "guardrails": {"bounds": {"stage_z": [0, 1]}}}
    assert check(ServiceConfig(**section), devices=True) == []
    with running(tmp_path / "state", **section) as served:
        assert served.get("service")["guardrails"]["bounds"] == {"stage_z": [0, 1]}


def test_check_finds_a_device_of_a_rule_and_an_outcome_that_are_not_there(startup):
    rule = {**TUNE, "guardrails": {"rules": ["abs(stage.x - stage.q) <= 8"]}}
    outcome = {**TUNE, "name": "other", "outcome": "stage_signall"}
    own_plan = {**outcome, "name": "third", "plan": "count"}
    right = {**TUNE, "name": "right", "guardrails": {"rules": ["abs(stage.x - stage.y) <= 8"]}}
    config = ServiceConfig(run_engine=startup, agents=[rule, outcome, own_plan, right])
    wrong = {one.field: one.message for one in check(config, devices=True)}
    assert set(wrong) == {"agents.0.guardrails.rules", "agents.1.outcome", "agents.2.plan"}
    assert "names stage.q, which is no actuator of agent 'tune'; there is no" in wrong["agents.0.guardrails.rules"]
    assert "'stage_signall'; did you mean 'stage_signal'" in wrong["agents.1.outcome"]


def test_a_restart_of_the_same_file_with_ways_to_devices_says_nothing(tmp_path, startup, caplog):
    spec = {**TUNE, "guardrails": {"bounds": {"stage.x": [-1, 1]}, "unbounded": ["stage_y"]}}
    for agents in ([spec], [spec], [{**spec, "actuators": ["stage.y", "stage.x"]}]):
        assert "NOT in force" not in caplog.text
        with running(tmp_path / "state", run_engine=startup, agents=agents):
            pass
    assert "what the configuration says by now of its actuators is NOT" in caplog.text


def said(caplog):
    return [one.message.partition("agent tune: ")[2] for one in caplog.records if "allow more" in one.message]


def test_a_change_of_one_limit_leaves_the_others_and_null_takes_one_away(tmp_path, startup, caplog):
    rails = {"bounds": {"stage.x": [-1, 1]}, "max_step": {"stage.x": 2}, "rules": ["stage.x <= stage.y"]}
    with running(tmp_path / "state", run_engine=startup) as served:
        served.create(**{**TUNE, "guardrails": rails})

        def changed(**guardrails):
            answer = served.http.patch("/api/v1/agents/tune", json={"guardrails": guardrails})
            assert answer.status_code == 200, answer.text
            return answer.json()["spec"]["guardrails"]

        now = changed(bounds={"stage.y": [-1, 1]}, max_step={"stage_y": 3})
        assert now["bounds"] == {"stage_x": [-1, 1], "stage_y": [-1, 1]}
        assert now["max_step"] == {"stage_x": 2, "stage_y": 3}
        assert said(caplog) == []
        assert changed(bounds={"stage.x": None})["bounds"] == {"stage_y": [-1, 1]}
        assert said(caplog) == ["its guardrails allow more than before: bounds.stage_x"]
        assert changed(bounds={})["bounds"] == {}
        assert said(caplog)[-1] == "its guardrails allow more than before: bounds.stage_y"
        assert changed(rules=["stage_x <= 3"])["rules"] == ["stage_x <= 3"]
        assert said(caplog)[-1] == "its guardrails allow more than before: rules"
    with running(tmp_path / "state", run_engine=startup) as served:
        assert served.status("tune")["spec"]["guardrails"]["max_step"] == {"stage_x": 2, "stage_y": 3}


def test_a_distance_holds_however_it_names_a_device_and_is_written_once(tmp_path, startup):
    with running(tmp_path / "state", run_engine=startup) as served:
        for written in ("stage.x", "stage_x"):
            served.create(**{**TUNE, "loop": {"approval_distance": {written: 0.5}}})
            assert served.status("tune")["spec"]["loop"]["approval_distance"] == {"stage_x": 0.5}
            twice = {"approval_distance": {"stage_x": 0.5, "stage.x": 50}}
            answer = served.http.patch("/api/v1/agents/tune", json={"loop": twice})
            assert (answer.status_code, "write its limit once" in answer.text) == (422, True)
            answer = served.http.patch("/api/v1/agents/tune", json={"loop": {"approval_distance": {"stage.y": 1}}})
            assert answer.json()["spec"]["loop"]["approval_distance"] == {"stage_y": 1}
            foreign = {**TUNE, "name": "other", "loop": {"approval_distance": {"stage_z": 1}}}
            answer = served.http.post("/api/v1/agents", json=foreign)
            assert (answer.status_code, "loop.approval_distance names stage_z" in answer.text) == (422, True)
            served.http.delete("/api/v1/agents/tune")


@pytest.mark.parametrize("rules", [None, 5, "stage.x < 3", [5], [None], [["stage.x < 3"]]])
def test_rules_that_are_no_list_of_texts_are_refused(tmp_path, startup, rules):
    with running(tmp_path / "state", run_engine=startup) as served:
        served.create(**TUNE)
        answer = served.http.patch("/api/v1/agents/tune", json={"guardrails": {"rules": rules}})
        assert (answer.status_code, "guardrails.rules" in answer.text) == (422, True)
