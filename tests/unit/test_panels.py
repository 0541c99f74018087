"""What panels show, without a service: the fold over events, the plots' numbers, lines of history, the pages."""

import json
import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import notebook_widgets
from agent_service.client import Client
from agent_service.errors import InvalidInput
from agent_service.launch import api_link
from agent_service.models import AgentSpec, AgentStatus, Event, EventKind, LoopSpec
from notebook_widgets.panels.agent_panel import AgentPanel
from notebook_widgets.panels.agent_view import AgentView, described, entry
from notebook_widgets.panels.event_feed import Address
from notebook_widgets.panels.panel import page
from notebook_widgets.panels.plots import MAX_ROWS, Measured, plotted
from notebook_widgets.panels.service_panel import ServiceOverview
from notebook_widgets.panels.suggestions_panel import SuggestionsPanel

STATIC = Path(notebook_widgets.__file__).parent / "panels" / "static"
PANELS = (AgentPanel, ServiceOverview, SuggestionsPanel)
T0 = datetime(2026, 1, 1, tzinfo=UTC)


def event(seq, kind, **data):
    return Event(seq=seq, time=T0 + timedelta(seconds=seq or 0), agent="a", kind=kind, data=data)


def fate(seq, state, id_="s1", **data):
    return event(seq, EventKind.SUGGESTION_STATE, id=id_, state=state, **data)


def born(seq, id_="s1", x=1.0):
    return fate(seq, "proposed", id_, point={"x": x, "y": 0.0}, by="loop", plan="acquire")


def one_run(seq, id_, x, flux):
    """Return the facts of one suggestion from birth to ingestion."""
    return [
        born(seq, id_, x),
        fate(seq + 1, "approved", id_),
        fate(seq + 2, "submitted", id_),
        fate(seq + 3, "running", id_, run_uid=f"u{seq}"),
        fate(seq + 4, "measured", id_, outcome={"flux": flux}),
        event(seq + 5, EventKind.INGEST, points=[{"x": x, "y": 0.0, "flux": flux, "_id": id_}], run_uids=[], best=[]),
        fate(seq + 6, "ingested", id_),
    ]


def status(**changes):
    spec = AgentSpec(
        name="a",
        type="t",
        actuators=["x", "y"],
        outcome="flux",
        guardrails={"bounds": {"x": (-1, 1)}},
        loop={"max_runs": 10},
    )
    told = {"name": "a", "state": "running", "type": "t", "executor": "thread", "config": {}, "created_at": T0}
    return AgentStatus.model_validate({**told, "spec": spec, "progress": {"done": 2, "total": 10}, **changes})


def test_a_suggestion_goes_its_way():
    view = AgentView()
    facts = one_run(1, "s1", 1.0, 0.5)
    for fact in facts[:4]:
        view.take(fact)
    assert view.progress(status())["measuring"] == {"id": "s1", "point": {"x": 1.0, "y": 0.0}}
    assert not view.measured
    for fact in facts[4:]:
        view.take(fact)
    assert [(one.point["x"], one.outcome["flux"]) for one in view.measured.values()] == [(1.0, 0.5)]
    assert not view.open
    assert view.progress(status())["measuring"] is None


def test_events_that_the_answers_contained_change_nothing():
    view, facts = AgentView(), one_run(1, "s1", 1.0, 0.5)
    for fact in facts:
        view.take(fact)
    again = AgentView()
    again.look(view.suggestions.values(), facts)
    before = (dict(again.suggestions), dict(again.measured), list(again.history))
    again.take(facts[1])
    assert again.suggestions["s1"].state == "ingested", "an old fact must not turn a fate back"
    for fact in facts:
        again.take(fact)
    assert (again.suggestions, again.measured, list(again.history)) == before
    assert len(again.measured) == 1


def test_points_by_hand_and_from_runs_of_others_are_measured_points_too():
    view = AgentView()
    points = [{"x": 1.0, "y": 2.0, "flux": 3.0}, {"x": 2.0, "y": 2.0, "flux": 4.0}]
    by_hand = event(1, EventKind.INGEST, points=points, run_uids=[], best=[])
    view.take(by_hand)
    view.take(by_hand)
    assert [one.outcome["flux"] for one in view.measured.values()] == [3.0, 4.0]


def test_a_fate_of_a_suggestion_nobody_knows_is_passed_over():
    view = AgentView()
    view.take(fate(1, "approved"))
    assert not view.suggestions


