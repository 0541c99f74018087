"""The page of a service in a real browser: logging in, what a key may not do, a telephone, nothing from elsewhere."""

import contextlib
import shutil
import socket
import subprocess
from pathlib import Path

import httpx
import lab
import pytest
import rig
import wanted
from pages import WATCH, button, by_code, expects, log_in
from services import running, wait_until
from test_panel_screens import shoot

from agent_service.client import Client
from agent_service.service.keys import KeyFile, Scope

ROOT = Path(__file__).parents[2]
PHONE = {"width": 360, "height": 740}
WIDTHS = (360, 768, 1280, 2560)
VIEWS = ("#/", "#/agents/asked", "#/inbox", "#/service", "#/new")
WALKER = {"type": "brainbox:Walker", "actuators": ["x", "y"], "sensors": ["signal"], "outcome": "signal"}
NAMES = """() => [...document.querySelectorAll("button, summary")].filter((one) => one.checkVisibility())
  .map((one) => one.getAttribute("aria-label") ?? one.textContent)"""


@pytest.fixture(scope="module")
def client(served):
    with Client(served.url, api_key=served.server.api_key) as one:
        one.create(name="asked", loop={"approval": "required"}, guardrails={"bounds": {"x": [-5, 50]}}, **WALKER)
        yield one


@pytest.fixture
def keys(state):
    return KeyFile(state / "keys.jsonl")


@pytest.fixture
def asks(client):
    """The agent, with a suggestion that waits."""
    if "start" in client.agent("asked").legal:
        client.start("asked")
    yield wait_until(lambda: client.suggestions("asked", state="proposed"), within_s=60, what="a suggestion")[0]
    if client.queue().state in ("held", "paused"):
        client.resume_queue()


def test_a_code_logs_in_and_is_gone_from_the_address(client, opened):
    fragment = by_code(client)
    with opened(fragment) as page:
        button(page, "Stop everything").wait_for()
        page.get_by_text("asked").first.wait_for()
        assert "code" not in page.url
        assert page.context.cookies() == []
        assert fragment[6:] not in "".join(page.asked)
        page.reload()  # the tab keeps its session
        button(page, "Stop everything").wait_for()
    with opened(fragment) as page:
        page.get_by_text("used already").wait_for()
        button(page, "Log in").wait_for()


def test_a_key_logs_in_and_what_it_may_not_do_is_no_button(client, keys, asks, opened):
    secret = keys.create("reader", {Scope.READ})[1]
    with opened("#/agents/asked") as page:
        log_in(page, "wrong")
        page.get_by_text("does not know this key").wait_for()
        log_in(page, secret)
        page.get_by_role("heading", name="asked").wait_for()
        page.locator(f'tr[data-key="{asks.id}"]').wait_for()
        for name in ("Start", "Stop", "Approve", "Reject", "Edit", "Go to best", "Stop everything", "Pause queue"):
            expects(button(page, name)).to_have_count(0)
        assert secret not in page.content()
        assert secret not in page.evaluate("() => JSON.stringify({ ...sessionStorage, ...localStorage })")


def test_a_revoked_key_ends_its_sessions(client, keys, opened):
    secret = keys.create("guest", {Scope.READ})[1]
    with opened() as page:
        log_in(page, secret)
        page.get_by_text("asked").first.wait_for()
        keys.revoke("guest")
        page.get_by_text("Your session has ended: its key was revoked").wait_for()
        button(page, "Log in").wait_for()


def test_logging_out_forgets_the_session(client, opened):
    with opened(by_code(client)) as page:
        page.get_by_role("link", name="Service").click()
        button(page, "Log out").click()
        button(page, "Log in").wait_for()
        assert page.evaluate("() => sessionStorage.length") == 0


@pytest.mark.parametrize("view", ["#/inbox", "#/agents/asked"])
def test_a_point_is_approved_on_a_telephone(client, asks, opened, view):
    with opened(by_code(client), viewport=PHONE, has_touch=True) as page:
        button(page, "Stop everything").wait_for()
        page.evaluate("to => { location.hash = to }", view)
        row = page.locator(f'tr[data-key="{asks.id}"]')
        approve = row.get_by_role("button", name="Approve")
        approve.scroll_into_view_if_needed()
        box = approve.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= PHONE["width"]
        approve.tap()
        wait_until(lambda: client.suggestion(asks.id).state == "ingested", within_s=60, what="the point measured")


