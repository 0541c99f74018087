"""Runs/s of a closed loop against a bare RunEngine that does the same plans; then how fast the outbox drains."""

import sys
import time
from datetime import datetime
from pathlib import Path

import httpx

from tests.benchmarks.servers import ROOT, service


def _bare_runs_per_second(n):
    sys.path.insert(0, str(ROOT / "tests" / "support"))
    import rig
    from bluesky import RunEngine

    from agent_service.plans import acquire

    engine = RunEngine({}, context_managers=[], call_returns_result=True)
    devices, sensors = [rig.x, rig.y], [rig.signal]
    points = [{"x": i % 10 / 10, "y": i % 7 / 7, "_id": str(i)} for i in range(n)]
    for point in points[:20]:
        engine(acquire([point], devices, sensors, md={}))
    began = time.perf_counter()
    for point in points:
        engine(acquire([point], devices, sensors, md={}))
    return n / (time.perf_counter() - began)


def _served(folder, n, catalog, n_points):
    points = [{"x": i % 10 / 10, "y": i % 7 / 7} for i in range(n)]
    spec = {
        "name": "s",
        "type": "sequence",
        "config": {"points": points},
        "actuators": ["x", "y"],
        "sensors": ["signal"],
        "outcome": "signal",
        "loop": {"n_points": n_points, "max_runs": n},
    }
    with service(Path(folder), catalog=catalog) as (port, key, _):
        headers = {"Authorization": f"Apikey {key}"}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", headers=headers, timeout=60) as http:
            if catalog == "embedded":  # what is measured is the loop beside a working archive, not its start
                while http.get("/service").json()["archive"]["state"] != "ready":
                    time.sleep(0.1)
            http.post("/agents", json=spec).raise_for_status()
            http.post("/agents/s/start").raise_for_status()
            while (status := http.get("/agents/s").json())["state"] != "stopped":
                time.sleep(0.5)  # seldom: this reads beside the loop
            assert status["progress"]["done"] == n, status
            rate = n / _seconds(http)
            if catalog == "none":
                return rate, 0, 0.0
            behind = http.get("/service").json()["archive"]["runs_behind"]
            drained = time.perf_counter()
            while http.get("/service").json()["archive"]["runs_behind"]:
                time.sleep(0.1)
            return rate, behind, behind / (time.perf_counter() - drained)


def _seconds(http):
    """Return the time from the first submission to the last ingest, as the journal has it."""
    facts, cursor = [], None
    while facts == [] or cursor:
        answer = http.get("/agents/s/history", params={"limit": 1000, **({"cursor": cursor} if cursor else {})}).json()
        facts, cursor = facts + answer["items"], answer["next"]
    at = [datetime.fromisoformat(one["time"]) for one in facts if one["data"].get("state") in ("submitted", "ingested")]
    return (at[-1] - at[0]).total_seconds()


def measure(folder, *, n=200):
    """Return lines to print."""
    bare = _bare_runs_per_second(n)
    lines = []
    for catalog in ("none", "embedded"):
        for n_points in (1, 10):
            rate, behind, drain = _served(folder / f"{catalog}{n_points}", n, catalog, n_points)
            lines.append(
                f"closed loop           {rate:8.1f} runs/s   bare RunEngine {bare:6.1f} runs/s   "
                f"ratio {rate / bare:.2f}   (catalogue {catalog}, {n_points} points a suggest)"
            )
            if catalog == "embedded":
                lines.append(f"    the outbox was {behind} runs behind at the end, then drained {drain:.1f} runs/s")
    return lines
