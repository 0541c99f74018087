"""The base class of 0.x's agents for scripts: it hosts them as agents of this process's service.

A script constructs its agent with a consumer, a producer, a queue server and two catalogue nodes. Here documents come
from the service's sources, plans go to its sink, and decisions go to its catalogue. Consumer, producer and queue server
are kept but not used. Runs are read from the script's data node if it has them, else from the service.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import re
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

from agent_service import context
from agent_service.brains.adapters.agent_0x import Exchange, is_whole, outcome_of
from agent_service.errors import BackendUnavailable, Forbidden, NotFound, UnknownPlan, UsageError
from agent_service.launch.legacy.runs import RunView
from agent_service.launch.process_service import current
from agent_service.models import ID_KEY, AgentPatch, EventKind, SuggestRequest
from agent_service.models.state_machines import ALIVE, AgentState, Command, require
from agent_service.models.values import text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from concurrent.futures import Future

    from agent_service.brains.adapters.agent_0x import PlanCall
    from agent_service.client import Client
    from agent_service.documents.runs import Run
    from agent_service.launch.local import LocalService
    from agent_service.models import Event, Point
    from agent_service.service.service import Service

_MOST_UNPACKED: Final = 1000
_NO_LETTERS: Final = re.compile(r"[^A-Za-z0-9_.-]+")

logger = logging.getLogger("bluesky_adaptive.agents")

_names: Final[dict[str, int]] = {}


class AgentConsumer:
    """Stands for the consumer of documents from Kafka: the service hears its ``[[sources]]``."""

    def __init__(self, *, agent: Any = None, **about: Any) -> None:
        self.agent, self.about = agent, about

    def set_agent(self, agent: Any) -> None:
        """Know the agent."""
        self.agent = agent

    def subscribe(self, callback: Callable[..., Any], name: str = "all") -> int:
        """Subscribe nobody: the service tells the agent of runs."""
        return 0

    def start(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing."""

    def stop(self) -> None:
        """Do nothing."""


class AgentSwitches:
    """What can be switched on and off while an agent runs."""

    instance_name: str
    suggest_on_ingest: bool
    queue_add_position: int | str
    _report_on_ingest: bool
    _direct_to_queue: bool

    @property
    def report_on_ingest(self) -> bool:
        """Whether it is asked for a report whenever it has ingested a run."""
        return self._report_on_ingest

    @report_on_ingest.setter
    def report_on_ingest(self, flag: bool) -> None:
        self._report_on_ingest = flag
        self._patch(report_every=1 if flag else None)

    def enable_continuous_reporting(self) -> None:
        """Ask it for a report whenever it has ingested a run."""
        self.report_on_ingest = True

    def disable_continuous_reporting(self) -> None:
        """Ask it for no report by itself."""
        self.report_on_ingest = False

    def enable_continuous_suggesting(self) -> None:
        """Ask it for a point whenever it has ingested a run."""
        self.suggest_on_ingest = True

    def disable_continuous_suggesting(self) -> None:
        """Ask it for no point by itself."""
        self.suggest_on_ingest = False

    def enable_direct_to_queue(self) -> None:
        """Let its points be measured without anybody's approval; a program needs a key that may approve for that."""
        if context.acting() is not None and not context.may_approve():
            raise Forbidden(
                f"to let the points of {self.instance_name} be measured without approval is a person's word, and the "
                f"key {context.acting()!r} may not give it; take one with the scope 'approve'"
            )
        self._direct_to_queue = True
        self._patch(approval="auto")

    def disable_direct_to_queue(self) -> None:
        """Let its points wait for a person's approval."""
        self._direct_to_queue = False
        self._patch(approval="required")

    def update_priority(self, position: int | str) -> None:
        """Keep a place in the queue, which the service gives by itself."""
        self.queue_add_position = position

    def _patch(self, **loop: Any) -> None:
        service = current()
        if service is not None and service.local is not None:
            local, change = cast("LocalService", service.local), AgentPatch.model_validate({"loop": loop})
            with contextlib.suppress(NotFound):  # it is not hosted yet, and will be so
                local.call(lambda service: service.supervisor.patch(self.instance_name, change)).result()


