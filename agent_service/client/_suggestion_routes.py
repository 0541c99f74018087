"""Suggestions, approvals and claims as methods, written once for both clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent_service.client._calls import API, Call, agent_path, listed, one, route, segment
from agent_service.models import Claim, SuggestAnswer, Suggestion

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from agent_service.models import Value
    from agent_service.models.state_machines import SuggestionState


def _suggestion(suggestion_id: str, *rest: str) -> str:
    return "/".join((f"{API}/suggestions", segment(suggestion_id), *rest))


class SuggestionRoutes:
    """Suggestions, people's decisions on them, and claims for a plan in your own RunEngine."""

    @route
    def suggestions(
        self, name: str | None = None, *, state: SuggestionState | str | None = None, limit: int | None = None
    ) -> Call[list[Suggestion]]:
        """Return an agent's suggestions, or those of all agents if ``name`` is None; of one state, if given."""
        path = f"{API}/suggestions" if name is None else agent_path(name, "suggestions")
        return listed(path, Suggestion, state=state, limit=limit)

    @route
    def suggestion(self, suggestion_id: str) -> Call[Suggestion]:
        """Return one suggestion."""
        return one("GET", _suggestion(suggestion_id), Suggestion)

    @route
    def propose(self, name: str, point: Mapping[str, Value], reason: str) -> Call[Suggestion]:
        """Propose a point to an agent, with a reason. It waits for a person, whatever the agent's ``approval`` says.

        Raises
        ------
        InvalidPoint
            When the point does not fit the agent's space.
        OutOfBounds
            When a guardrail forbids it.
        """
        return one("POST", agent_path(name, "suggestions"), Suggestion, {"point": point, "reason": reason})

    @route
    def approve(self, suggestion_id: str, point: Mapping[str, Value] | None = None) -> Call[Suggestion]:
        """Approve a suggestion, with an edited ``point`` if given: it is measured when its turn comes.

        Raises
        ------
        OutOfBounds
            When a guardrail forbids the edited point.
        """
        return one("POST", _suggestion(suggestion_id, "approve"), Suggestion, {} if point is None else {"point": point})

    @route
    def approve_all(self, suggestions: Iterable[Suggestion]) -> Call[list[Suggestion]]:
        """Approve several suggestions of one agent, each with the point it has here: all of them, or none.

        Raises
        ------
        Conflict
            When one has another point by now, or is decided already.
        OutOfBounds
            When a guardrail forbids one.
        """

        def read(answer: Any) -> list[Suggestion]:
            return SuggestAnswer.model_validate(answer).suggestions

        seen = {suggestion.id: suggestion.point for suggestion in suggestions}
        return Call("POST", f"{API}/suggestions/approve", read, body={"seen": seen})

    @route
    def reject(self, suggestion_id: str, reason: str = "") -> Call[Suggestion]:
        """Reject a suggestion: it is not measured."""
        return one("POST", _suggestion(suggestion_id, "reject"), Suggestion, {"reason": reason})

    # --- claims, for a plan in a RunEngine of one's own

    @route
    def claim(  # noqa: PLR0913 - what a claim says, by name
        self,
        agent: str | None = None,
        *,
        actuators: Sequence[str] | None = None,
        tag: str | None = None,
        lease_s: float = 60.0,
        wait_s: float = 0.0,
        says_done: bool = False,
        done: tuple[str, int] | None = None,
        session: str | None = None,
    ) -> Call[Claim | None]:
        """Claim the approved suggestion that has waited longest; return None when there is none.

        Parameters
        ----------
        agent
            Only this agent's suggestions.
        actuators
            Only suggestions that move no others.
        tag
            Only suggestions of agents with this tag.
        lease_s
            How long the claim holds without `renew` or a document of its run, in seconds.
        wait_s
            How long to wait for a suggestion, in seconds, at most 30.
        says_done
            Whether you `release` the claim with ``how="done"`` when its plan has ended. A plan that makes several runs
            needs it; otherwise the claim ends with its run.
        done
            The id of your last claim, whose plan has ended, and the number of its runs: it is released first.
        session
            The id of the session that claims, where plans go to a queue server by sessions.

        Raises
        ------
        Conflict
            When this service runs its plans itself, or sessions run them and this is no session.
        """

        def read(answer: Any) -> Claim | None:
            return None if answer is None else Claim.model_validate(answer)

        body: dict[str, Any] = {"agent": agent, "lease_s": lease_s, "wait_s": wait_s, "says_done": says_done}
        if done is not None:
            body["done"] = {"id": done[0], "runs": done[1]}
        if session is not None:
            body["session"] = session
        if actuators is not None:
            body["actuators"] = list(actuators)
        if tag is not None:
            body["tag"] = tag
        return Call("POST", f"{API}/suggestions/claim", read, body=body)

    @route
    def renew(self, suggestion_id: str, *, lease_s: float | None = None) -> Call[Claim]:
        """Renew a claim's lease, for as long as before or for ``lease_s`` seconds.

        Raises
        ------
        Conflict
            When the claim holds no more.
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
            nothing moved and it may be claimed again; ``done`` when its plan has ended: its documents say the rest.
        runs
            With ``done``: how many runs the plan made. The service waits for their documents. By default those begun.
        """
        return one(
            "POST", _suggestion(suggestion_id, "release"), Suggestion, {"reason": reason, "how": how, "runs": runs}
        )
