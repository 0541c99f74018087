"""The service's RunEngine and its documents, and what the service's RunEngine leaves of other people's."""

import asyncio
import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from ophyd.sim import SynAxis, SynSignal

from agent_service.documents.intake import DocumentIntake
from agent_service.documents.sources.run_engine import RunEngineSource
from agent_service.models import QueueState
from agent_service.plans.namespace import Namespace
from agent_service.plans.sinks.run_engine import RunEngineSink
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


async def measure(intake: DocumentIntake, on_document: Any, *, runs: int = 1) -> list[str]:
    """Run plans through a sink and end everything; return the exit statuses."""
    driver = RunEngineDriver(intake)
    sink, source = RunEngineSink(driver, namespace(), {}), RunEngineSource(driver.engine)
    intake.start(on_document)
    source.start(intake)
    sink.start(ignore)
    results = await asyncio.gather(*(sink.run(order(f"s{number}")) for number in range(runs)))
    await sink.stop(10)
    source.stop()
    await intake.stop()
    return [result.exit_status for result in results]


async def test_each_document_is_spooled_before_it_is_delivered() -> None:
    seen: list[tuple[str, str, str]] = []

    def note(who: str, document: Document) -> None:
        seen.append((who, str(document["uid"]), threading.current_thread().name))

    intake = DocumentIntake(lambda name, document, run: note("spool", document))
    await measure(intake, lambda name, document, run: note("loop", document), runs=2)
    spooled = [uid for who, uid, _ in seen if who == "spool"]
    assert len(spooled) == 8
    assert [uid for who, uid, _ in seen if who == "loop"] == spooled
    assert all(
        seen.index(("spool", uid, "document-intake")) < seen.index(("loop", uid, "MainThread")) for uid in spooled
    )


async def test_documents_wait_for_a_full_disk_and_the_run_does_not() -> None:
    seen: list[tuple[str, str]] = []
    errors: list[object] = []
    full = threading.Event()
    full.set()

    def disk(name: str, document: Document, run: str) -> None:
        if full.is_set() and name != "start":
            raise OSError(28, "No space left on device")
        seen.append(("spool", name))

    intake = DocumentIntake(disk, on_error=errors.append)
    measuring = asyncio.create_task(measure(intake, lambda name, document, run: seen.append(("loop", name))))
    # event and stop, and the end of the plan: the run is over
    await until(lambda: errors and intake.backlog == 2 + 1)
    assert seen == [("spool", "start"), ("loop", "start")]
    full.clear()
    assert await measuring == ["success"]
    names = ["start", "descriptor", "event", "stop"]
    assert [name for who, name in seen if who == "spool"] == names
    assert [name for who, name in seen if who == "loop"] == names
    assert all(seen.index(("spool", name)) < seen.index(("loop", name)) for name in names)
    assert [error and error.errno for error in errors] == [28, None]


async def test_documents_that_were_never_spooled_are_not_told_at_the_end() -> None:
    seen: list[str] = []

    def full_disk(name: str, document: Document, run: str) -> None:
        raise OSError(28, "No space left on device")

    intake = DocumentIntake(full_disk)
    driver = RunEngineDriver(intake)
    intake.start(lambda name, document, run: seen.append(name))
    RunEngineSource(driver.engine).start(intake)
    sink = RunEngineSink(driver, namespace(), {})
    sink.start(ignore)
    running = asyncio.create_task(sink.run(order("s")))
    await until(lambda: intake.backlog == 3 + 1)
    await sink.stop(5)
    await intake.stop()
    assert (await running).exit_status == "success"
    assert seen == []


async def test_a_listener_that_raises_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def broken(name: str, document: Document, run: str) -> None:
        raise ValueError(name)

    assert await measure(DocumentIntake(None), broken, runs=2) == ["success"] * 2
    assert caplog.text.count("was not delivered") == 8


async def test_stop_delivers_what_was_received() -> None:
    """An intake that lags behind neither slows the run down nor loses a document."""
    gate = threading.Event()
    documents: list[str] = []

    def slow_disk(name: str, document: Document, run: str) -> None:
        gate.wait(20)

    intake = DocumentIntake(slow_disk)
    driver = RunEngineDriver(intake)
    intake.start(lambda name, document, run: documents.append(name))
    RunEngineSource(driver.engine).start(intake)
    sink = RunEngineSink(driver, namespace(), {})
    sink.start(ignore)
    waiting = [asyncio.create_task(sink.run(order(f"s{number}"))) for number in range(3)]
    # the first of twelve documents is being written; the others wait, and with them the three ends
    await until(lambda: intake.backlog == 11 + 3)
    assert documents == []
    assert not any(task.done() for task in waiting), "nobody hears of a plan's end before its documents"
    gate.set()
    await sink.stop(10)
    await intake.stop()
    assert documents == ["start", "descriptor", "event", "stop"] * 3
    assert [(await task).exit_status for task in waiting] == ["success"] * 3


