"""The page of a service whose queue server lost its worker: the button that gives the queue back, and its warning."""

import contextlib

import lab
import pytest
import wanted
from queue_rig import fates, serving, start
from queue_service import QueueService
from services import wait_until

from agent_service.client import Client

PRESS_AGAIN = "Press again: this ends whatever runs at the queue server, whoever's it is"


@pytest.mark.long
def test_the_environment_of_a_worker_that_died_is_destroyed_by_the_second_press(browser, tmp_path):
    with (
        contextlib.closing(QueueService(tmp_path / "queue")) as queue,
        serving(queue, tmp_path / "state") as service,
        Client(service.url, api_key=service.server.api_key) as client,
        contextlib.closing(browser.new_context()) as context,
    ):
        queue.open()
        page = context.new_page()
        page.set_default_timeout(lab.SHOWS_WITHIN_MS)
        page.goto(f"{service.url}/#code={client.login_code().code}")
        page.get_by_role("button", name="Stop everything", exact=True).wait_for()
        destroy = page.get_by_role("button", name="Destroy environment", exact=True)
        wanted.module("playwright.sync_api").expect(destroy).to_have_count(0)
        queue.kill(queue.worker)
        start(service, "aligner", loop={"max_runs": 1})
        page.get_by_text("the worker of the queue server does not answer").first.wait_for()
        destroy.focus()
        page.keyboard.down("Enter")
        again = page.get_by_role("button", name=PRESS_AGAIN)
        wanted.module("playwright.sync_api").expect(again).to_be_focused()
        page.keyboard.down("Enter")  # as a key does that is held
        page.keyboard.up("Enter")
        again.wait_for()
        assert queue.status()["worker_environment_exists"], "one press destroys nothing"
        page.keyboard.press("Enter")
        wait_until(
            lambda: not queue.status()["worker_environment_exists"], within_s=60, what="the end of the environment"
        )
        wait_until(lambda: not service.get("queue")["can_destroy"], within_s=30, what="news of it")
        assert fates(service, "aligner") == ["submitted"]
