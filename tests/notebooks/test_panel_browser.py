"""The panel in JupyterLab, its buttons pressed in a real browser: what the service does, and what the screen shows."""

import shutil

import kernels
import lab
import pytest
from pages import expects
from panel_cells import WALKER, Notebook, Screen
from services import wait_until

from agent_service.client import Client
from agent_service.errors import BackendUnavailable

BASE_URL = "/user/ada/"
"""As a hub would have it."""

PANEL = "AgentPanel(service, 'asked')"
PLAN = "from bluesky import RunEngine\nGO.unlink(missing_ok=True)\nRE = RunEngine({})\nRE(plan())"
WHERE = "import rig\nnote(f'x={rig.x.position:g}')"
BLOCKS, RUNS, ASKS_WHERE = 4, 5, 6


@pytest.fixture(scope="module")
def notebook(jupyter):
    yield Notebook(jupyter, "panel", WALKER, PANEL, "blocks()", PLAN, WHERE)
    jupyter.end_kernels()


@pytest.fixture(scope="module")
def page(jupyter, browser, notebook):
    with lab.opened(browser, jupyter, notebook.name) as shown:
        for index in range(BLOCKS):
            shown.run_cell(index)
        yield shown


@pytest.fixture(scope="module")
def client(notebook, page):
    with wait_until(notebook.client, within_s=60, what="the service") as one:
        yield one


@pytest.fixture
def panel(client, page):
    """Show the panel of an agent that was stopped, or never started."""
    page.button("Stop everything")
    screen = Screen(page, "asked")
    yield screen
    if client.service().queue.state == "held":
        client.resume_queue()
    if "stop" in client.agent("asked").legal:
        client.stop("asked")


def until(client, state):
    wait_until(lambda: client.agent("asked").state == state, what=f"the agent {state}")


def open_suggestions(client, state="proposed"):
    return client.suggestions("asked", state=state)


def test_start_pause_resume_restart_stop(client, panel):
    panel.state("created")
    assert panel.enabled() == ["Start", "Stop everything"]
    panel.press("Start")
    until(client, "running")
    panel.state("running")
    for command, state in [("Pause", "paused"), ("Resume", "running"), ("Restart", "running"), ("Stop", "stopped")]:
        before = client.agent("asked").started_at
        panel.press(command)
        if command == "Restart":  # it runs before, too
            wait_until(lambda before=before: client.agent("asked").started_at != before, what="another start")
        until(client, state)
        panel.state(state)
    panel.says("stopped by a person")
    wait_until(lambda: panel.enabled() == ["Start", "Stop everything"], what="what is legal then")
    panel.says("Stop: it has stopped")


def test_stop_pressed_twice_says_one_line(client, panel):
    panel.press("Start")
    panel.state("running")
    panel.button("Stop").dblclick()
    until(client, "stopped")
    panel.state("stopped")
    for notice in panel.root.get_by_role("status").all():
        assert "\n" not in notice.inner_text().removesuffix("\nDismiss").strip()
    panel.press("Start")
    panel.state("running")


def test_approve_edit_reject_and_go_to_best(client, notebook, page, panel):
    panel.press("Start")
    wait_until(lambda: len(open_suggestions(client)) == 2, what="two suggestions")
    panel.tab("Inbox")
    first, second = sorted(open_suggestions(client), key=lambda one: one.created_at)
    panel.says("2", panel.root.get_by_role("tab", name="Inbox"))
    panel.row(first).get_by_role("button", name="Approve").click()
    wait_until(lambda: client.suggestion(first.id).state == "ingested", what="the first one ingested")
    row = panel.row(second)
    row.get_by_role("button", name="Edit").click()
    row.get_by_label("x", exact=True).fill("0.5")
    row.get_by_role("button", name="Approve").click()
    wait_until(lambda: client.suggestion(second.id).state == "ingested", what="the second one ingested")
    assert client.suggestion(second.id).point == {"x": 0.5, "y": second.point["y"]}
    assert client.suggestion(first.id).point == first.point

    wait_until(lambda: len(open_suggestions(client)) == 2, what="two more")
    rejected, left = sorted(open_suggestions(client), key=lambda one: one.created_at)
    panel.row(rejected).get_by_role("button", name="Reject").click()
    wait_until(lambda: client.suggestion(rejected.id).state == "rejected", what="the third one rejected")
    assert client.suggestion(left.id).state == "proposed"

    best = max(client.suggestions("asked", state="ingested"), key=lambda one: one.outcome["signal"])
    panel.says(f"x {best.point['x']:g}", panel.root.locator(".as-bestline"))
    assert panel.button("Go to best").is_disabled()
    panel.says("pause it first: it moves the motors itself")
    panel.press("Pause")
    panel.state("paused")
    panel.press("Go to best")
    panel.says(f"moved to x {best.point['x']:g}")
    page.run_cell(ASKS_WHERE)
    wait_until(lambda: f"x={best.point['x']:g}" in notebook.lines(), what="the motor there")


