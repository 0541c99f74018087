"""What somebody who reads no documentation finds on the page: why, where, how much, and what is not known."""

import re
from datetime import UTC, datetime, timedelta

import pages
from pages import at, button, by_code, expects
from services import running, wait_until

from agent_service.client import Client
from agent_service.service.keys import KeyFile, Scope

ON_XY = {"actuators": ["x", "y"], "sensors": ["signal"], "outcome": "signal"}
WALKER = {"type": "brainbox:Walker", **ON_XY}
ASKS = {**WALKER, "loop": {"approval": "required"}, "guardrails": {"bounds": {"x": [-5, 50]}}}

_HEARD = """
window.heard = [];
window.Notification = class extends Notification {
  constructor(title, more) { super(title, more); window.heard.push(`${title}: ${more.body}`); }
};
Object.defineProperty(document, "hidden", { get: () => true });
"""

_PANEL = """async ([key, name]) => {
  const [{ agentModel }, { webSource }, { agentPanel }] = await Promise.all(
    ["model", "web", "agent_panel"].map((file) => import(`${location.origin}/page/${file}.js`)));
  document.body.replaceChildren(document.createElement("div"));
  document.body.className = "";
  agentPanel(agentModel(webSource({ base: location.origin, key }), name), document.body.firstChild);
}"""


def waiting(client, name, many=1):
    """Create an agent that asks a person, and return its suggestions when so many wait."""
    client.create(name=name, **ASKS)
    client.start(name)
    wait_until(lambda: client.suggestions(name, state="proposed"), within_s=60, what="a suggestion")
    while len(found := client.suggestions(name, state="proposed")) < many:
        client.suggest(name, 1)
    return found


def test_one_reason_stands_beside_both_best_points(client, opened):
    client.create(name="hopeful", type="odd_brains:Hopeful", loop={"approval": "required"}, **ON_XY)
    client.start("hopeful")
    one = wait_until(lambda: client.suggestions("hopeful", state="proposed"), within_s=60, what="a suggestion")[0]
    client.approve(one.id)
    wait_until(lambda: client.agent("hopeful").best, within_s=60, what="a best point")
    with opened(by_code(client)) as page:
        at(page, "#/agents/hopeful")
        expects(button(page, "Go there")).to_be_disabled()
        expects(button(page, "Go to best")).to_be_disabled()
        expects(page.get_by_text("pause it first")).to_have_count(1)
        for name in ("Go to best", "Go there"):
            expects(button(page, name)).to_have_accessible_description("pause it first: it moves the motors itself")
    client.stop("hopeful")


def test_the_list_says_why_an_agent_stopped_and_leads_to_the_failure(client, opened):
    client.create(name="broken", plan="raises", loop={"max_failures": 2}, **WALKER)
    client.start("broken")
    wait_until(lambda: client.agent("broken").state == "stopped", within_s=60, what="it has stopped")
    with opened(by_code(client)) as page:
        at(page, "#/")
        row = page.get_by_role("row").filter(has=button(page, "Open broken"))
        row.get_by_text("stopped: failures", exact=True).wait_for()
        row.get_by_text("2 failed", exact=True).wait_for()
        row.get_by_text("2 failures in a row; the last: RuntimeError: the shutter is closed (rig.py, line").wait_for()
        row.get_by_role("link", name="broken", exact=True).click()
        page.get_by_role("heading", name="broken").wait_for()
        page.get_by_role("tab", name="History").click()
        failed = page.get_by_role("row").filter(has_text="the shutter is closed (rig.py, line")
        to_trace = failed.get_by_role("button", name="Traceback")
        expects(to_trace).to_have_count(2)
        to_trace.first.click()
        expects(page.locator(".as-more pre")).to_contain_text("raise RuntimeError(msg)")
        expects(page.locator(".as-more code")).to_have_count(1)