class AgentVariables:
    """The variables that an agent registers."""

    def server_registrations(self) -> None:
        """Register what programs may read, set and call; a subclass may register more."""
        for method in ("generate_report", "add_suggestions_to_queue", "ingest_uids"):
            self._register_method(method)
        self._register_property("queue_add_position", pv_type="str")
        self._register_property("suggest_on_ingest", pv_type="bool")
        self._register_property("report_on_ingest", pv_type="bool")

    def _register_property(self, name: str, property_name: str | None = None, **kwargs: Any) -> None:
        """Register an attribute of the agent as a variable."""
        attribute = property_name or name

        def assign(value: Any) -> None:
            setattr(self, attribute, value)

        given = {**kwargs, "getter": lambda: getattr(self, attribute), "setter": assign}
        _server().register_variable(name, **given)

    def _register_method(self, name: str, method_name: str | None = None, **kwargs: Any) -> None:
        """Register a variable that calls a method when it is set to ``[args, kwargs]``, in a task of its own."""
        method = getattr(self, method_name or name)
        if not callable(method):
            raise TypeError(f"{method_name or name} of {type(self).__name__} is no method")

        def call(value: Any) -> Any:
            args, named = value
            return _server().start_task(method, *args, **named)

        _server().register_variable(name, setter=call)


