"""From documents to those who wait for them: a suggestion's loop, and the agents that listen to every run."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

from agent_service.documents.assembler import RunAssembler
from agent_service.documents.run_of_document import suggestion_of
from agent_service.documents.runs import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from agent_service.protocols import Document


class Expectation:
    """The runs of a suggestion that somebody waits for: their starts, then all of each.

    Examples
    --------
    A loop enters it before it submits the plan, so that no document can come too early::

        with dispatcher.expect(suggestion.id) as expected:
            result = await sink.run(order)
            await expected.complete(result.run_uids)

    Attributes
    ----------
    started
        Done with the uid of the first run when that begins.
    begun
        The runs by uid, in the order of their beginnings; of one that goes on only the start is there.
    """

    def __init__(self, dispatcher: RunDispatcher, suggestion_id: str) -> None:
        loop = asyncio.get_running_loop()
        self.suggestion_id = suggestion_id
        self.started: asyncio.Future[str] = loop.create_future()
        self.begun: dict[str, Run] = {}
        self._dispatcher = dispatcher
        self._news = asyncio.Event()

    def begin(self, start: Document) -> None:
        """Take the start document of one of its runs."""
        uid = str(start.get("uid"))
        self.begun.setdefault(uid, Run((("start", start),)))
        if not self.started.done():
            self.started.set_result(uid)

    def add(self, run: Run) -> bool:
        """Take a run that has ended, and return whether it is one of its own."""
        if run.uid not in self.begun:
            return False
        self.begun[run.uid] = run
        self._news.set()
        return True

    @property
    def may_come(self) -> str:
        """Why documents may come still, though the plan ended long ago; empty if they may not."""
        return self._dispatcher.may_come(self.suggestion_id)

    async def complete(self, uids: Collection[str]) -> None:
        """Return when these runs, or where none is named all that began, have their stop documents; one at least."""
        while not all(uid in self.begun and self.begun[uid].complete for uid in uids or self.begun or ("",)):
            self._news.clear()
            await self._news.wait()

    def __enter__(self) -> Self:
        self._dispatcher.expected[self.suggestion_id] = self
        return self

    def __exit__(self, *_: object) -> None:
        self._dispatcher.expected.pop(self.suggestion_id, None)
        self.started.cancel()


class RunDispatcher:
    """Takes every document of every source, in order, on the event loop.

    Parameters
    ----------
    everyone
        Gives the inboxes of the agents that listen to all runs.
    late
        Gives the inbox of the agent whose suggestion a run carries though no loop waits for it, or None.

    Attributes
    ----------
    may_come
        Returns why documents of a suggestion's run may come still, though its plan ended long ago; empty if not.
    """

    def __init__(
        self,
        *,
        everyone: Callable[[], Iterable[Callable[[Run], None]]],
        late: Callable[[str], Callable[[Run], None] | None],
    ) -> None:
        self.expected: dict[str, Expectation] = {}
        self.may_come: Callable[[str], str] = lambda suggestion_id: ""
        self._everyone = everyone
        self._late = late
        self._assembler = RunAssembler(wanted=self._wanted)

    def expect(self, suggestion_id: str) -> Expectation:
        """Return an expectation of the runs for a suggestion; enter it before the plan can run."""
        return Expectation(self, suggestion_id)

    def on_document(self, name: str, document: Document, run: str) -> None:
        """Look at a document of ``run``: cheap, never raises for what is in it."""
        if name == "start" and (expected := self.expected.get(suggestion_of(document))) is not None:
            expected.begin(document)
        if (ended := self._assembler.add(name, document, run)) is not None:
            self._deliver(ended)

    def forget(self, uid: str) -> None:
        """Put a run together no further."""
        self._assembler.discard(uid)

    def _wanted(self, start: Document) -> bool:
        suggestion_id = suggestion_of(start)
        if suggestion_id in self.expected or any(True for _ in self._everyone()):
            return True
        return bool(suggestion_id) and self._late(suggestion_id) is not None

    def _deliver(self, run: Run) -> None:
        suggestion_id = suggestion_of(run.start)
        expected = self.expected.get(suggestion_id)
        owner: Callable[[Run], None] | None = None
        is_expected = expected is not None and expected.add(run)
        if not is_expected and suggestion_id and (owner := self._late(suggestion_id)) is not None:
            owner(run)
        for inbox in self._everyone():
            if inbox != owner:
                inbox(run)
