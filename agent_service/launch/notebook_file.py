"""A notebook's code cells, run in this process without Jupyter.

Cells tagged ``notebook-only`` are left out, no plots are drawn, and ``await`` works at the top level as in Jupyter.
The format is nbformat 4's: https://nbformat.readthedocs.io
"""

from __future__ import annotations

import json
import os
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from agent_service.errors import ServiceError, UsageError, texts
from agent_service.plans.ipython_profile import do_nothing, quiet_config

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOTEBOOK_ONLY: Final = "notebook-only"
"""Tag of cells that only a person runs."""

_PLOT_MAGICS: Final = ("matplotlib", "pylab")


@dataclass(frozen=True, slots=True)
class Cell:
    """A code cell; ``number`` is its place among the notebook's code cells, from 1."""

    number: int
    source: str
    tags: frozenset[str]

    @property
    def runs_headless(self) -> bool:
        """Whether it runs without a person."""
        return NOTEBOOK_ONLY not in self.tags


def code_cells(path: Path) -> list[Cell]:
    """Return the code cells of a notebook; `UsageError` when the file cannot be read, or is no notebook of format 4."""
    try:
        notebook: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}; give the path of a notebook") from None
    except ValueError:
        raise UsageError(f"{path} is no notebook: it is not JSON; save it again in Jupyter") from None
    try:
        cells = [cell for cell in notebook["cells"] if cell.get("cell_type") == "code"]
    except (TypeError, KeyError):
        raise UsageError(f"{path} is no notebook of format 4; open it in a Jupyter of today and save it") from None
    return [
        Cell(number, "".join(cell["source"]), frozenset(cell.get("metadata", {}).get("tags", ())))
        for number, cell in enumerate(cells, 1)
    ]


def run(path: Path, *, on_cell: Callable[[int, int], None]) -> None:
    """Run a notebook's code cells, in the main thread.

    ``on_cell`` is called before each cell, with its number and how many there are. If a cell fails, later ones are not
    run, and `ServiceError` says which cell, which line, and why.
    """
    cells = code_cells(path)
    shell = _shell(path)
    for cell in cells:
        if not cell.runs_headless or not cell.source.strip():
            continue
        on_cell(cell.number, len(cells))
        result = shell.run_cell(cell.source, store_history=False)
        error = result.error_before_exec or result.error_in_exec
        if isinstance(error, KeyboardInterrupt):
            raise error
        if error is not None:
            line = _line(error)
            where = f"code cell {cell.number}" + (f", line {line}" if line else "")
            raise ServiceError(f"{path.name}: {where}: {_described(error)}") from error


def _shell(path: Path) -> Any:
    from IPython.core.interactiveshell import InteractiveShell  # noqa: PLC0415 - only for notebooks

    os.environ.setdefault("MPLBACKEND", "agg")
    InteractiveShell.clear_instance()
    shell: Any = InteractiveShell.instance(config=quiet_config())
    shell.user_ns.update({"__name__": "__main__", "__file__": str(path)})
    shell.showtraceback = shell.showsyntaxerror = do_nothing  # told in one line by `run`
    for name in _PLOT_MAGICS:
        shell.register_magic_function(do_nothing, "line", name)
    return shell


def _line(error: BaseException) -> int | None:
    """Return the line of the cell that failed: the outermost frame of code that IPython compiled."""
    if isinstance(error, SyntaxError):
        return error.lineno
    for frame, line in traceback.walk_tb(error.__traceback__):
        name = frame.f_code.co_filename
        if "ipython-input" in name or "ipykernel_" in name:
            return line
    return None


def _described(error: BaseException) -> str:
    """Return an error in one line; one of ours needs no class name."""
    text = texts.one_line(str(error))
    ours = isinstance(error, ServiceError) or type(error).__name__ == "UsageError"
    return text if ours and text else f"{type(error).__name__}: {text}".rstrip(": ")
