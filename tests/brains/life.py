"""A brain behind its adapter, without a service, and the facts of its life."""

from agent_service.brains import types
from agent_service.brains.adapter import adapter_for
from agent_service.brains.messages import EditFact, FailFact, IngestFact, SuggestFact
from agent_service.models import AgentSpec

CONTINUOUS = {"x": [-3, 3], "y": [-3, 3]}


def flux(point):
    return 1 - (point["x"] - 1) ** 2 + 0.1 * point.get("turns", 0) + (point.get("filter") == "Ti")


def measured(point, number=None):
    told = {**point, "flux": flux(point), "width": (point["x"] + 1) ** 2}
    return told if number is None else {**told, "_id": number}


def spec_of(space=CONTINUOUS, outcome="flux", type="t", **fields):  # noqa: A002 - the field's name
    return AgentSpec(name="a", type=type, actuators=list(space), outcome=outcome, space=space, **fields)


def hosted(spec):
    found = types.resolve(spec.type)
    found.validate(spec)
    return adapter_for(found.build(spec), spec=spec)


class Life:
    """A brain's life, with the facts of it."""

    def __init__(self, adapter):
        self.adapter, self.facts, self.n = adapter, [], 0

    def suggest(self):
        """Return a proposal; or, in a line, what the brain waits for."""
        self.n += 1
        proposals, view = self.adapter.suggest([f"s{self.n}"])
        if not proposals:
            return view.waits
        [one] = proposals
        self.facts.append(SuggestFact((one.id,), (one.point,), (one.brain_id,)))
        return one

    def ingest(self, *points):
        self.facts.append(IngestFact(points))
        return self.adapter.ingest(points)

    def edit(self, number, point):
        self.facts.append(EditFact(number, point))
        self.adapter.edit(number, point)

    def fail(self, one):
        self.facts.append(FailFact(({**one.point, "_id": one.id},)))
        self.adapter.fail([{**one.point, "_id": one.id}])

    def measure(self, times=1):
        for _ in range(times):
            one = self.suggest()
            self.ingest(measured(one.point, one.id))
        return one

    def eventful(self, times=4):
        self.measure(times)
        one = self.suggest()
        point = {**one.point, "x": 0.25}
        self.edit(one.id, point)
        self.ingest(measured(point, one.id))
        self.fail(self.suggest())
        self.ingest(measured({**point, "x": -1.5}))
        return self
