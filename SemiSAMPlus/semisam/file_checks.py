"""What ITK does not tell: looks into image files before ITK reads them.

ITK fills the missing part of a truncated NIfTI file with whatever is in memory and says nothing; of damaged MetaImage
files it complains on the terminal. These checks read the header (and for compressed NIfTI files the whole stream, whose
checksum finds any damage) and turn what is wrong into a ``VolumeError``.
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

_log = logging.getLogger(__name__)

# Cosine between two axes up to which a NIfTI orientation counts as "nearly" at right angles, about half a degree.
# Rounding of header numbers and registration tools cause such; the nearest right-angled axes stand in for them.
NEARLY_ORTHOGONAL = 0.01
# Below this ITK takes the axes as they are.
_ORTHOGONAL = 1e-4
_COMPLETE = "Copy or export the file again."
_CHUNK = 1 << 22

_META_TYPES = {"CHAR": 1, "UCHAR": 1, "SHORT": 2, "USHORT": 2, "INT": 4, "UINT": 4, "LONG": 4, "ULONG": 4}
_META_TYPES |= {"FLOAT": 4, "DOUBLE": 8, "LONG_LONG": 8, "ULONG_LONG": 8}


@dataclass(frozen=True)
class _NiftiHeader:
    dim: tuple[int, ...]
    bits: int
    pixdim: tuple[float, ...]
    offset: int
    qform_code: int
    sform_code: int
    quaternion: tuple[float, ...]
    sform: np.ndarray


def check_nifti(path: Path) -> bool:
    """Check a .nii or .nii.gz file; True when ITK has to be told to accept nearly right angles.

    Raises VolumeError for a file that is no NIfTI, is cut off or damaged, or has no usable orientation or spacing.
    """
    try:
        with open(path, "rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            stream: BinaryIO = gzip.GzipFile(fileobj=raw) if packed else raw  # type: ignore[assignment]
            header = _nifti_header(path, stream.read(540))
            count = 1
            for size in header.dim[1 : header.dim[0] + 1]:
                count *= max(size, 1)
            needed = header.offset + count * header.bits // 8
            if packed:
                stream.seek(0)
                found = sum(iter(lambda: len(stream.read(_CHUNK)), 0))
            else:
                found = path.stat().st_size
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise VolumeError(f'The compressed file "{path}" is cut off or damaged. {_COMPLETE}') from error
    if found < needed:
        raise VolumeError(f'The file "{path}" is cut off: {found} of {needed} bytes are there. {_COMPLETE}')
    return _check_nifti_orientation(path, header)


def _nifti_header(path: Path, start: bytes) -> _NiftiHeader:
    for order in "<>":
        size = struct.unpack_from(f"{order}i", start)[0] if len(start) >= 4 else 0
        if size == 348 and start[344:348] == b"n+1\0" and len(start) >= 348:
            return _NiftiHeader(
                dim=struct.unpack_from(f"{order}8h", start, 40),
                bits=struct.unpack_from(f"{order}h", start, 72)[0],
                pixdim=struct.unpack_from(f"{order}8f", start, 76),
                offset=int(struct.unpack_from(f"{order}f", start, 108)[0]),
                qform_code=struct.unpack_from(f"{order}h", start, 252)[0],
                sform_code=struct.unpack_from(f"{order}h", start, 254)[0],
                quaternion=struct.unpack_from(f"{order}6f", start, 256),
                sform=np.array(struct.unpack_from(f"{order}12f", start, 280), np.float64).reshape(3, 4),
            )
        if size == 540 and start[4:7] == b"n+2" and len(start) >= 540:
            return _NiftiHeader(
                dim=struct.unpack_from(f"{order}8q", start, 16),
                bits=struct.unpack_from(f"{order}h", start, 14)[0],
                pixdim=struct.unpack_from(f"{order}8d", start, 104),
                offset=struct.unpack_from(f"{order}q", start, 168)[0],
                qform_code=struct.unpack_from(f"{order}i", start, 344)[0],
                sform_code=struct.unpack_from(f"{order}i", start, 348)[0],
                quaternion=struct.unpack_from(f"{order}6d", start, 352),
                sform=np.array(struct.unpack_from(f"{order}12d", start, 400), np.float64).reshape(3, 4),
            )
    raise VolumeError(f'The file "{path}" is no NIfTI-1 or NIfTI-2 file in one piece. Export the image again.')


def _check_nifti_orientation(path: Path, header: _NiftiHeader) -> bool:
    if not 1 <= header.dim[0] <= 7:
        raise VolumeError(f'The header of "{path}" is damaged: it names {header.dim[0]} dimensions. {_COMPLETE}')
    steps = np.abs(header.pixdim[1:4])
    if not (np.isfinite(steps).all() and (steps[: min(header.dim[0], 3)] > 0).all()):
        raise VolumeError(
            f'The voxel spacing in the header of "{path}" is {tuple(header.pixdim[1:4])}: every axis needs a positive '
            "spacing in mm. Correct the header or export the image again."
        )
    if header.qform_code > 0 and not np.isfinite(header.quaternion).all():
        raise VolumeError(f'The orientation (qform) of "{path}" holds numbers that are not finite. {_COMPLETE}')
    if header.sform_code <= 0:
        return False
    if not np.isfinite(header.sform).all():
        raise VolumeError(f'The orientation (sform) of "{path}" holds numbers that are not finite. {_COMPLETE}')
    lengths = np.linalg.norm(header.sform[:, :3], axis=0)
    singular = not (lengths > 0).all()
    if not singular:
        axes = header.sform[:, :3] / lengths
        cosine = np.abs(axes.T @ axes - np.eye(3)).max()
        if cosine <= _ORTHOGONAL:
            return False
        singular = abs(np.linalg.det(axes)) < 1e-3
    if header.qform_code > 0:
        _log.warning('"%s": the sform is not at right angles; the orientation is taken from the qform.', path)
        return False
    if singular:
        raise VolumeError(
            f'The orientation of "{path}" is singular: its axes do not span space. Export the image again, or give it '
            "a valid sform or qform."
        )
    if cosine > NEARLY_ORTHOGONAL:
        raise VolumeError(
            f'The axes of "{path}" are sheared (cosine {cosine:.3f} between two of them). Resample the image to a '
            "right-angled grid first, for example by hardening a transform in 3D Slicer."
        )
    _log.warning(
        '"%s": the axes are nearly at right angles (cosine %.4f); the nearest such axes are used.', path, cosine
    )
    return True


def check_metaimage(path: Path) -> None:
    """Check that the voxels of an .mha or .mhd file are all there. Raises VolumeError."""
    with open(path, "rb") as file:
        start = file.read(1 << 16)
    fields: dict[str, str] = {}
    position = 0
    while "ElementDataFile" not in fields:
        end = start.find(b"\n", position)
        if end < 0 or b"=" not in start[position:end]:
            raise VolumeError(f'The file "{path}" is no MetaImage file. Export the image again.')
        key, value = start[position:end].decode("latin-1").split("=", 1)
        fields[key.strip()] = value.strip()
        position = end + 1
    needed = _metaimage_bytes(fields)
    name = fields["ElementDataFile"]
    if needed is None or name == "LIST" or "%" in name:
        return
    if name.upper() == "LOCAL":
        found = path.stat().st_size - position
    else:
        data = path.parent / name
        if not data.is_file():
            raise VolumeError(f'"{path}" refers to "{name}", which is not there. Put both files into one folder.')
        found = data.stat().st_size
    if found < needed:
        raise VolumeError(f'The voxels of "{path}" are cut off: {found} of {needed} bytes are there. {_COMPLETE}')


def _metaimage_bytes(fields: dict[str, str]) -> int | None:
    try:
        if fields.get("CompressedData", "False").lower() == "true":
            return int(fields["CompressedDataSize"])
        count = int(np.prod([int(size) for size in fields["DimSize"].split()]))
        channels = int(fields.get("ElementNumberOfChannels", "1"))
        return count * channels * _META_TYPES[fields["ElementType"].removeprefix("MET_").removesuffix("_ARRAY")]
    except (KeyError, ValueError):
        return None
