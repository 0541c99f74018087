"""What the RE Manager says of itself: why it takes no plan now, whether its worker lives, what its history holds."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, Final, cast

from agent_service.errors import BackendUnavailable, Conflict, texts
from agent_service.plans.sinks.queue_server.clients import Refusal, Silent

if TYPE_CHECKING:
    from agent_service.plans.sinks.queue_server.clients import Client

PROBE_EVERY_S: Final = 3.0
"""How often it is asked whether the worker answers, while something is under way."""

LOOK_AT_STORE_EVERY_S: Final = 5.0
"""How often it is looked whether the manager can read its store (Redis), while there is nothing to do."""

LONG_HISTORY: Final = 2000
"""Items from which on a history may be too long to be read: 20,000 take a busy manager some seconds."""

_HISTORY_WITHIN_S: Final = 20.0
_READ_AGAIN_S: Final = 30.0

STUCK_AFTER_S: Final = 5.0
"""For how long it may take a plan for running that its worker has ended: it asks the worker twice a second."""

STUCK: Final = (
    "the queue server takes a plan for running that its worker has ended, as after its Redis was gone; somebody has to "
    "restart its RE Manager"
)
WORKER_DIED: Final = (
    "the worker of the queue server does not answer; it died, perhaps, and the manager does not know. Look at it: to "
    "destroy its environment (destroy_environment) ends what runs there, and gives the queue back"
)
_NO_SUCH_ITEM: Final = re.compile(r"\bindex\b|out of range", re.IGNORECASE)
"""What it says of an item of a queue that is empty, having looked into its store."""

_WORDS: Final = {
    "initializing": "it starts",
    "creating_environment": "its environment is being opened",
    "closing_environment": "its environment is being closed",
    "destroying_environment": "its environment is being destroyed",
    "executing_task": "it runs a task",
}


class Manager:
    """The RE Manager as it was when it answered last. Belongs to the event loop.

    Attributes
    ----------
    worker_died
        Whether its worker was asked, twice, and did not answer.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self.status: dict[str, Any] = {}
        self._silence: str | None = None
        self._store: str | None = None
        self.worker_died = False
        self._silent_since: str | None = None
        self._unanswered = 0
        self._ended_since: float | None = None
        self._probed_at = 0.0
        self._looked_at = 0.0
        self._unread: str | None = None
        self._read_again_at = 0.0
        self._history: tuple[str, list[dict[str, Any]]] = ("", [])
        self._running: tuple[str, dict[str, Any]] = ("", {})

    @property
    def state(self) -> str:
        """Its state, in its own word."""
        return str(self.status.get("manager_state") or "")

    @property
    def trouble(self) -> str | None:
        """What keeps us from knowing anything, or what only a person can undo; None while all is well."""
        if told := self._silence or self._store or self._unread:
            return told
        since = self._ended_since
        stuck = since is not None and time.monotonic() > since + STUCK_AFTER_S
        return WORKER_DIED if self.worker_died else STUCK if stuck else None

    @property
    def running_uid(self) -> str | None:
        """The item that runs."""
        return self.status.get("running_item_uid")

    @property
    def is_locked(self) -> bool:
        """Whether somebody holds a lock, of the environment, of the queue, or of both."""
        lock: dict[str, Any] = self.status.get("lock") or {}
        return bool(lock.get("environment") or lock.get("queue"))

    async def look(self) -> None:
        """Ask for its status; raises `Silent`."""
        try:
            status = await self.client.ask("status")
        except Silent as silent:
            self._silent_since = self._silent_since or time.strftime("%b %d %H:%M:%S")
            self._silence = f"{silent}, since {self._silent_since}"
            raise
        if "manager_state" not in status:
            self._silence = texts.one_line(str(status.get("msg") or "the queue server answers oddly"))
            raise Refusal(self._silence)
        self._silent_since = self._silence = None
        self.status = status
        states = [status.get(name) for name in ("manager_state", "worker_environment_state", "re_state")]
        ended = states == ["executing_queue", "idle", "idle"]
        self._ended_since = (self._ended_since or time.monotonic()) if ended else None
        if not status.get("worker_environment_exists"):
            self._unanswered, self.worker_died = 0, False

    async def probe(self, *, at_once: bool = False) -> None:
        """Find out whether the worker answers: a harmless question that the manager passes on to it."""
        if not self.client.probes or not self.status.get("worker_environment_exists"):
            return
        if not at_once and not self._unanswered and time.monotonic() < self._probed_at + PROBE_EVERY_S:
            return
        self._probed_at = time.monotonic()
        answer = await self.client.ask("re_metadata")
        # one that holds the interpreter may be late once
        self._unanswered = self._unanswered + 1 if "imeout" in str(answer.get("msg")) else 0
        self.worker_died = self._unanswered > 1

    @property
    def answers(self) -> bool:
        """Whether the worker answered when it was asked last, or cannot be asked."""
        return self._unanswered == 0

    async def why_not(self) -> str | None:
        """Return why it would not take a plan now; None when it would, as far as its status says."""
        status = self.status
        if not status.get("worker_environment_exists") and self.state == "idle":
            return "the environment of the queue server is closed; somebody has to open it there"
        if self.state in _WORDS:
            return f"the queue server is busy: {_WORDS[self.state]}"
        if self.state != "idle":
            return await self._busy()
        if self.is_locked:  # a plan by itself passes a lock of the queue: we do not
            return await self.whose_lock()
        if status.get("worker_environment_state") not in ("idle", None):
            return f"the queue server is busy: its worker is {status.get('worker_environment_state')}"
        return None

    async def _busy(self) -> str:
        item = await self.running_item()
        whose = f": {item.get('name')} of {item.get('user')}" if item.get("name") else ""
        if self.state == "paused":
            return texts.one_line(f"a plan is paused at the queue server{whose}; it is not ours to resume")
        return texts.one_line(f"the queue server is busy{whose}")

    async def whose_lock(self) -> str:
        """Return whose lock there is, and what they noted."""
        answer = await self.client.ask("lock_info")
        info = cast("dict[str, Any]", answer.get("lock_info") or {})
        note = f" ({info['note']})" if info.get("note") else ""
        what = "queue server" if info.get("environment", True) else "queue of the queue server"
        return texts.one_line(f"the {what} is locked by {info.get('user') or 'somebody'}{note}")

    async def running_item(self) -> dict[str, Any]:
        """Return the item that runs, nothing for none; raises `Silent` when it cannot be said."""
        if self.running_uid is None:
            return {}
        if self._running[0] != self.running_uid:
            item: dict[str, Any] = (await self._read("queue_get")).get("running_item") or {}
            self._running = (str(item.get("item_uid") or ""), item)
        return self._running[1]

    async def history(self) -> list[dict[str, Any]]:
        """Return the items that have ended, the last one last; raises `Silent` when they cannot be read."""
        uid = str(self.status.get("plan_history_uid") or "")
        if not uid or self._history[0] != uid:
            answer = await self._read_history(int(self.status.get("items_in_history") or 0))
            self._history = (str(answer.get("plan_history_uid") or ""), answer.get("items") or [])
        return self._history[1]

    async def _read_history(self, length: int) -> dict[str, Any]:
        """Ask for the history, which the manager sends as a whole; seldom for a long one.

        The manager does nothing else meanwhile, and its watchdog starts anew one that takes too long.
        """
        is_long = length > LONG_HISTORY
        if is_long and self._unread and time.monotonic() < self._read_again_at:
            raise Silent(self._unread)
        try:
            answer = await self._read("history_get", within_s=_HISTORY_WITHIN_S)
        except Silent as silent:
            if is_long and not isinstance(silent, Refusal):
                clear = f"its history has {length} items: clear it there, as with `qserver history clear`"
                self._unread = f"the queue server does not say what has ended, perhaps for {clear} ({silent})"
                self._read_again_at = time.monotonic() + _READ_AGAIN_S
            raise
        self._unread = None
        return answer

    async def look_at_store(self) -> None:
        """Find out, now and then, whether the manager can read its queue: it says idle without its Redis too."""
        if time.monotonic() >= self._looked_at + LOOK_AT_STORE_EVERY_S:
            # the HTTP server tells the whole queue from its memory, but no item of it
            await self._read("queue_item_get", or_else=_NO_SUCH_ITEM)
            self._looked_at = time.monotonic()

    async def destroy_environment(self) -> None:
        """End the worker, which died: what ran there has failed, and somebody opens a new environment.

        Raises
        ------
        Conflict
            The worker answers, or cannot be asked: what runs there may be somebody else's.
        BackendUnavailable
            It was refused, or nobody answers.
        """
        try:
            await self.look()
            await self.probe(at_once=True)
            if self.answers or not self.worker_died:
                raise Conflict(
                    "the worker of the queue server is not known to have died, so its environment is not ours to "
                    "destroy; whoever looks after the queue server may do so there"
                )
            answer = await self.client.ask("environment_destroy", within_s=10)
        except Silent as silent:
            raise BackendUnavailable(str(silent)) from None
        if not answer.get("success"):
            message = texts.one_line(str(answer.get("msg")))
            raise BackendUnavailable(f"the queue server did not destroy its environment: {message}")

    async def _read(
        self, method: str, *, within_s: float = 3.0, or_else: re.Pattern[str] | None = None
    ) -> dict[str, Any]:
        """Return an answer that comes from its store; ``or_else`` is found in a refusal that does, too."""
        answer = await self.client.ask(method, within_s=within_s)
        message = texts.one_line(str(answer.get("msg")))
        if not answer.get("success") and (or_else is None or or_else.search(message) is None):
            redis = "the queue server cannot say what it runs, its Redis is gone perhaps: "
            self._store = f"{'' if answer.get('key_refused') else redis}{message}"
            raise Refusal(self._store)
        self._store = None
        return answer
