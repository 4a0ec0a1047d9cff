"""Image and mask files: NIfTI, NRRD, .seg.nrrd, MetaImage and DICOM series, through SimpleITK.

Whatever cannot be used as it is ends in a ``VolumeError`` that names the file and the remedy. What is mended is logged:

* NaN and infinite voxels: NaN and -inf become the smallest finite value, +inf the largest (up to half of the image).
* Axes that are nearly at right angles: the nearest right-angled axes, where they leave the voxels in their places.
* A fourth dimension of size 1 is dropped.
* A mask stored in another axis order than its image, or a .seg.nrrd file that covers a part of it: put on its grid.
"""

from __future__ import annotations

import logging
import os
import threading
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from semisam.errors import VolumeError
from semisam.files import dicom_series, nifti, seg_nrrd
from semisam.files.atomic import replacing
from semisam.files.metaimage import check_metaimage
from semisam.segments import OUTSIDE, Segment, default_color
from semisam.volumes import Geometry, Volume, axis_map, nearest_axes, reorder_voxels

_log = logging.getLogger(__name__)
_environment = threading.Lock()

_READABLE = (".seg.nrrd", ".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
_WRITABLE = (".seg.nrrd", ".nii.gz", ".nii", ".nrrd", ".mha")
_FORMATS = "NIfTI (.nii, .nii.gz), NRRD (.nrrd, .nhdr), MetaImage (.mha, .mhd) or a folder with one DICOM series"
# A mask lies on the grid of its image when no voxel is further off than this part of a voxel.
_GRID_TOLERANCE = 0.1
# Directions that differ less than this are compared by where the voxels lie.
_AXIS_TOLERANCE = 0.02


def case_name(path: Path) -> str:
    """The file name without its image extension (".seg.nrrd" and ".nii.gz" count as one); a folder's name."""
    return path.name[: len(path.name) - len(_extension(path))]


def find_images(folder: Path | str) -> dict[str, Path]:
    """Case name -> image file or DICOM series folder for what lies directly in ``folder``, sorted by name.

    Hidden files and segmentations (.seg.nrrd) are passed over. A folder that is itself a DICOM series is one case.
    Raises VolumeError when there is nothing, or two images would be the same case.
    """
    folder = Path(folder)
    found = [path for path in _listed(folder) if _is_case(path)]
    if not found and dicom_series.has_dicom(folder):
        found = [folder.absolute()]
    return _named(folder, found, "images")


def named_images(paths: Sequence[Path]) -> dict[str, Path]:
    """Case name -> path for single images (files or folders with a DICOM series), called as ``find_images`` does.

    Raises VolumeError for what cannot be an image, or two images that would be the same case.
    """
    for path in paths:
        if not path.exists():
            raise VolumeError(f'There is no image "{path}". Check the path.')
        if not _is_case(path):
            kind = "a segmentation" if _extension(path) == ".seg.nrrd" else "no image that can be read"
            raise VolumeError(f'"{path}" is {kind}. Name {_FORMATS}.')
    return _named(Path(), [path.absolute() for path in paths], "images")


def find_masks(folder: Path | str) -> dict[str, Path]:
    """Case name -> mask file (.seg.nrrd or a label map) for what lies directly in ``folder``, sorted by name.

    Raises VolumeError when there is nothing, or two masks are for the same case.
    """
    folder = Path(folder)
    return _named(folder, [path for path in _listed(folder) if path.is_file() and _extension(path)], "masks")


def read_image(path: Path | str) -> Volume:
    """Read a grey 3-D image: float32 voxels (k, j, i), all finite, in the file's own axis order.

    ``path`` is a file of a format in the module's first line or a folder with one DICOM series. Raises VolumeError.
    """
    path = Path(path)
    volume = _volume(path, _read_series(path) if path.is_dir() else _read_file(path))
    if min(volume.shape) < 2:
        raise VolumeError(
            f'The image "{path}" has {" x ".join(map(str, volume.shape))} voxels (slices, rows, columns): a volume '
            "needs two or more along every axis. Name a 3-D image."
        )
    return Volume(_finite(path, volume.voxels), volume.geometry)


def read_mask(path: Path | str, segments: Sequence[Segment], reference: Geometry | None = None) -> Volume:
    """Read a mask: uint8 voxels (k, j, i) with the values of ``segments`` and 0.

    The segments of a .seg.nrrd file are matched by name, those without a name and label maps by value. With
    ``reference`` (the geometry of the image) the mask comes back on exactly that grid: it may be stored in another
    axis order, and a .seg.nrrd file may cover a part of it. Raises VolumeError for unknown segments or values,
    overlapping segments, and a mask that does not lie on the grid of its image.
    """
    path = Path(path)
    if path.is_dir():
        raise VolumeError(f'"{path}" is a folder. Masks are read from files: .seg.nrrd, NIfTI, NRRD or MetaImage.')
    image = _read_file(path, layers=True)
    fields = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys() if key.startswith("Segment")}
    stored = seg_nrrd.stored_segments(path, fields)
    partial = bool(fields) or _extension(path) == ".seg.nrrd"
    if stored and partial and image.GetSize() == (1, 1, 1) and reference is not None:
        # Slicer's form of a segmentation without voxels; its geometry has no meaning.
        return Volume(np.zeros(reference.shape, np.uint8), reference)
    array = _array(image)
    if array.ndim == 4 and not stored:
        raise VolumeError(f'The mask "{path}" has {array.shape[-1]} values in a voxel. Save it as a label map.')
    layers = _whole_numbers(path, np.moveaxis(array, -1, 0) if array.ndim == 4 else array[None])
    if stored:
        voxels = seg_nrrd.merged_layers(path, layers, stored, segments)
    else:
        voxels = _by_value(path, layers[0], segments)
    mask = Volume(voxels, _geometry(path, image))
    return mask if reference is None else _on_grid(path, mask, reference, partial=partial)


