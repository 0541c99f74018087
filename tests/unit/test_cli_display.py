"""What the demo makes of events, and how it shows it."""

from __future__ import annotations

import io

from rich.console import Console

from agent_service.cli.demo._display import LineDisplay, LiveDisplay, display_for
from agent_service.cli.demo._trace import Trace
from agent_service.models import Event, EventKind, utcnow
from agent_service.models.state_machines import AgentState


def event(kind: EventKind, **data: object) -> Event:
    return Event(seq=1, time=utcnow(), agent="bayes", kind=kind, data=data)


def ingest(x: float, flux: float, best: tuple[float, float] | None = None) -> Event:
    found = [] if best is None else [{"id": None, "point": {"x": best[0]}, "outcome": {"flux": best[1]}}]
    return event(EventKind.INGEST, points=[{"x": x, "flux": flux, "_id": "s"}], run_uids=["u"], best=found)


def trace_of(*events: Event, total: int = 4) -> Trace:
    trace = Trace(actuators=("x",), outcome="flux", total=total)
    for one in events:
        trace.on_event(one)
    return trace


def test_the_trace_follows_best_and_last():
    trace = trace_of(ingest(1, 5.0), ingest(2, 9.0, best=(2, 8.5)), ingest(3, 7.0))
    assert (trace.done, trace.best, trace.last) == (3, {"x": 2, "flux": 9.0}, {"x": 3, "flux": 7.0})
    assert trace.by_model == {"x": 2, "flux": 8.5}
    assert trace.text(trace.best) == "flux 9 at x +2.000"


def test_events_that_change_nothing_are_told_apart():
    trace = trace_of()
    assert not trace.on_event(event(EventKind.HEARTBEAT))
    assert not trace.on_event(event(EventKind.SUGGESTION_STATE, id="s", state="running"))
    assert trace.on_event(event(EventKind.SUGGESTION_STATE, id="s", state="failed", reason="motor stuck"))
    assert (trace.failures, trace.last_failure) == (1, "motor stuck")


def test_the_end_and_its_reason():
    trace = trace_of(event(EventKind.AGENT_STATE, state="running", reason=None))
    assert not trace.ended
    trace.on_event(event(EventKind.AGENT_STATE, state="failed", reason="suggest failed: boom"))
    assert trace.ended
    assert (trace.state, trace.reason) == (AgentState.FAILED, "suggest failed: boom")


def test_the_sparkline_spans_lowest_to_highest_and_keeps_to_its_width():
    trace = trace_of(*(ingest(0, value) for value in (0.0, 3.5, 7.0)))
    assert trace.sparkline(10) == "▁▅█"
    assert trace.sparkline(2) == "▅█"
    assert trace.sparkline(10, ascii_only=True).isascii()
    assert trace_of(ingest(0, 1.0), ingest(0, 1.0)).sparkline(10) == "▁▁"
    assert trace_of().sparkline(10) == ""


def test_without_a_terminal_there_are_plain_lines_only():
    out = io.StringIO()
    display = display_for(Console(file=out, width=40))
    assert isinstance(display, LineDisplay)
    trace = trace_of(total=12)
    with display:
        for run in range(12):
            trace.on_event(ingest(run, float(run), best=(run, float(run))))
            display.show(trace)
        for done in range(13):
            display.archiving(done, 12, "done" if done == 12 else "")
    lines = out.getvalue().splitlines()
    assert (
        lines[0]
        == "run 2 of 12: flux 1 at x +1.000; best measured: flux 1 at x +1.000; best by model: flux 1 at x +1.000"
    )
    assert lines[5].startswith("run 12 of 12")
    assert lines[-1] == "archiving 12 of 12 (done)"
    assert len(lines) < 15
    assert "\x1b" not in out.getvalue()


def test_a_failed_suggestion_is_told_once():
    out = io.StringIO()
    display = LineDisplay(Console(file=out, width=200))
    trace = trace_of(event(EventKind.SUGGESTION_STATE, id="s", state="failed", reason="[motor] stuck"))
    display.show(trace)
    display.show(trace)
    assert out.getvalue() == "a suggestion failed: [motor] stuck\n"


def test_on_a_terminal_it_is_drawn_in_place():
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100, color_system=None)
    display = display_for(console)
    assert isinstance(display, LiveDisplay)
    with display:
        display.show(trace_of(ingest(1, 5.0), ingest(2, 9.0, best=(2, 9.0))))
        display.archiving(1, 4, "")
    shown = out.getvalue()
    for text in (
        "measuring",
        "2/4",
        "best measured",
        "best by model",
        "flux 9 at x +2.000",
        "last point",
        "▁█",
        "archiving",
        "1/4",
    ):
        assert text in shown
    assert shown.rstrip().endswith("\x1b[?25h")
