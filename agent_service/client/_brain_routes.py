"""What one can ask of an agent's brain, as methods, written once for both clients."""

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
    """Calls of a brain, by hand, and the jobs that they may become."""

    # --- what a brain does, by hand

    @route
    def suggest(self, name: str, n_points: int = 1, *, wait_s: float | None = None) -> Call[list[Suggestion]]:
        """Ask an agent for points; they stay ``proposed``, and nothing moves, until somebody approves them."""

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
        """Tell an agent outcomes, and return how many points it took in.

        Parameters
        ----------
        name
            The agent.
        points
            Each holds every actuator and every outcome by name (floats, numpy's too; an outcome with its standard error
            as ``{"value": 3.2, "sem": 0.1}``), and under ``_id`` the id of its suggestion if it has one.
        run_uids
            Uids of runs in the catalogue, instead of ``points``.
        retold
            One for each of ``points``, when an earlier agent of that name was told them, so that they count once:
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
        """Ask an agent what it believes of points that nobody need have measured.

        Parameters
        ----------
        name
            The agent's.
        points
            At most 2500, each a mapping of all actuators to positions in their units.
        wait_s
            As for every call that may take long, see `Client`.

        Returns
        -------
        Prediction
            ``mean`` and ``std`` by outcome, a number for each point in the outcome's units; both empty while the brain
            knows too little. ``acquisition`` is a number for each point, or None where the brain says none.
        """
        return long(one("POST", agent_path(name, "predict"), Prediction, body={"points": list(points)}), wait_s)

    @route
    def devices(self, name: str) -> Call[AgentDevices]:
        """Ask an agent's devices where they are: ``positions`` by actuator, in ``units``."""
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

        ``by`` says whose: the best ``measured``, which the service found within ``outcome_constraints``, or what the
        ``model`` of the brain says; None is the brain's where it says any, else the measured. ``fresh`` as `variables`.
        """

        def read(answer: Any) -> list[BestPoint]:
            best = BestList.model_validate(answer)
            return best.items if by is None else best.measured if by == "measured" else best.by_model

        return _perhaps_fresh(Call("GET", agent_path(name, "best"), read), fresh, timeout_s)

    # --- variables and methods

    @route
    def variables(self, name: str, *, fresh: bool = False, timeout_s: float = FRESH_WITHIN_S) -> Call[list[Variable]]:
        """Return what an agent's brain shows of itself, as of its last finished call.

        Parameters
        ----------
        name
            The agent.
        fresh
            Ask the brain now, when its turn comes.
        timeout_s
            How long that may take, in seconds; the brain goes on all the same.

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
        """Set a variable of an agent, and return it as it is then; waits its turn while the agent is busy."""
        path = agent_path(name, "variables", segment(variable))
        return long(one("PUT", path, Variable, {"value": value}), wait_s)

    @route
    def methods(self, name: str) -> Call[list[Method]]:
        """Return the methods that an agent's brain lets people call."""
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
        """Call a method of an agent's brain, and return what it returned, as JSON has it.

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
            When it raised; the agent goes on.
        """

        def read(answer: Any) -> Any:
            return MethodAnswer.model_validate(answer).result

        body = {"args": args, "kwargs": kwargs or {}}
        return long(Call("POST", agent_path(name, "methods", segment(method)), read, body=body), wait_s)

    # --- jobs

    @route
    def jobs(self, agent: str | None = None, *, limit: int | None = None) -> Call[list[Job]]:
        """Return the calls that go on behind an answer, and those that ended within the hour; of one agent if given."""
        return listed(f"{API}/jobs", Job, limit=limit, agent=agent)

    @route
    def job(self, job_id: str) -> Call[Job]:
        """Return one job."""
        return one("GET", f"{API}/jobs/{segment(job_id)}", Job)

    @route
    def cancel(self, job_id: str) -> Call[Job]:
        """Cancel a job, and return it as it is then.

        One that waits for its turn is withdrawn without harm. A call under way is abandoned, and its agent fails with
        it; a start is undone; a stop cannot be cancelled.

        Raises
        ------
        Conflict
            When it has ended already, or cannot be cancelled.
        """
        return one("DELETE", f"{API}/jobs/{segment(job_id)}", Job)
