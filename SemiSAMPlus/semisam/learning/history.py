"""The training history: one JSON line for each logging interval in ``log/history.jsonl``, for curves and reports."""

from __future__ import annotations

import json
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Any


class History:
    """Averages what happens in single steps and appends a line every now and then.

    A line that a kill cut short is ended by the next writer and skipped by readers.
    """

    def __init__(self, path: Path, fresh: bool) -> None:
        self._path = path
        self._sums: dict[str, float] = defaultdict(float)
        self._counts: dict[str, int] = defaultdict(int)
        path.parent.mkdir(parents=True, exist_ok=True)
        if fresh:
            path.unlink(missing_ok=True)
        elif path.exists() and not path.read_bytes().endswith(b"\n"):
            with path.open("ab") as file:
                file.write(b"\n")

    def add(self, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._sums[name] += value
            self._counts[name] += 1

    def write(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Append the averages since the last line together with ``facts``; returns the line."""
        means = {name: round(total / self._counts[name], 5) for name, total in self._sums.items()}
        self._sums.clear()
        self._counts.clear()
        line = {**facts, **means}
        # A full disk costs the curve a point, not the person the round.
        with suppress(OSError), self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        return line


def read_history(path: Path) -> list[dict[str, Any]]:
    """All complete lines; an empty list when there is no history."""
    lines = []
    if path.exists():
        for text in path.read_text("utf-8", errors="replace").splitlines():
            try:
                lines.append(json.loads(text))
            except ValueError:
                continue
    return lines
