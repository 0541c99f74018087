"""After a restart of the service: as what each agent comes back, and what became of its suggestions under way.

The run of each is in the spool, or it never began (see `spool`): each is measured at most once, and none is forgotten.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent_service.agents.submission import Submission, order_of
from agent_service.documents.choice import Made
from agent_service.documents.spool_repair import INTERRUPTED
from agent_service.errors import BackendUnavailable, DeadlineExceeded, NotFound
from agent_service.models import RestartAs
from agent_service.models.state_machines import ALIVE, OPEN, AgentState, SuggestionState
from agent_service.protocols import SERVICE_STOPS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from agent_service.agents.agent import HostedAgent
    from agent_service.documents.dispatch import RunDispatcher
    from agent_service.documents.runs import Run
    from agent_service.models import Suggestion
    from agent_service.protocols import PlanSink

MAX_RETRIES: Final = 3
"""How often in a row a point comes back that was interrupted: measuring it may be what ends the service."""

MAX_VOID: Final = 10
"""How often in a row a point comes back whose run was void: its own plan may be what breaks a condition."""

_S = SuggestionState
_UNDER_WAY: Final = (_S.SUBMITTED, _S.RUNNING)


async def reattach(
    agents: Iterable[HostedAgent],
    runs: Mapping[str, Sequence[Run]],
    *,
    sink: PlanSink,
    dispatcher: RunDispatcher,
) -> dict[str, list[Submission]]:
    """Ask the sink which plans it has still that were submitted or running when the service ended.

    Agents that are not alive await no plan. What a plan has measured before it is taken up again counts: ``runs`` are
    as for `reconcile`. Returns the submissions whose plans are there, by the name of their agent.
    """
    left = [
        (agent, suggestion)
        for agent in agents
        if agent.record.state in ALIVE
        for suggestion in agent.record.open_in(*_UNDER_WAY)
    ]
    expected = [dispatcher.expect(suggestion.id).__enter__() for _, suggestion in left]  # before any more is heard
    plans = await sink.reattach([order_of(agent, suggestion) for agent, suggestion in left])
    submissions: dict[str, list[Submission]] = {}
    for (agent, suggestion), expectation in zip(left, expected, strict=True):
        if (plan := plans.get(suggestion.id)) is None:
            expectation.__exit__(None, None, None)
            continue
        for run in runs.get(suggestion.id, ()):
            if run.stop is None:  # it goes on
                expectation.begin(run.start)
            elif not _was_cut(run):
                expectation.begin(run.start)
                expectation.add(run)
                _show(sink, run)
        submissions.setdefault(agent.name, []).append(Submission(agent, suggestion, expectation, sink, plan))
    return submissions


def _show(sink: PlanSink, run: Run) -> None:
    """Let the sink know of a run that ended before: whoever had its plan may have forgotten it."""
    for name, document in run.documents:
        if name in ("start", "stop"):
            sink.observe(name, document, run.uid)


def late_runs(agent: HostedAgent, runs: Mapping[str, Sequence[Run]]) -> list[Run]:
    """Return those of ``runs`` that came when their suggestion was closed: the service ended before they counted."""
    closed = [held for held in agent.record.suggestions.values() if held.state not in OPEN and held.id in runs]
    return [run for suggestion in closed for run in runs[suggestion.id] if run.complete]


async def bring_back(agent: HostedAgent, *, queue_held: bool, resumes: bool, paused: str | None) -> RestartAs | None:
    """Write that an agent is back, and return as what: running or paused; None if it was not alive.

    It is what it was, unless the queue is held, it does not resume by itself, or all come back paused; ``paused`` says
    why then.
    """
    record = agent.record
    before = record.restart_as  # it was about to come back by itself
    was, was_held = (record.state, record.held) if before is None else (before.state, before.held)
    if record.starts_paused:
        was = AgentState.PAUSED
    # whom the hold pauses goes on when it ends, and that is not for agents that all come back paused
    by_hold = queue_held and paused is None and (was_held or was is not AgentState.PAUSED)
    to_pause = by_hold or was is AgentState.PAUSED or paused is not None or not resumes
    if record.state is AgentState.STOPPING:
        await agent.facts.become(AgentState.STOPPED, record.reason)
        return None
    if record.state not in ALIVE:
        return None
    # in one commit: between two of them it would be an agent that nobody brings back
    restarted = "the service was restarted"
    await agent.facts.become_in_turn(
        (AgentState.STOPPING, {"reason": restarted, "was": was if paused is None else AgentState.PAUSED}),
        (AgentState.STOPPED, {"reason": restarted}),
        (AgentState.STARTING, {"reason": f"recovering: {restarted}", "held": by_hold, "starts_paused": to_pause}),
    )
    if not to_pause:
        return RestartAs(state=AgentState.RUNNING)
    reason = f"{paused or 'recovered after a restart of the service'}; resume it to go on"
    return RestartAs(state=AgentState.PAUSED, reason=reason, held=by_hold)


async def reconcile(
    agent: HostedAgent, runs: Mapping[str, Sequence[Run]], *, retry: bool, in_sink: Collection[str] = ()
) -> None:
    """Write what became of an agent's suggestions that were submitted or running when the service ended.

    One whose runs are complete stays ``running``; they are with the agent's `unevaluated`, and its loop takes them from
    there. One whose run failed, or was aborted by a person, is ``failed``. Any other is ``abandoned``, and with
    ``retry`` its point comes back, as a new one with ``retry_of``.

    Nothing of the agent runs yet. ``runs`` are complete runs that were kept, by the id of their suggestion, those that
    began first first; suggestions ``in_sink``, whose plans the sink has still, are left to the loop.
    """
    for left in agent.record.open_in(_S.RUNNING, _S.MEASURED):
        if left.run_uid is not None and agent.keeper.told.knows_run(
            left.run_uid
        ):  # a journal of an earlier version, cut between the two facts
            await agent.facts.advance(left.id, _S.INGESTED)
    for left in agent.record.open_in(*_UNDER_WAY):
        measured = runs.get(left.id, ())
        if left.id in in_sink:
            continue
        if measured and {run.uid for run in measured}.issuperset(left.run_uids):
            await _settle(agent, left, measured, retry=retry)
        elif left.run_uid is None:
            await abandon(agent, left, "interrupted: the service ended before its run began", retry=retry)
        elif agent.record.state not in ALIVE:
            await abandon(agent, left, "interrupted: the service ended meanwhile", retry=False)
        else:  # not here: whoever asks the catalogue may have to wait for it
            continue


async def look_up(
    agent: HostedAgent,
    documents: Callable[[str], Awaitable[Run]],
    *,
    retry: bool,
    in_sink: Collection[str] = (),
) -> None:
    """Settle, as `reconcile` does, what nobody waits for any more: what is still ``running`` by the catalogue."""
    for left in agent.record.open_in(_S.SUBMITTED):
        if left.id not in in_sink:
            await abandon(agent, left, "interrupted: the agent failed while its plan was in the queue", retry=retry)
    for left in agent.record.open_in(_S.RUNNING, _S.MEASURED):
        if left.run_uid is None or left.outcome or left.id in agent.unevaluated or left.id in in_sink:
            continue
        try:
            measured = [await documents(uid) for uid in left.run_uids or [left.run_uid]]
        except (NotFound, BackendUnavailable, DeadlineExceeded) as error:
            reason = f"interrupted: the service ended meanwhile, and its run was not found ({error.detail})"
            await abandon(agent, left, reason, retry=retry)
        else:
            await _settle(agent, left, measured, retry=retry)


async def _settle(agent: HostedAgent, left: Suggestion, runs: Sequence[Run], *, retry: bool) -> None:
    if left.state is _S.SUBMITTED:
        await agent.facts.advance(left.id, _S.RUNNING, run_uid=runs[0].uid)
    stops = [run.stop or {} for run in runs]
    if any(_was_cut(run) for run in runs):
        await abandon(agent, left, "interrupted: the service ended meanwhile", retry=retry)
    elif len(runs) > 1 or stops[0].get("exit_status") == "success":
        agent.unevaluated[left.id] = Made(tuple(runs), ended=bool(left.run_uids))
    else:
        agent.brain.missed()
        status = str(stops[0].get("exit_status"))
        reason = str(stops[0].get("reason") or "") or f"the run ended with exit_status {status}"
        await agent.facts.advance(left.id, _S.FAILED, reason=reason, fault=status != "abort")


def _was_cut(run: Run) -> bool:
    """Return whether a run has no end of its own: the service ended before."""
    return run.stop is None or run.stop.get("reason") in (INTERRUPTED, SERVICE_STOPS)


async def abandon(agent: HostedAgent, left: Suggestion, reason: str, *, retry: bool) -> None:
    """Write that nobody knows an outcome of a suggestion, and that none will come."""
    record = agent.record
    agent.brain.missed()
    again = retry and record.proposed_by[left.id] == "loop" and _retries(agent, left) < MAX_RETRIES
    if again and all(other.retry_of != left.id for other in record.suggestions.values()):
        # first, so that the point is not lost when the service ends between the two
        await agent.facts.propose_again(left)
    await agent.facts.advance(left.id, _S.ABANDONED, reason=reason)


def _retries(agent: HostedAgent, suggestion: Suggestion) -> int:
    """Return how many suggestions before this one had its point and were interrupted."""
    return sum(not earlier.void for earlier in _earlier(agent, suggestion))


def times_void(agent: HostedAgent, suggestion: Suggestion) -> int:
    """Return how many suggestions before this one had its point and were void."""
    return sum(earlier.void for earlier in _earlier(agent, suggestion))


def _earlier(agent: HostedAgent, suggestion: Suggestion) -> Iterator[Suggestion]:
    """Return the suggestions that this one is measured instead of, the last first."""
    earlier = suggestion.retry_of
    while earlier is not None and (known := agent.record.suggestions.get(earlier)) is not None:
        yield known
        earlier = known.retry_of
