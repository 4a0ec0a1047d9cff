"""Volumes of the scene as image files: where they lie already, and writing those that lie nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer

from ..i18n import _
from ..image_files import is_image_file
from .images import OVERLAY


def grey_volumes(scene: Any) -> list[Any]:
    """The volume nodes of a scene that the user sees, without label maps, color volumes and our own overlays."""
    nodes = [scene.GetNthNodeByClass(n, "vtkMRMLScalarVolumeNode") for n in range(_count(scene))]
    return [
        node
        for node in nodes
        if not node.IsA("vtkMRMLLabelMapVolumeNode")
        and not node.IsA("vtkMRMLVectorVolumeNode")
        and not node.GetHideFromEditors()
        and not node.GetAttribute(OVERLAY)
        and node.GetImageData() is not None
    ]


def file_of_volume(node: Any) -> Path | None:
    """The one file that holds this volume as it is now; None for one that was changed, never saved, or is a series."""
    storage = node.GetStorageNode()
    if storage is None or node.GetModifiedSinceRead() or storage.GetNumberOfFileNames() > 1:
        return None
    path = Path(storage.GetFileName() or "")
    return path if is_image_file(path) and path.is_file() else None


def write_volume(node: Any, path: Path, *, compressed: bool = True) -> None:
    """Write a volume as .nrrd in its own geometry (without a parent transform). Raises OSError with a sentence.

    Uncompressed is many times faster, for files that live for minutes.

    The node's own storage node is left alone, so the volume stays tied to the file that the user knows.
    """
    if node.GetImageData() is None or node.GetImageData().GetNumberOfScalarComponents() != 1:
        raise OSError(_("it is no grey volume"))
    storage = slicer.vtkMRMLNRRDStorageNode()
    storage.SetFileName(str(path))
    storage.SetUseCompression(compressed)
    storage.SetCompressionParameter("gzip_fastest")
    if not storage.WriteData(node):
        raise OSError(_("it cannot be written: make room on the disk, or check the permissions of the folder"))


def _count(scene: Any) -> int:
    return int(scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode"))
