"""Tells people who look at no screen, by a webhook and by e-mail, that they are wanted; holds nothing up.

What happened is noted in a queue of its own, and sent by a task of its own, with deadlines. When nobody takes the
notices, the oldest are dropped and counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from agent_service.errors import texts
from agent_service.models import EventKind, NotifyStatus, utcnow
from agent_service.models.state_machines import AgentState, SuggestionState
from agent_service.service.notice_channels import REFUSALS, TAKES_S, channels, why

if TYPE_CHECKING:
    from datetime import datetime

    from agent_service.agents.supervisor import Supervisor
    from agent_service.archive import Archive
    from agent_service.models import Event
    from agent_service.service.notice_channels import Channel
    from agent_service.service.notify_section import NotifySection, Occasion

MOST_WAITING: Final = 100
"""Notices that may wait to be sent; beyond, the oldest is dropped."""

_PAUSES_S: Final = (1.0, 5.0, 25.0)
_LOOKS_EVERY_S: Final = 30.0

_log = logging.getLogger(__name__)


class _Notice(NamedTuple):
    occasion: Occasion
    agent: str | None
    reason: str
    at: datetime


class NotifyDesk:
    """Notes what people want to know, and sends it; belongs to the event loop."""

    def __init__(self, section: NotifySection, supervisor: Supervisor, archive: Archive) -> None:
        self._section = section
        self._supervisor = supervisor
        self._archive = archive
        self._waiting: deque[_Notice] = deque()
        self._noted = asyncio.Event()
        self._counts = dict.fromkeys(("sent", "failed", "dropped"), 0)
        self._trouble: str | None = None
        self._behind = False
        self._task: asyncio.Task[None] | None = None
        self._channels = channels(section)

    def start(self) -> None:
        """Begin to send, where there is somebody to tell."""
        if self._channels:
            self._task = asyncio.create_task(self._run(), name="notify")

    async def stop(self) -> None:
        """Send no more."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    @property
    def status(self) -> NotifyStatus | None:
        """What became of notices so far; None where nobody is told."""
        if not self._channels:
            return None
        return NotifyStatus(
            to=[channel.name for channel in self._channels],
            waiting=len(self._waiting),
            trouble=self._trouble,
            **self._counts,
        )

    def on_fact(self, event: Event) -> None:
        """Note what a fact that was applied means to people who are not looking."""
        reason = str(event.data.get("reason") or "")
        state = event.data.get("state")
        if event.kind is EventKind.SUGGESTION_STATE and state == SuggestionState.PROPOSED:
            self._note("approval", event.agent, "")
        elif event.kind is EventKind.AGENT_STATE and state == AgentState.FAILED:
            self._note("failed", event.agent, reason)
        elif event.kind is EventKind.AGENT_STATE and state == AgentState.STOPPED and "by" not in event.data:
            if not reason.startswith(("stopped by ", "restarting", "the service was restarted")):
                self._note("done", event.agent, reason)
        elif event.kind is EventKind.QUEUE_STATE and event.data.get("command") == "abort":
            self._note("held", None, f"nothing moves until somebody resumes the queue: {reason or 'no reason given'}")
        elif event.kind is EventKind.CONDITION_STATE and state == "lost":
            self._note("held", None, reason)

    def _note(self, occasion: Occasion, agent: str | None, reason: str) -> None:
        if not self._channels or occasion not in self._section.on:
            return
        if occasion == "approval" and any(each[:2] == (occasion, agent) for each in self._waiting):
            return  # it says how many, when it is sent
        if len(self._waiting) >= MOST_WAITING:
            self._waiting.popleft()
            self._counts["dropped"] += 1
        self._waiting.append(_Notice(occasion, agent, reason, utcnow()))
        self._noted.set()

    async def _run(self) -> None:
        while True:
            self._look_at_archive()
            self._noted.clear()
            if not self._waiting:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LOOKS_EVERY_S):
                        await self._noted.wait()
                continue
            notice = self._waiting.popleft()
            try:
                await self._tell(notice)
            except Exception:  # noqa: BLE001 - a bug of ours; the next notice is sent
                _log.exception("a notice could not be sent")

    def _look_at_archive(self) -> None:
        archive = self._archive.status
        behind = archive.state == "unavailable" or archive.runs_behind >= self._section.archive_behind
        if behind and not self._behind:
            lag = f"{texts.counted(archive.runs_behind, 'run')} behind"
            self._note("archive", None, f"{lag}{f': {archive.reason}' if archive.reason else ''}")
        self._behind = behind

    async def _tell(self, notice: _Notice) -> None:
        if not (sentence := self._sentence(notice)):
            return
        text = texts.without_keys(texts.one_line(sentence))
        link = self._section.public_url
        body = {
            "text": f"{text} {link}" if link else text,
            "occasion": notice.occasion,
            "agent": notice.agent,
            "link": link,
            "time": notice.at.isoformat(),
        }
        await asyncio.gather(*(self._send(channel, text, body) for channel in self._channels))

    def _sentence(self, notice: _Notice) -> str:
        """Return what to say, as it is by now; nothing of what is settled meanwhile."""
        if notice.occasion == "approval":
            life = self._supervisor.lives.get(notice.agent or "")
            number = 0 if life is None else life.agent.guardrails.approvals.waiting()
            return f"{notice.agent}: {texts.counted(number, 'suggestion')} to approve or reject" if number else ""
        sentences = {
            "failed": f"agent {notice.agent} failed",
            "done": f"agent {notice.agent} has stopped",
            "held": "held",
            "archive": "the catalogue lags",
        }
        return f"{sentences[notice.occasion]}{f': {notice.reason}' if notice.reason else ''}"

    async def _send(self, channel: Channel, text: str, body: dict[str, Any]) -> None:
        for pause_s in (*_PAUSES_S, None):
            try:
                async with asyncio.timeout(TAKES_S):
                    await channel.send(text, body)
            except REFUSALS as error:
                self._trouble = f"the {channel.name} does not take notices: {why(error)}"
            else:
                self._counts["sent"] += 1
                self._trouble = None
                return
            if pause_s is not None:
                await asyncio.sleep(pause_s)
        self._counts["failed"] += 1
        _log.warning("%s; the notice %r is lost", self._trouble, text)
