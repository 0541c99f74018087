"""What Prometheus may know of a service: read from its memory when asked; durations are noted as they pass."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector, generate_latest

if TYPE_CHECKING:
    from prometheus_client.registry import Collector

LOOKS_EVERY_S: Final = 0.25
_CALL_BUCKETS: Final = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)
_LAG_BUCKETS: Final = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3)


class Metrics:
    """The metrics of one service, in a registry of its own; belongs to the event loop."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._calls = Histogram(
            "agent_service_call_seconds",
            "How long calls of agents took, failed ones included",
            ["call", "executor"],
            buckets=_CALL_BUCKETS,
            registry=self._registry,
        )
        self._lag = Histogram(
            "agent_service_event_loop_lag_seconds",
            f"How late the event loop was, looked at every {LOOKS_EVERY_S:g} s",
            buckets=_LAG_BUCKETS,
            registry=self._registry,
        )
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to look how late the event loop is."""
        loop = asyncio.get_running_loop()
        due = loop.time() + LOOKS_EVERY_S

        def look() -> None:
            self._lag.observe(max(0.0, loop.time() - due))
            self.start()

        self._timer = loop.call_at(due, look)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def collect_from(self, gauges: Collector) -> None:
        """Ask ``gauges`` too, whenever the metrics are read."""
        self._registry.register(gauges)

    def called(self, executor: str, call: str, seconds: float) -> None:
        """Note how long a call of an agent took."""
        self._calls.labels(call, executor).observe(seconds)

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        return generate_latest(self._registry)