def test_stop_everything_while_a_plan_runs_and_go_on(client, opened):
    rig.gate.clear()
    rig.measuring.clear()
    client.create(name="busy", plan="gated", **WALKER)
    client.start("busy")
    try:
        assert rig.measuring.wait(60)
        with opened(by_code(client)) as page:
            for view in VIEWS:  # it is in reach wherever one is
                page.evaluate("to => { location.hash = to }", view)
                expects(button(page, "Stop everything")).to_have_count(1)
            button(page, "Stop everything").click()
            wait_until(lambda: client.queue().state == "held", within_s=60, what="a held queue")
            page.get_by_text("Nothing moves: Stop everything was pressed").first.wait_for()
            client.stop("busy")
            button(page, "Resume queue").click()
            wait_until(lambda: client.queue().state != "held", within_s=60, what="a queue that goes on")
            button(page, "Pause queue").wait_for()
    finally:
        rig.gate.set()


def test_no_view_is_wider_than_its_screen(client, asks, opened):
    for width in WIDTHS:
        with opened(by_code(client), viewport={"width": width, "height": 900}) as page:
            button(page, "Stop everything").wait_for()
            for view in VIEWS:
                page.evaluate("to => { location.hash = to }", view)
                page.locator("main .as-panel").wait_for()
                assert page.evaluate("() => document.documentElement.scrollWidth") <= width, (view, width)


@pytest.mark.parametrize(
    "picture",
    [
        ("page-light", "light", "#/agents/plotted", (1180, 700)),
        ("page-dark", "dark", "#/", (1180, 420)),
        ("page-phone", "light", "#/inbox", (360, 420)),
    ],
)
def test_how_it_looks(client, asks, opened, picture):
    name, look, view, size = picture
    if not [one for one in client.agents() if one.name == "plotted"]:
        bounds = {"bounds": {"x": [-5, 50], "y": [-1, 1]}}
        client.create(name="plotted", loop={"max_runs": 8}, guardrails=bounds, **WALKER)
        client.start("plotted")
        client.wait("plotted")
    shape = {"viewport": {"width": size[0], "height": size[1]}, "device_scale_factor": 2}
    with opened(by_code(client), color_scheme=look, **shape) as page:
        button(page, "Stop everything").wait_for()
        page.evaluate("to => { location.hash = to }", view)
        if view == "#/agents/plotted":
            page.locator('.as-dots[data-points="8"]').wait_for()
        else:
            page.get_by_text("asked").first.wait_for()
        shoot(page, name)


def test_below_a_path_of_a_notebook_server(jupyter, client, browser, served):
    port = served.url.rpartition(":")[2]
    with contextlib.closing(browser.new_context()) as context:
        page = context.new_page()
        page.set_default_timeout(lab.SHOWS_WITHIN_MS)
        page.goto(f"{jupyter.url}/proxy/{port}/{by_code(client)}")
        button(page, "Stop everything").wait_for()
        page.get_by_text("asked").first.wait_for()
        page.get_by_text("live").first.wait_for()


NGINX = """
daemon off; pid {folder}/pid; error_log {folder}/errors; events {{}}
http {{
  access_log {folder}/asked; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxied;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{
    listen 127.0.0.1:{port};
{location}
  }}
}}
"""


@pytest.fixture
def below_a_path(tmp_path):
    """A service behind nginx as the documentation has it, and its address there."""
    nginx = wanted.needs(shutil.which("nginx"), "no nginx; apt-get install nginx-light")
    text = (ROOT / "docs" / "deploy.md").read_text()
    location = text.partition("```nginx\n")[2].partition("```")[0]
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with running(tmp_path / "state", service={"root_path": "/agents"}) as service:
        service.create("asked", loop={"approval": "required"})
        location = location.replace("http://127.0.0.1:8000", service.url)
        (tmp_path / "nginx.conf").write_text(NGINX.format(folder=tmp_path, port=port, location=location))
        proxy = subprocess.Popen([nginx, "-p", tmp_path, "-e", tmp_path / "errors", "-c", tmp_path / "nginx.conf"])
        try:
            yield service, f"http://127.0.0.1:{port}/agents"
        finally:
            proxy.terminate()
            proxy.wait(20)


