"""Peers that forgot what they ran: a queue server whose history was cleared, a blueapi that was started anew."""

import httpx

from agent_service.documents.intake import DocumentIntake
from agent_service.plans.sinks.blueapi.peer import BlueapiPeer
from agent_service.plans.sinks.blueapi.rest import BlueapiRest
from agent_service.plans.sinks.blueapi.sink import BlueapiSink
from agent_service.plans.sinks.queue_server.sink import QueueServerSink


class ForgetfulManager:
    """An RE Manager with an open environment; ``history`` and ``running`` are what it tells of."""

    where = "nowhere"
    probes = False
    user = "agent-service"

    def __init__(self, history=(), running=None):
        self.history = list(history)
        self.running = running
        self.asked = []

    async def ask(self, method, *, within_s=3.0, **params):
        del within_s
        self.asked.append((method, params))
        status = {
            "manager_state": "executing_queue" if self.running else "idle",
            "worker_environment_exists": True,
            "running_item_uid": self.running["item_uid"] if self.running else None,
            "plan_history_uid": str(len(self.history)),
        }
        answers = {
            "status": status,
            "history_get": {"items": self.history, "plan_history_uid": str(len(self.history))},
            "queue_get": {"items": [], "running_item": self.running or {}},
        }
        return {"success": True, **answers.get(method, {})}

    async def close(self):
        pass


def queue_server(may_begin, manager=None, **about):
    return QueueServerSink(manager or ForgetfulManager(), {}, poll_s=0.02, may_begin=may_begin, **about)


def blueapi(may_begin, answer=None, **about):
    known = {"/tasks": {"tasks": []}, "/worker/state": "IDLE", "/worker/task": {"task_id": None}}

    def forgot(request):
        found = known.get(request.url.path.removeprefix("/api/v1"))
        return httpx.Response(404 if found is None else 200, json=found)

    url = "http://127.0.0.1:9"
    rest = BlueapiRest(url, lambda: None)
    rest._client = httpx.AsyncClient(base_url=f"{url}/api/v1", transport=httpx.MockTransport(answer or forgot))
    peer = BlueapiPeer(url, lambda: None)
    return BlueapiSink(rest, peer, {}, DocumentIntake(None), session="s", may_begin=may_begin, **about)