def test_the_time_left_comes_from_the_pace_of_the_last_runs():
    view = AgentView()
    for i in range(3):
        for fact in one_run(1 + 10 * i, f"s{i}", float(i), 1.0):
            view.take(fact)
    assert view.progress(status())["left_s"] == 10 * 8
    assert view.progress(status(state="paused"))["left_s"] is None
    assert view.progress(status(progress={"done": 2, "total": None}))["left_s"] is None


def test_nobody_can_tell_when_a_person_will_look():
    view = AgentView()
    for i in range(2):
        for fact in one_run(1 + 10 * i, f"s{i}", float(i), 1.0):
            view.take(fact)
    view.take(born(30, "s9"))
    told = status()
    asked = told.model_copy(update={"spec": told.spec.model_copy(update={"loop": LoopSpec(approval="required")})})
    found = view.progress(asked)
    assert (found["left_s"], found["waiting"]) == (None, 1)
    assert view.progress(told)["waiting"] == 0


def test_the_inbox_says_what_is_outside():
    view = AgentView()
    view.take(born(1, "s1", x=5.0))
    view.take(born(2, "s2", x=0.5))
    outside, inside = view.inbox({"x": (-1, 1)}, {})
    assert outside["outside"]
    assert outside["note"] == "x is outside -1 to 1"
    assert (inside["note"], inside["point"]) == ("", {"x": 0.5, "y": 0.0})
    assert entry(view.suggestions["s1"], {})["note"] == ""
    assert entry(view.suggestions["s1"], {"x": (None, 1)})["note"] == "x is above 1"
    assert entry(view.suggestions["s1"], {"x": (9, None)})["note"] == "x is below 9"
    pressed = entry(view.suggestions["s2"], {}, "not approved: the device refuses x = 0.5")
    assert (pressed["note"], pressed["outside"]) == ("not approved: the device refuses x = 0.5", True)


def test_history_leaves_the_usual_steps_out():
    lines = [described(fact) for fact in one_run(1, "s1", 1.0, 0.5)]
    assert [one for one in lines if one] == ["x 1, y 0, flux 0.5"]
    assert described(fate(1, "failed", reason="the shutter is closed")) == "s1… failed: the shutter is closed"
    assert described(event(1, EventKind.AGENT_STATE, state="stopped", reason="max_runs reached")) == (
        "stopped: max_runs reached"
    )
    assert described(event(1, EventKind.CONFIG, variable="xi", value=0.12345678)) == "xi set to 0.1235"
    assert described(event(1, EventKind.CONFIG, loop={}, config={}, by="bob")) == "config and loop changed"
    assert described(event(1, EventKind.QUEUE_STATE, command="claim", suggestion="s", state="idle", by="bob")) is None
    assert described(event(None, EventKind.HEARTBEAT)) is None


def measured(*values):
    return [Measured(T0, {"x": float(i), "y": 0.0}, {"flux": value}) for i, value in enumerate(values)]


def test_the_plots_numbers():
    view = AgentView()
    view.take(born(1, "s9", 0.25))
    best = {"point": {"x": 1.0, "y": 0.0}, "outcome": {"flux": 2.0}}
    model = {"point": {"x": 0.5, "y": 0.5}, "outcome": {"flux": 1.9}}
    known = status(best=best, best_by_model=model, objective="flux")
    found = plotted(known, measured(1.0, 2.0), view.open.values())
    assert found["rows"] == [[0.0, 0.0, 1.0], [1.0, 0.0, 2.0]]
    assert found["suggested"] == [{"id": "s9", "state": "proposed", "values": [0.25, 0.0]}]
    assert found["best"] == [1.0, 0.0, 2.0]
    assert found["model"] == [0.5, 0.5, 1.9]
    assert found["allowed"] == [[-1.0, 1.0], None]
    assert (found["first"], found["before"], found["total"]) == (1, None, 10)
    assert (found["objective"], found["maximize"], found["ranges"]) == (0, True, [[1.0, 2.0]])


def test_many_outcomes_are_cut_and_the_best_before_them_is_told():
    best = {"point": {"x": 0.0, "y": 0.0}, "outcome": {"flux": 7.0}}
    found = plotted(status(best=best, objective="flux"), measured(7.0, *([1.0] * MAX_ROWS)), [])
    assert len(found["rows"]) == MAX_ROWS
    assert (found["first"], found["before"], found["ranges"]) == (2, 7.0, [[1.0, 7.0]])


