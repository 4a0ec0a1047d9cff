"""Whether a NRRD file is whole. Slicer's reader of segmentations ends the whole application where one is not."""

from __future__ import annotations

import math
import zlib
from pathlib import Path
from typing import BinaryIO

_HEADER_BYTES = 1 << 20
_PIECE_BYTES = 1 << 20
_TYPE_BYTES = {
    **dict.fromkeys(("signed char", "int8", "int8_t", "uchar", "unsigned char", "uint8", "uint8_t"), 1),
    **dict.fromkeys(("short", "short int", "signed short", "int16", "int16_t"), 2),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), 2),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t", "uint", "unsigned int", "uint32", "uint32_t"), 4),
    **dict.fromkeys(("longlong", "long long", "int64", "int64_t", "ulonglong", "uint64", "uint64_t"), 8),
    **{"float": 4, "double": 8},
}


def is_whole_nrrd(path: Path) -> bool:
    """Whether ``path`` is a NRRD file with its data attached, a header that makes sense, and all of its voxels."""
    try:
        with path.open("rb") as file:
            fields = _header(file)
            expected = _TYPE_BYTES[fields["type"]] * math.prod(int(size) for size in fields["sizes"].split())
            if len(fields["sizes"].split()) != int(fields["dimension"]) or expected <= 0 or "data file" in fields:
                return False
            if fields["encoding"] == "raw":
                return path.stat().st_size - file.tell() >= expected
            return fields["encoding"] in ("gzip", "gz") and _unpacked(file, expected)
    except (OSError, KeyError, ValueError, zlib.error):
        return False


def _header(file: BinaryIO) -> dict[str, str]:
    if not file.readline(64).startswith(b"NRRD000"):
        raise ValueError("no NRRD file")
    fields: dict[str, str] = {}
    while True:
        line = file.readline(_HEADER_BYTES)
        if not line or file.tell() > _HEADER_BYTES:
            raise ValueError("the header has no end")
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        if not text:
            return fields
        name, separator, value = text.partition(": ")
        if separator and not text.startswith("#") and ":=" not in name:
            fields[name.strip().lower()] = value.strip()


def _unpacked(file: BinaryIO, expected: int) -> bool:
    """Whether the gzip stream ends as it should, with at least ``expected`` bytes in it."""
    unpacker = zlib.decompressobj(wbits=31)
    count = 0
    while piece := file.read(_PIECE_BYTES):
        while piece and not unpacker.eof:
            count += len(unpacker.decompress(piece, _PIECE_BYTES))
            piece = unpacker.unconsumed_tail
        if unpacker.eof:
            break
    return unpacker.eof and count >= expected
