"""A suspender is asked at the very moment when its signal recovers."""

import threading

import pytest
from bluesky import RunEngine
from bluesky.run_engine import get_bluesky_event_loop, set_bluesky_event_loop
from bluesky.suspenders import SuspendFloor
from ophyd import Signal

from agent_service.plans.sinks.run_engine_backlog import PlanBacklog, PlanJob
from agent_service.plans.sinks.suspenders import Suspenders


class Slow(SuspendFloor):
    """Recovers while somebody asks whether it has tripped."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.asked = threading.Event()
        self.recovering = threading.Event()

    @property
    def tripped(self):
        found = super().tripped
        self.asked.set()
        return found

    def _should_resume(self, value):  # called under its lock
        resumes = super()._should_resume(value)
        if resumes:
            self.asked.clear()
            self.recovering.set()
            self.asked.wait(0.5)  # whoever asks before the lock is free again has its answer by then
        return resumes


@pytest.fixture
def engine():
    before = get_bluesky_event_loop()
    made = RunEngine({}, context_managers=[])
    yield made
    made.clear_suspenders()
    made.loop.call_soon_threadsafe(made.loop.stop)
    made._th.join(10)
    made.loop.close()
    set_bluesky_event_loop(before)


def test_a_plan_does_not_wait_for_what_is_over(engine):
    ring = Signal(name="ring", value=300.0)
    suspender = Slow(ring, 100)
    engine.install_suspender(suspender)
    queue = PlanBacklog()
    queue.submit(PlanJob(lambda: iter(()), lambda result: None))
    suspenders = Suspenders(queue, lambda: None)
    suspenders.watch(engine)
    ring.put(50)
    recovers = threading.Thread(target=ring.put, args=(300,))
    suspender.recovering.clear()
    recovers.start()
    assert suspender.recovering.wait(10)
    while not suspenders.free():  # it would wait for ever in the end
        pass
    recovers.join(10)
    ring.put(50)  # and the suspender still does its work
    assert not suspender._ev.is_set()
    assert suspenders._tripped()
