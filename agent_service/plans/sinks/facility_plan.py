"""A plan for a RunEngine elsewhere, as that of a facility, from its order to its end."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from agent_service.plans.sinks.claimed_plan import PlanRuns

if TYPE_CHECKING:
    from agent_service.protocols import PlanOrder, PlanResult


class FacilityPlan:
    """A plan and how it goes. Belongs to the event loop.

    Parameters
    ----------
    order
        The plan; one without a suggestion makes no run that anybody waits for.
    key
        By which it is found again: by default the suggestion's id.
    taken_up
        Whether the service ended meanwhile, so that the plan may have begun, and runs of it may be known elsewhere.
    says_done
        Whether the facility says when the plan has ended; else its stop documents tell, as far as they can.

    Attributes
    ----------
    begun
        Whether a request to run it may have arrived: it is taken back no more, and never sent again.
    runs
        Its runs, as their documents tell of them.
    ended
        How it ended, once that is known.
    overruled
        Whether its suggestion's fate was decided otherwise, while it may run still.
    abort_reason
        Why it is to be aborted, if it is.
    news
        Set when there is something new to look at.
    looked_up
        Done when the catalogue was asked for its runs, if it is.
    """

    def __init__(self, order: PlanOrder, *, key: str = "", taken_up: bool = False, says_done: bool = True) -> None:
        self.order = order
        self.key = key or order.suggestion_id
        self.taken_up = self.begun = taken_up
        self.runs = PlanRuns(order, says_done=says_done)
        self.ended: asyncio.Future[PlanResult] = asyncio.get_running_loop().create_future()
        self.overruled = False
        self.abort_reason: str | None = None
        self.news = asyncio.Event()
        self.looked_up: asyncio.Task[None] | None = None
        self.made_at = time.monotonic()

    @property
    def under_way(self) -> bool:
        """Whether it may run, as far as is known, so that an abort ends it."""
        return self.begun and (self.overruled or not self.ended.done())

    @property
    def is_move(self) -> bool:
        """Whether it makes no run that anybody waits for."""
        return not self.order.suggestion_id

    def end(self, result: PlanResult) -> None:
        """Say how it ended; what was said first counts."""
        if not self.ended.done():
            self.ended.set_result(result)
        self.news.set()

    async def wait(self, timeout_s: float) -> bool:
        """Wait until there is something new, or time is up; return whether there is."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):  # `wait_for` of Python 3.11 may swallow a cancellation
                await self.news.wait()
        there, _ = self.news.is_set(), self.news.clear()
        return there
