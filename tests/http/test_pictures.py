"""Pictures of what an agent believes, drawn from what a real service answers."""

import pytest

from agent_service import Client
from agent_service.client.pictures import belief
from agent_service.errors import InvalidInput, NotFound

NAMES = ["x", "y", "z"]
TOLD = [{"x": x, "y": y, "z": 0.5, "signal": 5 - x**2 - y**2} for x in (-2.0, 0.0, 2.0) for y in (-2.0, 0.5, 2.0)]


@pytest.fixture
def client(start):
    service = start(sink={"kind": "claim"}, source={"kind": "none"})
    bounds = {name: [-2, 2] for name in NAMES}
    config = {"bounds": bounds, "objective": "signal"}
    rails = {"bounds": bounds}
    service.create("aligner", type="bayes", config=config, actuators=NAMES, guardrails=rails)
    service.post("agents/aligner/start?paused=true")
    with Client(service.url, api_key=service.server.api_key) as one:
        yield one


def test_a_map_of_two_actuators_with_the_third_at_the_best_point(client, tmp_path):
    client.ingest("aligner", TOLD)
    figure = belief(client, "aligner")
    titles = [panel.get_title() for panel in figure.axes if panel.get_title()]
    assert titles == ["signal", "signal: standard deviation", "what measuring there is worth"]
    assert figure.get_suptitle() == "aligner: what it believes after 9 points, at z = 0.5"
    panel = figure.axes[0]
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("x", "y")
    assert panel.get_xlim()[0] < -1.99, "the axes are those of the limits"
    [measured] = panel.lines
    assert sorted(measured.get_xdata()) == sorted(point["x"] for point in TOLD)
    colours = panel.collections[0].get_array()
    assert abs(colours.max() - 5) < 1, "its colours are the outcome's numbers"
    for suffix, magic in (("png", b"\x89PNG"), ("svg", b"<?xml")):
        figure.savefig(tmp_path / f"one.{suffix}")
        assert (tmp_path / f"one.{suffix}").read_bytes().startswith(magic)


def test_a_curve_over_one_actuator_with_the_others_where_they_are_set(client):
    client.ingest("aligner", TOLD)
    figure = belief(client, "aligner", actuators=["y"], at={"x": 0.0, "z": 0.5})
    assert "at x = 0, z = 0.5" in figure.get_suptitle()
    [panel] = figure.axes
    assert [text.get_text() for text in panel.get_legend().get_texts()] == [
        "two standard deviations",
        "mean",
        "measured",
    ]
    mean = panel.lines[0]
    assert abs(max(mean.get_ydata()) - 5) < 1, "at x = 0"


def test_what_cannot_be_drawn_is_said(client):
    with pytest.raises(InvalidInput, match="where is z"):
        belief(client, "aligner")
    with pytest.raises(InvalidInput, match="knows too little yet"):
        belief(client, "aligner", at={"z": 0.0})
    client.ingest("aligner", TOLD)
    with pytest.raises(InvalidInput, match="no actuator 'w'; it has x, y, z"):
        belief(client, "aligner", actuators=["w"])
    with pytest.raises(InvalidInput, match="one or two actuators, and these are 3"):
        belief(client, "aligner", actuators=NAMES)
    with pytest.raises(InvalidInput, match="says nothing of 'dose', but of signal"):
        belief(client, "aligner", outcome="dose")
    with pytest.raises(NotFound):
        belief(client, "nobody")


def test_an_agent_whose_runs_are_made_is_asked_when_it_is_started_paused(start):
    service = start()
    config = {"bounds": {"x": [-2, 2], "y": [-2, 2]}, "objective": "signal"}
    service.create("done", type="bayes", config=config, loop={"max_runs": 5})
    service.post("agents/done/start")
    service.until("done", "stopped", within_s=60)
    refused = service.problem("POST", "agents/done/start", 409, "conflict")
    assert "start it paused to ask its brain" in refused["detail"]
    service.post("agents/done/start?paused=true")
    assert service.status("done")["state"] == "paused"
    with Client(service.url, api_key=service.server.api_key) as client:
        assert client.predict("done", [{"x": 0.0, "y": 0.0}]).mean["signal"]
    service.post("agents/done/resume")
    service.until("done", "stopped", within_s=60)
    assert service.status("done")["progress"]["done"] == 5, "it measured nothing more"
