"""From starting the process to the first 200 on /healthz, against bare FastAPI and uvicorn."""

import statistics
import time

import httpx

from tests.benchmarks.servers import bare, service


def _first_200(port, began):
    with httpx.Client() as http:
        while True:
            try:
                if http.get(f"http://127.0.0.1:{port}/healthz").status_code == 200:
                    return time.perf_counter() - began
            except httpx.TransportError:
                time.sleep(0.001)


def measure(folder, *, rounds=5):
    """Return lines to print."""
    ours, embedded, theirs = [], [], []
    for n in range(rounds):
        began = time.perf_counter()
        with bare(folder) as (port, _):
            theirs.append(_first_200(port, began))
        for catalog, found in (("none", ours), ("embedded", embedded)):
            began = time.perf_counter()
            with service(folder / f"{catalog}{n}", catalog=catalog, startup=None) as (port, _, _):
                found.append(_first_200(port, began))
    b = statistics.median(theirs)
    return [
        f"start-up to first 200 {statistics.median(found):8.2f} s    bare FastAPI+uvicorn {b:6.2f} s    "
        f"ratio {statistics.median(found) / b:.2f}   (catalogue {catalog})"
        for catalog, found in (("none", ours), ("embedded", embedded))
    ]
