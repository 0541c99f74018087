"""Services reduced to their journals, in processes that are killed and paused; and what must be true of it all then."""

import contextlib
import signal
import subprocess
import sys
from pathlib import Path

from services import wait_until

from agent_service.journal import reader

WITHIN_S = 120


class Writer:
    """One such process, and what it said so far."""

    def __init__(self, folder, url, name, lease_s=1.0):
        self.name = name
        self._log = folder / f"{name}.log"
        with self._log.open("w") as log:
            self.child = subprocess.Popen(
                [sys.executable, Path(__file__).with_name("journal_writer.py"), url, name, str(lease_s)],
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def said(self, word):
        """Return the numbers of the lines that begin with a word; the last line may be half written."""
        lines = [line.split() for line in self._log.read_text().rpartition("\n")[0].splitlines()]
        return [[int(number) for number in line[1:]] for line in lines if line[:1] == [word]]

    def until(self, word, more_than=0):
        wait_until(
            lambda: len(self.said(word)) > more_than,
            within_s=WITHIN_S,
            what=lambda: f"{word!r} of {self.name}, which said {self._log.read_text()[-1500:]}",
        )
        return self

    def writes_on(self):
        return self.until("wrote", more_than=len(self.said("wrote")) + 3)

    def signal(self, number):
        self.child.send_signal(number)

    def close(self):
        self.child.kill()
        self.child.wait(60)


class Writers:
    """A leader and a standby on one database; each that is struck has another started in its place."""

    def __init__(self, folder, server, lease_s=1.0):
        self.server = server
        self.url = server.database()
        self._folder = folder
        self._lease_s = lease_s
        self.all = []
        self.leader = self.another().until("wrote")
        self.standby = self.another().until("standby")

    def another(self):
        self.all.append(Writer(self._folder, self.url, f"w{len(self.all)}", self._lease_s))
        return self.all[-1]

    def kill_leader(self):
        """Kill it; the standby goes on."""
        self.leader.signal(signal.SIGKILL)
        self._turned_over()

    def pause_leader(self):
        """Pause it until the standby writes, wake it, and see it end without having written anything more."""
        old = self.leader
        old.signal(signal.SIGSTOP)
        self._turned_over()
        wrote = len(old.said("wrote"))
        old.signal(signal.SIGCONT)
        assert old.child.wait(WITHIN_S) == 75, old.said("wrote")
        late = old.said("wrote")[wrote:]
        assert len(late) <= 1, f"it wrote after it was woken: {late}"  # one may have been committed before the pause

    def _turned_over(self):
        self.leader, old = self.standby.until("wrote"), self.leader
        assert old.name != self.leader.name
        self.standby = self.another().until("standby")

    def pause_database(self, for_s):
        """Let the database say nothing for a while: nobody writes, nobody takes over, and the leader goes on."""
        with self.server.paused():
            wrote = len(self.leader.said("wrote"))
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.standby.child.wait(for_s)
            assert len(self.leader.said("wrote")) <= wrote + 1
        self._goes_on()

    def crash_database(self, for_s):
        """Kill the database and start it again after a while: the same."""
        self.server.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.standby.child.wait(for_s)
        self.server.start()
        self._goes_on()

    def _goes_on(self):
        self.leader.writes_on()
        assert self.leader.child.poll() is None
        assert not self.standby.said("leads"), "the standby took over from a leader that was well"

    def check(self):
        """Fail unless all that was acknowledged is there, once, without a hole, and epochs follow one another."""
        for one in self.all:
            one.close()
        facts = reader(self.url).read()
        assert [fact.seq for fact in facts] == list(range(1, len(facts) + 1)), "there is a hole"
        epochs = [epoch for (epoch,) in self.server.ask(self.url, "SELECT epoch FROM facts ORDER BY seq")]
        assert epochs == sorted(epochs), "a fact of an old epoch follows one of a new"
        written = {fact.seq: (fact.agent, fact.data["n"]) for fact in facts}
        told = {seq: (one.name, number) for one in self.all for seq, number, _ in one.said("wrote")}
        assert {seq: found for seq, found in told.items() if written.get(seq) != found} == {}, "what was told is lost"
        for one in self.all:
            numbers = [number for name, number in written.values() if name == one.name]
            assert numbers == list(range(1, len(numbers) + 1)), "one wrote a fact twice, or out of its order"
        return len(facts)

    def close(self):
        for one in self.all:
            one.close()
