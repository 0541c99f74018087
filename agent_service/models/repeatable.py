"""Requests that may be sent twice: with the same ``Idempotency-Key`` they are carried out once."""

from __future__ import annotations

import re
from typing import Final

IDEMPOTENCY_KEY: Final = "Idempotency-Key"
"""The header (IETF draft-ietf-httpapi-idempotency-key-header): a text of the client's own, new for each request."""

_REPEATABLE: Final = re.compile(
    r"/api/v1/(?:agents|documents|suggestions/(?:claim|approve)|suggestions/[^/]+/(?:approve|reject|release)"
    r"|agents/[^/]+/(?:suggest|suggestions|ingest|report|go-to-best|methods/[^/]+))\Z"
)


def is_repeatable(method: str, path: str) -> bool:
    """Return whether a request may name an idempotency key: what creates or moves. What stops acts each time.

    Examples
    --------
    >>> is_repeatable("POST", "/api/v1/agents/a/suggest"), is_repeatable("POST", "/api/v1/queue/abort")
    (True, False)
    """
    return method == "POST" and _REPEATABLE.match(path) is not None