class Agent(AgentSwitches, AgentVariables):
    """An agent of bluesky-adaptive 0.x; see `launch.legacy.agents`, and that library's documentation for its methods.

    A subclass has ``measurement_plan``, ``unpack_run``, ``ingest``, and ``suggest`` unless it only listens; ``report``
    and ``trigger_condition`` if it wants to; ``ask`` and ``tell`` are other names of ``suggest`` and ``ingest``. With
    ``actuators``, names of devices, the guardrails know where it wants to go.
    """

    name: Any = "agent"
    actuators: ClassVar[Sequence[str]] = ()
    measurement_plan: Callable[[Any], PlanCall]
    unpack_run: Callable[[Any], tuple[Any, Any]]
    ingest: Callable[..., Any]

    def __init__(  # noqa: PLR0913 - as the scripts call it
        self,
        *,
        kafka_consumer: Any = None,
        tiled_data_node: Any = None,
        tiled_agent_node: Any = None,
        qserver: Any = None,
        kafka_producer: Any = None,
        agent_run_suffix: str | None = None,
        metadata: dict[str, Any] | None = None,
        suggest_on_ingest: bool = True,
        direct_to_queue: bool = True,
        report_on_ingest: bool = False,
        default_report_kwargs: dict[str, Any] | None = None,
        queue_add_position: int | str | None = None,
        endstation_key: str = "",
    ) -> None:
        self.kafka_consumer, self.kafka_producer, self.re_manager = kafka_consumer, kafka_producer, qserver
        self.exp_catalog, self.agent_catalog = tiled_data_node, tiled_agent_node
        self.instance_name = _instance_name(self.name, agent_run_suffix)
        self.metadata = {**(metadata or {}), "agent_name": self.instance_name}
        self.default_plan_md = {"agent_name": self.instance_name, "agent_class": str(type(self))}
        self.default_report_kwargs = default_report_kwargs or {}
        self.endstation_key = endstation_key
        self.queue_add_position = queue_add_position or "back"
        self.known_uid_cache: list[str] = []
        self.exchange = Exchange(after_ingest=lambda: int(self.suggest_on_ingest), read_again=self._read_again)
        self.suggest_on_ingest = suggest_on_ingest
        self._report_on_ingest = report_on_ingest
        self._direct_to_queue = direct_to_queue
        self._uids: list[tuple[Mapping[str, Any], str]] = []
        self.server_registrations()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for former, method in (("tell", "ingest"), ("ask", "suggest")):
            if former in vars(cls) and method not in vars(cls):
                setattr(cls, method, vars(cls)[former])

    @classmethod
    def from_config_kwargs(cls, **kwargs: Any) -> Any:
        """Construct it from what describes Kafka, Tiled and the queue server, which the service's own stand for."""
        infrastructure = ("kafka_", "publisher_topic", "subscripion_topics", "data_profile_name", "agent_profile_name")
        unused = (*infrastructure, "qserver_")
        return cls(**{key: value for key, value in kwargs.items() if not key.startswith(unused)})

    # what it is and does in the experiment ------------------------------------------------------------------------

    @staticmethod
    def trigger_condition(uid: str) -> bool:
        """Return whether the agent is to ingest a run."""
        return True

    def ingest_many(self, independents: Iterable[Any], dependents: Iterable[Any]) -> list[Any]:
        """Tell it several outcomes."""
        return [self.ingest(x, y) for x, y in zip(independents, dependents, strict=False)]

    # its life ------------------------------------------------------------------------------------------------------

    def start(self, suggest_at_start: bool = False) -> None:  # noqa: FBT001, FBT002 - as the scripts call it
        """Host it as an agent of the service, which tells it of every run from now on, and start it.

        After a restart of the service, or when it was stopped, it goes on with what it was told.
        """
        service = _service()
        self._remember_runs(service.client)
        if suggest_at_start:
            self.exchange.wanted = 1
        loop = {"approval": "auto" if self._direct_to_queue else "required"}
        service.host(
            self.instance_name,
            self._brain,
            start=True,
            executor="thread",
            listen="all",
            actuators=list(self.actuators),
            evaluate=self._evaluate(),
            plan=MeasurementPlan(self.exchange),
            loop={**loop, **({"report_every": 1} if self._report_on_ingest else {})},
        )
        if service.client.agent(self.instance_name).state not in (*ALIVE, AgentState.STARTING):
            service.client.start(self.instance_name)

    def stop(self, exit_status: str = "success", reason: str = "") -> None:
        """Stop it; the run under way ends first."""
        logger.info("agent %s stops: %s %s", self.instance_name, exit_status, reason)
        try:
            _service().client.stop(self.instance_name)
        except BackendUnavailable:  # the service ends, and its agents with it
            logger.info("agent %s ends with the service, and goes on with it", self.instance_name)

    def close_and_restart(self, *, clear_uid_cache: bool = False, reingest_all: bool = False, reason: str = "") -> None:
        """Stop it and start it again; with ``reingest_all`` it is told everything anew."""
        self.stop(reason=reason)
        if clear_uid_cache or reingest_all:
            self.known_uid_cache = []
        if reingest_all:
            self.exchange.told = 0
        self.start()

    # what people ask of it -----------------------------------------------------------------------------------------

    def add_suggestions_to_queue(self, batch_size: int) -> None:
        """Ask it for points and let each be measured; one that is being called is asked when that call has returned.

        Where its points need approval they wait for it, unless who asks, by a variable for example, may give it.
        """
        self._propose(batch_size, to_queue=True)

    def generate_suggestions_for_adjudicator(self, batch_size: int) -> None:
        """Ask it for points and let each wait for a person's approval."""
        self._propose(batch_size, to_queue=False)

    def generate_report(self, **kwargs: Any) -> None:
        """Ask it for a report, which the catalogue keeps."""
        before, self.default_report_kwargs = self.default_report_kwargs, {**self.default_report_kwargs, **kwargs}
        try:
            _service().call(lambda service: _report(service, self.instance_name)).result()
        finally:
            self.default_report_kwargs = before

    def ingest_uids(self, uids: Iterable[str]) -> None:
        """Tell it runs of the service's catalogue, by their uids."""
        runs = list(uids)
        _service().call(lambda service: service.supervisor.decisions.ingest_runs(self.instance_name, runs)).result()

    # within the service --------------------------------------------------------------------------------------------

    def _brain(self) -> Any:
        return self

    def _evaluate(self) -> Callable[..., dict[str, float]]:
        def unpack(run: Run, suggestions: Sequence[Mapping[str, Any]]) -> dict[str, float]:
            if not self.trigger_condition(run.uid):
                raise ValueError("its trigger_condition says no")
            x, y = self._unpacked(run)
            outcome = outcome_of(x, y)
            kept = self.exchange.unpacked
            kept[str(suggestions[0][ID_KEY])] = (outcome, x, y)
            while len(kept) > _MOST_UNPACKED:
                del kept[next(iter(kept))]
            return outcome

        return unpack

    def _unpacked(self, run: Run) -> tuple[Any, Any]:
        node = self.exp_catalog
        try:
            view = RunView(run) if node is None or isinstance(node, AgentConsumer) else node[run.uid]
        except KeyError:  # not there yet, or not there at all
            view = RunView(run)
        x, y = self.unpack_run(view)
        self.known_uid_cache.append(run.uid)
        return x, y

    def _read_again(self, point: Mapping[str, Any]) -> tuple[Any, Any] | None:
        """Return what a run of an earlier life of the service measured, where numbers alone do not say it."""
        if is_whole(point):
            return None
        uid = next((uid for told_point, uid in self._uids if told_point == point), None)
        if uid is None or self.exp_catalog is None:
            logger.warning("agent %s is told a mean, for its run cannot be read again: give tiled_data_node", self.name)
            return None
        return self.unpack_run(self.exp_catalog[uid])

    def _remember_runs(self, client: Client) -> None:
        try:
            history: list[Event] = list(client.history(self.instance_name))
        except NotFound:
            return
        facts: list[dict[str, Any]] = [event.data for event in history if event.kind is EventKind.INGEST]
        self._uids = [
            (point, uid) for data in facts for point, uid in zip(data["points"], data.get("run_uids", ()), strict=False)
        ]

    def _propose(self, number: int, *, to_queue: bool) -> None:
        n_points = SuggestRequest(n_points=number).n_points
        during = self.exchange.asked_for(n_points)
        asked = _service().call(
            lambda service: service.supervisor.decisions.ask_for_points(
                self.instance_name, n_points, to_queue=to_queue, during=during
            )
        )
        if self.exchange.busy:  # perhaps in a call of its own, which has to return before it is asked
            asked.add_done_callback(partial(_tell, self.instance_name))
        else:
            asked.result()


