"""A real blueapi, and a real STOMP broker for it, on loopback, in processes that a test starts, kills and ends."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]
PROFILE = Path(__file__).parent / "blueapi_profile"
ENVIRONMENT = Path(sys.prefix) / "blueapi"
SESSION = "cm12345-1"
WITHIN_S = 300.0  # it imports for long where others work too
PLANS = ("agent_service.plans.blueapi", "bl_plans")
"""The modules that it takes plans from."""
CONFIG = """
api: {{url: "http://127.0.0.1:{port}"}}
stomp: {{enabled: {stomp}, url: "tcp://127.0.0.1:{stomp_port}"}}
logging: {{level: WARNING}}
env:
  metadata: {{instrument: tst}}
  sources:
{plans}
    - {{kind: deviceManager, module: bl_devices}}
"""


def needs_blueapi():
    """Skip where the environment was not made, unless CI is set: there it must be."""
    if not (ENVIRONMENT / ".installed").exists():
        why = f"there is no blueapi in {ENVIRONMENT}; `make test` puts it there"
        pytest.fail(why) if os.environ.get("CI") else pytest.skip(why)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class _Process:
    def __init__(self, command, log, **environment):
        self._log = log
        with log.open("ab") as out:
            self._child = subprocess.Popen(
                list(map(str, command)),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**os.environ, **environment},
                start_new_session=True,  # it has children: all end together
            )

    def until(self, there, what):
        deadline = time.monotonic() + WITHIN_S
        while not there():
            assert self._child.poll() is None, f"{what} ended: {self._log.read_text()[-4000:]}"
            assert time.monotonic() < deadline, f"{what} did not come up: {self._log.read_text()[-4000:]}"
            time.sleep(0.02)

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait(20)


class Broker:
    """A STOMP broker, coilmq."""

    def __init__(self, folder):
        self._folder = folder
        self.port = free_port()
        self.start()

    def start(self):
        command = [ENVIRONMENT / "bin" / "coilmq", "-b", "127.0.0.1", "-p", self.port, "--rundir", self._folder]
        self._process = _Process(command, self._folder / "coilmq.log")
        self._process.until(lambda: answers(self.port), "coilmq")

    def kill(self):
        self._process.kill()


class Login:
    """A provider of tokens that a blueapi can ask for, as that of a facility."""

    def __init__(self, folder):
        needs_blueapi()
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [ENVIRONMENT / "bin" / "python", Path(__file__).with_name("oidc_provider.py"), port]
        self._process = _Process(command, folder / "oidc.log")
        self._process.until(lambda: answers(port), "the provider of tokens")

    def token(self, for_s=60):
        """What a login gives: an access token for so many seconds."""
        return httpx.get(f"{self.url}/token", params={"for_s": for_s}, timeout=20).json()["access_token"]

    def kill(self):
        self._process.kill()


class Blueapi:
    """A blueapi with the plans and devices of ``blueapi_profile``, and a person who uses it beside us."""

    def __init__(self, folder, broker=None, *, login=None, plans=PLANS):
        needs_blueapi()
        self._login = login
        self._folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.documents = folder / "documents.jsonl"
        self._config = folder / "blueapi.yaml"
        stomp = {"stomp": str(broker is not None).lower(), "stomp_port": broker.port if broker else 61613}
        asks = f"oidc: {{issuer: '{login.url}', client_id: agents}}\n" if login else ""
        sources = "\n".join(f"    - {{kind: planFunctions, module: {module}}}" for module in plans)
        self._config.write_text(CONFIG.format(port=self.port, plans=sources, **stomp) + asks)
        self.start()

    def start(self):
        self._process = _Process(
            [ENVIRONMENT / "bin" / "blueapi", "-c", self._config, "serve"],
            self._folder / "blueapi.log",
            PYTHONPATH=os.pathsep.join([str(ROOT), str(PROFILE)]),
            OTEL_SDK_DISABLED="true",
            DOCUMENTS=str(self.documents),
        )
        self._process.until(self._is_up, "blueapi")

    def kill(self):
        self._process.kill()

    def _is_up(self):
        try:
            state = self.ask("GET", "/environment")
        except httpx.TransportError:
            return False
        assert not state.get("error_message"), state
        return state["initialized"]

    def ask(self, method, path, **body):
        headers = {"Authorization": f"Bearer {self._login.token()}"} if self._login else {}
        answer = httpx.request(method, f"{self.url}/api/v1{path}", json=body or None, timeout=20, headers=headers)
        return answer.json()

    # --- what a person does

    def tasks(self):
        return self.ask("GET", "/tasks")["tasks"]

    def scan(self, seconds=60.0):
        """Begin a person's scan, and return the id of its task."""
        request = {"name": "persons_scan", "params": {"seconds": seconds}, "instrument_session": SESSION}
        task_id = self.ask("POST", "/tasks", **request)["task_id"]
        assert self.ask("PUT", "/worker/task", task_id=task_id) == {"task_id": task_id}
        return task_id

    def task(self, task_id):
        return self.ask("GET", f"/tasks/{task_id}")

    def stop(self, new_state="ABORTING", reason="a person's word"):
        return self.ask("PUT", "/worker/state", new_state=new_state, reason=reason)

    def until(self, condition, what="what was waited for"):
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline, f"{what} did not come"
            time.sleep(0.02)


def answers(port):
    """Whether somebody listens on a port."""
    try:
        socket.create_connection(("127.0.0.1", port), 0.3).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def blueapi(folder, *, stomp=False, login=None, plans=PLANS):
    """Run a blueapi, with a broker if asked for: ``.broker``; with ``login`` it lets in who has a token of that."""
    needs_blueapi()
    broker = Broker(folder) if stomp else None
    try:
        peer = Blueapi(folder, broker, login=login, plans=plans)
        peer.broker = broker
        try:
            yield peer
        finally:
            peer.kill()
    finally:
        if broker is not None:
            broker.kill()


class StompPublisher:
    """Sends documents as a blueapi does."""

    def __init__(self, broker):
        import stomp

        self._connection = stomp.Connection([("127.0.0.1", broker.port)])
        self._connection.connect(wait=True)

    def __call__(self, name, document):
        body = json.dumps({"name": name, "doc": document, "task_id": "t"})
        self._connection.send("/topic/public.worker.event", body)

    def close(self):
        self._connection.disconnect()


class DocumentListener:
    """Hears the documents that a blueapi sends to its broker, in a thread of its own."""

    def __init__(self, port, hear):
        import stomp

        class Listener(stomp.ConnectionListener):
            def on_message(self, frame):
                event = json.loads(frame.body)
                if "doc" in event:
                    hear(event["name"], event["doc"])

        self._connection = stomp.Connection([("127.0.0.1", port)])
        self._connection.set_listener("", Listener())
        self._connection.connect(wait=True)
        self._connection.subscribe("/topic/public.worker.event", id="1", ack="auto")

    def close(self):
        self._connection.disconnect()
