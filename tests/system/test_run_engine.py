"""The run_engine source, and what the service's RunEngine leaves of other people's."""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from ophyd.sim import SynAxis, SynSignal

from agent_service.plans.namespace import Namespace
from agent_service.plans.sinks.run_engine import RunEngineSink, RunEngineSource
from agent_service.plans.sinks.run_engine_driver import RunEngineDriver
from agent_service.protocols import Document, PlanOrder


def namespace() -> Namespace:
    axis = SynAxis(name="axis")
    return Namespace({"axis": axis, "det": SynSignal(name="det", func=lambda: axis.position)}, source="the test")


def order(uid: str = "s1", plan: str = "acquire") -> PlanOrder:
    return PlanOrder(uid, "aligner", {"axis": 1.0}, plan, ("axis",), ("det",))


def ignore() -> None: ...


async def until(condition: Callable[[], Any], timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition was not met in time"
        await asyncio.sleep(0.005)


async def measure(source: RunEngineSource, driver: RunEngineDriver, on_document: Any, *, runs: int = 1) -> list[str]:
    """Run plans through a sink and end everything; return the exit statuses."""
    sink = RunEngineSink(driver, namespace(), {})
    source.start(on_document)
    sink.start(ignore)
    results = await asyncio.gather(*(sink.run(order(f"s{number}")) for number in range(runs)))
    await sink.stop(10)
    source.stop()
    return [result.exit_status for result in results]


async def test_each_document_is_spooled_before_it_is_delivered() -> None:
    seen: list[tuple[str, str, str]] = []
    driver = RunEngineDriver()
    source = RunEngineSource(
        driver, lambda name, document: seen.append(("spool", name, threading.current_thread().name))
    )
    await measure(
        source, driver, lambda name, document: seen.append(("loop", name, threading.current_thread().name)), runs=2
    )
    names = ["start", "descriptor", "event", "stop"] * 2
    assert [(who, name) for who, name, _ in seen] == [
        pair for name in names for pair in (("spool", name), ("loop", name))
    ]
    assert {thread for _, _, thread in seen} == {"run-engine-documents"}


async def test_documents_wait_for_a_full_disk_and_the_run_does_not() -> None:
    seen: list[tuple[str, str]] = []
    errors: list[object] = []
    full = threading.Event()
    full.set()

    def disk(name: str, document: Document) -> None:
        if full.is_set() and name != "start":
            raise OSError(28, "No space left on device")
        seen.append(("spool", name))

    driver = RunEngineDriver()
    source = RunEngineSource(driver, disk, on_error=errors.append)
    measuring = asyncio.create_task(measure(source, driver, lambda name, _: seen.append(("loop", name))))
    await until(lambda: errors and source.backlog == 2 + 1)  # event and stop, and the end of the plan: the run is over
    assert seen == [("spool", "start"), ("loop", "start")]
    full.clear()
    assert await measuring == ["success"]
    assert seen == [
        pair for name in ("start", "descriptor", "event", "stop") for pair in (("spool", name), ("loop", name))
    ]
    assert [error and error.errno for error in errors] == [28, None]


async def test_documents_that_were_never_spooled_are_not_told_at_the_end() -> None:
    seen: list[str] = []

    def full_disk(name: str, document: Document) -> None:
        raise OSError(28, "No space left on device")

    driver = RunEngineDriver()
    source = RunEngineSource(driver, full_disk)
    source.start(lambda name, _: seen.append(name))
    sink = RunEngineSink(driver, namespace(), {})
    sink.start(ignore)
    running = asyncio.create_task(sink.run(order("s")))
    await until(lambda: source.backlog == 3 + 1)
    await sink.stop(5)
    await asyncio.to_thread(source.stop)
    assert (await running).exit_status == "success"
    assert seen == []


async def test_a_listener_that_raises_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def broken(name: str, document: Document) -> None:
        raise ValueError(name)

    driver = RunEngineDriver()
    assert await measure(RunEngineSource(driver, None), driver, broken, runs=2) == ["success"] * 2
    assert caplog.text.count("was not delivered") == 8


async def test_stop_delivers_what_was_received() -> None:
    """A source that lags behind neither slows the run down nor loses a document."""
    gate = threading.Event()
    documents: list[str] = []
    driver = RunEngineDriver()
    source = RunEngineSource(driver, None)
    source.start(lambda name, document: (gate.wait(20), documents.append(name)))
    sink = RunEngineSink(driver, namespace(), {})
    sink.start(ignore)
    waiting = [asyncio.create_task(sink.run(order(f"s{number}"))) for number in range(3)]
    # the first of twelve documents is being delivered; the others wait, and with them the three ends
    await until(lambda: source.backlog == 11 + 3)
    assert documents == []
    assert not any(task.done() for task in waiting), "nobody hears of a plan's end before its documents"
    gate.set()
    await sink.stop(10)
    source.stop()
    assert documents == ["start", "descriptor", "event", "stop"] * 3
    assert [(await task).exit_status for task in waiting] == ["success"] * 3


async def test_orders_wait_for_the_start() -> None:
    driver = RunEngineDriver()
    sink = RunEngineSink(driver, namespace(), {})
    waiting = asyncio.create_task(sink.run(order()))
    await until(lambda: sink.status.pending == 1)
    sink.start(ignore)
    assert (await waiting).exit_status == "success"
    await sink.stop(10)


async def test_stop_without_a_start() -> None:
    driver = RunEngineDriver()
    sink, source = RunEngineSink(driver, namespace(), {}), RunEngineSource(driver, None)
    waiting = asyncio.create_task(sink.run(order()))
    await asyncio.sleep(0)
    await sink.stop(1)
    source.stop()
    assert (await waiting).exit_status == "abort"


async def test_somebody_elses_run_engine_keeps_the_bluesky_loop() -> None:
    from bluesky import run_engine

    before = run_engine.get_bluesky_event_loop()
    theirs = run_engine.RunEngine({}, context_managers=[])
    driver = RunEngineDriver()
    try:
        await measure(RunEngineSource(driver, None), driver, lambda name, document: None)
        assert run_engine.get_bluesky_event_loop() is theirs.loop
        assert theirs.loop.is_running()
    finally:
        theirs.loop.call_soon_threadsafe(theirs.loop.stop)
        theirs._th.join(10)
        theirs.loop.close()
        run_engine.set_bluesky_event_loop(before)


async def test_a_plan_that_hangs_does_not_hold_the_stop_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    leave = threading.Event()
    reached = threading.Event()

    def stubborn(suggestions: Any, actuators: Any, sensors: Any, md: Any) -> Any:
        reached.set()
        leave.wait(60)
        yield from ()

    driver = RunEngineDriver()
    sink = RunEngineSink(driver, Namespace({"stubborn": stubborn}, source="the test"), {})
    sink.start(ignore)
    waiting = asyncio.create_task(sink.run(PlanOrder("s1", "aligner", {}, "stubborn", (), ())))
    await until(reached.is_set)
    await sink.stop(0.2)
    assert "did not end within" in caplog.text
    leave.set()
    assert (await waiting).exit_status == "abort"
    assert await asyncio.to_thread(driver.join, 10)


def test_the_modules_import_no_bluesky() -> None:
    """Building the app does not wait for bluesky, nor for numpy."""
    code = (
        "import sys; import agent_service.plans.sinks.run_engine, agent_service.plans.sinks.run_engine_driver; "
        "import agent_service.plans.startup, agent_service.documents.runs, agent_service.documents.outcomes; "
        "print(sorted({'bluesky', 'ophyd', 'numpy', 'tiled', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
