"""Reads that ask the brain now (``?fresh=true``), within a deadline, instead of answering from memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent_service.errors import InvalidInput
from agent_service.models.state_machines import Command, require
from agent_service.models.validation_messages import sentence, validation_errors
from agent_service.server.auth import KEY, refuse_without
from agent_service.server.long_calls import brain_work
from agent_service.service.keys import Scope

if TYPE_CHECKING:
    from fastapi import Request

    from agent_service.agents.agent import HostedAgent
    from agent_service.brains.messages import View
    from agent_service.service.jobs import JobDesk


class _Wish(BaseModel):
    model_config = ConfigDict(extra="ignore")

    fresh: bool = Field(
        default=False,
        description="ask the brain, when its turn comes, instead of what it showed last; needs the scope `control`",
    )
    timeout_s: Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)] | None = Field(
        default=None, description="with fresh: seconds to wait; default: the agent's `timeouts.report`"
    )


PARAMETERS: Final[dict[str, Any]] = {
    "parameters": [
        {"name": name, "in": "query", "required": False, "schema": schema, "description": schema["description"]}
        for name, schema in _Wish.model_json_schema()["properties"].items()
    ]
}
"""What a route with `look` takes in its query, for the OpenAPI document."""


async def look(request: Request, desk: JobDesk, agent: HostedAgent) -> View | None:
    """Let the brain show itself, if the request asks for that; else None.

    The query is read here and not by FastAPI: these reads are asked for most, and nearly all of them without one.

    Raises `InvalidInput` for the query; `Forbidden` where the key lacks the scope ``control``, for this is a call of
    the agent's code; `IllegalTransition` where there is no brain now; `DeadlineExceeded`, and the brain goes on.
    """
    if not request.scope["query_string"]:
        return None
    try:
        wish = _Wish.model_validate(dict(request.query_params))
    except ValidationError as error:
        wrong = validation_errors(error)
        raise InvalidInput(sentence(wrong), errors=wrong) from None
    if not wish.fresh:
        return None
    refuse_without(request.scope[KEY], Scope.CONTROL, why="fresh")
    require(Command.REPORT, agent.record.state, name=agent.name)
    work = brain_work(agent, "look")
    desk.begin(work, agent.look())
    return await desk.within(work, wish.timeout_s or agent.spec.timeouts.report)