def test_what_is_not_known_is_not_told_as_nothing(client, opened):
    client.create(name="known", **WALKER)
    with opened(by_code(client)) as page:
        at(page, "#/service")
        page.context.set_offline(True)
        at(page, "#/inbox")
        page.get_by_text("What waits is not known yet.").wait_for()
        at(page, "#/")
        page.get_by_text("The agents are not known yet.").wait_for()
        page.get_by_text("queue not known").wait_for()
        page.context.set_offline(False)
        button(page, "Open known").wait_for()
        page.get_by_text("queue idle").wait_for()


def test_all_points_of_an_agent_are_approved_by_one_press(client, opened):
    ids = {one.id for one in waiting(client, "many", 3)}
    with opened(by_code(client)) as page:
        at(page, "#/agents/many")
        button(page, "Approve all 3").wait_for()
        page.get_by_role("button", name="Edit").first.click()
        expects(button(page, "Approve all 3")).to_be_disabled()
        page.get_by_role("button", name="Cancel").first.click()
        at(page, "#/inbox")
        button(page, "Approve all 3 of many").click()
        page.get_by_text("3 approved").first.wait_for()
    done = wait_until(
        lambda: (
            len(found := [client.suggestion(one) for one in ids if client.suggestion(one).state == "ingested"]) == 3
            and found
        ),
        within_s=60,
        what="three runs",
    )
    assert {one.approved_by for one in done} == {"owner"}
    client.stop("many")


def test_on_a_telephone_nothing_of_the_inbox_is_cut_off(client, opened):
    name = "an-agent-with-a-rather-long-name-of-the-beamline"
    waiting(client, name, many=2)
    with opened(by_code(client), viewport={"width": 360, "height": 900}) as page:
        at(page, "#/inbox")
        line = button(page, f"Approve all {len(client.suggestions(name, state='proposed'))} of {name}")
        line.wait_for()
        box = line.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360
        page.get_by_text("age", exact=False).first.wait_for()
    client.stop(name)


def test_a_second_press_rejects_nothing_more(client, opened):
    waiting(client, "doubled", 2)
    with opened(by_code(client)) as page:
        at(page, "#/agents/doubled")
        page.get_by_role("tabpanel", name="Inbox").get_by_role("button", name="Reject").first.dblclick()
        wait_until(lambda: client.suggestions("doubled", state="rejected"), within_s=60, what="the rejection")
        page.get_by_role("tab", name="History").click()
        page.get_by_text("the agent, rejected by owner").wait_for()
        expects(page.get_by_text("cannot become")).to_have_count(0)
    assert len(client.suggestions("doubled", state="rejected")) == 1
    client.stop("doubled")


def test_beside_a_queue_that_is_held_it_says_who_goes_on(client, opened):
    waiting(client, "held")
    with opened(by_code(client)) as page:
        at(page, "#/agents/held")
        button(page, "Pause queue").click()
        page.get_by_text("The plan queue is paused by owner").wait_for()
        button(page, "Stop everything").click()
        page.get_by_text("Resume queue: held goes on.").wait_for()
        page.get_by_text("Resume: it goes on when the queue is resumed").wait_for()
        button(page, "Resume queue").click()
        button(page, "Pause").wait_for()
    client.stop("held")


def test_the_page_says_what_apply_changed(client, opened):
    waiting(client, "applied")
    with opened(by_code(client)) as page:
        at(page, "#/agents/applied")
        page.get_by_role("tab", name="Configure").click()
        pane = page.get_by_role("tabpanel", name="Configure")
        pane.get_by_label("approval", exact=True).select_option("auto")
        pane.get_by_text("the point that waits is measured at once").wait_for()
        button(page, "Apply").click()
        pane.get_by_text("loop changed: approval required -> auto; 1 point that waited").wait_for()
        page.get_by_role("tab", name="Log").click()
        none = "() => getComputedStyle(document.querySelector('.as-lines.as-none'), '::after').content"
        assert "stands under History" in page.evaluate(none)
    client.stop("applied")


