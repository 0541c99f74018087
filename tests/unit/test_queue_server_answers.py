"""What is made of the answers of whoever listens at a queue server's address, over a real socket of 0MQ."""

import asyncio
import json

import msgpack
import pytest
import zmq.asyncio

from agent_service.plans.sinks.queue_server.clients import Silent, ZmqClient

PACKS = {"json": lambda answer: json.dumps(answer).encode(), "msgpack": msgpack.packb}


@pytest.fixture
async def ask():
    """Return ``ask(answer, encoding)``: what a client of that encoding makes of an answer, in bytes."""
    context = zmq.asyncio.Context()
    server = context.socket(zmq.REP)
    address = f"tcp://127.0.0.1:{server.bind_to_random_port('tcp://127.0.0.1')}"

    async def asked(answer, encoding):
        async def serve():
            await server.recv()
            await server.send(answer)

        client = ZmqClient(address, public_key=None, user="agents", user_group="primary", encoding=encoding)
        serving = asyncio.create_task(serve())
        try:
            return await client.ask("status")
        finally:
            await serving
            await client.close()

    yield asked
    context.destroy(0)


@pytest.mark.parametrize("encoding", PACKS)
async def test_an_answer_is_read_and_one_in_another_encoding_says_what_to_write(ask, encoding):
    answer = {"success": True, "manager_state": "idle"}
    for other, pack in PACKS.items():
        read = await ask(pack(answer), encoding)
        if other == encoding:
            assert read == answer
        else:
            assert read["success"] is False
            assert f'write encoding = "{other}"' in read["msg"]


async def test_what_an_encoding_has_no_form_for_is_refused_and_not_sent():
    client = ZmqClient("tcp://127.0.0.1:9", public_key=None, user="a", user_group="primary", encoding="msgpack")
    try:
        answer = await client.ask("queue_item_execute", item={"kwargs": {"suggestions": [{"turns": 2**70}]}})
    finally:
        await client.close()
    assert (answer["success"], "cannot be said in msgpack" in answer["msg"]) == (False, True)


async def test_keys_that_are_numbers_are_read(ask):
    """A person's item may hold them, where the manager speaks msgpack."""
    answer = {"success": True, "items": [{"kwargs": {"md": {1: "one"}}}]}
    assert await ask(msgpack.packb(answer), "msgpack") == answer


@pytest.mark.parametrize("encoding", PACKS)
@pytest.mark.parametrize("answer", [b"", b"\xff\xfe", b"OK", b"[1]", b"\x01", b"\xdf\xff\xff\xff\xff", b"[" * 10_000])
async def test_what_is_no_answer_of_a_manager_is_said(ask, answer, encoding):
    with pytest.raises(Silent, match="is no queue server"):
        await ask(answer, encoding)
