"""A service killed at any moment of a request: sent again with its key, it is carried out once."""

import contextlib
import random
import signal
import threading
import time

import httpx
import pytest
from services import wait_until

KILLS = 8


def ask(client, key):
    """Ask for two points with a key until it is answered; None when the connection breaks."""
    headers = {"Idempotency-Key": key, "Authorization": f"Apikey {client.api_key}"}
    with contextlib.suppress(httpx.TransportError):
        answer = httpx.post(f"{client.url}/api/v1/agents/a/suggest", json={"n_points": 2}, headers=headers, timeout=30)
        answer.raise_for_status()
        return answer.json()["suggestions"]
    return None


@pytest.mark.long
def test_each_key_makes_its_points_once(process):
    random.seed(7)
    with process.start() as client:
        client.create(
            name="a",
            type="brainbox:Walker",
            actuators=["x", "y"],
            sensors=["signal"],
            outcome="signal",
            loop={"approval": "required"},
        )
        client.start("a", paused=True)
        process.end(signal.SIGKILL)
    made = {}
    for number in range(KILLS):
        key = f"request-{number}"
        with process.start() as client:
            wait_until(lambda client=client: client.agent("a").state == "paused")
            asking = threading.Thread(target=lambda client=client, key=key: made.update({key: ask(client, key)}))
            asking.start()
            time.sleep(random.uniform(0, 0.03))
            process.end(signal.SIGKILL)
            asking.join()
    with process.start() as client:
        wait_until(lambda: client.agent("a").state == "paused")
        again = {key: ask(client, key) for key in made}
        every = [one.id for one in client.suggestions("a")]
    assert sorted(every) == sorted(one["id"] for points in again.values() for one in points)
    assert [len(points) for points in again.values()] == [2] * KILLS
    for key, points in made.items():
        assert points is None or points == again[key], "what was answered stays the answer"
