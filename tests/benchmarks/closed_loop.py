"""Runs/s of a closed loop against a bare RunEngine that does the same plans, in turns; how fast the archive follows."""

import importlib
import statistics
import sys
import time
from datetime import datetime

from tests.benchmarks.servers import ROOT, client, service

WANTED = "ratio >= 0.95"

STARTUPS = {"instant devices": ("rig", 100), "50 ms to move and to expose": ("tests.benchmarks.slow_devices", 20)}


def points(n):
    return [{"x": i % 10 / 10, "y": i % 7 / 7} for i in range(n)]


class _Bare:
    """A RunEngine of this process, with the same devices and plans."""

    def __init__(self, startup):
        from bluesky import RunEngine

        sys.path.insert(0, str(ROOT / "tests" / "support"))
        self._names = importlib.import_module(startup)
        self._engine = RunEngine({}, context_managers=[], call_returns_result=True)
        self.rate(5)

    def rate(self, n):
        from agent_service.plans.library import acquire

        devices, sensors = [self._names.x, self._names.y], [self._names.signal]
        began = time.perf_counter()
        for i, point in enumerate(points(n)):
            self._engine(acquire([{**point, "_id": str(i)}], devices, sensors, md={}))
        return n / (time.perf_counter() - began)


def _rate(http, name, n, n_points):
    spec = {
        "name": name,
        "type": "sequence",
        "config": {"points": points(n)},
        "actuators": ["x", "y"],
        "sensors": ["signal"],
        "outcome": "signal",
        "loop": {"n_points": n_points, "max_runs": n},
    }
    http.post("/agents", json=spec).raise_for_status()
    http.post(f"/agents/{name}/start").raise_for_status()
    while (status := http.get(f"/agents/{name}").json())["state"] != "stopped":
        time.sleep(0.5)  # seldom: this reads beside the loop
    assert status["progress"]["done"] == n, status
    return n / seconds_of(http, name)


def seconds_of(http, name):
    """Return the time from the first submission to the last ingest, as the journal has it."""
    facts, cursor = [], None
    while facts == [] or cursor:
        page = {"limit": 1000, **({"cursor": cursor} if cursor else {})}
        answer = http.get(f"/agents/{name}/history", params=page).json()
        facts, cursor = facts + answer["items"], answer["next"]
    at = [datetime.fromisoformat(one["time"]) for one in facts if one["data"].get("state") in ("submitted", "ingested")]
    return (at[-1] - at[0]).total_seconds()


def _behind(http):
    return http.get("/service").json()["archive"]["runs_behind"]


def measure(folder, *, rounds=3):
    """Return lines to print."""
    lines = []
    for what, (startup, n) in STARTUPS.items():
        bare = _Bare(startup)
        for catalog in ("none", "embedded"):
            with service(folder / f"{startup}-{catalog}", catalog=catalog, startup=startup) as (port, key, _):
                http = client(port, key)
                while catalog == "embedded" and http.get("/service").json()["archive"]["state"] != "ready":
                    time.sleep(0.1)  # what is measured is the loop beside a working archive, not its start
                _rate(http, "warm-up", 5, 1)
                ratios = {1: [], 10: []}
                for turn in range(rounds):
                    for n_points, found in ratios.items():
                        theirs = bare.rate(n)
                        found.append((_rate(http, f"s{turn}-{n_points}", n, n_points), theirs))
                for n_points, found in ratios.items():
                    ratio = statistics.median(ours / theirs for ours, theirs in found)
                    ours, theirs = (statistics.median(column) for column in zip(*found, strict=True))
                    lines.append(
                        f"closed loop           {ours:8.1f} /s   bare RunEngine {theirs:8.1f} /s   ratio {ratio:.2f}"
                        f"   ({what}, catalogue {catalog}, {n_points} points a suggest)"
                    )
                if catalog == "embedded":
                    behind, began = _behind(http), time.perf_counter()
                    while (left := _behind(http)) and time.perf_counter() < began + 20:
                        time.sleep(0.1)
                    drained = (behind - left) / (time.perf_counter() - began)
                    lines.append(
                        f"    the archive was {behind} runs behind at the end, then drained {drained:.1f} runs/s"
                    )
                http.close()
    return lines
