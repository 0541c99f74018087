"""The page of a relay in a real browser: keys, all services on one screen, and one that is lost."""

import contextlib

import lab
import pages
import pytest
from pages import button, expects
from test_panel_screens import shoot
from two_services import Two

WALKER = {"type": "brainbox:Walker", "loop": {"max_runs": 2}}


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    with contextlib.ExitStack() as stack:
        yield Two(tmp_path_factory.mktemp("relay"), stack)


def show(page, *keys):
    page.get_by_label("Keys").fill(",".join(keys))
    button(page, "Show").click()


def test_all_services_on_one_screen_and_one_that_is_lost(two, browser):
    two.one.create("walker", **WALKER)
    two.two.create("broken", plan="raises", loop={"max_failures": 1})
    with pages.opened(browser, two.url, viewport={"width": 360, "height": 740}) as page:
        show(page, "wrong")
        page.get_by_text("no service that is followed here takes this key").wait_for()
        show(page, *two.keys)
        one, other = page.get_by_role("region", name="one"), page.get_by_role("region", name="two")
        one.get_by_text("not started").wait_for()
        two.one.post("agents/walker/start")
        two.two.post("agents/broken/start")
        one.get_by_text("all 2 runs are made").wait_for()
        one.get_by_text("highest signal").wait_for()
        other.get_by_text("1 failure in a row; the last: RuntimeError: the shutter is closed").wait_for()
        expects(one.get_by_role("link", name="walker")).to_have_attribute("href", f"{two.one.url}/#/agents/walker")
        assert page.evaluate("() => document.documentElement.scrollWidth") == 360
        assert lab.serious(page) == []
        page.set_viewport_size({"width": 1180, "height": 240})
        shoot(page, "relay")
        secrets = [key for key in two.keys if key in page.content()]
        assert secrets == []
        two.two.close()
        other.get_by_text("It does not answer").wait_for()
        one.get_by_text("all 2 runs are made").wait_for()
        button(page, "Other keys").click()
        show(page, "wrong")  # whether the one that is lost would take it nobody knows
        page.get_by_text("does not answer; it is asked again").wait_for()
        button(page, "Other keys").click()
        show(page, two.keys[0])
        one.get_by_text("all 2 runs are made").wait_for()
        expects(page.get_by_role("region")).to_have_count(1)
