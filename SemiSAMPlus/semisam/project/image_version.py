"""What identifies the content of an image, for whatever is kept of it."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

_HEADERS = (".mhd", ".nhdr")  # their voxels lie in other files
_HEADER_BYTES = 1 << 16


def image_version(image: Path) -> tuple[Path, int, int]:
    """Path, newest time of change (ns) and size (bytes) of the files of an image; zeros when there are none.

    Of a DICOM folder its slices count, which may be written anew in place, and of a header the files that it names.
    """
    path = image.absolute()
    states = []
    with suppress(OSError):  # reading the image will tell what is wrong
        for file in path.iterdir() if path.is_dir() else (path, *_data_files(path)):
            with suppress(OSError):
                states.append(file.stat())
    return (path, max((s.st_mtime_ns for s in states), default=0), sum(s.st_size for s in states))


def _data_files(header: Path) -> list[Path]:
    if header.suffix.lower() not in _HEADERS:
        return []
    with open(header, "rb") as file:
        lines = file.read(_HEADER_BYTES).decode("utf-8", "replace").splitlines()
    # "ElementDataFile = a.raw", "data file: a.raw", or the bare names of a list.
    named = {header.parent / re.split("[=:]", line)[-1].strip() for line in lines}
    return [path for path in named if os.path.isfile(path)]
