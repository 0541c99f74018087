"""What families believe of points, in the direction and the units of the outcome."""

import pytest

from agent_service.brains.adapter import adapter_for
from agent_service.brains.adapters.gest import Xopt
from agent_service.brains.adapters.gpcam import GpCam
from agent_service.brains.adapters.scikit_learn import Pool
from agent_service.models import AgentSpec

# what the libraries say of themselves; the process that leads xdist would import them to show it, and fail at that
pytestmark = pytest.mark.filterwarnings("ignore")

MEASURED = [
    {"x": x, "y": y, "flux": 5 - x**2 - y**2} for x in (-2.0, -1.0, 0.0, 1.0, 2.0) for y in (-2.0, -0.5, 0.5, 2.0)
]
TOP, EDGE = {"x": 0.0, "y": 0.0}, {"x": 2.0, "y": -2.0}


def ax_optimizer():
    from ax import RangeParameterConfig
    from bluesky_adaptive.ax import AxOptimizer

    parameters = [RangeParameterConfig(name=name, bounds=(-2, 2), parameter_type="float") for name in ("x", "y")]
    return AxOptimizer(parameters=parameters, objective="flux")


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("family", ["ax", "gpcam", "pool", "xopt"])
def test_the_top_of_a_hill_and_its_edge(family, sign):
    bounds = {"x": [-2, 2], "y": [-2, 2]}
    more = {"actuators": ["x", "y"], "sensors": ["det"], "outcome": "flux", "space": bounds}
    direction = {} if family == "ax" else {"direction": "maximize" if sign > 0 else "minimize"}
    spec = AgentSpec(name="one", type=family, **more, **direction)
    made = {"ax": ax_optimizer, "gpcam": GpCam, "pool": Pool, "xopt": Xopt}[family]()
    adapter = adapter_for(made if family == "ax" else made.brain(spec), spec=spec)
    assert adapter.traits().predicts
    assert adapter.predict([TOP]).mean == {}, "it knows nothing yet"
    adapter.ingest([{**point, "flux": sign * point["flux"]} for point in MEASURED])
    for number in range(8):  # Ax has no model before it has suggested some points without one
        adapter.suggest([str(number)])
        if (found := adapter.predict([TOP, EDGE])).mean:
            break
    assert found.fault is None
    top, edge = found.mean["flux"]
    assert abs(top - sign * 5) < abs(edge - sign * 5), "the hill is where it is"
    assert all(spread >= 0 for spread in found.std["flux"])
