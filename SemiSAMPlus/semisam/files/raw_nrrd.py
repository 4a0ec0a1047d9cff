"""Uncompressed NRRD files, for masks that a person waits for: written in milliseconds, read by everything.

Unlike the masks of a project they are not forced to the disk; after a crash of the machine one click is repeated.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from semisam.files.atomic import patiently, temporary_beside
from semisam.volumes import Geometry


def write_raw_nrrd(path: Path, voxels: np.ndarray, geometry: Geometry) -> None:
    """Write a (k, j, i) uint8 array; a reader sees the old file or the new one, never a part. Raises OSError."""
    # Columns of the direction are the axes i, j, k, which is the order in which NRRD wants them.
    columns = np.asarray(geometry.direction, float).reshape(3, 3).T * np.asarray(geometry.spacing[::-1])[:, None]
    header = (
        "NRRD0004\ntype: uint8\ndimension: 3\nspace: left-posterior-superior\n"
        f"sizes: {' '.join(str(size) for size in geometry.shape[::-1])}\n"
        f"space directions: {' '.join(_vector(column) for column in columns)}\n"
        "kinds: domain domain domain\nencoding: raw\n"
        f"space origin: {_vector(geometry.origin)}\n\n"
    )
    temporary = temporary_beside(path)
    try:
        with open(temporary, "wb") as file:
            file.write(header.encode("ascii"))
            file.write(np.ascontiguousarray(voxels, np.uint8).data)
        patiently(lambda: os.replace(temporary, path))
    finally:
        temporary.unlink(missing_ok=True)


def _vector(numbers: np.ndarray | tuple[float, ...]) -> str:
    return "(" + ",".join(repr(float(number)) for number in numbers) + ")"
