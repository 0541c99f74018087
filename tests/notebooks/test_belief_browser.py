"""What an agent believes, behind the points of the map on the service's page; and pictures as files."""

import struct
import xml.etree.ElementTree as ET

import lab
import pytest
from services import running, wait_until

SPEC = {
    "name": "aligner",
    "type": "bayes",
    "config": {"bounds": {"x": [-2, 2], "y": [-2, 2]}, "objective": "signal"},
    "actuators": ["x", "y"],
    "sensors": ["signal"],
    "outcome": "signal",
    "guardrails": {"bounds": {"x": [-2, 2], "y": [-2, 2]}},
}
MEASURED = [{"x": x, "y": y, "signal": 5 - x**2 - y**2} for x in (-2.0, 0.0, 2.0) for y in (-2.0, 0.5, 2.0)]
CELLS = ".as-belief rect"


@pytest.fixture
def page(browser, tmp_path):
    with running(tmp_path / "state") as service, browser.new_context(viewport={"width": 1200, "height": 900}) as own:
        service.create(**SPEC)
        service.post("agents/aligner/start?paused=true")
        yield lab.agent_page(own, service)


def more(page, picture):
    """Choose one more picture, and return where it is."""
    page.get_by_label("More pictures").select_option(label=picture)
    return page.locator(".as-more")


def colours(page):
    return page.locator(CELLS).evaluate_all("all => all.map(one => one.getAttribute('fill'))")


def behind(page, layer):
    page.get_by_label("Behind the points").select_option(label=layer)


def test_it_lies_behind_the_points_and_follows_what_is_measured(page):
    page.service.post("agents/aligner/ingest", {"points": MEASURED[:1]})
    behind(page, "mean")
    page.get_by_text("No belief to show: it knows too little yet").wait_for()
    page.service.post("agents/aligner/ingest", {"points": MEASURED[1:]})
    wait_until(lambda: page.locator(CELLS).count() == 900, within_s=60, what="the map")
    mean = colours(page)
    behind(page, "uncertainty")
    wait_until(lambda: len(now := colours(page)) == 900 and now != mean, within_s=60, what="another map")
    behind(page, "points only")
    wait_until(lambda: not colours(page), within_s=60, what="points only")
    assert page.said == [], "neither errors nor what its policy refused"


def test_a_picture_is_saved_as_it_is_shown(page, tmp_path):
    page.service.post("agents/aligner/ingest", {"points": MEASURED})
    behind(page, "mean")
    wait_until(lambda: page.locator(CELLS).count() == 900, within_s=60, what="the map")
    for kind in ("PNG", "SVG"):
        with page.expect_download() as download:
            page.get_by_role("button", name=f'Save the picture "Measured, suggested and best points" as {kind}').click()
        assert download.value.suggested_filename == f"map.{kind.lower()}"
        download.value.save_as(tmp_path / kind)
    png = (tmp_path / "PNG").read_bytes()
    assert png.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", png[16:24])
    assert width > height > 200
    drawn = ET.parse(tmp_path / "SVG").getroot()
    rectangles = drawn.findall(".//{http://www.w3.org/2000/svg}rect")
    assert len(rectangles) > 900
    assert not drawn.findall(".//*[@class]"), "it needs no style sheet"
    assert page.said == []


def test_more_pictures_of_what_it_believes_and_of_another_agent(page):
    page.service.post("agents/aligner/ingest", {"points": MEASURED})
    ways = more(page, "parallel coordinates").locator("path.as-way")
    wait_until(lambda: ways.count() == len(MEASURED), within_s=60, what="a line for each measured point")
    curve = more(page, "curve along one actuator").locator("path.as-line")
    at_best = wait_until(lambda: curve.get_attribute("d"), within_s=60, what="the curve with y at the best point")
    page.get_by_label("y in the picture").fill("-2")
    page.get_by_label("y in the picture").press("Enter")
    wait_until(lambda: curve.get_attribute("d") not in (None, at_best), within_s=60, what="the curve elsewhere")
    bars = more(page, "how much each actuator matters").locator("rect.as-bar")
    wait_until(lambda: bars.count() == 2, within_s=60, what="a bar for each actuator")
    more(page, "beside another agent").get_by_text("There is no other agent").wait_for()
    page.service.create(**{**SPEC, "name": "rival"})
    page.service.post("agents/rival/start?paused=true")
    page.service.post("agents/rival/ingest", {"points": MEASURED[:4]})
    page.locator('.as-more .as-dots.as-other[data-points="4"]').wait_for()
    assert page.locator(".as-more .as-dots.as-own").get_attribute("data-points") == str(len(MEASURED))
    assert page.said == []


def test_a_point_of_the_front_is_chosen_and_gone_to(browser, tmp_path):
    points = [{"x": x, "y": 0.0, "signal": 4 - x**2, "cost": abs(x - 1)} for x in (-1.0, -0.5, 0.0, 0.5, 1.0)]
    fields = {"type": "sequence", "config": {"points": [{"x": 0, "y": 0}]}, "outcome": ["signal", "cost"]}
    with running(tmp_path / "state") as service, browser.new_context() as own:
        service.create(**{**SPEC, "name": "both", **fields}, objectives={"signal": "maximize", "cost": "minimize"})
        service.post("agents/both/start?paused=true")
        service.post("agents/both/ingest", {"points": points})
        page = lab.agent_page(own, service)
        rows = page.locator(".as-front-table tbody tr")
        wait_until(lambda: rows.count() == 3, within_s=60, what="the front of x from 0 to 1, without a choice")
        assert page.locator(".as-more circle.as-front").count() == 3
        chosen = rows.filter(has_text="3.75")
        chosen.get_by_role("button", name="Mark signal 3.75, cost 0.5 in the picture").click()
        page.locator(".as-more circle.as-front.as-chosen").wait_for()
        chosen.get_by_role("button", name="Go there").click()
        page.get_by_text("moved to x 0.5, y 0").first.wait_for()
        assert page.said == []
