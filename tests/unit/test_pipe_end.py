"""An end of a pipe is closed once, by whichever event loop: its number may be another's right after."""

import asyncio
import os

import pytest
import uvloop

from agent_service.executors.pipe_end import PipeEnd


def is_open(number):
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


@pytest.mark.parametrize("way", ["read", "write"])
@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_it_is_closed_once(new_loop, way, monkeypatch):
    async def used():
        reads, writes = os.pipe()
        end, other = (PipeEnd(reads), writes) if way == "read" else (PipeEnd(writes), reads)
        number = end.fileno()
        loop = asyncio.get_running_loop()
        connect = loop.connect_read_pipe if way == "read" else loop.connect_write_pipe
        transport, _ = await connect(asyncio.Protocol, end)
        close, again = end.close, []

        def closed():
            if not is_open(number):  # the loop has closed it: now it is another's
                opened = os.open(os.devnull, os.O_RDONLY)
                if opened != number:
                    os.dup2(opened, number)
                    os.close(opened)
                again.append(number)
            close()

        end.close = closed
        transport.close()
        while is_open(number) and not again:
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        os.close(other)
        for one in again:
            assert is_open(one), "the file of somebody else was closed"
            os.close(one)
        assert not is_open(number)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(used())


def test_one_that_no_loop_takes_is_closed_by_hand():
    async def made():
        reads, writes = os.pipe()
        os.close(writes)
        end = PipeEnd(reads)
        end.abandon()
        end.abandon()
        return reads

    assert not is_open(asyncio.run(made()))
