"""The panel in Voila, in bad times: a service that dies or knows no such key, and a page far from the service."""

import signal

import lab
import pytest
from panel_cells import WALKER, Notebook, Screen
from remote import KEY
from services import wait_until

from agent_service.client import Client

BASE_URL = "/user/ada/"
OTHER_KEY = "another-key-of-the-beamline"


@pytest.fixture(scope="module")
def client(remote):
    with Client(remote.url, api_key=KEY) as one:
        fields = {"actuators": ["x", "y"], "sensors": ["signal"], "outcome": "signal"}
        one.create(name="far", type="brainbox:Walker", loop={"approval": "required"}, **fields)
        yield one


@pytest.fixture(scope="module")
def page(jupyter, browser, client):
    cells = [
        "from agent_service import Client\nfrom notebook_widgets import AgentPanel",
        f"AgentPanel(Client({client.url!r}, api_key={KEY!r}), 'far')",
        f"AgentPanel(Client({client.url!r}, api_key='guessed'), 'locked')",
    ]
    notebook = Notebook(jupyter, "far", *cells)
    with lab.opened(browser, jupyter, notebook.name, "voila") as shown:
        yield shown
    jupyter.end_kernels()


def one_line(panel, text):
    panel.says(text, panel.root.get_by_role("alert").locator("visible=true"))
    (shown,) = panel.root.get_by_role("alert").locator("visible=true").all()
    assert "\n" not in shown.inner_text()
    assert "Traceback" not in panel.root.inner_text()


def test_voila_shows_the_panel_and_its_buttons_work(client, page):
    panel = Screen(page, "far")
    panel.state("created")
    panel.press("Start")
    wait_until(lambda: client.agent("far").state == "running", what="the agent running")
    panel.state("running")
    (first,) = wait_until(lambda: client.suggestions("far", state="proposed"), what="a suggestion")
    panel.row(first).get_by_role("button", name="Approve").click()
    wait_until(lambda: client.suggestions("far", state="ingested"), what="an outcome")


def test_a_refused_key_is_one_line(page):
    panel = Screen(page, "locked")
    one_line(panel, "the service does not know this key")
    assert panel.enabled() == ["Stop everything"]


def test_a_service_that_dies_comes_back_with_another_key_and_then_as_it_was(client, page, remote):
    panel = Screen(page, "far")
    if "start" in client.agent("far").legal:
        client.start("far")
    panel.state("running")
    remote.end()
    one_line(panel, "no service answers")
    assert panel.enabled() == ["Stop everything"]
    panel.press("Stop everything")
    panel.says("no service answers", panel.root.get_by_role("status"))
    remote.start(OTHER_KEY)
    one_line(panel, "the service does not know this key")
    remote.end(signal.SIGTERM)
    remote.start()
    panel.says("live", panel.root.locator("footer"))
    assert not panel.root.get_by_role("alert").locator("visible=true").count()
    panel.state(client.agent("far").state)
    panel.press("Pause")
    wait_until(lambda: client.agent("far").state == "paused", what="the agent paused")
    panel.state("paused")


@pytest.mark.parametrize("proxy", [True, False], ids=["proxied", "no-proxy"])
def test_a_browser_elsewhere_gets_a_link_that_works_or_none(jupyter, browser, proxy):
    notebook = Notebook(jupyter, f"elsewhere-{proxy}", WALKER, "ServicePanel(service)")
    missing = None if proxy else "**/proxy/**"
    server = jupyter.elsewhere()
    with lab.opened(browser, server, notebook.name, "voila", missing) as page:
        panel = Screen(page, "Agent service")
        panel.says("live", panel.root.locator("footer"))
        links = page.page.get_by_role("link", name="API page")
        wait_until(lambda: links.count() == (2 if proxy else 0), what="the links")
        with notebook.client() as client:
            port = client.url.rpartition(":")[2]
        proxied = f"{server.url}/proxy/{port}/docs"
        for link in links.all():
            wait_until(lambda link=link: link.get_attribute("href") == proxied, what="the proxy's path")
    jupyter.end_kernels()
