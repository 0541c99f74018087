"""Libraries that a kind of source needs, installed with an extra of this package."""

from __future__ import annotations

import importlib
from typing import Any

from agent_service.errors import UsageError


def needs(module: str, *, kind: str) -> Any:
    """Return a library.

    Raises
    ------
    UsageError
        It is not installed; says what to install.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UsageError(
            f'a source of kind "{kind}" needs the library {error.name}: pip install "bluesky-agent-service[{kind}]"'
        ) from error
