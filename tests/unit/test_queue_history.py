"""A queue server whose history is longer than it can send in time."""

import pytest

from agent_service.plans.sinks.queue_server.clients import Silent
from agent_service.plans.sinks.queue_server.manager import Manager


class Overwhelmed:
    """An RE Manager that does not send more than a thousand items."""

    where, user, probes = "nowhere", None, False

    def __init__(self):
        self.length = 30_000
        self.asked = 0

    async def ask(self, method, *, within_s=3.0, **params):
        if method == "status":
            return {"manager_state": "idle", "items_in_history": self.length, "plan_history_uid": str(self.length)}
        self.asked += 1
        if self.length > 1000:
            raise Silent("the queue server at nowhere does not answer")
        return {"success": True, "items": [{}] * self.length, "plan_history_uid": str(self.length)}


async def test_a_history_that_is_too_long_is_said_and_not_asked_for_again_and_again():
    peer = Overwhelmed()
    manager = Manager(peer)
    for _ in range(5):
        await manager.look()
        with pytest.raises(Silent):
            await manager.history()
    assert peer.asked == 1, "it does nothing else while it is asked"
    assert "its history has 30000 items: clear it there" in manager.trouble
    peer.length = 3
    await manager.look()
    assert len(await manager.history()) == 3
    assert manager.trouble is None
