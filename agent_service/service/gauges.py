"""What Prometheus may know of a service's memory: agents, suggestions, the queue, the archive, the journal."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from agent_service._version import __version__
from agent_service.models import ConditionState, QueueState, SourceState
from agent_service.models.state_machines import AgentState, SuggestionState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client.core import Metric

    from agent_service.agents.agent import HostedAgent
    from agent_service.service.service import Service


class ServiceGauges(Collector):
    """What a service has in its memory, as metrics."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        service = self._service
        supervisor = service.supervisor
        yield InfoMetricFamily("agent_service", "This program", value={"version": __version__})
        states = Counter(life.state for life in supervisor.lives.values())
        yield _labelled("agents", "Agents by state", "state", {str(state): states[state] for state in AgentState})
        fates: Counter[SuggestionState] = Counter()
        for life in supervisor.lives.values():
            fates.update(life.agent.record.fates)
        by_fate = {str(fate): fates[fate] for fate in SuggestionState}
        yield _labelled("suggestions", "Suggestions of the agents there are, by fate", "fate", by_fate)
        yield from _times(life.agent for life in supervisor.lives.values())
        queue = supervisor.queue.status
        in_state = {str(state): state is queue.state for state in QueueState}
        yield _labelled("queue_state", "1 for the state that the plan queue is in", "state", in_state)
        yield GaugeMetricFamily("agent_service_queue_plans", "Plans that wait in the queue", value=queue.pending)
        yield GaugeMetricFamily(
            "agent_service_documents_waiting",
            "Documents on their way to the spool",
            value=service.documents.intake.backlog,
        )
        yield from _sources(service)
        archive = service.archive.status
        behind = {"runs": archive.runs_behind, "facts": archive.facts_behind}
        yield _labelled("outbox_behind", "What is not in the catalogue yet", "what", behind)
        yield GaugeMetricFamily(
            "agent_service_outbox_refused", "Runs that the catalogue refused", value=archive.runs_refused
        )
        yield CounterMetricFamily("agent_service_facts", "Facts in the journal", value=service.journal.last_seq)
        yield GaugeMetricFamily("agent_service_event_streams", "Open event streams", value=service.streams.open)
        if (notices := service.notify.status) is not None:
            counts = {"sent": notices.sent, "failed": notices.failed, "dropped": notices.dropped}
            yield _labelled("notices", "Notices to people, by what became of them", "what", counts)
        met = {condition.name: condition.state is ConditionState.MET for condition in supervisor.conditions.statuses()}
        yield _labelled("condition_met", "1 for each condition that is met", "condition", met)
        parts = {name: part.ready for name, part in service.status.readiness().parts.items()}
        yield _labelled("ready", "1 for each part that is ready", "part", parts)


def _times(agents: Iterable[HostedAgent]) -> Iterator[Metric]:
    """Yield how much of the time no plan of an agent ran, how long its brain thought, and what memory it takes."""
    idle = GaugeMetricFamily(
        "agent_service_agent_beam_idle", "Share of the time an agent ran in which no plan of its did", labels=["agent"]
    )
    thought = GaugeMetricFamily(
        "agent_service_agent_think_seconds", "What its brain took since its last start", labels=["agent"]
    )
    memory = GaugeMetricFamily(
        "agent_service_agent_memory_bytes",
        "Memory of its process, with its part of what is shared",
        labels=["agent"],
    )
    for agent in agents:
        if agent.brain.memory_bytes is not None:
            memory.add_metric([agent.name], agent.brain.memory_bytes)
        if (share := agent.beam_time.idle) is not None:
            idle.add_metric([agent.name], share)
        thought.add_metric([agent.name], agent.beam_time.think_s)
    yield from (idle, thought, memory)


def _sources(service: Service) -> Iterator[Metric]:
    """Yield what is known of the sources of documents; of several of one kind each by its address."""
    labels = ["kind", "where"]
    there = GaugeMetricFamily("agent_service_source_connected", "1 for a source that is there", labels=labels)
    heard = CounterMetricFamily("agent_service_source_documents", "Documents by source", labels=labels)
    lag = GaugeMetricFamily("agent_service_source_lag", "What the other end has and is not here yet", labels=labels)
    for source in service.documents.sources:
        names = [source.kind, source.where]
        there.add_metric(names, float(source.state is SourceState.CONNECTED))
        heard.add_metric(names, source.documents)
        if source.lag is not None:
            lag.add_metric(names, source.lag)
    yield from (there, heard, lag)
    yield GaugeMetricFamily(
        "agent_service_suspect_runs", "Runs that did not arrive whole", value=len(service.documents.suspects)
    )


def _labelled(name: str, description: str, label: str, values: dict[str, int] | dict[str, bool]) -> Metric:
    family = GaugeMetricFamily(f"agent_service_{name}", description, labels=[label])
    for key, value in values.items():
        family.add_metric([key], float(value))
    return family