def test_a_best_that_the_panel_has_not_seen_begins_the_line_and_is_in_the_colours():
    """Points by hand that are older than the facts a panel reads."""
    best = {"point": {"x": 0.0, "y": 0.0}, "outcome": {"flux": 9.0}}
    found = plotted(status(best=best, objective="flux"), measured(1.0, 2.0), [])
    assert (found["before"], found["ranges"], found["best"]) == (9.0, [[1.0, 9.0]], [0.0, 0.0, 9.0])


def test_an_agent_made_anew_begins_with_what_it_was_told_of_the_last_one():
    spec = status().spec.model_dump(mode="json")
    points = [{"x": float(i), "y": 0.0, "flux": 1.0} for i in range(3)]
    earlier = [event(1, EventKind.AGENT_STATE, state="created", spec=spec)]
    earlier += [
        event(2 + i, EventKind.INGEST, points=[{**one, "_id": f"s{i}"}], run_uids=[f"r{i}"], best=[])
        for i, one in enumerate(points)
    ]
    origins = [{"run_uid": f"r{i}", "counts": True} for i in range(3)]
    anew = [
        event(10, EventKind.AGENT_STATE, state="created", spec=spec),
        event(11, EventKind.INGEST, points=points, run_uids=["r0", "r1", "r2"], best=[], retold=origins),
    ]
    followed, looked = AgentView(), AgentView()
    for one in [*earlier, *anew]:
        followed.take(one)
    looked.look([], [*earlier, *anew])
    assert len(followed.measured) == len(looked.measured) == 3


def test_an_address_is_a_url_a_client_or_what_has_one():
    with Client("http://127.0.0.1:7", api_key="k") as client:

        class Service:
            pass

        service = Service()
        service.client = client
        assert Address.of(client) == Address.of(service) == Address("http://127.0.0.1:7", "k")
    assert Address.of("http://127.0.0.1:7").url == "http://127.0.0.1:7"
    with pytest.raises(InvalidInput, match="a int leads to no service"):
        Address.of(7)
    with pytest.raises(InvalidInput, match="no address"):
        Address.of("nonsense")


@pytest.mark.parametrize("name", sorted(one.stem for one in STATIC.glob("*.js")))
def test_modules_import_what_others_export(name):
    text = (STATIC / f"{name}.js").read_text()
    for names, other in re.findall(r"^import \{ ([^}]*) \} from \"\./(\w+)\.js\";$", text, re.MULTILINE):
        theirs = api_link.javascript() if other == "api_link" else (STATIC / f"{other}.js").read_text()
        exported = re.findall(r"^export (?:(?:async )?function|const) (\w+)", theirs, re.MULTILINE)
        assert set(names.split(", ")) <= set(exported)


@pytest.mark.parametrize("panel", PANELS)
def test_a_page_holds_all_it_imports(panel):
    whole = page(panel.modules)
    first, _, loader = whole.partition("\n")
    sources = json.loads(first.removeprefix("const sources = ").removesuffix(";"))
    assert list(sources) == ["api_link", *panel.modules]  # the first is the service's own
    there = set()
    for name, source in sources.items():
        needed = re.findall(r"^import .* from \"\./(\w+)\.js\";$", source, re.MULTILINE)
        assert set(needed) <= there, "what is imported comes first"
        assert len(needed) == len(re.findall(r"^import ", source, re.MULTILINE)) == source.count('.js"')
        there.add(name)
    assert [source.count("export default") for source in sources.values()] == [0] * len(panel.modules) + [1]
    assert not re.search(r"^import ", loader, re.MULTILINE)
    assert loader.count("export default") == 1
    assert "http://www.w3.org/2000/svg" in whole or panel is not AgentPanel
    assert not re.search(r"https?://(?!www\.w3\.org)", whole), "a closed network has no CDN"


