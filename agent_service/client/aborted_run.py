"""Removes the traceback from a RunEngine's log of an error of ours: the log only says that the run was aborted.

The caller of the RunEngine gets the error itself, which says what to do; bluesky also logs its whole traceback.
"""

from __future__ import annotations

import logging
from typing import Final

from agent_service.errors import ServiceError


class _WithoutFrames(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        """Remove the traceback from a record of an error of ours; keep every record."""
        if record.exc_info and isinstance(record.exc_info[1], ServiceError):
            record.exc_info = record.exc_text = None
        return True


_FILTER: Final = _WithoutFrames()


def without_frames() -> None:
    """Let bluesky's log show our errors without tracebacks from now on; harmless the second time."""
    logging.getLogger("bluesky").addFilter(_FILTER)
