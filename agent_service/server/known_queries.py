"""What stands behind the ``?`` of a request that changes something: what its route does not know is refused.

``start?pausd=true`` would start an agent to run, and ``?dryrun=true`` create it. Bodies are checked so, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fastapi import Depends, Request
from fastapi.routing import APIRoute

from agent_service.errors import FieldError, InvalidInput
from agent_service.models.spelling import near
from agent_service.server.request_checks import READS

if TYPE_CHECKING:
    from fastapi.dependencies.models import Dependant


async def _refuse_unknown(request: Request) -> None:
    route = request.scope.get("route")
    if request.method in READS or not request.scope["query_string"] or not isinstance(route, APIRoute):
        return
    known = _names(route.dependant)
    if unknown := [name for name in request.query_params if name not in known]:
        errors = [FieldError(name, f"is not a known key here; {near(name, known)}".rstrip("; ")) for name in unknown]
        raise InvalidInput("; ".join(f"{error.field}: {error.message}" for error in errors), errors=errors)


def _names(dependant: Dependant) -> list[str]:
    below = [name for each in dependant.dependencies for name in _names(each)]
    return [*(field.alias for field in dependant.query_params), *below]


KNOWN_QUERY: Final = Depends(_refuse_unknown)
"""On every route of the API."""
