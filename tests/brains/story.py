"""What each family goes through: runs, an edit, a rejection, a failure, kill -9, a PATCH, a restart, a warm start."""

import contextlib
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from families import Family
from service_process import Process
from services import wait_until

from agent_service.errors import IllegalTransition

RUNS = 15
OPEN = ("proposed", "approved", "submitted", "running", "measured")
WITHIN_S = 300.0  # there are several in one service, each of which may import its library for half a minute


class Story:
    """One agent's life in two lives of a service; what went wrong is kept for its test."""

    def __init__(self, name: str, family: Family, executor: str, folder: Path) -> None:
        self.name, self.family, self.executor, self.folder = name, family, executor, folder
        self.error: BaseException | None = None
        self.client = None

    def end(self):
        """Raise what went wrong, if anything did."""
        if self.error is not None:
            raise self.error

    def tell(self, part, client):
        """Live a part of it, unless one before went wrong."""
        if self.error is None:
            self.client = client
            try:
                getattr(self, part)()
            except BaseException as error:  # noqa: BLE001 - it is that family's test that fails
                self.error = error

    def spec(self, **fields):
        return {
            "type": self.family.type,
            "config": self.family.config,
            "actuators": ["x", "y"],
            "sensors": ["flux", "width"],
            "outcome": self.family.outcome,
            "space": {"x": [-3, 3], "y": [-3, 3]},
            "plan": "measure",
            "executor": self.executor,
            "guardrails": {"unbounded": ["x", "y"]},
            "loop": {"max_runs": RUNS, "max_pending": 2},
            **fields,
        }

    def before(self):
        client, name = self.client, self.name
        client.create({**self.spec(), "name": name})
        client.start(name, wait_s=WITHIN_S)
        self.runs(4)
        self.pause()
        self.edited = self.suggest()
        client.approve(self.edited, {"x": 0.5, "y": 0.25})
        self.measured(self.edited)
        self.rejected = self.suggest()
        client.reject(self.rejected, "not there")
        self.failed = self.suggest()
        (self.folder / f"fail-{self.failed}").touch()
        client.approve(self.failed)
        self.measured(self.failed)
        if self.family.most_pending != 1:
            for one in client.suggest(name, 2, wait_s=WITHIN_S):  # or fewer, at the end of a generation
                client.approve(one.id)

    def killed(self):
        """Let it run into its death."""
        self.client.resume(self.name)

    def after(self):
        client, name = self.client, self.name
        if self.until("running", "stopped", "failed").state == "stopped":  # it was quick
            client.update(name, loop={"max_runs": RUNS + 5})
            client.start(name, paused=True, wait_s=WITHIN_S)
        self.pause()
        replayed = self.report()
        ingested = client.agent(name).counts.ingested
        assert replayed["n_measured"] == ingested, replayed
        assert (client.suggestion(self.rejected).state, client.suggestion(self.failed).state) == ("rejected", "failed")
        assert client.suggestion(self.edited).point == {"x": 0.5, "y": 0.25}
        client.update(name, config={**self.family.config, **self.family.changed})
        assert self.report() == replayed
        client.restart(name, wait_s=WITHIN_S)
        self.pause()
        client.resume(name)
        assert re.fullmatch(r"max_runs reached \((\d+) of \1\)", self.until("stopped", "failed").reason)
        self.warm()

    def warm(self):
        client, name = self.client, f"{self.name}-warm"
        wait_until(lambda: not client.service().archive.runs_behind, within_s=WITHIN_S, what="the catalogue")
        runs = [one.run_uid for one in client.suggestions(self.name, state="ingested")]
        client.create({**self.spec(), "name": name, "warm_start": runs, "loop": {"max_runs": 1}})
        client.start(name, wait_s=WITHIN_S)
        wait_until(lambda: client.agent(name).state in ("stopped", "failed"), within_s=WITHIN_S)
        status = client.agent(name)
        assert status.reason == "max_runs reached (1 of 1)", status.reason
        assert (status.counts.from_runs, status.counts.ingested) == (len(runs), 1)

    # ---

    def runs(self, number):
        def there():
            status = self.client.agent(self.name)
            assert status.state in ("running", "starting"), status.reason
            return status.progress.done >= number

        wait_until(there, within_s=WITHIN_S, what=f"{number} runs of {self.name}")

    def pause(self):
        """Pause it, and let all that it has under way come to its end."""
        status = self.client.agent(self.name)
        assert status.state != "failed", status.reason
        if status.state != "paused":
            self.client.pause(self.name)

        def at_rest():
            thinks = self.client.agent(self.name).busy
            open_ = [one for one in self.client.suggestions(self.name) if one.state in OPEN]
            for one in open_:
                if one.state in ("proposed", "approved"):
                    with contextlib.suppress(IllegalTransition):  # it has begun
                        self.client.reject(one.id, "paused")
            return not (thinks or open_)

        wait_until(at_rest, within_s=WITHIN_S, what=f"{self.name} at rest")

    def suggest(self):
        """Ask for a point; the loop may have asked for one just before, which is rejected first."""
        [one] = wait_until(
            lambda: self.pause() or self.client.suggest(self.name, wait_s=WITHIN_S), within_s=WITHIN_S, what="a point"
        )
        return one.id

    def measured(self, suggestion):
        self.client.resume(self.name)
        wait_until(lambda: self.client.suggestion(suggestion).state in ("ingested", "failed"), within_s=WITHIN_S)
        self.pause()

    def report(self):
        return self.client.report(self.name, wait_s=WITHIN_S).report

    def until(self, *states):
        """Wait until it is in one of these states; what it does instead is said."""
        with contextlib.suppress(pytest.fail.Exception):
            wait_until(lambda: self.client.agent(self.name).state in states, within_s=WITHIN_S)
        status = self.client.agent(self.name)
        open_ = [(one.state, one.point) for one in self.client.suggestions(self.name) if one.run_uid is None]
        assert status.state in states, (status.model_dump(exclude={"spec", "best"}), open_)
        return status


@contextlib.contextmanager
def told(stories, folder, path):
    """Tell stories in one service that is killed in the middle: their libraries are imported once."""
    process = Process(folder, catalog="embedded", startup="beam", path=path)
    try:
        for parts in (("before", "killed"), ("after",)):
            with process.start(timeout_s=WITHIN_S) as client, ThreadPoolExecutor(3) as pool:
                for part in parts:
                    list(pool.map(lambda story, part=part, client=client: story.tell(part, client), stories))
                if part == "killed" and any(story.error is None for story in stories):
                    wait_until(lambda client=client: client.queue().current, within_s=WITHIN_S)
                process.end(signal.SIGKILL)
        yield
    finally:
        process.kill()
