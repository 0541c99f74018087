"""What a session claimed, when the session has ended: by itself, or not; and after a restart of the service."""

import asyncio

import pytest
from forgetful_peers import ForgetfulManager
from headless_service import service

from agent_service import context
from agent_service.agents.submission import order_of
from agent_service.errors import Conflict, Forbidden
from agent_service.models import ReleaseRequest, RenewRequest
from agent_service.models.state_machines import SuggestionState as State
from agent_service.plans.sinks.claim_leases import Claimed
from agent_service.plans.sinks.queue_server.session_claims import SessionClaims
from agent_service.plans.sinks.queue_server.session_sink import SessionSink
from agent_service.protocols import ExitStatus, PlanOrder, PlanResult
from agent_service.service.claims import ClaimDesk
from agent_service.service.compose import LateParts
from agent_service.service.keys import Key, Scope

ORDER = PlanOrder("s1", "aligner", {"motor": 1.5}, plan="acquire", actuators=("motor",), sensors=("det",))
DONE = PlanResult(ExitStatus.SUCCESS)
START, STOP = {"uid": "r", "agent_suggestion_uid": "s1"}, {"run_start": "r", "exit_status": "success"}


@pytest.fixture
def claims():
    async def agent_of(session):
        return "aligner" if session == "ours" else None

    return SessionClaims(
        {}, is_open=lambda: True, may_begin=lambda order: True, on_change=lambda: None, agent_of=agent_of
    )


async def claimed(claims):
    measuring = asyncio.ensure_future(claims.result(ORDER))
    await asyncio.sleep(0)
    found = await claims.claim(None, lease_s=60, wait_s=0, over=lambda: False, session="ours", says_done=True)
    assert found == ORDER
    return measuring


async def no_more(claims):
    return await claims.claim("aligner", lease_s=60, wait_s=0, over=lambda: False, session="ours") is None


async def test_what_a_session_measured_counts_though_its_last_word_was_lost(claims):
    measuring = await claimed(claims)
    claims.observe("start", START, "r")
    claims.session_ended("aligner", DONE)
    assert not measuring.done(), "its run goes on, as far as the documents tell"
    claims.observe("stop", STOP, "r")
    assert (await measuring).exit_status is ExitStatus.SUCCESS


async def test_what_a_session_may_have_measured_is_given_to_no_other(claims):
    measuring = await claimed(claims)
    claims.session_ended("aligner", DONE)
    assert await no_more(claims)
    claims.observe("start", START, "r")
    claims.observe("stop", STOP, "r")
    with pytest.raises(Conflict):
        claims.renew("s2")
    measuring.cancel()


async def test_a_session_that_is_over_is_given_nothing(claims):
    measuring = asyncio.ensure_future(claims.result(ORDER))
    await asyncio.sleep(0)
    assert await claims.claim(None, lease_s=60, wait_s=0, over=lambda: False, session="another") is None
    measuring.cancel()


@pytest.mark.parametrize("claimed", [Claimed("worker"), Claimed(""), None])
async def test_after_a_restart_only_what_nobody_had_claimed_is_claimed_anew(claims, claimed):
    ended = claims.take_up(ORDER, claimed)
    assert await no_more(claims) is (claimed is not None)
    assert claims.claimed == ["s1"]
    ended.cancel()
    await asyncio.sleep(0)
    assert claims.claimed == []


async def test_after_a_restart_a_sessions_claim_belongs_to_the_key_that_made_it(tmp_path):
    """With any other key a run under way could be failed, or told to have ended."""
    late = LateParts(lambda: rooms.supervisor, lambda: asyncio.sleep(0))
    about = {"service": "this one", "idle_s": 1, "gives_way": True, "claimed": late.claimed}

    def sink_of(may_begin):
        return SessionSink(ForgetfulManager(), {}, may_begin=may_begin, **about)

    async with service(tmp_path / "journal.db") as rooms:
        agent = await rooms.create("walker")
        await agent.keeper.build()
        [one] = await agent.suggest(1, by="loop")
        await agent.facts.advance(one.id, State.APPROVED)
        await agent.facts.advance(one.id, State.SUBMITTED)
        token = context.enter("worker")
        await rooms.supervisor.queue.facts.write_claim("claim", one.id, agent="walker")
        context.leave(token)
    async with service(tmp_path / "journal.db", sink_of) as rooms:
        found = await rooms.sink.reattach([order_of(rooms.supervisor.agent("walker"), one)])
        desk = ClaimDesk(rooms.sink.claims, rooms.supervisor, asyncio.Event())
        stranger, worker = (Key(name, frozenset({Scope.CONTROL}), b"") for name in ("stranger", "worker"))
        with pytest.raises(Forbidden, match="claimed with the key 'worker'"):
            desk.renew(one.id, RenewRequest(), stranger)
        for how in ("fail", "done"):
            with pytest.raises(Forbidden, match="claimed with the key 'worker'"):
                await desk.release(one.id, ReleaseRequest(how=how), stranger)
        assert not found[one.id].done()
        desk.renew(one.id, RenewRequest(), worker)
        await desk.release(one.id, ReleaseRequest(how="done", runs=1), worker)
        found[one.id].cancel()
