"""Events/s of somebody's own RunEngine with the service subscribed to it, and without."""

import statistics
import time

WANTED = "ratio >= 0.98"


def measure(folder, *, n=300, rounds=7):
    """Return lines to print."""
    from bluesky import RunEngine
    from bluesky.plans import count
    from ophyd.sim import det

    import agent_service

    engine = RunEngine({}, context_managers=[])

    def rate():
        began = time.perf_counter()
        engine(count([det], num=n))
        return n / (time.perf_counter() - began)

    rate()
    ours, theirs = [], []
    for one in range(rounds):
        theirs.append(rate())
        with agent_service.serve(RE=engine, catalog="none", state=folder / str(one)):
            ours.append(rate())
    a, b = statistics.median(ours), statistics.median(theirs)
    return [f"RunEngine events      {a:8.0f} /s   not subscribed     {b:8.0f} /s   ratio {a / b:.2f}"]
