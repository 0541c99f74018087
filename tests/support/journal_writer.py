"""A service reduced to its journal: it waits for its turn, then writes facts one after the other, and says what it did.

``python journal_writer.py URL NAME LEASE_S``; each line of its output is a word and numbers.
"""

import asyncio
import logging
import sys
import threading

from agent_service.context import be_patient
from agent_service.journal import JournalLog, PostgresStore
from agent_service.models import EventKind


def say(*words):
    print(*words, flush=True)


async def main(url, name, lease_s):
    log = JournalLog(PostgresStore(url, lease_s=float(lease_s)))
    say("standby")
    await asyncio.to_thread(log.await_turn, threading.Event())
    log.open()
    say("leads", log.last_seq)
    lost = asyncio.Event()
    log.on_fault(lambda: lost.set() if log.lost else say("fault" if log.fault else "well"))
    writing = asyncio.create_task(write(log, name))
    await lost.wait()
    writing.cancel()
    say("lost")
    sys.stdout.flush()
    import os

    os._exit(75)


async def write(log, name):
    be_patient()  # as what a service does by itself: it waits until it is written
    number = 0
    while True:
        number += 1
        fact = await log.append(EventKind.REPORT, name, {"n": number})
        say("wrote", fact.seq, number, int(log.leads))
        await asyncio.sleep(0.02)


if __name__ == "__main__":
    logging.basicConfig(format="%(asctime)s %(threadName)s: %(message)s")
    asyncio.run(main(*sys.argv[1:]))
