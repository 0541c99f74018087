"""The executor ``dask``: each brain in a process of its own on a worker of a Dask cluster.

The service asks the cluster for a seat (`_cluster`), a task that holds the resources of one agent on some worker, and
connects to that worker (`_connection`). There a session (`_worker`) hosts the brain with the executor ``process``.
``distributed`` is imported when the first agent needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent_service.references import lazy

if TYPE_CHECKING:
    from agent_service.executors.dask._cluster_check import wrong_with_cluster
    from agent_service.executors.dask._executor import DaskExecutor

__all__ = ["DaskExecutor", "wrong_with_cluster"]

__getattr__ = lazy(__name__, {"DaskExecutor": "_executor", "wrong_with_cluster": "_cluster_check"})
