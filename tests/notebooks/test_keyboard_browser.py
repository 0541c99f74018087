"""The forms of the page filled in by keyboard alone: where the focus is, and what Enter and Escape do there."""

import pytest
from pages import at, button, by_code, expects
from services import wait_until

WALKER = {"type": "brainbox:Walker", "actuators": ["x", "y"], "sensors": ["signal"], "outcome": "signal"}
ASKS = {**WALKER, "loop": {"approval": "required"}, "guardrails": {"bounds": {"x": [-5, 50]}}}
MOST_STOPS = 150
FOCUS = """() => {
  const { activeElement: element } = document;
  if (element === document.body) return null;
  const [box, style] = [element.getBoundingClientRect(), getComputedStyle(element)];
  const sized = box.width > 4 && box.height > 4 && box.right > 0 && box.left < innerWidth;
  return {
    name: element.getAttribute("aria-label") ?? element.labels?.[0]?.textContent ?? element.textContent.trim(),
    seen: sized && element.checkVisibility({ visibilityProperty: true }) && style.outlineStyle !== "none",
  };
}"""


def tab_to(page, target):
    """Press Tab until an element has the focus, once it is there."""
    target.wait_for()
    for _ in range(MOST_STOPS):
        page.keyboard.press("Tab")
        if target.count() == 1 and target.evaluate("(element) => element === document.activeElement"):
            return
    pytest.fail(f"no Tab leads to {target}")


def fill(page, text):
    """Type into the field that has the focus, in place of what stands there."""
    page.keyboard.press("Control+a")
    page.keyboard.type(text)


def waiting(client, name, many):
    """Create an agent that asks a person, and return its points when so many wait, the oldest first."""
    client.create(name=name, **ASKS)
    client.start(name, paused=True)
    wait_until(lambda: client.agent(name).state == "paused", within_s=60, what="its brain")
    client.suggest(name, many)
    return sorted(client.suggestions(name, state="proposed"), key=lambda point: point.created_at)


def row(page, suggestion):
    return page.locator(f'tr[data-key="{suggestion.id}"]')


def test_somebody_logs_in_with_a_key(client, opened):
    with opened() as page:
        expects(page.get_by_label("Key", exact=True)).to_be_focused()
        page.keyboard.type(client.api_key)
        page.keyboard.press("Enter")
        button(page, "Stop everything").wait_for()


def test_a_new_agent(client, opened):
    with opened(by_code(client)) as page:
        at(page, "#/")
        button(page, "New agent").wait_for()
        tab_to(page, button(page, "New agent"))
        page.keyboard.press("Enter")
        expects(page.get_by_label("name", exact=True)).to_be_focused()
        page.keyboard.type("typed")
        page.keyboard.press("Enter")
        page.get_by_text("see moves, reads, outcome, marked above").wait_for()
        expects(page.get_by_label("moves", exact=True)).to_be_focused()
        page.keyboard.press("Shift+Tab")
        page.keyboard.type("sobol")
        for text in ("x", "signal", "signal"):
            page.keyboard.press("Tab")
            page.keyboard.type(text)
        tab_to(page, page.get_by_label("bounds x lowest"))
        page.keyboard.type("-1")
        page.keyboard.press("Tab")
        page.keyboard.type("1")
        page.route("**/api/v1/agents", lambda route: route.abort())
        tab_to(page, button(page, "Create"))
        page.keyboard.press("Enter")
        page.locator(".as-strip.as-error:visible").wait_for()
        expects(button(page, "Create")).to_be_focused()
        page.unroute("**/api/v1/agents")
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="typed").wait_for()
        expects(page.locator("#as-view")).to_be_focused()
    assert client.agent("typed").config["bounds"] == {"x": [-1, 1]}


@pytest.mark.parametrize("view", ["#/inbox", "#/agents/changed"])
def test_a_point_is_edited(client, opened, view):
    first, second, third = waiting(client, "changed", 3)
    with opened(by_code(client)) as page:
        at(page, view)
        row(page, third).wait_for()
        edit = row(page, second).get_by_role("button", name="Edit")
        x = row(page, second).get_by_label("x", exact=True)
        tab_to(page, edit)
        page.keyboard.press("Enter")
        expects(x).to_be_focused()
        page.keyboard.press("Escape")
        expects(x).to_have_count(0)
        expects(edit).to_be_focused()
        page.keyboard.press("Enter")
        expects(x).to_be_focused()
        client.reject(first.id)
        expects(row(page, first)).to_have_count(0)
        expects(x).to_be_focused()
        fill(page, "99")
        page.keyboard.press("Enter")
        page.get_by_text("not approved: x = 99 is outside [-5, 50]").wait_for()
        expects(x).to_be_focused()
        fill(page, "7")
        page.keyboard.press("Enter")
        expects(row(page, second)).to_have_count(0)
        expects(page.get_by_role("group", name="Points that wait")).to_be_focused()
        tab_to(page, row(page, third).get_by_role("button", name="Reject"))
        page.keyboard.press("Enter")
        expects(row(page, third)).to_have_count(0)
    assert client.suggestion(second.id).point == {**second.point, "x": 7}
    assert client.suggestion(third.id).state == "rejected"
    client.stop("changed")
    client.delete("changed")


