"""How the page looks in each state; with SCREENSHOTS=DIRECTORY the pictures of the documentation are written there."""

import functools

import pages
import pytest
from pages import at, button, by_code
from services import running, wait_until
from test_panel_screens import shoot

from agent_service.client import Client

BOUNDS = {"bounds": {"x": [-5, 50], "y": [-1, 1]}}
WALKER = {"actuators": ["x", "y"], "sensors": ["signal"], "outcome": "signal", "guardrails": BOUNDS}


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with running(tmp_path_factory.mktemp("states") / "state") as served:
        with Client(served.url, api_key=served.server.api_key) as one:
            one.create(name="fresh", type="sobol", config=BOUNDS, loop={"max_runs": 20}, **WALKER)
            one.create(name="failing", type="brainbox:Walker", plan="raises", loop={"max_failures": 3}, **WALKER)
            one.start("failing")
            one.create(name="asks", type="brainbox:Walker", loop={"approval": "required", "n_points": 3}, **WALKER)
            one.start("asks")
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
    if client.queue().state == "held":
        client.resume_queue()