class MeasurementPlan:
    """The plan of a suggestion of such an agent: its own ``measurement_plan`` says which plan, by name, and of what."""

    __name__ = "measurement_plan"

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Raise `UnknownPlan`: only a sink that finds plans by name can run it."""
        raise UnknownPlan("measurement_plan names a plan; the sinks run_engine and queueserver find it by that name")

    def named(self, suggestion_id: str, point: Point) -> PlanCall:
        """Return name, arguments and keyword arguments of the plan of a suggestion's point.

        Raises `UnknownPlan` when ``measurement_plan`` gave none for this very point: another one is never run for it.
        """
        plan = self._exchange.plan_of(suggestion_id, point)
        if plan is None:
            where = ", ".join(f"{name} {text_of(value)}" for name, value in point.items())
            raise UnknownPlan(
                f"measurement_plan of its agent gave no plan for {where}, so nothing moved; propose the point anew"
            )
        name, args, kwargs = plan
        return name, list(args), dict(kwargs)


async def _report(service: Service, name: str) -> None:
    agent = service.supervisor.agent(name)
    require(Command.REPORT, agent.record.state, name=name)
    await agent.report()


def _tell(name: str, asked: Future[Any]) -> None:
    if not asked.cancelled() and (error := asked.exception()) is not None:
        logger.error("agent %s was not asked for points: %s", name, error)


def _instance_name(name: object, suffix: str | None) -> str:
    """Return the name of an agent: the same each time the script is run, so that it goes on with what it knew."""
    chosen = _NO_LETTERS.sub("-", f"{name}-{suffix}" if suffix else str(name)).strip("-.")[:60] or "agent"
    _names[chosen] = _names.get(chosen, 0) + 1
    return chosen if _names[chosen] == 1 else f"{chosen}-{_names[chosen]}"


def _server() -> Any:
    return importlib.import_module("bluesky_adaptive.server")


def _service() -> LocalService:
    service = current()
    if service is None or service.local is None:
        raise UsageError(
            "an agent of bluesky-adaptive 0.x runs in the service of its script: agent-service serve --legacy"
        )
    return cast("LocalService", service.local)