def test_a_point_is_proposed_and_another_told(client, opened):
    client.create(name="by_hand", **ASKS)
    client.start("by_hand", paused=True)
    with opened(by_code(client)) as page:
        at(page, "#/agents/by_hand")
        page.locator(".as-title .as-badge", has_text="paused").wait_for()
        tab_to(page, page.get_by_role("tab", name="Inbox"))
        page.keyboard.press("ArrowLeft")
        pane = page.get_by_role("tabpanel", name="By hand")
        tab_to(page, pane.get_by_label("number of points"))
        fill(page, "2")
        page.keyboard.press("Enter")
        page.get_by_text("2 suggested; they wait in the inbox").wait_for()
        proposing = pane.get_by_role("group", name="Propose")
        tab_to(page, proposing.get_by_label("x", exact=True))
        page.keyboard.type("3")
        page.keyboard.press("Tab")
        page.keyboard.type("0.5")
        page.keyboard.press("Enter")
        page.get_by_text("say why").wait_for()
        page.keyboard.press("Tab")
        page.keyboard.type("a shoulder there")
        page.keyboard.press("Enter")
        page.get_by_text("proposed; it waits in the inbox").wait_for()
        expects(proposing.get_by_label("reason")).to_be_focused()
        tab_to(page, pane.get_by_role("group", name="Ingest").get_by_label("x", exact=True))
        for text in ("1", "0.25"):
            page.keyboard.type(text)
            page.keyboard.press("Tab")
        page.keyboard.type("4")
        page.keyboard.press("Enter")
        page.get_by_text("ingested", exact=True).wait_for()
    proposed = client.suggestions("by_hand", state="proposed")
    assert {"x": 3, "y": 0.5} in [suggestion.point for suggestion in proposed]


def test_guardrails_and_limits_of_the_loop_are_changed(client, opened):
    client.create(name="limited", **ASKS)
    with opened(by_code(client)) as page:
        at(page, "#/agents/limited")
        tab_to(page, page.get_by_role("tab", name="Inbox"))
        page.keyboard.press("ArrowRight")
        pane = page.get_by_role("tabpanel", name="Configure")
        at_most = pane.get_by_label("runs at most", exact=True)
        tab_to(page, at_most)
        fill(page, "-3")
        page.keyboard.press("Enter")
        pane.get_by_text("must be 1 or more").wait_for()
        fill(page, "40")
        page.keyboard.press("Enter")
        wait_until(lambda: client.agent("limited").spec.loop.max_runs == 40, what="the new limit")
        expects(pane.get_by_text("runs at most none -> 40")).to_be_visible()
        expects(at_most).to_be_focused()
        highest = pane.get_by_label("x highest", exact=True)
        tab_to(page, highest)
        fill(page, "6")
        page.keyboard.press("Enter")
        wait_until(lambda: client.agent("limited").spec.guardrails.bounds["x"] == (-5, 6), what="the new bound")
        expects(highest).to_be_focused()
        client.update("limited", loop={"max_runs": 50})
        expects(at_most).to_have_value("50")
        expects(highest).to_be_focused()


def test_another_agent_is_compared(client, opened):
    for name in ("mine", "rival"):
        client.create(name=name, **ASKS)
        client.start(name, paused=True)
        wait_until(lambda name=name: client.agent(name).state == "paused", within_s=60, what="its brain")
        client.ingest(name, [{"x": 1.0, "y": 0.0, "signal": 2.0}])
    with opened(by_code(client)) as page:
        at(page, "#/agents/mine")
        pictures = page.get_by_label("More pictures")
        pictures.wait_for()
        tab_to(page, pictures)
        page.keyboard.type("beside")
        page.locator(".as-more svg text", has_text="mine").wait_for()
        expects(pictures).to_be_focused()
        others = page.get_by_label("The other agent")
        expects(others).to_be_enabled()
        tab_to(page, others)
        page.keyboard.type("rival")
        page.locator(".as-more svg text", has_text="rival").first.wait_for()
        expects(others).to_be_focused()


def test_the_queue_is_paused_resumed_and_held(client, opened):
    with opened(by_code(client)) as page:
        at(page, "#/")
        tab_to(page, button(page, "Pause queue"))
        page.keyboard.press("Enter")
        wait_until(lambda: client.queue().state == "paused", within_s=60, what="a paused queue")
        commands = page.get_by_role("group", name="Queue")
        expects(commands).to_be_focused()  # and not the button that undoes it
        page.keyboard.press("Tab")
        expects(button(page, "Resume queue")).to_be_focused()
        page.keyboard.press("Enter")
        expects(button(page, "Pause queue")).to_be_visible()
        expects(commands).to_be_focused()
        tab_to(page, button(page, "Stop everything"))
        page.keyboard.press("Enter")
        wait_until(lambda: client.queue().state == "held", within_s=60, what="a held queue")
    client.resume_queue()


def test_every_stop_of_tab_is_seen(client, opened):
    waiting(client, "seen", 2)
    with opened(by_code(client)) as page:
        for view in ("#/", "#/agents/seen", "#/inbox", "#/service", "#/new"):
            at(page, view)
            page.get_by_text("live").or_(page.get_by_text("version")).or_(
                page.get_by_text("name one first")
            ).first.wait_for()
            page.locator(".as-skip").focus()
            stops = [page.evaluate(FOCUS)]
            while len(stops) < MOST_STOPS:
                page.keyboard.press("Tab")
                stop = page.evaluate(FOCUS)
                if stop is None or stop["name"] == stops[0]["name"]:
                    break
                stops.append(stop)
            assert len(stops) > 5, view
            assert [stop for stop in stops if not stop["seen"]] == [], view
