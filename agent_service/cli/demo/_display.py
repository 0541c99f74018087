"""How the demo shows itself: live on a terminal, as plain lines anywhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from agent_service.errors import texts

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from agent_service.cli.demo._trace import Trace

_LINES: Final = 6
_FRAMES_PER_S: Final = 8
_LABELS_WIDTH: Final = 16


def display_for(console: Console) -> LiveDisplay | LineDisplay:
    """Return the live display for a terminal that can show one, and plain lines otherwise."""
    return LiveDisplay(console) if console.is_terminal and not console.is_dumb_terminal else LineDisplay(console)


class LiveDisplay:
    """Progress bars with the time left, best and last point, and a trace; redrawn in place, on a terminal."""

    def __init__(self, console: Console) -> None:
        self._ascii = not console.encoding.startswith("utf")
        self._trace: Trace | None = None
        self._progress = Progress(
            TextColumn("{task.description:<12}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[note]}"),
            console=console,
        )
        self._loop = self._progress.add_task("measuring", total=None, note="")
        self._archive = self._progress.add_task("archiving", total=None, note="", visible=False)
        self._live = Live(self, console=console, refresh_per_second=_FRAMES_PER_S)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = Table.grid(padding=(0, 2))
        trace = self._trace
        if trace is not None:
            line = trace.sparkline(max(10, options.max_width - _LABELS_WIDTH), ascii_only=self._ascii)
            rows = [
                ("best measured", trace.text(trace.best)),
                ("best by model", trace.text(trace.by_model)),
                ("last point", trace.text(trace.last)),
                ("trace", line),
            ]
            if trace.last_failure:
                rows.append(("failed", f"{trace.failures}, the last: {trace.last_failure}"))
            for label, text in rows:
                table.add_row(Text(label, style="dim"), Text(texts.one_line(text), overflow="ellipsis", no_wrap=True))
        yield Group(self._progress, table)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, trace: Trace) -> None:
        """Show the loop as it is now."""
        self._trace = trace
        self._progress.update(self._loop, completed=trace.done, total=trace.total, note=trace.state.value)

    def archiving(self, done: int, total: int, note: str) -> None:
        """Show how many of the runs are in the catalogue."""
        self._progress.update(self._archive, completed=done, total=total, note=note, visible=True)


class LineDisplay:
    """A plain line every few runs, without control codes: for pipes, files and CI."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown = 0
        self._failures = 0
        self._archived: tuple[int, str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: each line stands where it is."""

    def show(self, trace: Trace) -> None:
        """Show the loop as it is now, if enough has happened since the last line."""
        if trace.failures > self._failures:
            self._failures = trace.failures
            self._say(f"a suggestion failed: {trace.last_failure}")
        every = max(1, trace.total // _LINES)
        if trace.done >= self._shown + every or (trace.done == trace.total > self._shown):
            self._shown = trace.done
            self._say(
                f"run {trace.done} of {trace.total}: {trace.text(trace.last)}; "
                f"best measured: {trace.text(trace.best)}; best by model: {trace.text(trace.by_model)}"
            )

    def archiving(self, done: int, total: int, note: str) -> None:
        """Show how many of the runs are in the catalogue, when that has changed."""
        if self._archived is not None and done < total:
            before, last_note = self._archived
            if note == last_note and done < before + max(1, total // _LINES):
                return
        if self._archived != (done, note):
            self._archived = (done, note)
            self._say(f"archiving {done} of {total}{f' ({note})' if note else ''}")

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)
