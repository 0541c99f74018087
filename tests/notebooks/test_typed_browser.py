"""Points of choices, whole numbers, true and false on the service's page: fields for each, and axes of their own."""

import lab
import pytest
from services import running, wait_until

SPACE = {
    "filt": {"type": "choice", "values": ["none", "Al", "Ti", "1"]},
    "turns": {"type": "int", "low": 0, "high": 8},
    "lamp": {"type": "bool"},
    "x": [-10, 10],
}
POINT = {"filt": "Al", "turns": 3, "lamp": True, "x": 0.123456789012}


@pytest.fixture
def page(browser, tmp_path):
    with (
        running(tmp_path / "state", run_engine={"startup": "filters"}) as service,
        browser.new_context(viewport={"width": 1200, "height": 1000}) as own,
    ):
        more = {"actuators": list(SPACE), "sensors": ["flux"], "outcome": "flux", "space": SPACE}
        loop = {"approval": "required"}
        service.create("mixed", type="brainbox:Mixed", config={"points": [POINT]}, loop=loop, **more)
        service.post("agents/mixed/start?paused=true")
        yield lab.agent_page(own, service)


def test_a_point_is_edited_in_fields_of_its_kinds_and_approved_as_it_stands(page):
    page.service.post("agents/mixed/suggest", {"n_points": 1})
    page.get_by_role("button", name="Edit").click()
    filt = page.get_by_role("combobox", name="filt")
    assert filt.locator("option").all_inner_texts() == ["none", "Al", "Ti", "1"]
    filt.select_option(label="1")
    page.get_by_role("spinbutton", name="turns").first.fill("4")
    page.get_by_role("checkbox", name="lamp").first.uncheck()
    page.get_by_role("button", name="Approve").click()
    [approved] = wait_until(lambda: page.service.suggestions("mixed", state="approved"), within_s=60)
    assert approved["point"] == {**POINT, "filt": "1", "turns": 4, "lamp": False}, (
        "what was not touched keeps its digits"
    )
    assert [type(one) for one in approved["point"].values()] == [str, int, bool, float]


def test_what_was_measured_elsewhere_is_told_in_fields_of_its_kinds(page):
    page.get_by_role("tab", name="By hand").click()
    pane = page.get_by_role("tabpanel", name="By hand").get_by_role("group", name="Ingest")
    pane.get_by_role("spinbutton", name="turns").fill("2")
    pane.get_by_role("checkbox", name="lamp").check()
    pane.get_by_role("spinbutton", name="x", exact=True).fill("1.5")
    pane.get_by_role("spinbutton", name="flux").fill("7")
    pane.get_by_role("button", name="Ingest").click()
    page.get_by_text("filt must be filled in").wait_for()
    pane.get_by_role("combobox", name="filt").select_option(label="Ti")
    pane.get_by_role("button", name="Ingest").click()
    [told] = wait_until(
        lambda: [one["data"] for one in page.service.get("agents/mixed/history")["items"] if one["kind"] == "ingest"],
        within_s=60,
    )
    assert told["points"] == [{"filt": "Ti", "turns": 2, "lamp": True, "x": 1.5, "flux": 7.0}]
    page.locator(".as-measured").nth(1).wait_for(state="attached")  # the first is the legend's
    ticks = page.locator(".as-tick-x").all_text_contents()
    assert [one for one in ticks if one in SPACE["filt"]["values"]][-4:] == SPACE["filt"]["values"]