def test_behind_a_proxy_that_puts_a_path_in_front(browser, below_a_path):
    service, address = below_a_path

    def answers():
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{address}/healthz").is_success
        return False

    wait_until(answers, within_s=60, what="nginx to answer")
    with contextlib.closing(browser.new_context()) as context:
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.add_init_script(f"({WATCH})()")
        asked = []
        page.on("request", lambda one: asked.append(one.url))
        page.goto(f"{address}/")
        page.get_by_label("Key").fill(service.server.api_key)
        button(page, "Log in").click()
        button(page, "Open asked").click()
        button(page, "Start").click()
        page.get_by_role("button", name="Approve").first.click()
        wait_until(lambda: service.get("agents/asked")["progress"]["done"] >= 1, within_s=60, what="it measured")
        page.get_by_text("1 run", exact=True).wait_for()
        button(page, "Stop everything").click()
        wait_until(lambda: service.get("service")["queue"]["state"] == "held", within_s=60, what="a held queue")
        page.get_by_text("live", exact=True).first.wait_for()
        with context.expect_page() as opened:
            page.get_by_role("link", name="API page").click()
        opened.value.locator('[data-path="/api/v1/agents/{name}"]').first.wait_for()
        assert [url for url in asked if not url.startswith(f"{address}/")] == []
        assert page.evaluate("() => window.violations") == []


@pytest.mark.parametrize("look", ["light", "dark"])
def test_axe_finds_nothing_serious(client, asks, opened, look):
    with opened(color_scheme=look) as page:
        button(page, "Log in").wait_for()
        found = {"login": lab.serious(page)}
        log_in(page, client.api_key)
        button(page, "Stop everything").wait_for()
        for view in VIEWS:
            page.evaluate("to => { location.hash = to }", view)
            page.locator("main .as-panel").wait_for()
            found[view] = lab.serious(page)
            for tab in page.get_by_role("tab").all():
                tab.click()
                found[f"{view} {tab.inner_text()}"] = lab.serious(page, ".as-tabs, .as-pane")
            if menus := page.locator("main summary", has_text="More").all():
                menus[0].click()
                found[f"{view} menu"] = lab.serious(page, ".as-menu")
        assert {name: wrong for name, wrong in found.items() if wrong} == {}


def test_everything_by_keyboard_and_no_two_buttons_of_a_name(client, asks, opened):
    with opened(by_code(client)) as page:
        button(page, "Stop everything").wait_for()
        for view in VIEWS:
            page.evaluate("to => { location.hash = to }", view)
            page.locator("main .as-panel").wait_for()
            names = page.evaluate(NAMES)
            assert len(names) == len(set(names)), (view, names)
        page.evaluate("to => { location.hash = to }", "#/agents/asked")
        page.get_by_role("heading", name="asked").wait_for()
        page.locator("main summary", has_text="More").focus()
        page.keyboard.press("Enter")
        expects(button(page, "Restart")).to_be_enabled()
        page.keyboard.press("Tab")
        expects(button(page, "Restart")).to_be_focused()
        page.keyboard.press("Escape")
        expects(button(page, "Restart")).to_be_hidden()
        page.get_by_role("tab", name="Inbox").focus()
        page.keyboard.press("ArrowRight")
        expects(page.get_by_role("tabpanel", name="Configure")).to_be_visible()


def test_the_history_is_sorted_and_leads_to_the_run(client, asks, opened):
    client.reject(asks.id, reason="too near")
    with opened(by_code(client)) as page:
        button(page, "Stop everything").wait_for()
        page.evaluate("to => { location.hash = to }", "#/agents/asked")
        page.get_by_role("tab", name="History").click()
        history = page.get_by_role("tabpanel", name="History")
        history.get_by_role("row", name="too near").wait_for()
        history.get_by_role("button", name="what happened").click()
        expects(history.get_by_role("columnheader", name="what happened")).to_have_attribute("aria-sort", "ascending")


def test_where_all_runs_are_made_more_are_a_button(client, opened):
    client.create(name="short", loop={"max_runs": 2}, **WALKER)
    client.start("short")
    client.wait("short")
    with opened(by_code(client)) as page:
        button(page, "Stop everything").wait_for()
        page.evaluate("to => { location.hash = to }", "#/agents/short")
        page.get_by_text("2 of 2 runs done: 2 more?").wait_for()
        button(page, "2 more runs").click()
        page.get_by_text("4 of 4 runs done: 4 more?").wait_for()
        page.get_by_role("tab", name="History").click()
        history = page.get_by_role("tabpanel", name="History")
        history.get_by_role("button", name="Run uid: run 4").click()
        history.get_by_text(client.suggestions("short", state="ingested")[-1].run_uid).wait_for()
