"""HAProxy, with the backend of docs/deploy.md, before two services of which one leads: only that one answers."""

import contextlib
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import httpx
import pytest
import wanted
from queue_service import free_ports
from services import wait_until
from standby_pair import KEY, Serving

from agent_service import Client
from agent_service.errors import ServiceError

PAGE = Path(__file__).parents[2] / "docs" / "deploy.md"
HAPROXY = """
defaults
    mode http
    timeout connect 1s
    timeout client 1h
    timeout server 1h
frontend all
    bind 127.0.0.1:{port}
    default_backend agents
{backend}
"""


def haproxy():
    found = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    return wanted.needs(found, "no HAProxy on this machine; apt-get install haproxy")


@contextlib.contextmanager
def balanced(folder, first, second):
    """Run HAProxy before two services; gives its address."""
    program, [port] = haproxy(), free_ports(1)
    backend = PAGE.read_text().partition("```haproxy\n")[2].partition("```")[0]
    for name, one in (("beamline-a.example.org:8000", first), ("beamline-b.example.org:8000", second)):
        assert name in backend
        backend = backend.replace(name, f"127.0.0.1:{one.port}")
    (folder / "haproxy.cfg").write_text(HAPROXY.format(port=port, backend=backend))
    child = subprocess.Popen([program, "-q", "-f", folder / "haproxy.cfg"])
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        child.terminate()
        child.wait(60)


class Asking:
    """Somebody who asks again and again, on a connection of his own each time; what was answered."""

    def __init__(self, url):
        self.answers = []
        self._url = url
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def _ask(self):
        headers = {"Authorization": f"Apikey {KEY}"}
        while not self._ended.wait(0.02):
            try:
                answer = httpx.get(f"{self._url}/api/v1/agents", headers=headers, timeout=30)
            except httpx.TransportError:
                self.answers.append((None, ""))
            else:
                self.answers.append((answer.status_code, answer.text))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join(60)

    def until_answered(self):
        known = len(self.answers)
        wait_until(lambda: 200 in [status for status, _ in self.answers[known + 1 :]], within_s=120)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM], ids=["killed", "paused", "stopped"])
def test_only_the_leader_is_asked_and_a_stream_goes_on_at_the_next(postgres, tmp_path, how):
    url = postgres.database()
    first, second = (Serving(tmp_path / name, url=url) for name in ("first", "second"))
    with contextlib.closing(first), contextlib.closing(second), balanced(tmp_path, first, second) as address:
        first.start().until_ready()
        second.start().until_standing_by()
        with Asking(address) as asking, Client(address, api_key=KEY) as client:
            asking.until_answered()
            heard, following = [], threading.Thread(target=lambda: follow(client, heard))
            following.start()
            walker = {"name": "walker", "type": "brainbox:Walker", "actuators": ["x"], "sensors": ["signal"]}
            client.create(**walker, outcome="signal", executor="thread")
            wait_until(lambda: heard, within_s=60)
            first.child.send_signal(how)
            second.until_ready()
            asking.until_answered()
            if how == signal.SIGSTOP:
                first.child.send_signal(signal.SIGCONT)
            assert first.child.wait(120) in (75, -9, 0)
            wait_until(lambda: deleted(client), within_s=60)
            following.join(120)
        assert not following.is_alive()
        assert [status for status, text in asking.answers if "standing by" in text] == []
        seqs = [event.seq for event in heard if event.seq]
        assert seqs == list(range(seqs[0], seqs[-1] + 1)), "an event is missing"


def follow(client, heard):
    """Hear all until the agent is removed, wherever the service is by then."""
    for event in client.events():
        heard.append(event)
        if event.data.get("removed"):
            return


def deleted(client):
    with contextlib.suppress(ServiceError, httpx.HTTPError):
        client.delete("walker")
        return True
    return False
