"""Lag of events at 200 subscribers, 100 events/s, against a bare broadcaster: from the event to its last byte read."""

import asyncio
import re
import socket
import statistics
import time

import uvloop

from agent_service.service.keys import KeyFile, Scope
from tests.benchmarks.servers import process

WANTED = "ratio <= 1.5"

_AT = re.compile(rb'"at":([0-9.]+)')


class _Subscriber(asyncio.Protocol):
    """Reads a stream and notes the lag of each event, in s, while ``noting`` is set."""

    noting = False

    def __init__(self, request, lags):
        self._request = request
        self._lags = lags

    def connection_made(self, transport):
        transport.write(self._request)

    def data_received(self, data):
        if self.noting:
            now = time.time()
            self._lags.extend(now - float(at) for at in _AT.findall(data))


async def _lags(port, keys, *, subscribers, seconds):
    lags, loop = [], asyncio.get_running_loop()
    transports = []
    _Subscriber.noting = False
    for n in range(subscribers):
        head = f"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Apikey {keys[n % len(keys)]}\r\n\r\n"
        transport, _ = await loop.create_connection(
            lambda head=head: _Subscriber(head.encode(), lags), "127.0.0.1", port
        )
        transports.append(transport)
    await asyncio.sleep(2)
    _Subscriber.noting = True
    await asyncio.sleep(seconds)
    _Subscriber.noting = False
    for transport in transports:
        transport.abort()
    return sorted(lags)


def _measured(folder, which, n, *, subscribers, rate, seconds):  # noqa: PLR0913 - what a round is
    folder = folder / f"{which}{n}"
    (folder / "state").mkdir(mode=0o700, parents=True)
    key_file = KeyFile(folder / "state" / "keys.jsonl")  # one key may have 64 streams
    keys = [key_file.create(f"key{i}", Scope)[1] for i in range(4)]
    file = folder / "port"
    with process("-m", "tests.benchmarks.broadcast", str(file), str(rate), which, str(folder)):
        while not (file.exists() and file.read_text()):
            time.sleep(0.01)
        port = int(file.read_text())
        while socket.socket().connect_ex(("127.0.0.1", port)):
            time.sleep(0.01)
        return uvloop.run(_lags(port, keys, subscribers=subscribers, seconds=seconds))


def measure(folder, *, subscribers=200, rate=100, seconds=5, rounds=3):
    """Return lines to print."""
    found = {"ours": [], "bare": []}
    for n in range(rounds):
        for which, kept in found.items():
            lags = _measured(folder, which, n, subscribers=subscribers, rate=rate, seconds=seconds)
            kept.append((lags[int(0.99 * len(lags))], len(lags) / seconds / subscribers))
    (a, per_s), (b, bare_per_s) = (
        [statistics.median(column) for column in zip(*rows, strict=True)] for rows in found.values()
    )
    ours = f"event streams   {subscribers} x {per_s:.0f}/s   p99 {1e3 * a:7.1f} ms"
    return [f"{ours}   bare broadcaster {bare_per_s:.0f}/s {1e3 * b:7.1f} ms   ratio {a / b:.2f}"]
