"""What several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

DEFAULT_STATE: Final = "agent-service.state"

StateOption = Annotated[Path | None, typer.Option("--state", help="State directory, on a local disk.")]
