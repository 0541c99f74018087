"""Two hundred agents come and go in one service, and leave nothing behind."""

import gc
import os
import threading
from pathlib import Path

import pytest
from archive_rig import descriptors
from services import wait_until

CYCLES = 200
WARM_UP = 50
EVERY = 4
"""Each of so many is a process agent; the others are threads."""

MOST_GROWTH_MB = 25.0


def children():
    """Processes whose parent is this one, zombies too."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            after_name = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(after_name[1]) == os.getpid():
            found.append(int(stat.parent.name))
    return sorted(found)


def grandchildren():
    return sorted(
        int(pid) for child in children() for pid in Path(f"/proc/{child}/task/{child}/children").read_text().split()
    )


def resident_mb():
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6


def cycle(service, number):
    name = f"agent{number}"
    executor = "thread" if number % EVERY else "process"
    service.create(name, executor=executor, loop={"max_runs": 1})
    service.post(f"agents/{name}/start")
    assert service.until(name, "stopped", "failed")["state"] == "stopped"
    assert service.status(name)["executor"] == executor
    service.http.delete(f"/api/v1/agents/{name}").raise_for_status()


@pytest.mark.long
def test_agents_that_come_and_go_leave_nothing(start, capsys):
    before_service = set(children())
    service = start()
    for number in range(WARM_UP):
        cycle(service, number)

    def held():
        return len(threading.enumerate()), children(), grandchildren()

    wait_until(lambda: not grandchildren(), what="the end of the agents' processes")
    threads, processes, _ = held()
    assert len(set(processes) - before_service) == 1, "the fork server"
    opened, resident = descriptors(), resident_mb()
    for number in range(WARM_UP, CYCLES):
        cycle(service, number)
    wait_until(lambda: not grandchildren(), what="the end of the agents' processes")
    wait_until(lambda: len(threading.enumerate()) <= threads, what="the end of the agents' threads")
    wait_until(lambda: len(descriptors()) <= len(opened), what="the close of the agents' descriptors")
    assert children() == processes
    grown = resident_mb() - resident
    with capsys.disabled():
        print(f" {CYCLES - WARM_UP} agents grew the service by {grown:.1f} MB", end="")
    assert grown < MOST_GROWTH_MB
    service.close()
    assert set(children()) <= before_service, "a child outlived the service"
