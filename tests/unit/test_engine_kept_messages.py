"""What the RunEngine's process keeps: documents until they are stored, results until they are settled."""

import asyncio

import pytest

from agent_service.plans.sinks.engine_process._kept_messages import KeptMessages


class Connection:
    """Takes what is sent; keeps up unless it is ``full``."""

    def __init__(self) -> None:
        self.full = False
        self.sent: list[tuple] = []

    def send(self, messages) -> None:
        self.sent += messages


def measure(kept, number, uid, *, stop=True) -> None:
    kept.number = number
    kept.on_document("start", {"uid": uid})
    kept.on_document("event", {"uid": f"{uid}-1", "data": {"x": 1.0}})
    if stop:
        kept.on_document("stop", {"uid": f"{uid}-end", "run_start": uid})


async def turn() -> None:
    """Let the event loop do what was asked of it from threads."""
    for _ in range(3):
        await asyncio.sleep(0)


@pytest.fixture
async def kept():
    return KeptMessages(asyncio.get_running_loop(), lambda: [("status", "idle")])


async def test_a_service_that_comes_gets_everything_and_then_what_is_new(kept) -> None:
    measure(kept, 1, "a")
    kept.finish(1, "success")
    connection = Connection()
    kept.connect(connection)
    kept.attach()
    measure(kept, 2, "b", stop=False)
    kept.on_document("stop", {"uid": "b-end", "run_start": "b"})
    await turn()
    assert connection.sent[0] == ("status", "idle"), "news come first"
    documents = [(message[1], message[2]) for message in connection.sent if message[0] == "document"]
    assert documents == list(enumerate(["start", "event", "stop"] * 2, 1))
    assert ("ended", 1, "success") in connection.sent
    assert connection.sent.count(("ended", 1, "success")) == 1


async def test_a_thread_that_says_more_soon_after_need_not_wake_the_event_loop(monkeypatch) -> None:
    kept = KeptMessages(asyncio.get_running_loop(), list)
    connection, woken = Connection(), []
    kept.connect(connection)
    kept.attach()
    kept.say(("log", "begins"))
    await turn()
    monkeypatch.setattr(asyncio.get_running_loop(), "call_soon_threadsafe", woken.append)
    measure(kept, 1, "a")
    async with asyncio.timeout(10):
        while not any(message[0] == "document" for message in connection.sent):
            await asyncio.sleep(0)
    assert woken == []
    while kept._later is not None:
        await asyncio.sleep(0)
    measure(kept, 2, "b")
    assert woken, "there was nothing to say for a while"


async def test_what_was_said_to_nobody_is_kept_and_what_a_service_took_is_said_again_to_the_next(kept) -> None:
    first, second = Connection(), Connection()
    kept.connect(first)
    kept.attach()
    measure(kept, 1, "a")
    await turn()
    kept.connect(None)
    kept.finish(1, "success")
    kept.say(("answer", 3, "", None))
    kept.connect(second)
    kept.attach()
    await turn()
    assert [message[0] for message in first.sent] == ["status", "document", "document", "document"]
    assert [message[0] for message in second.sent] == ["status", "document", "document", "document", "ended"]


async def test_documents_are_forgotten_when_they_are_stored(kept) -> None:
    measure(kept, 1, "a")
    measure(kept, 2, "b", stop=False)
    assert kept.runs == ["a", "b"]
    kept.stored(4)
    assert (kept.runs, kept.backlog, kept.empty) == (["b"], 1, False)
    kept.stored(5)
    assert (kept.runs, kept.empty) == (["b"], True), "its stop is still to come"
    kept.on_document("stop", {"uid": "b-end", "run_start": "b"})
    kept.stored(6)
    assert (kept.runs, kept.empty) == ([], True)


async def test_without_a_spool_a_plans_documents_are_kept_until_its_fate_is_written(kept) -> None:
    measure(kept, 1, "a")
    measure(kept, 2, "b")
    kept.finish(1, "success")
    kept.finish(2, "success")
    kept.forget(1, documents=True)
    kept.forget(2, documents=False)
    assert kept.runs == ["b"]
    connection = Connection()
    kept.connect(connection)
    kept.attach()
    await turn()
    assert [message[1] for message in connection.sent if message[0] == "document"] == [4, 5, 6]
    assert [message for message in connection.sent if message[0] == "ended"] == [], "both are settled"


async def test_nothing_is_sent_to_a_service_that_does_not_keep_up_until_it_does(kept) -> None:
    connection = Connection()
    connection.full = True
    kept.connect(connection)
    kept.attach()
    measure(kept, 1, "a")
    await turn()
    assert connection.sent == []
    connection.full = False
    kept.send()
    assert [message[2] for message in connection.sent if message[0] == "document"] == ["start", "event", "stop"]


async def test_a_document_is_kept_as_it_was_though_its_device_uses_the_buffer_again(kept) -> None:
    event = {"uid": "e", "data": {"x": [1.0]}}
    kept.on_document("event", event)
    event["data"]["x"][0] = 2.0
    connection = Connection()
    kept.connect(connection)
    kept.attach()
    await turn()
    assert connection.sent[-1] == ("document", 1, "event", {"uid": "e", "data": {"x": [1.0]}})
