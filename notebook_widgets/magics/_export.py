"""``%agent_export``: the notebook that runs here, as a folder that serves it on another machine."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from agent_service.errors import UsageError

if TYPE_CHECKING:
    from notebook_widgets.magics._options import Line
    from notebook_widgets.magics._session import Session


def exported(line: Line, session: Session) -> str:
    """Write the folder that a line of ``%agent_export`` names; return what to say of it.

    If the notebook is itself served without Jupyter, nothing is written: whoever served it has the folder. Raises
    `UsageError`, and writes nothing, if it is unknown which notebook runs here, if that was not saved, or if the folder
    cannot be written.
    """
    from agent_service.launch.default_state import state_of  # noqa: PLC0415
    from agent_service.launch.export import export  # noqa: PLC0415 - for the few cells that export
    from agent_service.launch.process_service import current  # noqa: PLC0415

    if not line.target:
        raise UsageError("say where to: %agent_export FOLDER; it must be new, or empty")
    if current() is not None:
        return "not exported: this notebook is served without Jupyter here"
    given = {name: session.names.text(words[0]) for name, words in line.given.items() if words}
    notebook = _notebook(given.get("notebook"))
    folder = Path(session.names.text(line.target)).expanduser()
    state = None
    if "with-state" in line:
        state = state_of(notebook) if session.service is None else session.service.state
    written = export(notebook, folder, state=state, catalog=given.get("catalog"))
    saved = datetime.fromtimestamp(notebook.stat().st_mtime).astimezone()
    held = f"{len(written)} files" + (", what was measured so far among them" if state is not None else "")
    return (
        f"exported {notebook.name}, as it was saved at {saved:%H:%M:%S on %Y-%m-%d}, to {folder}: {held}; "
        "its README.md says how to serve it"
    )


def _notebook(named: str | None) -> Path:
    from agent_service.launch.local_config import running_file  # noqa: PLC0415 - as above

    path = running_file() if named is None else Path(named).expanduser().absolute()
    if path is None:
        raise UsageError("this kernel was not told which notebook it runs; name it: --notebook FILE.ipynb")
    if not path.is_file():
        raise UsageError(f"{path} is not there; save the notebook, or name the file: --notebook FILE.ipynb")
    return path
