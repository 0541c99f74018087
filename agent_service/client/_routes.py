"""The routes of the service as methods, written once for both clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from agent_service.client._brain_routes import BrainRoutes, agent_path
from agent_service.client._calls import API, Call, listed, long, one, route, segment
from agent_service.models import (
    AgentSpec,
    AgentStatus,
    AgentTypeInfo,
    BestPoint,
    Claim,
    ConditionStatus,
    DocumentsAnswer,
    Event,
    PanelKeyAnswer,
    QueueStatus,
    Readiness,
    Report,
    ServiceStatus,
    Suggestion,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent_service.models.state_machines import AgentState, SuggestionState


def _suggestion(suggestion_id: str, *rest: str) -> str:
    return "/".join((f"{API}/suggestions", segment(suggestion_id), *rest))


def _nothing(_: object) -> None:
    return None


def _fields(spec: AgentSpec | Mapping[str, Any] | None, fields: Mapping[str, Any]) -> dict[str, Any]:
    given = spec.model_dump(mode="json", exclude_unset=True) if isinstance(spec, AgentSpec) else spec
    return {**(given or {}), **fields}


class Routes(BrainRoutes):
    """What one can ask of a service. Each method raises the class of error that the service answers."""

    # --- the service

    @route
    def health(self) -> Call[str]:
        """Return ``ok`` when the service answers at all; needs no key."""
        return Call("GET", "/healthz", lambda answer: str(answer["status"]))

    @route
    def ready(self) -> Call[Readiness]:
        """Return whether the service takes work, part by part; needs no key."""
        return Call("GET", "/readyz", Readiness.model_validate, good=frozenset({503}))

    @route
    def service(self) -> Call[ServiceStatus]:
        """Return the service's version, uptime, counts, queue and archive."""
        return one("GET", f"{API}/service", ServiceStatus)

    @route
    def panel_key(self, origin: str, *, renews: str | None = None) -> Call[PanelKeyAnswer]:
        """Return a short-lived key for notebook pages of ``origin``, or ``renews`` with its time begun anew.

        Raises
        ------
        InvalidInput
            When ``origin`` is not that of a web page.
        """
        return one("POST", f"{API}/panel-keys", PanelKeyAnswer, {"origin": origin, "renews": renews})

    @route
    def agent_types(self) -> Call[list[AgentTypeInfo]]:
        """Return the installed types, each with the JSON Schema of its config."""
        return listed(f"{API}/agent-types", AgentTypeInfo)

    # --- agents

    @route
    def agents(self, *, state: AgentState | str | None = None, limit: int | None = None) -> Call[list[AgentStatus]]:
        """Return the agents, of one state if given; ``limit`` None means all."""
        return listed(f"{API}/agents", AgentStatus, state=state, limit=limit)

    @route
    def create(self, spec: AgentSpec | Mapping[str, Any] | None = None, /, **fields: Any) -> Call[AgentStatus]:
        """Host a new agent, and return its status (``created``).

        Parameters
        ----------
        spec
            The agent's specification.
        **fields
            Fields of `AgentSpec`, instead of ``spec`` or in addition to it.

        Raises
        ------
        AlreadyExists
            When there is an agent of that name.
        InvalidInput
            When something in it is wrong; ``errors`` says which field and why.
        AgentFault
            When the agent's constructor raised; it exists all the same, ``failed``, if the type could be loaded.
        """
        return one("POST", f"{API}/agents", AgentStatus, _fields(spec, fields))

    @route
    def check(self, spec: AgentSpec | Mapping[str, Any] | None = None, /, **fields: Any) -> Call[None]:
        """Return when `create` would make such an agent, whether or not its name is taken; nothing is made.

        Raises
        ------
        InvalidInput
            As `create`.
        """
        return Call("POST", f"{API}/agents", _nothing, params={"dry_run": "true"}, body=_fields(spec, fields))

    @route
    def agent(self, name: str) -> Call[AgentStatus]:
        """Return what an agent is doing, as of its last finished call."""
        return one("GET", agent_path(name), AgentStatus)

    @route
    def update(
        self,
        name: str,
        *,
        config: Mapping[str, Any] | None = None,
        loop: Mapping[str, Any] | None = None,
        guardrails: Mapping[str, Any] | None = None,
        wait_s: float | None = None,
    ) -> Call[AgentStatus]:
        """Change an agent: a new ``config`` rebuilds its brain by replay; ``loop`` and ``guardrails`` count at once."""
        changes = {"config": config, "loop": loop, "guardrails": guardrails}
        body = {key: value for key, value in changes.items() if value is not None}
        return long(one("PATCH", agent_path(name), AgentStatus, body), wait_s)

    @route
    def delete(self, name: str) -> Call[None]:
        """Remove an agent that is at rest; its runs and its facts stay in catalogue and journal."""
        return Call("DELETE", agent_path(name), _nothing)

    @route
    def start(self, name: str, *, paused: bool = False, wait_s: float | None = None) -> Call[AgentStatus]:
        """Start an agent's loop, and return its status when it runs; ``paused``: it suggests nothing until `resume`."""
        params = {"paused": "true" if paused else None}
        return long(Call("POST", agent_path(name, "start"), AgentStatus.model_validate, params=params), wait_s)

    @route
    def pause(self, name: str) -> Call[AgentStatus]:
        """Pause an agent: the run under way ends, nothing more is submitted."""
        return one("POST", agent_path(name, "pause"), AgentStatus)

    @route
    def resume(self, name: str) -> Call[AgentStatus]:
        """Resume a paused agent."""
        return one("POST", agent_path(name, "resume"), AgentStatus)

    @route
    def stop(self, name: str, *, wait_s: float | None = None) -> Call[AgentStatus]:
        """Stop an agent, and return its status when it has stopped; a run under way ends first."""
        return long(one("POST", agent_path(name, "stop"), AgentStatus), wait_s)

    @route
    def restart(self, name: str, *, wait_s: float | None = None) -> Call[AgentStatus]:
        """Build an agent's brain anew from what the journal knows of it, and start it."""
        return long(one("POST", agent_path(name, "restart"), AgentStatus), wait_s)

    # --- what is known of it

    @route
    def go_to_best(
        self,
        name: str,
        *,
        by: Literal["measured", "model"] = "measured",
        point: Mapping[str, float] | None = None,
        despite_conditions: bool = False,
    ) -> Call[BestPoint]:
        """Move the actuators to the best point, without a run, and return it when they are there.

        Parameters
        ----------
        name
            The agent.
        by
            ``measured``: the best that was measured; ``model``: what the agent's brain says is the best.
        point
            The best point as it was seen: if it is another one by now, nothing moves and `Conflict` is raised.
        despite_conditions
            Whether to move while a condition of the service, as the beam, is not met; else that is a `Conflict`.
        """
        body = {"by": by, "point": point} | ({"despite_conditions": True} if despite_conditions else {})
        return one("POST", agent_path(name, "go-to-best"), BestPoint, body)

    @route
    def history(self, name: str, *, limit: int | None = None, newest_first: bool = False) -> Call[list[Event]]:
        """Return what happened to an agent; ``limit`` None means all of it."""
        return listed(agent_path(name, "history"), Event, limit=limit, newest_first="true" if newest_first else None)

    @route
    def reports(self, name: str, *, limit: int | None = None) -> Call[list[Report]]:
        """Return an agent's reports."""
        return listed(agent_path(name, "reports"), Report, limit=limit)

    # --- suggestions

    @route
    def suggestions(
        self, name: str | None = None, *, state: SuggestionState | str | None = None, limit: int | None = None
    ) -> Call[list[Suggestion]]:
        """Return suggestions: an agent's, or everybody's when ``name`` is None; of one state if given."""
        path = f"{API}/suggestions" if name is None else agent_path(name, "suggestions")
        return listed(path, Suggestion, state=state, limit=limit)

    @route
    def suggestion(self, suggestion_id: str) -> Call[Suggestion]:
        """Return one suggestion."""
        return one("GET", _suggestion(suggestion_id), Suggestion)

    @route
    def approve(self, suggestion_id: str, point: Mapping[str, float] | None = None) -> Call[Suggestion]:
        """Approve a suggestion, with an edited ``point`` if one is given: it is measured when its turn comes.

        Raises
        ------
        OutOfBounds
            When a guardrail forbids the edited point.
        """
        return one("POST", _suggestion(suggestion_id, "approve"), Suggestion, {} if point is None else {"point": point})

    @route
    def reject(self, suggestion_id: str, reason: str = "") -> Call[Suggestion]:
        """Reject a suggestion: it is not measured."""
        return one("POST", _suggestion(suggestion_id, "reject"), Suggestion, {"reason": reason})

    # --- claims, for a plan in a RunEngine of one's own

    @route
    def claim(
        self, agent: str | None = None, *, lease_s: float = 60.0, wait_s: float = 0.0, says_done: bool = False
    ) -> Call[Claim | None]:
        """Claim the approved suggestion that has waited longest; None when there is none to claim now.

        Parameters
        ----------
        agent
            Only this agent's suggestions.
        lease_s
            How long the claim holds without `renew` or a document of its run, in seconds.
        wait_s
            How long to wait for one, in seconds, at most 30.
        says_done
            Whether you `release` it with ``how="done"`` when its plan has ended: needed where the plan makes several
            runs. Else the end of its run is the end.

        Raises
        ------
        Conflict
            When this service runs its plans itself.
        """

        def read(answer: Any) -> Claim | None:
            return None if answer is None else Claim.model_validate(answer)

        body = {"agent": agent, "lease_s": lease_s, "wait_s": wait_s, "says_done": says_done}
        return Call("POST", f"{API}/suggestions/claim", read, body=body)

    @route
    def renew(self, suggestion_id: str, *, lease_s: float | None = None) -> Call[Claim]:
        """Begin the lease of a claim anew, as long as before or ``lease_s`` seconds.

        Raises
        ------
        Conflict
            When the claim does not hold any more.
        """
        return one("POST", _suggestion(suggestion_id, "renew"), Claim, {"lease_s": lease_s})

    @route
    def release(
        self, suggestion_id: str, reason: str = "", *, how: str = "fail", runs: int | None = None
    ) -> Call[Suggestion]:
        """End a claim, and return the suggestion.

        Parameters
        ----------
        suggestion_id
            The suggestion.
        reason
            Why, in one line.
        how
            ``fail``; ``abort`` when a person ended it, which does not count towards ``max_failures``; ``unused`` when
            nothing moved and it may be claimed again; ``done`` when its plan has ended, and its documents say the rest.
        runs
            With ``done``: how many runs the plan made; their documents are waited for. By default those that began.
        """
        return one(
            "POST", _suggestion(suggestion_id, "release"), Suggestion, {"reason": reason, "how": how, "runs": runs}
        )

    # --- the plan queue, and documents

    @route
    def queue(self) -> Call[QueueStatus]:
        """Return what the plan queue runs, and what waits."""
        return one("GET", f"{API}/queue", QueueStatus)

    @route
    def pause_queue(self) -> Call[QueueStatus]:
        """Pause: the plan under way stops at its next checkpoint, and no other begins."""
        return one("POST", f"{API}/queue/pause", QueueStatus)

    @route
    def resume_queue(self) -> Call[QueueStatus]:
        """Resume from a pause, or from ``held`` after an abort."""
        return one("POST", f"{API}/queue/resume", QueueStatus)

    @route
    def destroy_environment(self) -> Call[QueueStatus]:
        """Destroy the environment of a queue server whose worker died: what ran there has failed, whoever's it was."""
        return one("POST", f"{API}/queue/destroy-environment", QueueStatus)

    @route
    def abort_queue(self, reason: str = "") -> Call[QueueStatus]:
        """Abort the plan under way and hold the queue: nothing moves until somebody resumes it."""
        return one("POST", f"{API}/queue/abort", QueueStatus, {"reason": reason})

    @route
    def conditions(self) -> Call[list[ConditionStatus]]:
        """Return the conditions without which nothing is measured, as the beam, and whether they are met."""
        return listed(f"{API}/conditions", ConditionStatus)

    @route
    def switch_condition(self, name: str, *, on: bool, reason: str = "") -> Call[ConditionStatus]:
        """Let a condition count no more (``on=False``), until somebody switches it on; return it.

        Raises
        ------
        NotFound
            When there is no such condition.
        """
        path = f"{API}/conditions/{segment(name)}/{'on' if on else 'off'}"
        return one("POST", path, ConditionStatus, {"reason": reason})

    @route
    def post_documents(self, documents: Sequence[tuple[str, Mapping[str, Any]]]) -> Call[int]:
        """Feed Bluesky documents, ``(name, document)`` pairs in order; return how many were accepted."""

        def read(answer: Any) -> int:
            return DocumentsAnswer.model_validate(answer).accepted

        return Call("POST", f"{API}/documents", read, body={"documents": documents})
