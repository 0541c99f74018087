"""What a RunEngine's log says of an error of ours: that the run was aborted, without the frames on the way there.

Who called the RunEngine gets the error itself, which says what to do; bluesky logs it too, with its whole traceback.
"""

from __future__ import annotations

import logging
from typing import Final

from agent_service.errors import ServiceError


class _WithoutFrames(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        """Take the traceback out of a record about an error of ours; every record stays."""
        if record.exc_info and isinstance(record.exc_info[1], ServiceError):
            record.exc_info = record.exc_text = None
        return True


_FILTER: Final = _WithoutFrames()


def without_frames() -> None:
    """Let bluesky's log show errors of ours without their frames, from now on; harmless the second time."""
    logging.getLogger("bluesky").addFilter(_FILTER)
