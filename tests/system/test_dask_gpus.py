"""Workers with several GPUs, some of them taken: an agent goes where one is free, and waits only where none is."""

import asyncio
import contextlib
from pathlib import Path

import pytest
from dask_cluster import DaskCluster
from hosted_objects import Mortal

from agent_service.executors.dask import DaskExecutor
from agent_service.executors.dask.config import DaskSection

SUPPORT = Path(__file__).parents[1] / "support"


@pytest.fixture
def cluster(tmp_path):
    with DaskCluster(tmp_path, offers=("GPU=4", "GPU=1"), path=[SUPPORT]) as one:
        yield one


@contextlib.asynccontextmanager
async def executor_on(cluster):
    one = DaskExecutor(DaskSection(address=cluster.address))
    try:
        yield one
    finally:
        await one.close()


@pytest.mark.long
@pytest.mark.timeout(400)
async def test_each_gpu_of_a_worker_is_used_and_none_twice(cluster):
    waits = {}

    async def start(executor, name, gpus=1):
        said = waits.setdefault(name, [])
        return await executor.start(Mortal, name=name, timeout_s=100, resources={"GPU": gpus}, on_wait=said.append)

    async with executor_on(cluster) as executor, executor_on(cluster) as other_service:
        agents = [await start((executor, other_service)[n % 2], f"a{n}") for n in range(5)]
        assert [said for said in waits.values() if any(said)] == [], "one waited, and there was room"
        on = [agent.worker for agent in agents]
        assert sorted(map(on.count, set(on))) == [1, 4]
        late = asyncio.ensure_future(start(executor, "late"))
        async with asyncio.timeout(60):
            while not any("has GPU = 1 free" in (one or "") for one in waits.get("late", ())):
                await asyncio.sleep(0.02)
        await agents.pop().close()
        last = await asyncio.wait_for(late, 60)
        large = [one for one in [*agents, last] if on.count(one.worker) == 4]
        two = asyncio.ensure_future(start(executor, "two", gpus=2))
        for one in large[:2]:
            await one.close()
        assert (await asyncio.wait_for(two, 60)).worker == large[0].worker