def test_a_refusal_is_told_without_names_of_fields(client, opened):
    waiting(client, "refused")
    with opened(by_code(client)) as page:
        at(page, "#/agents/refused")
        page.get_by_role("button", name="Edit").first.click()
        page.get_by_role("tabpanel", name="Inbox").get_by_label("x", exact=True).fill("99")
        page.get_by_role("tabpanel", name="Inbox").get_by_role("button", name="Approve").click()
        page.get_by_text("not approved: x = 99 is outside [-5, 50]").wait_for()
        expects(page.get_by_text("guardrails.")).to_have_count(0)
    client.stop("refused")


def test_a_point_is_proposed_with_a_reason(client, state, opened):
    client.create(name="open", **ASKS)
    secret = KeyFile(state / "keys.jsonl").create("guest", {Scope.READ, Scope.PROPOSE})[1]
    with opened() as page:
        pages.log_in(page, secret)
        at(page, "#/agents/open")
        page.get_by_role("tab", name="By hand").click()
        pane = page.get_by_role("tabpanel", name="By hand")
        expects(button(pane, "Suggest")).to_have_count(0)
        for name, value in (("x", "3"), ("y", "0.5")):
            pane.get_by_role("group", name="Propose").get_by_label(name, exact=True).fill(value)
        button(pane, "Propose").click()
        page.get_by_text("say why").wait_for()
        pane.get_by_label("reason").fill("a shoulder there")
        button(pane, "Propose").click()
        page.get_by_text("proposed; it waits in the inbox").wait_for()
        page.get_by_role("tab", name="Inbox").click()
        page.get_by_role("cell", name="proposed by guest: a shoulder there").wait_for()
    (one,) = client.suggestions("open", state="proposed")
    assert (one.point, one.proposed_by) == ({"x": 3, "y": 0.5}, "guest")
    client.reject(one.id)


def test_the_browser_tells_who_looks_elsewhere(client, opened):
    with opened(by_code(client), _HEARD, permissions=["notifications"]) as page:
        at(page, "#/service")
        page.get_by_text("This browser shows a notification when a point waits").wait_for()
        (one, *_) = waiting(client, "calls")
        page.wait_for_function("() => window.heard.length")
        assert page.evaluate("() => window.heard") == [
            f"calls waits for approval: x {one.point['x']:g}, y {one.point['y']:g}"
        ]
        client.stop("calls")
        client.abort_queue(reason="the hutch is open")
        page.wait_for_function("() => window.heard.length > 1")
        assert page.evaluate("() => window.heard.at(-1)") == "Nothing moves: the hutch is open"
    client.resume_queue()


def test_every_scope_is_explained(client, opened):
    with opened(by_code(client)) as page:
        at(page, "#/service")
        page.locator(".as-scopes li").first.wait_for()
        assert page.locator(".as-scopes b").all_inner_texts() == list(Scope)


def test_what_is_printed_has_its_time(client, opened):
    with opened(by_code(client)) as page:
        at(page, "#/")
        page.pdf()
        assert "as it was at" in page.locator(".as-printed").text_content()


def reach(page, *names):
    """Return where buttons are, all of them in sight: their tops."""
    width = page.viewport_size["width"]
    boxes = [button(page, name).bounding_box() for name in names]
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= width for box in boxes), (names, boxes)
    return [round(box["y"]) for box in boxes]


def test_commands_are_in_sight_however_little_room_there_is(client, opened):
    client.create(name="short", loop={"max_runs": 2}, **WALKER)
    client.start("short")
    client.wait("short")
    waiting(client, "narrow")
    with opened(by_code(client)) as page:
        for width in (360, 560, 768, 900):
            page.set_viewport_size({"width": width, "height": 900})
            at(page, "#/")
            button(page, "Stop narrow").wait_for()
            reach(page, "Stop narrow", "Pause narrow", "Open narrow", "Stop everything")
        page.set_viewport_size({"width": 360, "height": 900})
        page.evaluate(_PANEL, [client.api_key, "short"])  # as in a notebook, where Stop everything stands beside these
        button(page, "2 more runs").wait_for()
        assert len(set(reach(page, "2 more runs", "Stop", "Stop everything"))) == 1
    client.stop("narrow")