LOAD = """
globalThis.Blob = class { constructor(parts) { this.code = parts.join(""); } };
URL.createObjectURL = (blob) => `data:text/javascript;base64,${Buffer.from(blob.code).toString("base64")}`;
const { default: panel } = await import(process.argv[1]);
console.log(typeof panel.render);
"""  # Node imports no blob


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.parametrize("panel", PANELS)
def test_a_page_is_sound_javascript(panel, tmp_path):
    found = tmp_path / "page.mjs"
    found.write_text(page(panel.modules))
    checked = subprocess.run(["node", "--check", str(found)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    arguments = ["node", "--input-type=module", "-e", LOAD, str(found)]
    loaded = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert loaded.stdout == "function\n", loaded.stderr


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.parametrize(
    ("archive", "said"),
    [
        ({"state": "none"}, "no archive"),
        ({"state": "ready"}, "archive up to date"),
        ({"state": "ready", "runs_behind": 1}, "archive 1 run behind"),
        (
            {"state": "ready", "runs_behind": 2, "runs_refused": 1},
            "archive refused 1 run, kept in the spool; archive 2 ",
        ),
        ({"state": "ready", "runs_refused": 3}, "archive refused 3 runs, kept in the spool"),
        (
            {"state": "ready", "reason": "the agents' decisions cannot be written: no"},
            "archive: the agents' decisions ",
        ),
        ({"state": "starting", "runs_behind": 4}, "archive starting, 4 to write"),
        ({"state": "unavailable", "reason": "it does not answer"}, "archive unavailable: it does not answer"),
    ],
)
def test_the_foot_tells_how_far_the_archive_is(archive, said):
    function = (STATIC / "frame.js").read_text().partition("function lagText")
    whole = {"runs_behind": 0, "runs_refused": 0, "reason": None, **archive}
    told = f"{function[1]}{function[2]}\nconsole.log(lagText({json.dumps(whole)}))"
    assert subprocess.run(["node", "-e", told], capture_output=True, text=True, check=True).stdout.startswith(said)


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ({"state": "lost", "text": "ring 0.3 mA, needs > 100"}, "true held: ring 0.3 mA, needs > 100"),
        (
            {"state": "settling", "text": "ring 300 mA, and has to stay so"},
            "true held: ring 300 mA, and has to stay so",
        ),
        ({"state": "off", "text": "beam is switched off by amy"}, "false beam is switched off by amy"),
    ],
)
def test_a_condition_that_is_not_met_is_a_line(condition, said):
    functions = (STATIC / "frame.js").read_text().partition("function isUnmet")
    look = f"const one = {json.dumps(condition)};\nconsole.log(isUnmet(one), conditionText(one))"
    told = f"{functions[1]}{functions[2]}\n{look}"
    assert subprocess.run(["node", "-e", told], capture_output=True, text=True, check=True).stdout.strip() == said


@pytest.mark.parametrize(
    ("queue", "said"),
    [
        ({"state": "idle"}, ""),
        ({"state": "running", "reason": None}, ""),
        ({"state": "suspended", "reason": "no beam"}, "It goes on by itself when this is over: no beam"),
        ({"state": "paused", "reason": "paused by request"}, "The plan queue is paused."),
        (
            {"state": "paused", "reason": "paused by request; besides, it is suspended: no beam"},
            "The plan queue is paused by request; besides, it is suspended: no beam",
        ),
        ({"state": "held", "reason": "smoke"}, "Nothing moves: smoke."),
    ],
)
def test_the_strip_tells_why_nothing_moves(queue, said):
    function = (STATIC / "frame.js").read_text().partition("function stillText")
    told = f"{function[1]}{function[2]}\nconsole.log(stillText({json.dumps(queue)}))"
    assert subprocess.run(["node", "-e", told], capture_output=True, text=True, check=True).stdout.strip() == said


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"kind": "zmq", "state": "connected"}, ["as-connected", "zmq connected", "tcp://p:5568"]),
        (
            {"kind": "kafka", "state": "reconnecting", "reason": "none of its brokers answers"},
            ["as-reconnecting", "kafka reconnecting", "tcp://p:5568: none of its brokers answers"],
        ),
    ],
)
def test_a_source_is_a_badge_that_says_why_it_is_away(found, said):
    """A badge stands for itself here: its state, its words, and what is said where a mouse stays."""
    function = "function source" + (STATIC / "service_panel.js").read_text().partition("function source")[2]
    badge = "const badge = (state, shown) => ({ state: `as-${state}`, shown });"
    one = json.dumps({"where": "tcp://p:5568", "reason": None, **found})
    show = f"const one = source({one});\nconsole.log(JSON.stringify([one.state, one.shown, one.title]))"
    told = f"{badge}\n{function.partition('function table')[0]}\n{show}"
    shown = subprocess.run(["node", "-e", told], capture_output=True, text=True, check=True).stdout
    assert json.loads(shown) == said