def named_segments(path: Path) -> tuple[Segment, ...]:
    """The segments that a .seg.nrrd file describes, none for any other file; reads its header alone.

    Segments without a name are called by their value. Raises VolumeError.
    """
    if _extension(path) != ".seg.nrrd":
        return ()
    reader = _sitk().ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise VolumeError(f'The mask "{path}" cannot be read: the file is damaged. Save it again.') from error
    fields = {key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys() if key.startswith("Segment")}
    stored = seg_nrrd.stored_segments(path, fields)
    return tuple(Segment(item.value, item.name or str(item.value), default_color(n)) for n, item in enumerate(stored))


def write_image(path: Path | str, volume: Volume) -> None:
    """Write an image in the format of the extension, atomically. Raises VolumeError."""
    _write(Path(path), volume, {})


def write_mask(path: Path | str, mask: Volume, segments: Sequence[Segment]) -> None:
    """Write a mask as uint8 in the format of the extension, atomically.

    A .seg.nrrd file names and colors every one of ``segments``, also empty ones, and loads in 3D Slicer as a
    segmentation. Raises VolumeError, also for values that no segment has.
    """
    path = Path(path)
    voxels = _by_value(path, _whole_numbers(path, mask.voxels), segments)
    fields = seg_nrrd.segment_fields(voxels, segments) if _extension(path) == ".seg.nrrd" else {}
    _write(path, Volume(voxels, mask.geometry), fields)


def _extension(path: Path) -> str:
    name = path.name.lower()
    return next((extension for extension in _READABLE if name.endswith(extension) and name != extension), "")


