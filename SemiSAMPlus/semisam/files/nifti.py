"""NIfTI files: the header is judged and the voxels are read here, the orientation is ITK's.

ITK fills the missing part of a truncated NIfTI file with whatever is in memory, does not look at the checksum of a
compressed one, and turns NaN into 0, all without a word. So the bytes are read here, once, where each of these shows.
The orientation (sform or qform, spacing, units) is left to ITK, so that it is the one 3D Slicer shows.
"""

from __future__ import annotations

import gzip
import logging
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from semisam.errors import VolumeError
from semisam.volumes import nearest_axes

_log = logging.getLogger(__name__)

# Cosine between two axes up to which a NIfTI orientation counts as "nearly" at right angles, about half a degree.
# Rounding of header numbers and registration tools cause such; the nearest right-angled axes stand in for them.
NEARLY_ORTHOGONAL = 0.01
# They may move a voxel by this part of a voxel: 3D Slicer keeps the shear, and masks would lie beside what it shows.
NEARLY_IN_PLACE = 0.25
# Below this ITK takes the axes as they are.
_ORTHOGONAL = 1e-4
_AGAIN = "Copy or export the file again."
_CHUNK = 1 << 22
_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}


@dataclass(frozen=True)
class Header:
    """The fields of a NIfTI-1 or NIfTI-2 header that are needed here, under the names of the standard."""

    order: str
    dim: tuple[int, ...]
    datatype: int
    pixdim: tuple[float, ...]
    offset: int
    slope: float
    intercept: float
    qform_code: int
    sform_code: int
    quaternion: tuple[float, ...]
    sform: np.ndarray


def read_header(path: Path) -> Header:
    """The header of a .nii or .nii.gz file. Raises VolumeError when it is none or makes no sense; OSError."""
    try:
        with _opened(path) as stream:
            header = _parsed(path, stream.read(540))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise VolumeError(f'The compressed file "{path}" is cut off or damaged. {_AGAIN}') from error
    if not 1 <= header.dim[0] <= 7 or min(header.dim[1 : header.dim[0] + 1]) < 1:
        raise VolumeError(f'The header of "{path}" is damaged: its dimensions are {header.dim}. {_AGAIN}')
    steps = np.abs(header.pixdim[1 : min(header.dim[0], 3) + 1])
    if not (np.isfinite(steps).all() and (steps > 0).all()):
        raise VolumeError(
            f'The voxel spacing in the header of "{path}" is {tuple(header.pixdim[1:4])}: every axis needs a positive '
            "spacing in mm. Correct the header or export the image again."
        )
    return header


def needs_nearest_axes(path: Path, header: Header) -> bool:
    """Judge the orientation; True when its axes are nearly at right angles and the nearest such axes are to be used.

    Raises VolumeError when neither sform nor qform is usable.
    """
    if header.qform_code > 0 and not np.isfinite(header.quaternion).all():
        raise VolumeError(f'The orientation (qform) of "{path}" holds numbers that are not finite. {_AGAIN}')
    if header.sform_code <= 0:
        return False
    if not np.isfinite(header.sform).all():
        raise VolumeError(f'The orientation (sform) of "{path}" holds numbers that are not finite. {_AGAIN}')
    lengths = np.linalg.norm(header.sform[:, :3], axis=0)
    axes = header.sform[:, :3] / np.maximum(lengths, 1e-30)
    cosine = np.abs(axes.T @ axes - np.eye(3)).max()
    if cosine <= _ORTHOGONAL:
        return False
    if header.qform_code > 0:
        _log.warning('"%s": the sform is not at right angles; the orientation is taken from the qform.', path)
        return False
    if abs(np.linalg.det(axes)) < 1e-3:
        raise VolumeError(
            f'The orientation of "{path}" is singular: its axes do not span space. Export the image again, or give it '
            "a valid sform or qform."
        )
    if cosine > NEARLY_ORTHOGONAL or nearest_axes(axes, lengths, header.dim[1:4])[1] > NEARLY_IN_PLACE:
        raise VolumeError(
            f'The axes of "{path}" are sheared (cosine {cosine:.4f} between two of them). Resample the image to a '
            "right-angled grid first, for example by hardening a transform in 3D Slicer."
        )
    _log.warning('"%s": the axes are nearly at right angles (cosine %.4f); the nearest ones are used.', path, cosine)
    return True


def read_voxels(path: Path, header: Header) -> np.ndarray:
    """The voxels, reversed dimensions (..., k, j, i), with the header's scaling applied.

    Raises VolumeError for a file that is cut off, fails its checksum, or stores a kind of number that is not read.
    """
    if header.datatype not in _TYPES:
        raise VolumeError(
            f'The image "{path}" stores numbers of NIfTI type {header.datatype}, which cannot be used. Save it with '
            "integers or floating-point numbers."
        )
    shape = header.dim[header.dim[0] : 0 : -1]
    kind = np.dtype(header.order + _TYPES[header.datatype])
    needed = header.offset + int(np.prod(shape, dtype=object)) * kind.itemsize
    content = bytearray()
    try:
        with _opened(path) as stream:
            # To the end also where that is beyond the voxels: only there the checksum is compared.
            while chunk := stream.read(_CHUNK):
                if len(content) < needed:
                    content += chunk
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise VolumeError(f'The compressed file "{path}" is cut off or damaged. {_AGAIN}') from error
    if len(content) < needed:
        raise VolumeError(f'The file "{path}" is cut off: {len(content)} of {needed} bytes are there. {_AGAIN}')
    voxels: np.ndarray = np.frombuffer(
        content, kind, count=(needed - header.offset) // kind.itemsize, offset=header.offset
    )
    voxels = voxels.reshape(shape).astype(kind.newbyteorder("="), copy=False)
    slope, intercept = header.slope, header.intercept
    if slope == 0 or not np.isfinite([slope, intercept]).all() or (slope, intercept) == (1.0, 0.0):
        return voxels
    scaled: np.ndarray = np.multiply(voxels, slope, dtype=np.float64 if kind.itemsize > 2 else np.float32)
    scaled += intercept
    return scaled


def _opened(path: Path) -> BinaryIO:
    with open(path, "rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if packed else open(path, "rb")  # type: ignore[return-value]


def _parsed(path: Path, start: bytes) -> Header:
    for order in "<>":
        size = struct.unpack_from(f"{order}i", start)[0] if len(start) >= 4 else 0
        if size == 348 and len(start) >= 348 and start[344:348] == b"n+1\0":
            fields = ("8h", 40), ("h", 70), ("8f", 76), ("3f", 108), ("2h", 252), ("6f", 256), ("12f", 280)
        elif size == 540 and len(start) >= 540 and start[4:8] == b"n+2\0":
            fields = ("8q", 16), ("h", 12), ("8d", 104), ("q2d", 168), ("2i", 344), ("6d", 352), ("12d", 400)
        else:
            continue
        dim, kind, pixdim, scaling, codes, quaternion, sform = (
            struct.unpack_from(order + form, start, place) for form, place in fields
        )
        if not (np.isfinite(scaling[0]) and scaling[0] >= size):
            break
        return Header(
            order=order,
            dim=dim,
            datatype=kind[0],
            pixdim=pixdim,
            offset=int(scaling[0]),
            slope=scaling[1],
            intercept=scaling[2],
            qform_code=codes[0],
            sform_code=codes[1],
            quaternion=quaternion,
            sform=np.reshape(sform, (3, 4)),
        )
    raise VolumeError(f'The file "{path}" is no NIfTI-1 or NIfTI-2 file in one piece. Export the image again.')