def test_stop_everything_holds_until_resume_queue(client, panel):
    panel.press("Start")
    panel.state("running")
    panel.press("Stop everything")
    wait_until(lambda: client.service().queue.state == "held", what="a held queue")
    panel.says("Nothing moves: Stop everything was pressed in a panel.")
    panel.state("paused")
    assert panel.button("Resume").is_disabled()
    panel.press("Resume queue")
    wait_until(lambda: client.service().queue.state != "held", what="a queue that goes on")
    until(client, "running")
    panel.state("running")


def test_suggest_and_ingest_by_hand(client, panel):
    panel.press("Start")
    panel.state("running")
    panel.press("Pause")  # the loop suggests nothing meanwhile
    panel.state("paused")
    waiting, seen = len(open_suggestions(client)), client.variable("asked", "seen").value
    panel.tab("By hand")
    panel.field("number of points").fill("3")
    panel.press("Suggest")
    panel.says("3 suggested; they wait in the inbox")
    assert len(open_suggestions(client)) == waiting + 3
    for name, value in {"x": "2", "y": "0.5"}.items():
        panel.pane("By hand").get_by_role("group", name="Propose").get_by_label(name, exact=True).fill(value)
    panel.field("reason").fill("a shoulder")
    panel.press("Propose")
    panel.says("proposed; it waits in the inbox")
    panel.tab("Inbox")
    panel.press(f"Approve all {waiting + 4}")
    panel.says(f"{waiting + 4} approved")
    assert not open_suggestions(client)
    panel.tab("By hand")
    panel.press("Ingest")
    panel.says("x, y, signal must be filled in")
    for name, value in {"x": "1", "y": "-0.5", "signal": "0.75"}.items():
        panel.pane("By hand").get_by_role("group", name="Ingest").get_by_label(name, exact=True).fill(value)
    panel.press("Ingest")
    wait_until(lambda: client.variable("asked", "seen").value == seen + 1, what="the point")
    panel.says("ingested", panel.root.get_by_role("status"))


def test_the_form_changes_the_configuration_and_says_what_is_wrong_beside_the_field(client, page, panel):
    panel.tab("Configure")
    panel.field("step").fill("0.25")
    panel.press("Apply")
    wait_until(lambda: client.agent("asked").config.get("step") == 0.25, what="the new step")
    panel.says("config changed", panel.root.get_by_role("status"))
    runs = panel.root.locator(".as-field", has=page.page.get_by_label("runs at most", exact=True))
    panel.field("runs at most").fill("-3")
    panel.press("Apply")
    panel.says("must be 1 or more", runs.get_by_role("alert"))
    panel.says("see the fields marked below")
    assert client.agent("asked").spec.loop.max_runs is None
    panel.press("Discard changes")
    panel.field("runs at most").fill("40")
    panel.press("Apply")
    wait_until(lambda: client.agent("asked").spec.loop.max_runs == 40, what="the new limit")
    panel.says("", runs.get_by_role("alert"))


