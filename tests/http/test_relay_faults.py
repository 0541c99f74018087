"""A relay when a service is away, comes back, or begins a new journal; and with followers that ask for too much."""

import asyncio
import contextlib
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import wanted
from queue_service import free_ports
from services import running, wait_until
from two_services import Two

from agent_service import Client
from agent_service.server.relay.broadcast import Broadcast, Sent
from agent_service.server.relay.followed import MOST_KEPT, Followed


@pytest.fixture
def two(tmp_path):
    with contextlib.ExitStack() as stack:
        yield Two(tmp_path, stack, ports=free_ports(2))


def live(two, name):
    return httpx.get(f"{two.url}/{name}/healthz").status_code == 200


def heard(events):
    """Yield what the stream of all tells: the service, and the event or None for what is said of the link."""
    for event in events:
        told = json.loads(event.data)
        if event.event == "link":
            yield told["name"], told["state"], None
        elif "service" in told:
            yield told["service"], None, told["event"]


def test_a_service_that_is_away_says_so_the_other_goes_on_and_no_fact_is_missing_when_it_is_back(two):
    two.two.create("before")
    with two.stream("/api/v1/events", *two.keys) as stream:
        next(stream)
        events = heard(stream)
        two.two.create("just-before")
        last = next(event["seq"] for _, _, event in events if event and event["agent"] == "just-before")
        two.two.close()
        assert next(link for name, link, _ in events if name == "two" and link) == "lost"
        states = {one["name"]: one for one in two.get("api/v1/services", *two.keys).json()}
        assert (states["one"]["state"], states["two"]["state"]) == ("live", "lost")
        assert states["two"]["why"]
        two.one.create("meanwhile")
        assert next(event["agent"] for name, _, event in events if name == "one" and event["seq"]) == "meanwhile"
        with running(two.states[1], service={"port": two.ports[1]}) as again:
            again.create("after")
            seqs, link = [last], None
            for name, said, event in events:
                if name == "two":
                    link = said or link
                    seqs += [event["seq"]] if event is not None and event["seq"] else []
                    if event is not None and event["agent"] == "after":
                        break
        assert link == "live"
        assert seqs == list(range(last, last + len(seqs)))


def test_a_service_with_another_journal_is_told_to_who_follows_and_no_fact_of_the_old_one_comes(two):
    for number in range(5):
        two.two.create(f"old{number}")
    two.two.close()
    for part in two.states[1].glob("journal.db*"):
        part.unlink()
    with running(two.states[1], service={"port": two.ports[1]}) as again:
        wait_until(lambda: live(two, "two"), within_s=60)
        again.create("new")
        with two.stream("/two/api/v1/events", two.keys[1], last=1000) as events:
            assert next(events).event == "reset"
        with two.stream("/two/api/v1/events", two.keys[1], last=1) as events:
            again.create("newer")
            told = []
            while "newer" not in [one["agent"] for one in told]:
                told.append(json.loads(next(events).data))
            assert not [one["agent"] for one in told if (one["agent"] or "").startswith("old")]


def test_a_table_comes_in_the_form_that_is_asked_for(two):
    two.one.create("table")
    headers = {"Authorization": f"Apikey {two.keys[0]}", "Accept": "text/csv"}
    path = "/api/v1/agents/table/points"
    straight, relayed = (httpx.get(f"{url}{path}", headers=headers) for url in (two.one.url, f"{two.url}/one"))
    assert relayed.headers["content-type"].startswith("text/csv")
    assert (relayed.text, relayed.headers["content-type"]) == (straight.text, straight.headers["content-type"])
    assert two.get("one/api/v1/agents/table/points", two.keys[0]).json()["items"] == []


def test_a_head_that_does_not_end_is_refused(two):
    host, port = two.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as one:
        one.sendall(b"GET / HTTP/1.1\r\nx: ")
        with contextlib.suppress(ConnectionError):
            for _ in range(64):
                one.sendall(b"x" * 10_000)
            assert one.recv(100).startswith(b"HTTP/1.1 431")


