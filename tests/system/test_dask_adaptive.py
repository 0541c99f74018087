"""A cluster that grows and shrinks by itself: it keeps the workers of agents, and lets them go afterwards."""

import asyncio

import pytest
from distributed import LocalCluster
from hosted_objects import Mortal

from agent_service.executors.dask import DaskExecutor
from agent_service.executors.dask.config import DaskSection

LOOKS = 8
"""It would retire a worker at the fourth look at which there is one too many."""


async def until(condition, within_s=100.0):
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.02)


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_an_adaptive_cluster_keeps_the_workers_of_agents_and_retires_them_afterwards():
    one_each = {"n_workers": 0, "threads_per_worker": 1, "resources": {"GPU": 1}}
    async with LocalCluster(**one_each, asynchronous=True, dashboard_address="127.0.0.1:0") as cluster:
        adaptive = cluster.adapt(minimum=0, maximum=2, interval="500ms", wait_count=4, target_duration="1ms")
        target, looks = adaptive.target, []

        async def looking():
            looks.append(await target())
            return looks[-1]

        async def looked():
            before = len(looks)
            await until(lambda: len(looks) > before + LOOKS)

        def workers():
            return set(cluster.scheduler.workers)

        adaptive.target = looking
        executor = DaskExecutor(DaskSection(address=cluster.scheduler_address))
        takes = {"timeout_s": 100, "resources": {"GPU": 1}, "on_wait": lambda what: None}
        try:
            first, second = [await executor.start(Mortal, name=name, **takes) for name in ("first", "second")]
            assert first.worker != second.worker
            await looked()
            assert workers() == {first.worker, second.worker}
            assert await second.call(Mortal.echo, "still here", timeout_s=60) == "still here"
            await second.close()
            await until(lambda: workers() == {first.worker})
            await looked()
            assert workers() == {first.worker}
            assert await first.call(Mortal.echo, "still here", timeout_s=60) == "still here"
            await first.close()
            await until(lambda: not workers())
        finally:
            await executor.close()
