"""Runs/s of a session at a real queue server, against 60 runs inside one item there; suggestions come ten at a time.

Both are measured by the start documents of the worker, between the first and the last one of an item.
"""

import sys
import time

from tests.benchmarks.servers import ROOT, client, process

sys.path.insert(0, str(ROOT / "tests" / "support"))

WANTED = "40 runs/s and more on idle cores"
RUNS = 60
TOML = """
[service]
port = {port}
catalog = "none"
[sink]
kind = "queueserver"
control = "{control}"
per_item = "session"
[[sources]]
kind = "zmq"
address = "127.0.0.1:{out}"
"""
ROUNDS = 3


def measure(folder):
    """Return lines to print."""
    from peers import zmq_proxy
    from queue_rig import KEY, PORT, WORKER
    from queue_service import QueueService

    lines = []
    with zmq_proxy(folder) as proxy:
        queue = QueueService(folder / "queue", env={**WORKER, "PUBLISHES_ZMQ": f"127.0.0.1:{proxy.into}"})
        try:
            queue.open()
            (folder / "service.toml").write_text(TOML.format(port=PORT, control=queue.control, out=proxy.out))
            with process(
                "-m", "agent_service", "serve", str(folder / "service.toml"), env={"AGENT_SERVICE_API_KEY": KEY}
            ) as child:
                while not next(child.stdout).startswith("Serving at "):
                    pass
                http = client(PORT, KEY)
                for turn in range(ROUNDS):
                    bare = _rate(queue, lambda: _bare(queue))
                    ours = _rate(queue, lambda turn=turn: _session(http, queue, f"s{turn}"))
                    theirs = f"{RUNS} runs in an item {bare:6.1f} /s"
                    lines.append(f"session               {ours:8.1f} /s   {theirs}   ratio {ours / bare:.2f}")
                http.close()
        finally:
            queue.close()
    return lines


def _rate(queue, run):
    before = len(queue.documents)
    run()
    times = [document["time"] for name, document in queue.documents[before:] if name == "start"]
    assert len(times) == RUNS, times
    return (RUNS - 1) / (times[-1] - times[0])


def _points():
    return [{"motor": number % 10 / 10} for number in range(RUNS)]


def _bare(queue):
    kwargs = {"suggestions": _points(), "actuators": ["motor"], "sensors": ["det"]}
    item = {"item_type": "plan", "name": "acquire", "kwargs": kwargs}
    assert queue.ask("queue_item_execute", item=item, user="a person", user_group="primary")["success"]
    queue.until("executing_queue")
    queue.until("idle", within_s=120)


def _session(http, queue, name):
    spec = {
        "name": name,
        "type": "sequence",
        "config": {"points": _points()},
        "actuators": ["motor"],
        "sensors": ["det"],
        "outcome": "det",
        "guardrails": {"unbounded": ["motor"]},
        "loop": {"n_points": 10, "max_runs": RUNS},
    }
    http.post("/agents", json=spec).raise_for_status()
    http.post(f"/agents/{name}/start").raise_for_status()
    while (status := http.get(f"/agents/{name}").json())["state"] != "stopped":
        time.sleep(0.5)  # seldom: this reads beside the loop
    assert status["progress"]["done"] == RUNS, status
    queue.until("idle")
