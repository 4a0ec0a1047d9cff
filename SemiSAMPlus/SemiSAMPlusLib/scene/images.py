"""Volume nodes from the images of cases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import vtk

from ..i18n import _
from .nodes import Logics

_SINGLE_FILE, _AUTO_WINDOW_LEVEL = 4, 8  # loading options of vtkSlicerVolumesLogic

# Marks volumes of ours that are no images of anybody.
OVERLAY = "SemiSAMPlus.Overlay"


class ImageError(Exception):
    """An image that cannot be loaded; the text is for the user."""


def load_image(logics: Logics, path: Path, name: str) -> Any:
    """A scalar volume node of an image file, or of a folder with one DICOM series. Raises ImageError.

    Slicer reverses the slices of images whose axes are left-handed, so the voxel indices of the node need not be those
    of the file; ``Grid`` knows the difference.
    """
    if not path.exists():
        raise ImageError(_('The image "{path}" is not there: put it back, or remove the case.').format(path=path))
    if path.is_dir():
        files = _series(path)
        names = vtk.vtkStringArray()
        for file in files:
            names.InsertNextValue(file)
        node = logics.volumes.AddArchetypeVolume(files[0], name, _AUTO_WINDOW_LEVEL, names)
    else:
        node = logics.volumes.AddArchetypeVolume(str(path), name, _SINGLE_FILE | _AUTO_WINDOW_LEVEL)
    if node is None:
        text = _('The image "{path}" cannot be loaded: it is damaged, or no grey volume. Export it again.')
        raise ImageError(text.format(path=path))
    return node


def load_overlay(logics: Logics, path: Path, name: str) -> Any:
    """A scalar volume node for an overlay such as the uncertainty, from dark blue to yellow. Raises ImageError."""
    node = load_image(logics, path, name)
    node.SetAttribute(OVERLAY, "1")
    node.SetSaveWithScene(False)
    display = node.GetScalarVolumeDisplayNode()
    if display is not None:
        display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeIron")
        low, high = node.GetImageData().GetScalarRange()
        display.SetAutoWindowLevel(False)
        display.SetWindowLevelMinMax(low, max(high, low + 1e-6))
        # What is sure stays transparent.
        display.SetThreshold(low + 0.1 * (high - low), high)
        display.SetApplyThreshold(True)
    return node


def _series(folder: Path) -> list[str]:
    # Sorted along the slices as the engine sorts them; by file names Slicer may take them in any order.
    import SimpleITK as sitk

    files = list(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
    if not files:
        raise ImageError(_('The folder "{path}" holds no DICOM series: put it back.').format(path=folder))
    return files
