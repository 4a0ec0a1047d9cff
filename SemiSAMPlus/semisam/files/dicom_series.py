"""DICOM: one folder, one series, one regular volume - or a sentence that says why not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from semisam.errors import VolumeError
from semisam.files.dicom_header import series_of

# Distances between slices may differ by this part of the usual distance (rounded header numbers).
_UNEVEN = 0.01
# A slice may lie beside the line through the others by this part of a pixel; more is a gantry tilt.
_SHIFTED = 0.1
_REGULARIZE = (
    'In 3D Slicer load it with "Acquisition geometry regularization" (DICOM plugin of scalar volumes), harden the '
    "transform, and save the volume as NRRD."
)
_CONVERT_FRAMES = "Multi-frame files must be converted first, for example in 3D Slicer to NRRD."


def is_dicom_file(path: Path) -> bool:
    """True when the file carries the DICOM mark."""
    try:
        with open(path, "rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def has_dicom(folder: Path) -> bool:
    """True when at least one file directly in the folder is DICOM."""
    try:
        return any(is_dicom_file(path) for path in sorted(folder.iterdir()) if path.is_file())
    except OSError:
        return False


def read_series(folder: Path) -> Any:
    """The SimpleITK image of the one series in ``folder``.

    Raises VolumeError when there is no series or more than one, when a slice is damaged, when the slices are color,
    differ in size, direction or share places, and when they are tilted against the scan direction or unevenly spaced:
    a volume has one grid, and a mask on a made-up grid would not fit the image that the person sees.
    """
    import SimpleITK as sitk

    if not has_dicom(folder):
        raise VolumeError(f'The folder "{folder}" holds no DICOM files. Name an image file or a DICOM series folder.')
    series = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    if len(series) > 1:
        raise VolumeError(
            f'The folder "{folder}" holds {len(series)} DICOM series. Put each series into a folder of its own.'
        )
    names = list(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), series[0])) if series else []
    if len(names) < 2:
        raise VolumeError(
            f'The DICOM series in "{folder}" has {len(names)} readable file(s); a volume needs two slices or more. '
            f"{_CONVERT_FRAMES}"
        )
    _check_left_out(folder, names, series[0])
    ordered = _in_order(folder, [(name, _slice_place(folder, name)) for name in names])
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(ordered)
    # Left to itself it casts all slices to the type of the first, and each may have a scale of its own (PET).
    # Every image becomes float32 in the end.
    reader.SetOutputPixelType(sitk.sitkFloat32)
    try:
        return reader.Execute()
    except RuntimeError as error:
        raise VolumeError(
            f'The DICOM series in "{folder}" cannot be read: a file is damaged or of a kind that is '
            "not supported. Export the series again or convert it to NRRD."
        ) from error


def _check_left_out(folder: Path, names: Sequence[str], series: str) -> None:
    """Raise VolumeError for a damaged slice: GDCM leaves it out, and at the end of a volume nobody would miss it."""
    found = {Path(name).name for name in names}
    for path in sorted(folder.iterdir()):
        if path.name in found or path.name.upper() == "DICOMDIR" or not (path.is_file() and is_dicom_file(path)):
            continue
        try:
            damaged = series_of(path) == series
        except (ValueError, OSError):
            damaged = True
        if damaged:
            raise VolumeError(
                f'The DICOM file "{path.name}" in "{folder}" is damaged or no slice. Copy or export the series again, '
                "or remove that file from the folder."
            )


def _slice_place(folder: Path, name: str) -> dict[str, Any]:
    """Size, pixel spacing, directions (6,) and position (3,) of one slice."""
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(name)
    short = Path(name).name
    try:
        reader.ReadImageInformation()
        if reader.GetSize()[2:] > (1,):
            raise VolumeError(
                f'The DICOM file "{short}" in "{folder}" has {reader.GetSize()[2]} frames. {_CONVERT_FRAMES}'
            )
        position = np.array([float(part) for part in reader.GetMetaData("0020|0032").split("\\")])
        direction = np.array([float(part) for part in reader.GetMetaData("0020|0037").split("\\")])
    except (RuntimeError, ValueError) as error:
        raise VolumeError(
            f'The DICOM file "{short}" in "{folder}" has no readable slice position or direction. Remove it from the '
            "folder, or export the series again."
        ) from error
    if reader.GetNumberOfComponents() != 1:
        raise VolumeError(f'The DICOM series in "{folder}" is in color. Only grey images can be segmented.')
    if position.shape != (3,) or direction.shape != (6,) or not np.isfinite([*position, *direction]).all():
        raise VolumeError(f'The slice position of "{short}" in "{folder}" is damaged. Export the series again.')
    return {"size": reader.GetSize()[:2], "step": reader.GetSpacing()[:2], "position": position, "direction": direction}


def _in_order(folder: Path, slices: list[tuple[str, dict[str, Any]]]) -> list[str]:
    first = slices[0][1]
    for name, place in slices:
        same = place["size"] == first["size"] and np.allclose(place["step"], first["step"], rtol=1e-3)
        if not (same and np.allclose(place["direction"], first["direction"], atol=1e-3)):
            raise VolumeError(
                f'The slices in "{folder}" differ in size, pixel spacing or direction (see "{Path(name).name}"). '
                "Keep the slices of one volume only."
            )
    normal = np.cross(first["direction"][:3], first["direction"][3:])
    slices = sorted(slices, key=lambda item: float(item[1]["position"] @ normal))
    positions = np.array([place["position"] for _, place in slices])
    heights = positions @ normal
    gaps = np.diff(heights)
    usual = float(np.median(gaps))
    if gaps.min() < 1e-3:
        raise VolumeError(
            f'Several slices in "{folder}" lie at the same place (time points or echoes). Keep one volume only.'
        )
    beside = positions - positions[0] - np.outer(heights - heights[0], normal)
    shift = float(np.linalg.norm(beside, axis=1).max())
    if shift > _SHIFTED * min(first["step"]):
        angle = np.degrees(np.arctan2(shift, float(np.ptp(heights))))
        uneven = " and unevenly spaced" if np.ptp(gaps) > _UNEVEN * usual else ""
        raise VolumeError(
            f'The slices of the DICOM series in "{folder}" are tilted by {angle:.1f} degrees (gantry tilt){uneven}. '
            f"{_REGULARIZE}"
        )
    if np.abs(gaps - usual).max() > _UNEVEN * usual:
        raise VolumeError(
            f'The slices of the DICOM series in "{folder}" are unevenly spaced ({gaps.min():.2f} to {gaps.max():.2f} '
            f"mm): slices may be missing. Add them; if none are, {_REGULARIZE[0].lower() + _REGULARIZE[1:]}"
        )
    return [name for name, _ in slices]
