"""The item of a session: a plan in the worker of a queue server that claims many suggestions of one agent."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from agent_service.plans.sinks.queue_server.queued_plan import SESSION_ID

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent_service.plans.sinks.queue_server.queued_plan import QueuedPlan
    from agent_service.protocols import PlanOrder

SESSION: Final = "run_session"
"""The plan; see `client.session`."""

SERVICE_ID: Final = "agent_service_uid"


def session_order(order: PlanOrder) -> PlanOrder:
    """Return the order of a session that measures the likes of an order."""
    return replace(order, suggestion_id="", point={})


def session_item(order: PlanOrder, key: str, *, service: str, idle_s: float) -> dict[str, Any]:
    """Return the item of a session: ``key`` is its own id, ``service`` that of the service, across its restarts.

    The id of a suggestion is in the start document of its run only: the item is not of one.
    """
    about = {"agent": order.agent, "plan": order.plan, "idle_s": idle_s, "session": key}
    devices = {"actuators": list(order.actuators), "sensors": list(order.sensors)}
    meta = {"agent_name": order.agent, SESSION_ID: key, SERVICE_ID: service}
    return {"item_type": "plan", "name": SESSION, "kwargs": {**about, **devices}, "meta": meta}


def is_session(plan: QueuedPlan) -> bool:
    """Return whether a plan at the queue server is a session, not a move."""
    return plan.is_move and not plan.order.point


def session_of(item: Mapping[str, Any], *, service: str) -> tuple[str, str] | None:
    """Return agent and key of the session that an item is, None when it is none of this service's."""
    meta: Mapping[str, Any] = item.get("meta") or {}
    if item.get("name") != SESSION or meta.get(SERVICE_ID) != service:
        return None
    return str(meta.get("agent_name")), str(meta.get(SESSION_ID))
