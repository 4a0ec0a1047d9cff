"""The series that a DICOM file belongs to, also where GDCM, which looks for an image in it, does not read the file."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

_Tag = tuple[int, int]

_PREAMBLE = 132
_SYNTAX, _META_END, _SERIES = (0x0002, 0x0010), (0x0002, 0xFFFF), (0x0020, 0x000E)
_ITEM, _ITEM_END, _SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)
_IMPLICIT, _BIG_ENDIAN, _DEFLATED = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
# Kinds of values whose size has four bytes.
_LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
_UNDEFINED = 0xFFFFFFFF
_INFLATED = 1 << 20  # bytes of a compressed file that are looked at; the series stands near the beginning


def series_of(path: Path) -> str:
    """The Series Instance UID. Raises ValueError where there is none, as in a file that is cut off, and OSError."""
    content = path.read_bytes()
    try:
        found, start = _elements(content, _PREAMBLE, "<", explicit=True, last=_META_END)
        syntax = found.get(_SYNTAX, "")
        if syntax == _DEFLATED:
            content, start = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content[start:], _INFLATED), 0
        order = ">" if syntax == _BIG_ENDIAN else "<"
        return _elements(content, start, order, explicit=syntax != _IMPLICIT, last=_SERIES)[0][_SERIES]
    except (struct.error, zlib.error, KeyError) as error:
        raise ValueError("it names no series") from error


def _elements(content: bytes, start: int, order: str, *, explicit: bool, last: _Tag) -> tuple[dict[_Tag, str], int]:
    """Elements with text of few characters up to ``last``, those in sequences left out, and where the next begins."""
    found: dict[_Tag, str] = {}
    depth = 0  # of sequences that tell their end, not their size
    while start < len(content):
        group, element = struct.unpack_from(f"{order}2H", content, start)
        tag = (group, element)
        if depth == 0 and tag > last:
            break
        kind = content[start + 4 : start + 6]
        if group == 0xFFFE or not explicit:
            head, (size,) = 8, struct.unpack_from(f"{order}I", content, start + 4)
        elif kind in _LONG:
            head, (size,) = 12, struct.unpack_from(f"{order}I", content, start + 8)
        else:
            head, (size,) = 8, struct.unpack_from(f"{order}H", content, start + 6)
        start += head
        if tag == _SEQUENCE_END:
            depth -= 1
        elif size == _UNDEFINED:
            depth += tag != _ITEM
        elif tag != _ITEM_END:
            if depth == 0 and size <= len(content) - start and size <= 64:
                found[tag] = content[start : start + size].decode("ascii", "replace").strip("\0 ")
            start += size
    return found, start
