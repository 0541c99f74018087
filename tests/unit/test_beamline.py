"""The simulated beamline in a real RunEngine, and its promises about the optimum."""

import random
import statistics

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import pytest
from bluesky import RunEngine
from ophyd.utils import LimitError

from agent_service.plans.beamline import LIMITS_MM, measured_flux, optimum, simulated, true_flux


@pytest.fixture
def engine():
    made = RunEngine({}, context_managers=[])
    yield made
    made.loop.call_soon_threadsafe(made.loop.stop)
    made._th.join(5)
    made.loop.close()


def grid():
    low, high = LIMITS_MM
    axis = [low + (high - low) * i / 200 for i in range(201)]
    return {(x, y): true_flux(x, y) for x in axis for y in axis}


def test_there_is_one_optimum_and_it_is_where_it_says() -> None:
    values = grid()
    point, best = optimum()
    x, y = point["mirror_x"], point["mirror_y"]
    assert true_flux(x, y) == best
    assert max(values.values()) <= best
    step = (LIMITS_MM[1] - LIMITS_MM[0]) / 200
    neighbours = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j]
    key = {(round(a / step), round(b / step)): value for (a, b), value in values.items()}
    peaks = [at for at, value in key.items() if all(value > key.get((at[0] + i, at[1] + j), -1) for i, j in neighbours)]
    assert len(peaks) == 1


def test_the_axes_are_coupled() -> None:
    def best_y(x):
        return max((y / 20 for y in range(-100, 101)), key=lambda y: true_flux(x, y))

    assert abs(best_y(0.3) - best_y(2.3)) > 0.5


def test_the_noise_is_as_said_and_seeded() -> None:
    noise = random.Random(1)
    values = [measured_flux(1.3, -1.7, noise=noise) for _ in range(4000)]
    assert statistics.mean(values) == pytest.approx(optimum().flux, abs=0.1)
    assert statistics.stdev(values) == pytest.approx(2**0.5, rel=0.05)


def readings(engine, *, seed):
    found = []
    devices = simulated(seed=seed)
    token = engine.subscribe(lambda _, doc: found.append(doc["data"]["flux"]), "event")
    engine(bp.count([devices["flux"]], 3))
    engine.unsubscribe(token)
    return found


def test_the_same_seed_gives_the_same_readings_and_nothing_is_shared(engine) -> None:
    first, again, other = readings(engine, seed=1), readings(engine, seed=1), readings(engine, seed=2)
    assert first == again
    assert first != other
    assert len(set(first)) == 3


def test_a_scan_moves_both_mirrors_and_reads_the_flux(engine) -> None:
    devices, events, descriptors = simulated(), [], []
    engine.subscribe(lambda _, doc: events.append(doc), "event")
    engine.subscribe(lambda _, doc: descriptors.append(doc), "descriptor")
    mirror_x, mirror_y, flux = (devices[name] for name in ("mirror_x", "mirror_y", "flux"))
    engine(bp.list_scan([flux], mirror_x, [1.3, 0.5], mirror_y, [-1.7, 0.5]))
    assert [set(event["data"]) for event in events] == [{"mirror_x", "mirror_y", "flux"}] * 2
    assert events[0]["data"]["flux"] == pytest.approx(optimum().flux, abs=8)
    assert descriptors[0]["data_keys"]["mirror_x"]["units"] == "mm"
    assert descriptors[0]["hints"]["flux"] == {"fields": ["flux"]}


def test_a_move_takes_time_and_can_be_stopped_on_its_way() -> None:
    axis = simulated()["mirror_x"]
    status = axis.set(5)
    assert not status.done
    assert axis.moving
    axis.stop()
    assert "was stopped" in str(status.exception(5))
    assert 0 <= axis.position < 5
    assert not axis.moving


def test_a_new_move_ends_the_one_under_way() -> None:
    axis = simulated()["mirror_x"]
    first = axis.set(5)
    second = axis.set(-1)
    assert "sent elsewhere" in str(first.exception(5))
    second.wait(5)
    assert axis.position == -1


def test_a_position_outside_the_limits_is_refused(engine) -> None:
    axis = simulated()["mirror_y"]
    with pytest.raises(LimitError):
        engine(bps.mv(axis, 5.1))
    assert axis.position == 0


def test_the_devices_of_ophyd_are_there_too(engine) -> None:
    devices = simulated()
    engine(bp.scan([devices["det"]], devices["motor"], -1, 1, 3))
    assert devices["motor"].position == 1
    assert all(device.name for device in devices.values())
