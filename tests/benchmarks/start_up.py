"""From starting the process to the first 200 on /healthz, against bare FastAPI and uvicorn; and until it is ready."""

import socket
import statistics
import time

import httpx

from tests.benchmarks.servers import bare, process, write_config

WANTED = "ratio <= 1.5"


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _first_200(port, path, began):
    with httpx.Client() as http:
        while True:
            try:
                if http.get(f"http://127.0.0.1:{port}{path}").status_code == 200:
                    return time.perf_counter() - began
            except httpx.TransportError:
                pass
            time.sleep(0.002)


def _ours(folder, catalog):
    port, file = _free_port(), write_config(folder, catalog=catalog)
    began = time.perf_counter()
    with process("-m", "agent_service", "serve", str(file), "--port", str(port)):
        return _first_200(port, "/healthz", began), _first_200(port, "/readyz", began)


def measure(folder, *, rounds=7):
    """Return lines to print."""
    found, theirs = {"none": [], "embedded": []}, []
    for n in range(rounds):
        began = time.perf_counter()
        with bare(folder) as (port, _):
            theirs.append(_first_200(port, "/healthz", began))
        for catalog, times in found.items():
            times.append(_ours(folder / f"{catalog}{n}", catalog))
    b = statistics.median(theirs)
    lines = []
    for catalog, times in found.items():
        alive, ready = (statistics.median(column) for column in zip(*times, strict=True))
        lines.append(
            f"start-up to first 200 {alive:8.2f} s    bare FastAPI+uvicorn {b:6.2f} s    ratio {alive / b:.2f}   "
            f"(catalogue {catalog}; ready to take work after {ready:.2f} s)"
        )
    return lines
