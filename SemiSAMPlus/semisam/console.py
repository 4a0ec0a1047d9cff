"""What a command says: text and tables for people, or JSON lines for machines.

With ``--json`` standard output holds JSON lines and nothing else. The last one is the result, ``{"event": "done",
...}`` or ``{"event": "error", "kind", "text"}``; only long commands write other events before it. Without it, results
go to standard output and progress to standard error, so that a result can be piped.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from semisam.progress import Progress
from semisam.worker.protocol import encode_event


class Console:
    """The way out of a command."""

    def __init__(self, as_json: bool = False) -> None:
        self.as_json = as_json

    def say(self, text: str = "") -> None:
        """One line (or several) for a person."""
        if not self.as_json:
            print(text)

    def table(self, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Aligned columns for a person; numbers to the right."""
        if not self.as_json:
            print(table(header, rows))

    def result(self, values: Mapping[str, Any]) -> None:
        """The answer of the command for a machine; people have been told in words."""
        if self.as_json:
            self._event({"event": "done", **values})

    def error(self, kind: str, text: str) -> None:
        """The one sentence in place of an answer, on standard error; machines get it as an event, too."""
        if self.as_json:
            self._event({"event": "error", "kind": kind, "text": text})
        print(f"semisam: {text}", file=sys.stderr, flush=True)

    def progress(self, title: str, *, events: bool = True) -> Progress:
        """Progress of a command. ``events`` False keeps it from machines: theirs is the result alone."""
        if not self.as_json:
            return Progress(sys.stderr, title=title)
        return Progress(sys.stdout, as_json=True) if events else Progress(None)

    @staticmethod
    def _event(event: Mapping[str, Any]) -> None:
        print(encode_event(event).decode("ascii"), end="", flush=True)


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Text with aligned columns. A column whose cells are all numbers (or empty) is aligned to the right."""
    cells = [[_cell(value) for value in row] for row in rows]
    numeric = [
        all(isinstance(row[column], int | float) or row[column] is None for row in rows) and bool(rows)
        for column in range(len(header))
    ]
    widths = [max(len(text) for text in column) for column in zip(header, *cells, strict=True)]
    lines = []
    for line in [list(header), ["-" * width for width in widths], *cells]:
        padded = [
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, numeric, strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)
