"""What a person says of a suggestion: the same in every panel that shows an inbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent_service.errors import InvalidInput, ServiceError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from agent_service.client import AsyncClient


async def approve(client: AsyncClient, *, id: str, point: Mapping[str, Any] | None = None) -> str | None:  # noqa: A002 - the field's name in Suggestion
    """Approve a suggestion, with another point if a person edited it.

    Raises `InvalidInput` when a field is empty or no number, or the service refuses the point.
    """
    if point is None:
        await client.approve(id)
        return None
    edited: dict[str, float] = {}
    for name, value in point.items():
        try:
            edited[name] = float(value)
        except (TypeError, ValueError):
            raise InvalidInput(f"{name} must be a number") from None
    await client.approve(id, edited)
    return f"{id[:4]}… approved with the edited point"


def remembering(refused: dict[str, str], redraw: Callable[[], None]) -> Callable[..., Awaitable[str | None]]:
    """Return `approve`, which keeps in ``refused``, by the suggestion's id, why it was not done, to be shown beside it.

    ``redraw`` is called when that changed.
    """

    async def press(client: AsyncClient, *, id: str, point: Mapping[str, Any] | None = None) -> str | None:  # noqa: A002 - as above
        try:
            answer = await approve(client, id=id, point=point)
        except ServiceError as error:
            refused[id] = f"not approved: {error.detail}"
            redraw()
            raise
        refused.pop(id, None)
        return answer

    return press


async def reject(client: AsyncClient, *, id: str, reason: str = "") -> None:  # noqa: A002 - the field's name in Suggestion
    """Reject a suggestion."""
    await client.reject(id, reason)
