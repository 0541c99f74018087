"""Answers a request by the facts that it caused, where the service was killed before its answer was kept."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from starlette.responses import Response

from agent_service.agents.record.suggestions import report_of
from agent_service.errors import Conflict, ServiceError
from agent_service.models import EventKind, IngestAnswer, RenewRequest, SuggestAnswer
from agent_service.models.state_machines import SuggestionState
from agent_service.server.error_responses import problem
from agent_service.server.long_calls import model_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic import JsonValue

    from agent_service.agents.record.agent import AgentRecord
    from agent_service.models import Event
    from agent_service.service.keys import Key
    from agent_service.service.service import Service


@dataclass(frozen=True, slots=True)
class DoneRequest:
    """A request that was carried out, and the facts that it caused, oldest first; at least one."""

    service: Service
    key: Key
    path: str
    body: bytes
    facts: list[Event]

    @property
    def agent(self) -> str:
        """The agent that the facts are of."""
        return self.facts[0].agent or ""

    @property
    def record(self) -> AgentRecord:
        """What is known of that agent now."""
        return self.service.supervisor.agent(self.agent).record

    def values(self, command: str, name: str) -> list[JsonValue]:
        """Return a value of each fact of the plan queue that is a ``command``."""
        return [fact.data[name] for fact in self.facts if fact.data.get("command") == command]

    async def answer(self) -> Response | None:
        """Return the answer, or a problem that says that it is not known; None when it does no harm to do it again."""
        noun, *rest = self.path.removeprefix("/api/v1/").split("/")
        call = noun if not rest else rest[1] if noun == "agents" else rest[-1]
        about = {str(fact.data["id"]) for fact in self.facts if fact.kind is EventKind.SUGGESTION_STATE}
        await self.service.supervisor.recall(*about)
        try:
            return _ANSWERS.get(call, _unknown)(self)
        except ServiceError as error:
            return problem(error, request_id=None)


def _unknown(done: DoneRequest) -> Response:
    raise Conflict(
        f"this was done before the service was restarted, by fact {done.facts[0].seq} of agent {done.agent!r}, and is "
        f"not done again; what came of it is in client.history({done.agent!r})"
    )


def _created(done: DoneRequest) -> Response:
    body = done.service.supervisor.agent(done.agent).status_json()
    return Response(body, 201, {"Location": f"/api/v1/agents/{done.agent}"}, "application/json")


def _suggested(done: DoneRequest) -> Response:
    proposed = [fact for fact in done.facts if fact.data.get("state") == SuggestionState.PROPOSED]
    return model_json(SuggestAnswer(suggestions=[done.record.suggestion(str(fact.data["id"])) for fact in proposed]))


def _proposed(done: DoneRequest) -> Response:
    return model_json(done.record.suggestion(str(done.facts[0].data["id"])), status=201)


def _ingested(done: DoneRequest) -> Response | None:
    if json.loads(done.body).get("run_uids"):  # runs that are ingested already are passed over
        return None
    points = [fact.data["points"] for fact in done.facts if fact.kind is EventKind.INGEST]
    return model_json(IngestAnswer(ingested=sum(len(each) for each in points if isinstance(each, list))))


def _reported(done: DoneRequest) -> Response:
    return model_json(report_of(done.facts[0]))


def _moved(done: DoneRequest) -> Response:
    there = done.values("moved", "point")
    for best in (*done.record.best_measured.front, done.record.best_by_model):
        if best is not None and best.point in there:
            return model_json(best)
    return _unknown(done)


def _claimed(done: DoneRequest) -> Response:
    claimed = done.values("claim", "suggestion")
    if done.service.claims is None or not claimed:
        return _unknown(done)
    return model_json(done.service.claims.renew(str(claimed[0]), RenewRequest(), done.key))


def _decided(done: DoneRequest) -> Response:
    if done.path.endswith("/suggestions/approve"):
        ids = [str(fact.data["id"]) for fact in done.facts]
        return model_json(SuggestAnswer(suggestions=[done.record.suggestion(suggestion_id) for suggestion_id in ids]))
    suggestion_id = done.path.split("/")[-2]
    return model_json(done.service.supervisor.owner(suggestion_id).record.suggestion(suggestion_id))


_ANSWERS: Final[Mapping[str, Callable[[DoneRequest], Response | None]]] = {
    "agents": _created,
    "suggest": _suggested,
    "suggestions": _proposed,
    "ingest": _ingested,
    "report": _reported,
    "go-to-best": _moved,
    "claim": _claimed,
    "approve": _decided,
    "reject": _decided,
    "release": _decided,
}
"""By what was asked of an agent or of a suggestion."""
