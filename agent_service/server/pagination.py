"""Pages of a list: ``?limit=&cursor=`` in, ``{items, next}`` out."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Annotated, TypeVar

from fastapi import Query

from agent_service.errors import FieldError, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable

Item = TypeVar("Item")

Limit = Annotated[int, Query(ge=1, le=1000, description="most items to return")]
Cursor = Annotated[str | None, Query(max_length=100, description="`next` of the page before")]


def position(cursor: str | None) -> int:
    """Return the number a cursor stands for, 0 for none, or raise `InvalidInput`."""
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 16):  # noqa: PLR2004 - fits in 64 bits
        detail = "is not a cursor; take it from `next` of the page before"
        raise InvalidInput(f"cursor {detail}", errors=[FieldError("cursor", detail)])
    return int(cursor)


def page(items: Iterable[Item], *, limit: int, cursor: str | None) -> tuple[list[Item], str | None]:
    """Return one page of a list that only grows at its end, and the cursor of the next one."""
    first = position(cursor)
    shown = list(islice(items, first, first + limit + 1))
    return shown[:limit], str(first + limit) if len(shown) > limit else None