def _listed(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise VolumeError(f'The folder "{folder}" does not exist. Check the path.')
    try:
        return [path.absolute() for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    except OSError as error:
        raise VolumeError(f'The folder "{folder}" cannot be listed: {error.strerror or error}.') from error


def _is_case(path: Path) -> bool:
    if path.is_dir():
        return dicom_series.has_dicom(path)
    return _extension(path) not in ("", ".seg.nrrd")


def _named(folder: Path, paths: list[Path], what: str) -> dict[str, Path]:
    if not paths:
        raise VolumeError(f'The folder "{folder}" holds no {what}. It should hold {_FORMATS}.')
    named: dict[str, Path] = {}
    seen: dict[str, Path] = {}
    for path in paths:
        name = path.name if path.is_dir() else case_name(path)
        # Some file systems do not tell capitals or composed accents apart.
        other = seen.setdefault(unicodedata.normalize("NFC", name.casefold()), path)
        if other is not path:
            raise VolumeError(f'"{other}" and "{path}" would both be the case "{name}". Rename or remove one.')
        named[name] = path
    return named


def _sitk() -> Any:
    import SimpleITK as sitk

    # Warnings of ITK and GDCM would reach the terminal between our own lines; what matters is checked here.
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    return sitk


@contextmanager
def _nearly_right_angles(accepted: bool) -> Iterator[None]:
    """ITK reads this switch from the environment whenever it opens a NIfTI file, in whichever thread."""
    key = "ITK_NIFTI_SFORM_PERMISSIVE"
    with _environment:
        before = os.environ.get(key)
        if accepted:
            os.environ[key] = "ON"
        try:
            yield
        finally:
            if accepted and before is None:
                os.environ.pop(key, None)
            elif accepted:
                os.environ[key] = before or ""


def _read_series(folder: Path) -> Any:
    _sitk()
    return dicom_series.read_series(folder)


def _read_file(path: Path, *, layers: bool = False) -> Any:
    """The SimpleITK image of a file: three dimensions, one number in a voxel (``layers`` allows more)."""
    extension = _extension(path)
    if not path.exists():
        raise VolumeError(f'There is no file "{path}". Check the path.')
    if not extension:
        raise VolumeError(f'"{path}" is of no known image format. Give {_FORMATS}.')
    header = None
    try:
        if path.stat().st_size == 0:
            raise VolumeError(f'The file "{path}" is empty. Copy or export it again.')
        if extension in (".nii", ".nii.gz"):
            header = nifti.read_header(path)
        elif extension in (".mha", ".mhd"):
            check_metaimage(path)
        image = _itk_image(path, header, layers)
    except OSError as error:
        raise VolumeError(f'The file "{path}" cannot be read: {error.strerror or error}.') from error
    except RuntimeError as error:
        _log.info("%s", error)
        raise VolumeError(
            f'The image "{path}" cannot be read: the file is cut off, damaged or not what its extension says. '
            "Copy or export it again."
        ) from error
    return image[:, :, :, 0] if image.GetDimension() == 4 else image


def _itk_image(path: Path, header: nifti.Header | None, layers: bool) -> Any:
    sitk = _sitk()
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    if header is None:
        reader.ReadImageInformation()
        _check_kind(path, reader, layers=layers)
        return reader.Execute()
    with _nearly_right_angles(nifti.needs_nearest_axes(path, header)):
        reader.ReadImageInformation()
    _check_kind(path, reader, layers=False)
    image = sitk.GetImageFromArray(nifti.read_voxels(path, header).reshape(reader.GetSize()[::-1]), False)
    image.SetSpacing(reader.GetSpacing())
    image.SetOrigin(reader.GetOrigin())
    image.SetDirection(reader.GetDirection())
    return image


def _check_kind(path: Path, reader: Any, *, layers: bool) -> None:
    size = reader.GetSize()
    if len(size) > 4 or (len(size) == 4 and size[3] > 1):
        raise VolumeError(
            f'The image "{path}" has {len(size)} dimensions ({" x ".join(map(str, size))}), such as a time series. '
            "Save the one volume that should be segmented."
        )
    if len(size) < 3:
        raise VolumeError(f'The image "{path}" has {len(size)} dimensions only. Name a 3-D image.')
    if reader.GetNumberOfComponents() > 1 and not layers:
        raise VolumeError(
            f'The image "{path}" has {reader.GetNumberOfComponents()} values in a voxel (color, vectors or complex '
            "numbers). Save it as a grey image."
        )


def _array(image: Any) -> np.ndarray:
    array: np.ndarray = _sitk().GetArrayFromImage(image)
    return array


def _geometry(path: Path, image: Any) -> Geometry:
    size, spacing, origin, direction = image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection()
    axes = np.asarray(direction, np.float64).reshape(3, 3)
    if not np.isfinite([*spacing, *origin, *direction]).all() or min(spacing) <= 0:
        raise VolumeError(f'The spacing, origin or direction of "{path}" is damaged. Export the image again.')
    skew = np.abs(axes.T @ axes - np.eye(3)).max()
    nearest, moved = nearest_axes(axes, spacing, size)
    if skew > 2 * nifti.NEARLY_ORTHOGONAL or moved > nifti.NEARLY_IN_PLACE:
        raise VolumeError(
            f'The axes of "{path}" are not at right angles. Resample the image to a right-angled grid first, for '
            "example by hardening a transform in 3D Slicer."
        )
    if skew > 1e-6:
        direction = tuple(nearest.ravel().tolist())
    return Geometry(size[::-1], spacing[::-1], tuple(origin), tuple(direction))


def _volume(path: Path, image: Any) -> Volume:
    # Conversion before the range check: a float64 value beyond float32 becomes infinite and is handled as such.
    with np.errstate(over="ignore"):
        return Volume(_array(image).astype(np.float32), _geometry(path, image))


def _finite(path: Path, voxels: np.ndarray) -> np.ndarray:
    good = np.isfinite(voxels)
    if good.all():
        return voxels
    bad = int(voxels.size - np.count_nonzero(good))
    if bad * 2 > voxels.size:
        raise VolumeError(
            f'{bad} of {voxels.size} voxels of "{path}" are NaN or infinite. Export the image again from its source.'
        )
    low, high = float(voxels[good].min()), float(voxels[good].max())
    _log.warning('"%s": %d voxels are NaN or infinite and were set to %g or %g.', path, bad, low, high)
    return np.nan_to_num(voxels, nan=low, posinf=high, neginf=low)


def _whole_numbers(path: Path, voxels: np.ndarray) -> np.ndarray:
    if voxels.dtype.kind == "f" and not (np.isfinite(voxels).all() and np.array_equal(voxels, np.rint(voxels))):
        raise VolumeError(
            f'The mask "{path}" holds numbers that are not whole. Masks hold segment values: save it as a label map.'
        )
    return voxels


def _by_value(path: Path, voxels: np.ndarray, segments: Sequence[Segment]) -> np.ndarray:
    known = [0, *(segment.value for segment in segments)]
    low, high = voxels.min(), voxels.max()
    if 0 <= low and high <= 255:
        mask = voxels.astype(np.uint8)
        found = np.zeros(256, bool)
        found[mask] = True
        found[known] = False
        unknown = np.flatnonzero(found).tolist()
    else:
        unknown = [value for value in (int(low), int(high)) if not 0 <= value <= 255]
    if unknown:
        named = [segment for segment in segments if segment != OUTSIDE]
        listed = ", ".join(f"{segment.value} ({segment.name})" for segment in named[:8])
        listed += ", ..." if len(named) > 8 else ""
        hint = f", or, if this value marks what nobody has annotated, say so (--unknown {unknown[0]})"
        raise VolumeError(
            f'The mask "{path}" holds the value {unknown[0]}, which no segment has. The segments are {listed}: change '
            f"the mask or the project's segments{hint if 0 < unknown[0] <= 255 else ''}."
        )
    return mask


def _on_grid(path: Path, mask: Volume, reference: Geometry, *, partial: bool) -> Volume:
    """The mask on the grid of its image, voxel by voxel; ``partial`` allows a mask that covers a part of it."""
    if mask.geometry == reference:
        return mask
    mapping = axis_map(mask.geometry, reference, _AXIS_TOLERANCE)
    if mapping is not None:
        grid = mask.geometry.reordered(*mapping)
        if grid.is_close(reference, _GRID_TOLERANCE):
            return Volume(reorder_voxels(mask.voxels, *mapping), reference)
        corners = reference.world_to_index(grid.corners())
        start, stop = np.rint(corners[0]).astype(int), np.rint(corners[-1]).astype(int) + 1
        on_lattice = np.abs(corners - np.rint(corners)).max() <= _GRID_TOLERANCE
        if partial and on_lattice and tuple(stop - start) == grid.shape:
            voxels = _pasted(reorder_voxels(mask.voxels, *mapping), start, reference.shape)
            if np.count_nonzero(voxels) == np.count_nonzero(mask.voxels):
                return Volume(voxels, reference)
    if mask.shape != reference.shape:
        reason = f"it has {mask.shape} voxels (slices, rows, columns), the image {reference.shape}"
    else:
        apart = np.abs(mask.geometry.corners() - reference.corners()).max()
        reason = f"its corners lie up to {apart:.3g} mm beside those of the image"
    raise VolumeError(
        f'The mask "{path}" does not lie on the grid of its image: {reason}. Check that it belongs to this image, or '
        "export it with the image as reference geometry."
    )


def _pasted(part: np.ndarray, start: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """``part`` at ``start`` of an empty array; what reaches beyond it is left out."""
    voxels = np.zeros(shape, part.dtype)
    lower = np.clip(start, 0, shape)
    upper = np.clip(start + part.shape, 0, shape)
    inner = tuple(slice(a, b) for a, b in zip(lower - start, upper - start, strict=True))
    voxels[tuple(slice(a, b) for a, b in zip(lower, upper, strict=True))] = part[inner]
    return voxels


def _write(path: Path, volume: Volume, fields: dict[str, str]) -> None:
    if not path.name.lower().endswith(_WRITABLE):
        raise VolumeError(f'Cannot write "{path}": its name must end in one of {", ".join(_WRITABLE)}.')
    if not path.parent.is_dir():
        raise VolumeError(f'Cannot write "{path}": the folder "{path.parent}" does not exist.')
    sitk = _sitk()
    voxels = volume.voxels
    if voxels.dtype.kind == "b":
        voxels = voxels.astype(np.uint8)
    elif voxels.dtype == np.float16:
        voxels = voxels.astype(np.float32)
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing(volume.geometry.spacing[::-1])
    image.SetOrigin(volume.geometry.origin)
    image.SetDirection(volume.geometry.direction)
    for key, value in fields.items():
        image.SetMetaData(key, value)
    try:
        with replacing(path) as temporary:
            sitk.WriteImage(image, str(temporary), useCompression=True)
    except (RuntimeError, OSError) as error:
        _log.info("%s", error)
        raise VolumeError(
            f'Cannot write "{path}": the disk may be full or the folder write-protected. Make room or choose another.'
        ) from error