async def test_the_next_plan_waits_while_the_intake_is_full() -> None:
    gate = threading.Event()
    intake = DocumentIntake(lambda name, document, run: gate.wait(20), high_water=2)
    driver = RunEngineDriver(intake)
    began: list[str] = []
    intake.start(lambda name, document, run: began.append(run) if name == "start" else None)
    RunEngineSource(driver.engine).start(intake)
    sink = RunEngineSink(driver, namespace(), {})
    sink.start(ignore)
    first = asyncio.create_task(sink.run(order("s1")))
    await until(lambda: intake.full)
    second, third = (asyncio.create_task(sink.run(order(f"s{number}"))) for number in (2, 3))
    await until(lambda: sink.status.state is QueueState.SUSPENDED)
    assert "wait to be written" in str(sink.status.reason)
    assert sink.status.pending == 2
    assert sink.withdraw("aligner", "no more", only="s3")
    assert not (await third).begun
    assert not second.done()
    gate.set()
    assert (await first).exit_status == (await second).exit_status == "success"
    assert len(set(began)) == 2
    await sink.stop(10)
    await intake.stop()


async def test_orders_wait_for_the_start() -> None:
    driver = RunEngineDriver(DocumentIntake(None))
    sink = RunEngineSink(driver, namespace(), {})
    waiting = asyncio.create_task(sink.run(order()))
    await until(lambda: sink.status.pending == 1)
    sink.start(ignore)
    assert (await waiting).exit_status == "success"
    await sink.stop(10)


async def test_stop_without_a_start() -> None:
    intake = DocumentIntake(None)
    sink = RunEngineSink(RunEngineDriver(intake), namespace(), {})
    waiting = asyncio.create_task(sink.run(order()))
    await asyncio.sleep(0)
    await sink.stop(1)
    await intake.stop()
    assert (await waiting).exit_status == "abort"


async def test_somebody_elses_run_engine_keeps_the_bluesky_loop() -> None:
    from bluesky import run_engine

    before = run_engine.get_bluesky_event_loop()
    theirs = run_engine.RunEngine({}, context_managers=[])
    try:
        await measure(DocumentIntake(None), lambda name, document, run: None)
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

    driver = RunEngineDriver(DocumentIntake(None))
    sink = RunEngineSink(driver, Namespace({"stubborn": stubborn}, source="the test"), {})
    sink.start(ignore)
    waiting = asyncio.create_task(sink.run(PlanOrder("s1", "aligner", {}, "stubborn", (), ())))
    await until(reached.is_set)
    await sink.stop(0.2)
    assert "did not end within" in caplog.text
    leave.set()
    assert (await waiting).exit_status == "abort"
    assert await asyncio.to_thread(driver.join, 10)


def retrying(suggestions: Any, actuators: Any, sensors: Any, md: Any) -> Any:
    """Take an abort for one more failure, and try again."""
    from bluesky import plan_stubs

    yield from plan_stubs.open_run(md=md)
    while True:
        with contextlib.suppress(Exception):
            yield from plan_stubs.sleep(30)


async def test_a_plan_that_takes_an_abort_for_a_failure_ends_when_it_is_aborted_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("agent_service.plans.sinks.run_engine._ABORT_S", 0.3)
    driver = RunEngineDriver(DocumentIntake(None))
    sink = RunEngineSink(driver, Namespace({"retrying": retrying}, source="the test"), {})
    sink.start(ignore)
    waiting = asyncio.create_task(sink.run(PlanOrder("s1", "aligner", {}, "retrying", (), ())))
    await until(lambda: driver.engine.run_engine is not None and driver.engine.run_engine.state == "running")
    await sink.abort("smoke in the hutch")
    assert sink.status.current == "s1"
    assert "stop everything once more" in (sink.status.reason or "")
    await sink.abort("smoke in the hutch")
    result = await asyncio.wait_for(waiting, 20)
    assert (result.exit_status, result.reason, len(result.run_uids)) == ("abort", "smoke in the hutch", 1)
    assert sink.status.reason == "smoke in the hutch"
    await sink.stop(10)


async def test_a_plan_that_takes_an_abort_for_a_failure_ends_with_the_service() -> None:
    driver = RunEngineDriver(DocumentIntake(None))
    sink = RunEngineSink(driver, Namespace({"retrying": retrying}, source="the test"), {})
    sink.start(ignore)
    waiting = asyncio.create_task(sink.run(PlanOrder("s1", "aligner", {}, "retrying", (), ())))
    await until(lambda: driver.engine.run_engine is not None and driver.engine.run_engine.state == "running")
    await sink.stop(0.2)
    assert (await asyncio.wait_for(waiting, 20)).exit_status == "abort"
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
