"""The last picture of a panel: an output beside the widget, shown while no kernel draws that.

If a page is open, `static/last_picture.js` writes there what the panel shows, each time the notebook is saved. A
notebook that runs without a page, as by nbconvert, has what is drawn here.
"""

from __future__ import annotations

import html
from datetime import datetime
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, cast

from agent_service.models.values import is_number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STYLE: Final = files(__package__ or "").joinpath("static", "last_picture.css").read_text(encoding="utf-8")
"""Shows the picture or the widget below it, whichever there is."""

_WIDE: Final = 560.0
_HIGH: Final = 160.0
_EDGE: Final = 12.0


class LastPicture:
    """An output of a cell, of which only one without the widget below it is shown; ``of`` is the widget's id."""

    def __init__(self, of: str) -> None:
        self._metadata = {"agent_service": of}
        self._outputs: list[Any] = []
        self._text, self._drawing = "", ""

    def show(self, text: str) -> None:
        """Begin an output with a line of text; in the thread of a cell."""
        from IPython import display  # noqa: PLC0415 - pictures are for those who look

        self._text = self._text or text
        self._outputs.append(
            cast("Any", display).display(self._data, raw=True, metadata=self._metadata, display_id=True)
        )

    def become(self, text: str, drawing: str = "") -> None:
        """Show another line, and an SVG below it; from any thread."""
        self._text, self._drawing = text, drawing or self._drawing
        for output in self._outputs:
            output.update(self._data, raw=True, metadata=self._metadata)

    @property
    def _data(self) -> dict[str, str]:
        now = f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S}"
        markup = f"<p>{html.escape(self._text)}</p>{self._drawing}<p><small>As it was at {now}</small></p>"
        return {
            "text/plain": f"{self._text} ({now})",
            "text/html": f'<style>{STYLE}</style><div class="as-kept">{markup}</div>',
        }


def summary(status: Mapping[str, Any]) -> str:
    """Return one line about an agent, from its status as the service answers it."""
    progress, best = status["progress"], status.get("best")
    runs = f"{progress['done']} of {progress['total']} runs" if progress["total"] else f"{progress['done']} runs"
    because = f", {status['reason']}" if status.get("reason") else ""
    best_text = f"; best measured: {_said(best['outcome'])} at {_said(best['point'])}" if best else ""
    return f"{status['name']}: {status['state']}{because}; {runs}{best_text}"


def _said(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value:.4g}" if is_number(value) else f"{name} {value}" for name, value in values.items())


def trace(outcome: str, values: Sequence[float]) -> str:
    """Return an SVG of an outcome in the order in which it was measured; empty text without two values."""
    low, high = min(values, default=0.0), max(values, default=0.0)
    if len(values) < 2 or not low < high:  # noqa: PLR2004 - a line has two ends
        return ""
    step, scale = (_WIDE - 2 * _EDGE) / (len(values) - 1), (_HIGH - 4 * _EDGE) / (high - low)
    dots = "".join(
        f'<circle cx="{_EDGE + step * index:.1f}" cy="{_HIGH - 2 * _EDGE - scale * (value - low):.1f}" r="3"/>'
        for index, value in enumerate(values)
    )
    title = html.escape(f"{outcome}, from {low:.4g} to {high:.4g}, in the order in which it was measured")
    text = f'<text x="{_EDGE}" y="{_HIGH - 4}" font-size="12">{title}</text>'
    view = f'viewBox="0 0 {_WIDE:g} {_HIGH:g}" width="{_WIDE:g}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" role="img" fill="currentColor" {view}>{dots}{text}</svg>'
