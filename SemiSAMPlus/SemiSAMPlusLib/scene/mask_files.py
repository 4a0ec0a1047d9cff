"""Segmentation nodes from mask files and into them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import slicer
import vtk

from ..cases import SegmentInfo
from ..i18n import _
from .grids import Grid, Patch, oriented_image, patch_of_image, to_vtk
from .nrrd_check import is_whole_nrrd
from .segments import find_segment, read_segment, segment_id_of, segment_ids, write_segment

_LABEL_MAP_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")


class MaskFileError(Exception):
    """A mask file that cannot be read or written; the text is for the user."""


def read_into(path: Path, node: Any, segments: Sequence[SegmentInfo], grid: Grid) -> None:
    """Give the segments of ``node`` the voxels of a .seg.nrrd file.

    They are matched by name; what has another name since, by its id; and what has none, by its value.

    The file is not remembered by the node: saving the scene must never write into a project. Raises MaskFileError.
    """
    # A scene of its own: the reader wants one, and the user's scene must not see this node come and go.
    scratch = slicer.vtkMRMLScene()
    source = scratch.AddNode(slicer.vtkMRMLSegmentationNode())
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(str(path))
    if not is_whole_nrrd(path) or not storage.ReadData(source):
        raise MaskFileError(_('The mask "{path}" cannot be read: it is missing or damaged.').format(path=path))
    for target, segment_id in _matched(source.GetSegmentation(), node, segments).items():
        write_segment(node, target, read_segment(source, segment_id, grid))


def _matched(source: Any, node: Any, segments: Sequence[SegmentInfo]) -> dict[str, str]:
    """Id in ``node`` -> id in the segmentation ``source``.

    A segment that is not the project's, such as one that somebody made as a help, matches none: its value says nothing,
    for Slicer numbers the segments of each layer anew.
    """
    found: dict[str, str] = {}
    ids = [source.GetNthSegmentID(index) for index in range(source.GetNumberOfSegments())]
    for segment_id in ids:
        target = find_segment(node, source.GetSegment(segment_id).GetName())
        if target is not None:
            found.setdefault(target, segment_id)
    by_id = {segment_id_of(item): item.name for item in segments}
    by_value = {item.value: item.name for item in segments}
    for segment_id in (other for other in ids if other not in found.values()):
        segment = source.GetSegment(segment_id)
        nameless = segment.GetName() in (None, "", segment_id)
        name = by_id.get(segment_id) or (by_value.get(segment.GetLabelValue()) if nameless else None)
        target = find_segment(node, name or "")
        if target is not None:
            found.setdefault(target, segment_id)
    return found


def read_patch(path: Path, grid: Grid) -> Patch:
    """The voxels that are not 0 of a small mask file (NRRD, NIfTI), such as the answer to a prompt, on ``grid``.

    Raises MaskFileError.
    """
    source = slicer.vtkMRMLScalarVolumeNode()
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage.SetFileName(str(path))
    storage.SetSingleFile(True)
    if not path.is_file() or not storage.ReadData(source) or source.GetImageData() is None:
        raise MaskFileError(_('The mask "{path}" cannot be read: it is missing or damaged.').format(path=path))
    image = slicer.vtkOrientedImageData()
    image.ShallowCopy(source.GetImageData())
    matrix = vtk.vtkMatrix4x4()
    source.GetIJKToRASMatrix(matrix)
    image.SetImageToWorldMatrix(matrix)
    return patch_of_image(image, grid).cropped()


def write_segmentation(node: Any, path: Path, *, for_engine: bool = False) -> None:
    """Write a segmentation node as .seg.nrrd, atomically: the file is wholly there or not at all. Raises MaskFileError.

    It is on the grid of the node's reference volume. ``for_engine`` writes only the part that the segments fill, and
    uncompressed: the engine puts it in its place, and the window does not freeze for it.
    """
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetUseCompression(not for_engine)
    storage.SetCropToMinimumExtent(for_engine)
    _write_atomically(storage, node, path)


def write_patch(patch: Patch, path: Path) -> None:
    """Write a patch as an uncompressed .nrrd, for the ``mask`` of a prompt. Raises MaskFileError."""
    labelmap = slicer.vtkMRMLLabelMapVolumeNode()
    slicer.vtkSlicerSegmentationsModuleLogic.CopyOrientedImageDataToVolumeNode(oriented_image(patch), labelmap)
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage.SetFileName(str(path))
    storage.SetUseCompression(False)
    if not storage.WriteData(labelmap):
        text = _('Cannot write "{path}": make room, or check the permissions of the folder.')
        raise MaskFileError(text.format(path=path))


def export_mask(node: Any, volume: Any, segments: Sequence[SegmentInfo], path: Path) -> None:
    """Write a segmentation for other programs, on the grid of ``volume``: .seg.nrrd with names and colors, or a label
    map (.nii.gz, .nii, .nrrd, .mha) with the project's values. Raises MaskFileError.

    In a label map, segments that the project does not have get the next free values, and where segments overlap, the
    later one wins.
    """
    name = path.name.lower()
    if name.endswith(".seg.nrrd"):
        write_segmentation(node, path)
    elif name.endswith(_LABEL_MAP_ENDINGS):
        _write_labelmap(node, volume, segments, path)
    else:
        text = _('"{path}" has no ending of a mask file: use .seg.nrrd, .nii.gz, .nrrd or .mha.')
        raise MaskFileError(text.format(path=path))


def _write_labelmap(node: Any, volume: Any, segments: Sequence[SegmentInfo], path: Path) -> None:
    import numpy as np
    from vtk.util.numpy_support import numpy_to_vtk

    grid = Grid.of_volume(volume)
    values = {item.name.casefold(): item.value for item in segments}
    free = (value for value in range(1, 65536) if value not in set(values.values()))
    voxels = np.zeros(grid.shape, np.uint16)
    for name, segment_id in segment_ids(node).items():
        patch = read_segment(node, segment_id, grid)
        known = values.get(name.strip().casefold())
        voxels[patch.whole()] = next(free) if known is None else known
    voxels = voxels.astype(np.uint8) if voxels.max() < 256 else voxels
    image = vtk.vtkImageData()
    image.SetDimensions(*grid.shape[::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(voxels.ravel(), deep=True))
    labelmap = slicer.vtkMRMLLabelMapVolumeNode()
    labelmap.SetAndObserveImageData(image)
    labelmap.SetIJKToRASMatrix(to_vtk(grid.ras))
    _write_atomically(slicer.vtkMRMLVolumeArchetypeStorageNode(), labelmap, path)


def _write_atomically(storage: Any, node: Any, path: Path) -> None:
    """Have a storage node write a node: the file is wholly there or not at all. Raises MaskFileError."""
    # The ending tells Slicer the format, so the temporary file needs it, too.
    temporary = path.with_name(f".writing-{os.getpid()}-{path.name}")
    storage.SetFileName(str(temporary))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not storage.WriteData(node):
            raise OSError(_("the disk may be full"))
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        text = _('Cannot write "{path}" ({reason}): make room, or check the permissions of the folder.')
        raise MaskFileError(text.format(path=path, reason=error.strerror or error)) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
