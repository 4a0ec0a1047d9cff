"""Lines out of bytes that arrive in pieces of any size, several lines at once, or never with an end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

# An answer to "open" is some 600 bytes a case; this is enough for fifty thousand cases.
LINE_BYTES = 32 << 20
_HEAD_BYTES = 400


@dataclass(frozen=True)
class Line:
    """One line without its end. Of one that was ``too_long`` only the beginning is there."""

    data: bytes
    too_long: bool = False


class LineReader:
    """Takes pieces of bytes and gives whole lines; one that is longer than ``limit`` is cut down to its beginning."""

    def __init__(self, limit: int = LINE_BYTES) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []
        self._length = 0
        self._head: bytes | None = None  # of a line that is too long already

    def feed(self, piece: bytes) -> Iterator[Line]:
        """The lines that end in ``piece``, empty ones left out."""
        *ended, rest = piece.split(b"\n")
        for part in ended:
            self._add(part)
            line = self._take()
            if line is not None:
                yield line
        self._add(rest)

    def rest(self) -> Line | None:
        """What came after the last line end, for the end of the stream."""
        return self._take()

    def _add(self, part: bytes) -> None:
        if self._head is not None or not part:
            return
        self._pieces.append(part)
        self._length += len(part)
        if self._length > self._limit:
            self._head = b"".join(self._pieces)[:_HEAD_BYTES]
            self._pieces.clear()

    def _take(self) -> Line | None:
        head, data = self._head, b"".join(self._pieces)
        self._pieces.clear()
        self._length, self._head = 0, None
        if head is not None:
            return Line(head, too_long=True)
        data = data.rstrip(b"\r")
        return Line(data) if data.strip() else None