async def test_answers_are_kept_for_a_while_and_not_without_number():
    http = httpx.AsyncClient(transport=httpx.MockTransport(lambda request: httpx.Response(200, json=[])))
    async with http:
        one = Followed("one", "http://one", http=http, key="k", put_everywhere=lambda sent: None)
        one.live = True
        for number in range(3 * MOST_KEPT):
            await one.read("/api/v1/agents", f"limit={number}", accept="")
        assert len(one._answers) <= MOST_KEPT


async def test_a_place_is_not_looked_for_in_the_journal_before():
    events = Broadcast()
    for seq in range(1, 10):
        events.put(Sent(b"old", "one", seq, "agent.state"))
    events.put(Sent(b"reset", "one", None, "reset"))
    events.put(Sent(b"new", "one", 6, "agent.state"))
    events.wake()
    assert events.place_after(6) == events.end
    assert events.place_after(3) is None
    assert events.place_after(9) is None
    await asyncio.sleep(0)


NGINX = """
daemon off; pid {folder}/pid; error_log {folder}/errors; events {{}}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxied;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{
    listen 127.0.0.1:{port};
{location}
  }}
}}
"""


def test_below_a_path_of_a_proxy_its_page_its_reads_and_its_events_are_there(two, tmp_path):
    nginx = wanted.needs(shutil.which("nginx"), "no nginx; apt-get install nginx-light")
    page = (Path(__file__).parents[2] / "docs" / "deploy.md").read_text()
    location = page.partition("```nginx\n")[2].partition("```")[0].replace("http://127.0.0.1:8000", two.url)
    [port] = free_ports(1)
    (tmp_path / "nginx.conf").write_text(NGINX.format(folder=tmp_path, port=port, location=location))
    proxy = subprocess.Popen([nginx, "-p", tmp_path, "-e", tmp_path / "errors", "-c", tmp_path / "nginx.conf"])
    address = f"http://127.0.0.1:{port}/agents"

    def answers():
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{address}/healthz").is_success
        return False

    try:
        wait_until(answers, within_s=60, what="nginx to answer")
        for name in ("", "relay.js", "dom.js", "page.css"):
            assert httpx.get(f"{address}/{name}").is_success
        with Client(f"{address}/one", api_key=two.keys[0]) as client:
            events = client.events()
            next(events)
            two.one.create("proxied")
            assert next(event for event in events if event.kind == "agent.state").agent == "proxied"
            assert client.agent("proxied").state == "created"
    finally:
        proxy.terminate()
        proxy.wait(20)


def test_more_may_connect_than_a_shell_lets_a_process_have_files(two):
    host, port = two.url.removeprefix("http://").split(":")
    with contextlib.ExitStack() as stack:
        many = [stack.enter_context(socket.create_connection((host, int(port)), timeout=30)) for _ in range(100)]
        for one in many:
            one.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert all(one.recv(100).startswith(b"HTTP/1.1 200") for one in many)


IMPATIENT = """
import sys
from agent_service.cli import _relay
_relay._TAKES_NOTHING_MS = 1000
_relay.relay(sys.argv[1:], host="127.0.0.1", port=0)
"""


def test_who_reads_nothing_has_no_place_for_ever(two):
    child = subprocess.Popen(
        [sys.executable, "-c", IMPATIENT, f"one={two.one.url}"],
        env={**os.environ, "AGENT_SERVICE_API_KEY": two.keys[0]},
        stdout=subprocess.PIPE,
        text=True,
    )
    with contextlib.ExitStack() as stack:
        stack.callback(child.communicate)
        stack.callback(child.kill)
        port = int(child.stdout.readline().rpartition(":")[2])
        wait_until(lambda: httpx.get(f"http://127.0.0.1:{port}/one/healthz").is_success, within_s=60)
        deaf = stack.enter_context(socket.socket())
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", port))
        head = f"GET /one/api/v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Apikey {two.keys[0]}\r\n\r\n"
        deaf.sendall(head.encode())
        points, numbers = [{"x": n / 3} for n in range(3000)], itertools.count()

        def ended():
            two.one.create(f"large{next(numbers)}", type="sequence", config={"points": points}, actuators=["x"])
            return there not in Path("/proc/net/tcp").read_text()  # as the relay's end has it

        there = f"0100007F:{port:04X} 0100007F:{deaf.getsockname()[1]:04X} "
        assert there in Path("/proc/net/tcp").read_text()
        wait_until(ended, within_s=120)
