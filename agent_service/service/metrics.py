"""What Prometheus may know of a service: read from its memory when asked; durations are noted as they pass."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, cast

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

import agent_service
from agent_service.models import QueueState
from agent_service.models.states import AgentState, SuggestionState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.core import Metric

    from agent_service.protocols import AgentHandle, Executor
    from agent_service.service.service import Service

LOOKS_EVERY_S: Final = 0.25
_CALL_BUCKETS: Final = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)
_LAG_BUCKETS: Final = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3)


class Metrics:
    """The metrics of one service, in a registry of its own; belongs to the event loop.

    Parameters
    ----------
    service
        What is measured.
    """

    def __init__(self, service: Service) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Memory(service))
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

    def called(self, call: str, executor: str, seconds: float) -> None:
        """Note how long a call of an agent took."""
        self._calls.labels(call, executor).observe(seconds)

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        return generate_latest(self._registry)


class _Memory:
    """Collects what is in the service's memory."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        service = self._service
        supervisor = service.supervisor
        yield InfoMetricFamily("agent_service", "This program", value={"version": agent_service.__version__})
        states = Counter(life.state for life in supervisor.lives.values())
        yield _labelled("agents", "Agents by state", "state", {str(one): states[one] for one in AgentState})
        fates: Counter[SuggestionState] = Counter()
        for life in supervisor.lives.values():
            fates.update(life.agent.record.fates)
        by_fate = {str(one): fates[one] for one in SuggestionState}
        yield _labelled("suggestions", "Suggestions of the agents there are, by fate", "fate", by_fate)
        queue = supervisor.queue.status
        in_state = {str(one): one is queue.state for one in QueueState}
        yield _labelled("queue_state", "1 for the state that the plan queue is in", "state", in_state)
        yield GaugeMetricFamily("agent_service_queue_plans", "Plans that wait in the queue", value=queue.pending)
        yield GaugeMetricFamily(
            "agent_service_documents_waiting", "Documents on their way to the spool", value=service.source.backlog
        )
        archive = service.archive.status
        behind = {"runs": archive.runs_behind, "facts": archive.facts_behind}
        yield _labelled("outbox_behind", "What is not in the catalogue yet", "what", behind)
        yield GaugeMetricFamily(
            "agent_service_outbox_refused", "Runs that the catalogue refused", value=archive.runs_refused
        )
        yield CounterMetricFamily("agent_service_facts", "Facts in the journal", value=service.journal.last_seq)
        yield GaugeMetricFamily("agent_service_event_streams", "Open event streams", value=service.streams.open)
        parts = {name: part.ready for name, part in service.readiness().parts.items()}
        yield _labelled("ready", "1 for each part that is ready", "part", parts)


def _labelled(name: str, said: str, label: str, values: dict[str, int] | dict[str, bool]) -> Metric:
    family = GaugeMetricFamily(f"agent_service_{name}", said, labels=[label])
    for key, value in values.items():
        family.add_metric([key], float(value))
    return family


class TimedExecutor:
    """Another executor, with how long each call took noted.

    Parameters
    ----------
    inner
        Where brains live.
    noted
        Called with the call's name, the executor's kind and seconds, on the event loop.
    """

    def __init__(self, inner: Executor, noted: Callable[[str, str, float], None]) -> None:
        self._inner = inner
        self._noted = noted

    async def start(self, *args: Any, **options: Any) -> AgentHandle:
        """Build the object where it will live. See `protocols.Executor`."""
        handle = await self._inner.start(*args, **options)
        kind = getattr(handle, "kind", self._inner.kind)
        return cast("AgentHandle", _TimedHandle(handle, lambda call, seconds: self._noted(call, kind, seconds)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _TimedHandle:
    """Another handle, with its calls timed."""

    def __init__(self, inner: AgentHandle, noted: Callable[[str, float], None]) -> None:
        self._inner = inner
        self._noted = noted

    async def call(self, method: str, *args: Any, **options: Any) -> Any:
        """Call a method of the hosted object. See `protocols.AgentHandle`."""
        began = time.perf_counter()
        try:
            return await self._inner.call(method, *args, **options)
        finally:
            self._noted(method, time.perf_counter() - began)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)
