"""Progress of long commands: a line with the time left on a terminal, plain lines in a pipe, JSON lines for machines.

The engine reports events, dicts with a key "event": "progress" (fraction 0 to 1, seconds_left, text), "metrics",
"proposal-ready", "log". ``Progress`` is the callable that takes them.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, TextIO

from semisam.worker.protocol import encode_event

_REDRAW_SECONDS = 0.1
_LINE_SECONDS = 15.0  # in a pipe: a line at least this often while something moves ...
_LINE_FRACTION = 0.1  # ... and for every tenth of the work
_LOOP_PATIENCE = 2.0  # seconds; a loop that is shorter has nothing to say in a pipe
_BAR_WIDTH = 24


def duration(seconds: float) -> str:
    """A time span in words: "8 s", "3 min 20 s", "1 h 05 min"."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class Progress:
    """Takes events and shows them; a context manager that leaves the terminal clean.

    stream   where to write; None for nowhere
    as_json  every event becomes a JSON line, unchanged
    title    what is going on, shown in front

    Without ``as_json`` the stream decides: a terminal gets one line that is drawn again and again, anything else gets
    a new line now and then.
    """

    def __init__(self, stream: TextIO | None, *, as_json: bool = False, title: str = "") -> None:
        self._stream = stream
        self._as_json = as_json
        self._title = title
        self._terminal = stream is not None and not as_json and stream.isatty()
        self._drawn = False
        self._last_time = -math.inf
        self._last_fraction = -1.0
        self._begun = time.monotonic()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clear()

    def __call__(self, event: Mapping[str, Any]) -> None:
        if self._as_json:
            self._write(encode_event(event).decode("ascii"))
            return
        name = event.get("event")
        if name == "progress":
            self._progress(event)
        elif name == "log":
            self._line(str(event.get("text", "")))

    def step(self, done: int, total: int, text: str) -> None:
        """Progress of a plain loop: ``done`` of ``total`` things are finished. The time left is estimated."""
        if done == 0:
            self._begun = time.monotonic()
        elapsed = time.monotonic() - self._begun
        if not self._terminal and not self._as_json and elapsed < _LOOP_PATIENCE:
            return
        fraction = done / max(1, total)
        left = elapsed * (1 - fraction) / fraction if done else None
        self({"event": "progress", "fraction": fraction, "seconds_left": left, "text": text})

    def _progress(self, event: Mapping[str, Any]) -> None:
        fraction = min(1.0, max(0.0, float(event.get("fraction") or 0.0)))
        now = time.monotonic()
        if self._terminal:
            if now - self._last_time < _REDRAW_SECONDS and fraction < 1:
                return
            self._last_time = now
            self._draw(fraction, event)
            return
        moved = fraction - self._last_fraction
        if moved < 0 or moved >= _LINE_FRACTION or now - self._last_time >= _LINE_SECONDS:
            self._last_time, self._last_fraction = now, fraction
            self._line(self._words(fraction, event))

    def _words(self, fraction: float, event: Mapping[str, Any]) -> str:
        parts = [f"{fraction:4.0%}"]
        left = event.get("seconds_left")
        if left is not None and fraction < 1:
            parts.append(f"{duration(float(left))} left")
        if event.get("text"):
            parts.append(str(event["text"]))
        return ", ".join(parts)

    def _draw(self, fraction: float, event: Mapping[str, Any]) -> None:
        full, empty = ("━", "─") if self._can_write("━─") else ("#", "-")
        filled = round(fraction * _BAR_WIDTH)
        title = f"{self._title} " if self._title else ""
        line = f"{title}{full * filled}{empty * (_BAR_WIDTH - filled)} {self._words(fraction, event)}"
        width = shutil.get_terminal_size().columns - 1
        self._write("\r\x1b[K" + line[:width])
        self._drawn = True

    def _line(self, text: str) -> None:
        self._clear()
        title = f"{self._title}: " if self._title and not self._terminal else ""
        self._write(f"{title}{text.strip()}\n")

    def _clear(self) -> None:
        if self._drawn:
            self._write("\r\x1b[K")
            self._drawn = False

    def _can_write(self, text: str) -> bool:
        try:
            text.encode(getattr(self._stream, "encoding", None) or "ascii")
        except (UnicodeEncodeError, LookupError):
            return False
        return True

    def _write(self, text: str) -> None:
        if self._stream is not None:
            self._stream.write(text)
            self._stream.flush()