def test_an_agent_is_created_started_and_measures_without_python(client, opened):
    with opened(by_code(client)) as page:
        at(page, "#/")
        button(page, "New agent").click()
        page.get_by_label("type", exact=True).select_option("sobol")
        for label, text in (("name", "made"), ("moves", "x, z"), ("reads", "signal"), ("outcome", "signal")):
            page.get_by_label(label, exact=True).fill(text)
        page.get_by_label("bounds x lowest").wait_for()
        button(page, "Create").click()
        page.get_by_text("there is no device 'z'").wait_for()
        page.get_by_label("moves", exact=True).fill("x, y")
        for name in ("x", "y"):
            page.get_by_label(f"bounds {name} lowest").fill("-1")
            page.get_by_label(f"bounds {name} highest").fill("1")
        page.get_by_label("name", exact=True).fill("/")
        page.get_by_label("runs at most").fill("2")
        button(page, "Create").click()
        page.get_by_text("begins with a letter").wait_for()
        page.get_by_label("name", exact=True).fill("made")
        button(page, "Create").click()
        page.get_by_role("heading", name="made").wait_for()
        button(page, "Start").click()
        page.get_by_text("2 of 2 runs done: 2 more?").wait_for()
    assert client.agent("made").config["bounds"] == {"x": [-1, 1], "y": [-1, 1]}


def test_a_page_left_open_over_night_says_of_which_day_a_time_is(client, opened):
    client.create(name="nightly", loop={"max_runs": 1}, **WALKER)
    client.start("nightly")
    client.wait("nightly")
    with opened(by_code(client)) as page:
        at(page, "#/agents/nightly")
        page.get_by_role("tab", name="History").click()
        time = page.locator(".as-history time").first
        expects(time).to_have_text(re.compile(r"^\d\d:\d\d:\d\d$"))
        page.clock.set_fixed_time(datetime.now(UTC) + timedelta(days=1))
        expects(time).to_have_text(re.compile(r"^\S*\d{4}\S* \d\d:\d\d:\d\d$"))


def test_what_came_to_nothing_is_on_the_map_and_what_is_not_known_is_not_shown(client, opened):
    bounds = {"bounds": {"x": [0, 2], "y": [-1, 1]}}
    client.create(name="walled", loop={"max_failures": 2}, guardrails=bounds, **WALKER)
    client.start("walled")
    client.wait("walled")
    with opened(by_code(client)) as page:
        at(page, "#/agents/walled")
        page.locator(f'.as-rejected[data-points="{len(client.suggestions("walled", state="rejected"))}"]').wait_for()
        page.locator(".as-key", has_text="rejected").wait_for()
        at(page, "#/agents/nobody")
        page.get_by_text("not there").first.wait_for()
        for shown in ("0 runs", "Nothing was measured yet", "measured", "Nothing waits"):
            expects(page.get_by_text(shown).locator("visible=true")).to_have_count(0)


def test_a_condition_that_is_not_met_is_said_once_and_no_choice_is_empty(browser, tmp_path):
    here = {
        "run_engine": {"startup": "beamline_with_conditions"},
        "conditions": {"beam": {"rule": "ring_current > 1000"}},
    }
    with running(tmp_path / "state", **here) as own, Client(own.url, api_key=own.server.api_key) as told:
        told.create(name="one", type="brainbox:Walker", actuators=["x"], sensors=["det"], outcome="det")
        with pages.opened(browser, own.url, by_code(told)) as page:
            at(page, "#/agents/one")
            expects(page.get_by_text("needs > 1000").locator("visible=true")).to_have_count(1)
            page.get_by_text("Before the first run").wait_for()
            for choice in page.locator("select:visible").all():
                assert choice.locator("option").count()


def focused(page):
    """Return what is called as a field in sight that has the focus."""
    expects(page.locator(":focus")).to_be_in_viewport()
    return page.evaluate("() => document.activeElement.labels[0].textContent")


