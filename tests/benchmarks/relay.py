"""A relay of two services with 1000 followers, 10 events/s in all: lag of events, and what a delivery costs."""

import contextlib
import resource
import socket
import time

import uvloop

from agent_service.service.keys import KeyFile, Scope
from tests.benchmarks.scale import cpu_s, memory_mb
from tests.benchmarks.servers import process
from tests.benchmarks.streams import _lags

WANTED = "lag p99 < 1 s with 1000 followers at 10 events/s"
SERVICES, FOLLOWERS, EVENTS_PER_S = 2, 1000, 10


@contextlib.contextmanager
def _service(folder, rate):
    """Run a service that tells events; gives its port and a key that may read."""
    (folder / "state").mkdir(mode=0o700, parents=True)
    key = KeyFile(folder / "state" / "keys.jsonl").create("relay", [Scope.READ])[1]
    file = folder / "port"
    with process("-m", "tests.benchmarks.broadcast", str(file), str(rate), "ours", str(folder)):
        while not (file.exists() and file.read_text()):
            time.sleep(0.01)
        port = int(file.read_text())
        while socket.socket().connect_ex(("127.0.0.1", port)):
            time.sleep(0.01)
        yield port, key


def measure(folder, *, seconds=10):
    """Return lines to print."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 8192)), hard))
    with contextlib.ExitStack() as stack:
        rate = EVENTS_PER_S / SERVICES
        served = [stack.enter_context(_service(folder / str(n), rate)) for n in range(SERVICES)]
        addresses = [f"s{n}=http://127.0.0.1:{port}" for n, (port, _) in enumerate(served)]
        keys = ",".join(key for _, key in served)
        relay = stack.enter_context(
            process("-m", "agent_service", "relay", *addresses, "--port", "0", env={"AGENT_SERVICE_API_KEY": keys})
        )
        port = int(relay.stdout.readline().rsplit(":", 1)[1])
        before = cpu_s(relay.pid)
        lags = uvloop.run(_lags(port, [keys], subscribers=FOLLOWERS, seconds=seconds))
        cost, memory = cpu_s(relay.pid) - before, memory_mb(relay.pid)
    expected = FOLLOWERS * EVENTS_PER_S * seconds
    return [
        (
            f"{FOLLOWERS} followers of {SERVICES} services, {EVENTS_PER_S} events/s: "
            f"lag p50 {lags[len(lags) // 2] * 1e3:.0f} ms, p99 {lags[int(0.99 * len(lags))] * 1e3:.0f} ms"
        ),
        (
            f"    {len(lags) / expected:.0%} of the deliveries came in time; the relay's CPU {cost:.1f} s with the "
            f"connections, {cost / len(lags) * 1e6:.0f} us a delivery at most; {memory:.0f} MB"
        ),
    ]
