"""A shell as a notebook has it, without a kernel: cells are run, and what they print is looked at."""

import warnings

from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config


class Shell:
    """A shell with the extension loaded."""

    def __init__(self, capsys):
        self.shell = InteractiveShell(
            config=Config(HistoryManager={"enabled": False}, InteractiveShell={"warn_venv": False})
        )
        self.names = self.shell.user_ns
        self._capsys = capsys
        self.run("%load_ext agent_service")

    def run(self, cell):
        """Run a cell that works; return what it printed."""
        said, wrong = self._run(cell, works=True)
        assert not wrong
        return said

    def refused(self, cell):
        """Run a cell that does not; return the one line that says why."""
        said, wrong = self._run(cell, works=False)
        assert not said, "nothing but the error"
        return one_line(wrong)

    def failed(self, cell):
        """Run a cell that raises; return what it shows of that."""
        said, wrong = self._run(cell, works=False)
        return f"{said}{wrong}".strip()

    def refused_with(self, cell):
        """Run a cell that does not work and shows something all the same; return that, and the line."""
        said, wrong = self._run(cell, works=False)
        return said, one_line(wrong)

    def complete(self, line):
        """Return what Tab offers at the end of a line, in both ways that front ends ask."""
        with provisionalcompleter():
            found = list(self.shell.Completer.completions(line, len(line)))
        assert all(one.end == len(line) for one in found)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PendingDeprecationWarning)
            last = line.rpartition("\n")[2]
            _, legacy = self.shell.complete(None, last, len(last))
        assert set(legacy) <= {one.text for one in found}
        return [one.text for one in found]

    @property
    def client(self):
        return self.names["service"].client

    @property
    def panels(self):
        return self.shell.find_line_magic("agent_serve").__self__.session._panels

    def _run(self, cell, *, works):
        self._capsys.readouterr()
        result = self.shell.run_cell(cell)
        said, wrong = self._capsys.readouterr()
        assert result.success is works, wrong
        return said, wrong


def one_line(wrong):
    assert wrong.startswith("UsageError: ")
    assert wrong.count("\n") == 1, "one line"
    return wrong.removeprefix("UsageError: ").strip()