def offered(page):
    """Return the names that the form offers for what is moved."""
    return page.locator("datalist").first.locator("option").evaluate_all("all => all.map(one => one.value)")


def test_a_form_offers_few_of_thousands_of_devices_and_says_when_nobody_can_list_them(client, opened):
    many = [{"name": f"motor_{number}", "moves": number % 2 == 0, "reads": True} for number in range(4000)]
    answer = {"items": many, "asked_at": None, "reason": "the queue server does not answer"}
    with opened(by_code(client)) as page:
        page.route("**/api/v1/devices", lambda route: route.fulfill(json=answer))
        at(page, "#/new")
        page.get_by_text("cannot be listed now: the queue server does not answer").wait_for()
        page.get_by_label("moves", exact=True).fill("motor_")
        assert len(offered(page)) == 50
        page.get_by_label("moves", exact=True).fill("x, motor_399")
        assert offered(page) == [f"x, motor_{number}" for number in (3990, 3992, 3994, 3996, 3998)]


def test_a_form_says_which_fields_are_wrong_and_goes_there(client, opened):
    client.create(name="other", **WALKER)
    with opened(by_code(client)) as page:
        at(page, "#/new")
        page.get_by_text("name one first").wait_for()
        button(page, "Create").click()
        alert = page.locator(".as-strip.as-error:visible")
        expects(alert).to_have_text("It was not created: see name, moves, reads, outcome, marked above.")
        assert focused(page) == "name"
        page.get_by_label("type", exact=True).select_option("sobol")
        for label, text in (("name", "formed"), ("reads", "signal"), ("outcome", "signal"), ("moves", "x, ")):
            page.get_by_label(label, exact=True).fill(text)
        expects(page.locator(".as-wrong")).to_have_count(0)
        assert offered(page) == ["x, nothing", "x, signal", "x, y"]
        page.get_by_label("moves", exact=True).fill("x, SIG")
        assert offered(page) == ["x, signal"]
        page.get_by_label("moves", exact=True).fill("x, z")
        button(page, "Create").click()
        expects(alert).to_contain_text("there is no device 'z'")
        held = []
        page.route("**/api/v1/agents", lambda route: held.append(route))  # noqa: PLW0108 - Playwright marks what it calls
        button(page, "Create").click()
        page.get_by_text("It is being created.").wait_for()
        expects(alert).to_have_count(0)
        wait_until(lambda: held or page.wait_for_timeout(50), within_s=60, what="the request")[0].continue_()
        page.unroute("**/api/v1/agents")
        expects(alert).to_contain_text("there is no device 'z'")
        page.get_by_label("moves", exact=True).fill("x")
        expects(alert).to_have_count(0)
        page.get_by_label("bounds x lowest").fill("-1")
        page.get_by_label("bounds x highest").fill("1")
        page.get_by_label("approval", exact=True).select_option("first N")
        page.get_by_label("approval of the first").fill("0")
        button(page, "Create").click()
        expects(alert).to_have_text("It was not created: see approval, marked above.")
        page.get_by_label("approval of the first").fill("2")
        expects(alert).to_have_count(0)
        button(page, "Create").click()
        page.get_by_role("heading", name="formed").wait_for()
    assert client.agent("formed").spec.loop.approval == "first 2"


def test_where_the_motors_are_is_shown_after_runs_too(client, opened):
    client.create(name="rests", loop={"max_runs": 2}, **WALKER)
    with opened(by_code(client)) as page:
        at(page, "#/agents/rests")
        button(page, "Start").click()
        page.get_by_text("2 of 2 runs done: 2 more?").wait_for()
        page.locator(".as-plots path.as-present").wait_for()


def test_who_may_not_create_is_not_asked_to(client, state, opened):
    secret = KeyFile(state / "keys.jsonl").create("onlooker", {Scope.READ})[1]
    with opened() as page:
        pages.log_in(page, secret)
        at(page, "#/")
        page.get_by_text("live").first.wait_for()
        expects(button(page, "New agent")).to_have_count(0)
