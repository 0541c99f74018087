"""How the page looks in each state; with SCREENSHOTS=DIRECTORY the pictures of the documentation are written there."""

import functools

import pages
import pytest
from pages import at, button, by_code
from peers import free_port
from services import running, wait_until
from test_panel_screens import shoot

from agent_service.client import Client

BOUNDS = {"bounds": {"x": [-5, 50], "y": [-1, 1]}}
POINTS = [{"x": x, "y": y} for x, y in ((0, -0.5), (12, 0.2), (25, 0.6), (58, 0.4), (33, -0.2), (41, 0.8), (44, 1.4))]
CLIMBS = {
    "flank": [{"x": round(9 - 0.7 * run + 1.6 * (-1) ** run, 2), "y": 0} for run in range(12)],
    "centre": [{"x": round(6 * 0.7**run * (-1) ** run + 0.5, 2), "y": 0.1} for run in range(12)],
}
WALKER = {"actuators": ["x", "y"], "sensors": ["signal"], "outcome": "signal", "guardrails": BOUNDS}


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    away = {"dask": {"address": f"tcp://127.0.0.1:{free_port()}"}}
    with running(tmp_path_factory.mktemp("states") / "state", executors=away) as served:
        with Client(served.url, api_key=served.server.api_key) as one:
            one.create(name="fresh", type="sobol", config=BOUNDS, loop={"max_runs": 20}, **WALKER)
            one.create(name="failing", type="brainbox:Walker", plan="raises", loop={"max_failures": 3}, **WALKER)
            one.start("failing")
            one.create(name="asks", type="brainbox:Walker", loop={"approval": "required", "n_points": 3}, **WALKER)
            one.start("asks")
            one.create(name="guarded", type="sequence", config={"points": POINTS}, loop={"max_runs": 5}, **WALKER)
            one.start("guarded")
            for name, points in CLIMBS.items():
                one.create(name=name, type="sequence", config={"points": points}, loop={"max_runs": 12}, **WALKER)
                one.start(name)
            one.create(name="faulty", type="brainbox:Faulty", **WALKER)
            one.start("faulty")
            one.create(name="mapped", type="bayes", config=BOUNDS | {"seed": 3}, loop={"max_runs": 14}, **WALKER)
            one.start("mapped")
            one.create(name="far", type="brainbox:Walker", executor="dask", **WALKER)
            for name in ("guarded", "mapped", *CLIMBS):
                one.wait(name)
            wait_until(lambda: one.agent("failing").state == "stopped", within_s=60, what="it has stopped")
            wait_until(lambda: one.suggestions("asks", state="proposed"), within_s=60, what="points that wait")
            one.url = served.url
            yield one


@pytest.fixture
def opened(browser, client):
    return functools.partial(pages.opened, browser, client.url, by_code(client), device_scale_factor=2)


def a_history(page):
    page.get_by_role("tab", name="History").click()
    page.get_by_role("row").filter(has_text="the shutter is closed").first.wait_for()


def refused_points(page):
    page.get_by_role("tab", name="History").click()
    page.get_by_role("row").filter(has_text="rejected").first.wait_for()


def a_brain_that_raised(page):
    page.locator("summary", has_text="Traceback").first.wait_for()
    page.get_by_text("Before the first run").wait_for()
    page.get_by_text("allowed", exact=True).last.wait_for()


def what_it_believes(page):
    page.locator("main summary", has_text="More").click()
    button(page, "Start paused").click()
    page.locator(".as-badge", has_text="paused").first.wait_for()
    page.get_by_label("Behind the points: what the agent believes").select_option("mean")
    page.locator(".as-belief rect").first.wait_for()


def a_brain_that_is_away(page):
    button(page, "Start").click()
    page.get_by_text("it waits: the Dask cluster").wait_for()


def no_service(page):
    button(page, "Approve all 3").wait_for()
    page.context.set_offline(True)
    page.get_by_text("does not answer").first.wait_for()


def two_agents(page):
    page.get_by_label("More pictures").select_option("beside another agent")
    page.get_by_label("The other agent").select_option("centre")
    page.locator("figure").nth(2).locator(".as-dots.as-other").wait_for()


def a_held_queue(page):
    button(page, "Stop everything").click()
    page.get_by_text("Nothing moves").first.wait_for()


@pytest.mark.long
@pytest.mark.parametrize(
    "picture",
    [
        (
            "page-before",
            "light",
            "#/agents/fresh",
            680,
            lambda page: page.get_by_text("Before the first run").wait_for(),
        ),
        ("page-failed", "light", "#/agents/failing", 900, a_history),
        ("page-fault", "light", "#/agents/faulty", 620, a_brain_that_raised),
        ("page-belief", "dark", "#/agents/mapped", 720, what_it_believes),
        ("page-refused", "light", "#/agents/guarded", 900, refused_points),
        ("page-lost", "light", "#/agents/far", 620, a_brain_that_is_away),
        ("page-unreachable", "light", "#/agents/asks", 900, no_service),
        ("page-compared", "light", "#/agents/flank", 860, two_agents),
        ("page-new", "light", "#/new", 900, lambda page: page.get_by_label("moves").fill("x, y")),
        ("page-held", "dark", "#/", 360, a_held_queue),
    ],
)
def test_how_it_looks(client, opened, picture):
    name, look, view, height, within = picture
    with opened(color_scheme=look, viewport={"width": 1180, "height": height}) as page:
        at(page, view)
        page.get_by_text("live").or_(button(page, "Create")).first.wait_for()
        within(page)
        shoot(page, name)
    if client.agent("mapped").state == "paused":
        client.stop("mapped")
    if client.queue().state == "held":
        client.resume_queue()
