"""The calls of an agent's brain as methods, written once for both clients."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from agent_service.client._calls import API, Call, agent_path, listed, long, one, route, segment
from agent_service.models import (
    AgentDevices,
    BestList,
    BestPoint,
    IngestAnswer,
    Job,
    Method,
    MethodAnswer,
    Prediction,
    Report,
    SuggestAnswer,
    Suggestion,
    Variable,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

T = TypeVar("T")

FRESH_WITHIN_S: Final = 30.0
"""How long a fresh answer may take by default, in seconds."""


def _perhaps_fresh(call: Call[T], fresh: bool, timeout_s: float) -> Call[T]:  # noqa: FBT001 - handed on
    if not fresh:
        return call
    params = {**call.params, "fresh": "true", "timeout_s": f"{timeout_s:g}"}
    return replace(call, params=params, answers_within_s=timeout_s + 5)


class BrainRoutes:
    """Calls of a brain by hand, and their jobs."""

    # --- what a brain does, by hand

    @route
    def suggest(self, name: str, n_points: int = 1, *, wait_s: float | None = None) -> Call[list[Suggestion]]:
        """Ask an agent for points. They stay ``proposed``, and nothing moves, until somebody approves them."""

        def read(answer: Any) -> list[Suggestion]:
            return SuggestAnswer.model_validate(answer).suggestions

        return long(Call("POST", agent_path(name, "suggest"), read, body={"n_points": n_points}), wait_s)

    @route
    def ingest(
        self,
        name: str,
        points: Sequence[Mapping[str, Any]] | None = None,
        *,
        run_uids: Sequence[str] | None = None,
        retold: Sequence[Mapping[str, Any]] | None = None,
        wait_s: float | None = None,
    ) -> Call[int]:
        """Tell an agent outcomes, and return how many points it ingested.

        Parameters
        ----------
        name
            The agent.
        points
            Each holds every actuator and every outcome by name, as floats (numpy's too; an outcome with its standard
            error as ``{"value": 3.2, "sem": 0.1}``), and under ``_id`` the id of its suggestion, if it has one.
        run_uids
            Uids of runs in the catalogue, instead of ``points``.
        retold
            One for each of ``points``, if an earlier agent of that name ingested them, so that they count once:
            ``{"run_uid": uid or None, "counts": whether that run counts towards max_runs}``.
        wait_s
            As for every call that may take long, see `Client`.
        """

        def read(answer: Any) -> int:
            return IngestAnswer.model_validate(answer).ingested

        given = {"points": points, "run_uids": run_uids, "retold": retold or None}
        body = {key: value for key, value in given.items() if value is not None}
        return long(Call("POST", agent_path(name, "ingest"), read, body=body), wait_s)

    @route
    def report(self, name: str, *, wait_s: float | None = None) -> Call[Report]:
        """Ask an agent for a report now."""
        return long(one("POST", agent_path(name, "report"), Report), wait_s)

    @route
    def predict(
        self, name: str, points: Sequence[Mapping[str, Any]], *, wait_s: float | None = None
    ) -> Call[Prediction]:
        """Ask an agent what it predicts at points, measured or not.

        Parameters
        ----------
        name
            The agent.
        points
            At most 2500, each a mapping of all actuators to positions in their units.
        wait_s
            As for every call that may take long, see `Client`.

        Returns
        -------
        Prediction
            ``mean`` and ``std`` by outcome: a number for each point, in the outcome's units. Both are empty while the
            brain knows too little. ``acquisition`` is a number for each point, None if the brain has none.
        """
        return long(one("POST", agent_path(name, "predict"), Prediction, body={"points": list(points)}), wait_s)

    @route
    def devices(self, name: str) -> Call[AgentDevices]:
        """Return where an agent's devices are: ``positions`` by actuator, in ``units``."""
        return one("GET", agent_path(name, "devices"), AgentDevices)

    @route
    def best(
        self,
        name: str,
        *,
        by: Literal["measured", "model"] | None = None,
        fresh: bool = False,
        timeout_s: float = FRESH_WITHIN_S,
    ) -> Call[list[BestPoint]]:
        """Return the best points: one for a single objective, the Pareto front for several.

        ``by="measured"``: the best that was measured within ``outcome_constraints``, as the service finds it;
        ``"model"``: the best of the brain's model; None: the brain's if it has one, else the measured. ``fresh`` as
        `variables`.
        """

        def read(answer: Any) -> list[BestPoint]:
            best = BestList.model_validate(answer)
            return best.items if by is None else best.measured if by == "measured" else best.by_model

        return _perhaps_fresh(Call("GET", agent_path(name, "best"), read), fresh, timeout_s)

    # --- variables and methods

    @route
    def variables(self, name: str, *, fresh: bool = False, timeout_s: float = FRESH_WITHIN_S) -> Call[list[Variable]]:
        """Return the variables of an agent's brain, as of its last finished call.

        Parameters
        ----------
        name
            The agent.
        fresh
            Ask the brain again, after the calls that wait.
        timeout_s
            How long that may take, in seconds; the brain goes on after it.

        Raises
        ------
        DeadlineExceeded
            When a ``fresh`` answer did not come in time.
        """
        return _perhaps_fresh(listed(agent_path(name, "variables"), Variable), fresh, timeout_s)

    @route
    def variable(
        self, name: str, variable: str, *, fresh: bool = False, timeout_s: float = FRESH_WITHIN_S
    ) -> Call[Variable]:
        """Return one variable of an agent; ``fresh`` as `variables`."""
        asked = one("GET", agent_path(name, "variables", segment(variable)), Variable)
        return _perhaps_fresh(asked, fresh, timeout_s)

    @route
    def set_variable(self, name: str, variable: str, value: Any, *, wait_s: float | None = None) -> Call[Variable]:
        """Set a variable of an agent, and return the new one. While the agent is busy, the call waits."""
        path = agent_path(name, "variables", segment(variable))
        return long(one("PUT", path, Variable, {"value": value}), wait_s)

    @route
    def methods(self, name: str) -> Call[list[Method]]:
        """Return the methods of an agent's brain that people may call."""
        return listed(agent_path(name, "methods"), Method)

    @route
    def call(
        self,
        name: str,
        method: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        wait_s: float | None = None,
    ) -> Call[Any]:
        """Call a method of an agent's brain, and return its result in JSON's types.

        Parameters
        ----------
        name, method
            The agent, and the method.
        args, kwargs
            Its arguments.
        wait_s
            As for every call that may take long, see `Client`.

        Raises
        ------
        NotFound
            When the brain has no such method.
        InvalidInput
            When the arguments do not fit.
        AgentFault
            When the method raised; the agent goes on.
        """

        def read(answer: Any) -> Any:
            return MethodAnswer.model_validate(answer).result

        body = {"args": args, "kwargs": kwargs or {}}
        return long(Call("POST", agent_path(name, "methods", segment(method)), read, body=body), wait_s)

    # --- jobs

    @route
    def jobs(self, agent: str | None = None, *, limit: int | None = None) -> Call[list[Job]]:
        """Return the jobs that go on, and those that ended within the hour; of one agent, if given."""
        return listed(f"{API}/jobs", Job, limit=limit, agent=agent)

    @route
    def job(self, job_id: str) -> Call[Job]:
        """Return one job."""
        return one("GET", f"{API}/jobs/{segment(job_id)}", Job)

    @route
    def cancel(self, job_id: str) -> Call[Job]:
        """Cancel a job, and return it.

        A job that waits is withdrawn without harm. A call under way is abandoned, and its agent fails. A start is
        undone. A stop cannot be cancelled.

        Raises
        ------
        Conflict
            When the job has ended already, or cannot be cancelled.
        """
        return one("DELETE", f"{API}/jobs/{segment(job_id)}", Job)
