"""What is wrong with a cluster, found without putting an agent on it: what ``agent-service check`` asks."""

from __future__ import annotations

import asyncio
import importlib.util
from typing import TYPE_CHECKING, Any

from agent_service.errors import BackendUnavailable
from agent_service.executors.dask._cluster import Cluster, lacking_resources
from agent_service.executors.dask._versions import PACKAGE, minor, misfit, versions
from agent_service.executors.dask.config import LOCAL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from agent_service.executors.dask.config import DaskSection


def wrong_with_cluster(section: DaskSection, wanted: Sequence[Mapping[str, float]]) -> list[str]:
    """Return what would keep agents from living on a cluster, in words; blocks for some seconds at most.

    ``wanted`` are the resources that agents take, each of its own. A cluster of our own is not started.
    """
    if importlib.util.find_spec("distributed") is None:
        return ['distributed is not installed: pip install "bluesky-agent-service[dask]"']
    if section.address == LOCAL:
        return [*dict.fromkeys(Cluster(section).without(lacking_resources({}, each)) for each in wanted if each)]
    return asyncio.run(_look(section, wanted))


async def _look(section: DaskSection, wanted: Sequence[Mapping[str, float]]) -> list[str]:
    cluster = Cluster(section)
    try:
        workers = await cluster.workers()
        if not workers:
            return [f"{cluster} has no worker; start one with: dask worker {section.address}"]
        wrong = list(_misfits(await cluster.versions()))
        lacking = filter(None, (lacking_resources(workers, resources) for resources in wanted))
        wrong += [cluster.without(what) for what in lacking]
    except BackendUnavailable as error:
        return [error.detail]
    finally:
        await cluster.close()
    return list(dict.fromkeys(wrong))


def _misfits(workers: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for worker, about in workers.items():
        packages = about["packages"]
        there = {"Python": minor(packages["python"]), **({PACKAGE: packages[PACKAGE]} if packages.get(PACKAGE) else {})}
        if why := misfit(worker, there, versions()):
            yield why