def test_a_point_is_edited_by_keyboard_and_the_notebook_takes_no_key_of_it(client, page, panel):
    panel.press("Start")
    first, *_ = wait_until(lambda: open_suggestions(client), what="a suggestion")
    panel.tab("Inbox")
    cells, keyboard = page.page.locator(".jp-Cell").count(), page.page.keyboard
    edit, x = panel.row(first).get_by_role("button", name="Edit"), panel.row(first).get_by_label("x", exact=True)
    edit.focus()
    keyboard.press("Enter")
    expects(x).to_be_focused()
    keyboard.press("Escape")
    expects(edit).to_be_focused()
    panel.field("More pictures").focus()
    keyboard.type("beside")  # b is a new cell elsewhere
    expects(panel.field("More pictures").locator("option:checked")).to_have_text("beside another agent")
    panel.root.get_by_role("tab", name="Inbox").focus()
    keyboard.press("ArrowRight")
    expects(panel.root.get_by_role("tab", name="Configure")).to_be_focused()
    keyboard.press("ArrowLeft")
    edit.focus()
    keyboard.press("Enter")
    keyboard.press("Control+a")
    keyboard.type("3")
    keyboard.press("Enter")
    wait_until(lambda: client.suggestion(first.id).state == "ingested", what="the point ingested")
    assert client.suggestion(first.id).point == {**first.point, "x": 3}
    assert page.page.locator(".jp-Cell").count() == cells


@pytest.mark.parametrize("blocking", [(BLOCKS, "cell"), (RUNS, "plan")], ids=["sleep", "RE"])
def test_pause_and_stop_while_a_cell_blocks(client, notebook, page, panel, blocking):
    cell, line = blocking
    panel.press("Start")
    panel.state("running")
    page.run_cell(cell)
    wait_until(lambda: f"{line}:begin" in notebook.lines(), within_s=60, what="the cell")
    for command, state in [("Pause", "paused"), ("Stop", "stopped")]:
        panel.press(command)
        until(client, state)
        panel.state(state)
    assert f"{line}:end" not in notebook.lines()
    notebook.go.touch()
    wait_until(lambda: f"{line}:end" in notebook.lines(), what="the end of the cell")


def test_the_api_page_is_reached_through_the_notebook_server(jupyter, client, page, panel):
    proxied = f"{jupyter.url}/proxy/{client.url.rpartition(':')[2]}/docs"
    links = page.page.get_by_role("link", name="API page")
    wait_until(lambda: links.count() == 2, what="a link of the panel and one of the service's own display")
    for link in links.all():
        wait_until(lambda link=link: link.get_attribute("href") == proxied, what=f"a link to {proxied}")
    with page.page.expect_popup() as opened:
        links.last.click()
    opened.value.locator('[data-path="/api/v1/agents/{name}"]').first.wait_for()
    opened.value.close()


def test_the_quickstart(jupyter, browser):
    """As its text says: press Start, and the buttons work while the cell waits for the agent."""
    serves, waits, goes_to_best, ends = 1, 3, 5, 8
    shutil.copy(kernels.ROOT / "notebooks" / "01-quickstart.ipynb", jupyter.root)
    with lab.opened(browser, jupyter, "01-quickstart.ipynb") as page:
        page.run_cell(serves)
        panel = Screen(page, "aligner")
        panel.state("created")
        with Client.from_state(jupyter.root / ".agent-service" / "01-quickstart") as client:

            def until(state):
                wait_until(lambda: client.agent("aligner").state == state, what=f"the agent {state}")
                panel.state(state)

            page.button("Start").click()
            until("running")
            wait_until(lambda: client.agent("aligner").progress.done >= 2, what="two runs")
            page.run_cell(waits)
            wait_until(lambda: page.kernel_status() == "busy", what="the cell that waits")
            for command, state in [("Pause", "paused"), ("Resume", "running"), ("Stop", "stopped")]:
                panel.press(command)
                until(state)
            wait_until(lambda: page.kernel_status() == "idle", what="the end of the cell")
            page.run_cell(goes_to_best)
            page.page.get_by_text("best measured:").last.wait_for()
            page.run_cell(ends)
            wait_until(lambda: is_gone(client), what="the end of the service")


def is_gone(client):
    try:
        client.health()
    except BackendUnavailable:
        return True
    return False
