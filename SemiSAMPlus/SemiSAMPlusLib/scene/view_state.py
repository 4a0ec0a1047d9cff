"""What a person has set in the views, carried from one case to the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .segments import find_segment, segment_ids

# Images whose automatic ranges differ more than this have units of their own (as MR has): then the setting is
# carried over in proportion, not in numbers.
_SIMILAR = 2.0


@dataclass(frozen=True)
class _Window:
    low: float
    high: float
    automatic_low: float
    automatic_high: float


class ViewState:
    """Window / level of the image, and visibility and opacity of each segment by name.

    Usage: ``keep`` before a case closes, ``restore`` after the next one is open.
    """

    def __init__(self) -> None:
        self._window: _Window | None = None
        self._segments: dict[tuple[str, str], tuple[bool, bool, bool, bool, float]] = {}
        self._nodes: dict[str, tuple[bool, float]] = {}

    def keep(self, volume: Any, segmentations: dict[str, Any]) -> None:
        """Remember how ``volume`` and the segmentations (by role, such as "annotation") are shown now."""
        display = None if volume is None else volume.GetScalarVolumeDisplayNode()
        if display is not None:
            self._window = None if display.GetAutoWindowLevel() else _window(volume, display)
        for role, node in segmentations.items():
            shown = None if node is None else node.GetDisplayNode()
            if shown is None:
                continue
            self._nodes[role] = (bool(shown.GetVisibility()), float(shown.GetOpacity()))
            for name, key in segment_ids(node).items():
                self._segments[role, name] = (
                    bool(shown.GetSegmentVisibility(key)),
                    bool(shown.GetSegmentVisibility3D(key)),
                    bool(shown.GetSegmentVisibility2DFill(key)),
                    bool(shown.GetSegmentVisibility2DOutline(key)),
                    float(shown.GetSegmentOpacity2DFill(key)),
                )

    def restore(self, volume: Any, segmentations: dict[str, Any]) -> None:
        """Show the nodes of another case in the same way."""
        display = None if volume is None else volume.GetScalarVolumeDisplayNode()
        if display is not None and self._window is not None:
            low, high = _carried(self._window, *_automatic_range(volume))
            display.SetAutoWindowLevel(False)
            display.SetWindowLevelMinMax(low, high)
        for role, node in segmentations.items():
            shown = None if node is None else node.GetDisplayNode()
            if shown is None:
                continue
            if role in self._nodes:
                visible, opacity = self._nodes[role]
                shown.SetVisibility(visible)
                shown.SetOpacity(opacity)
            for (kept_role, name), values in self._segments.items():
                key = find_segment(node, name) if kept_role == role else None
                if key is None:
                    continue
                shown.SetSegmentVisibility(key, values[0])
                shown.SetSegmentVisibility3D(key, values[1])
                shown.SetSegmentVisibility2DFill(key, values[2])
                shown.SetSegmentVisibility2DOutline(key, values[3])
                shown.SetSegmentOpacity2DFill(key, values[4])


def show_in_slice_views(scene: Any, background: Any = None, foreground: Any = None, opacity: float = 0.4) -> None:
    """Show volumes in all slice views; None leaves the background and takes the foreground away."""
    composites = scene.GetNodesByClass("vtkMRMLSliceCompositeNode")
    composites.UnRegister(None)
    for index in range(composites.GetNumberOfItems()):
        composite = composites.GetItemAsObject(index)
        if background is not None:
            composite.SetBackgroundVolumeID(background.GetID())
        composite.SetForegroundVolumeID(None if foreground is None else foreground.GetID())
        if foreground is not None:
            composite.SetForegroundOpacity(opacity)


def _window(volume: Any, display: Any) -> _Window:
    low, high = display.GetWindowLevelMin(), display.GetWindowLevelMax()
    return _Window(float(low), float(high), *_automatic_range(volume))


def _automatic_range(volume: Any) -> tuple[float, float]:
    """Between these values lie all but the darkest and the brightest thousandth of a sample of the voxels."""
    import numpy as np
    from vtk.util.numpy_support import vtk_to_numpy

    scalars = vtk_to_numpy(volume.GetImageData().GetPointData().GetScalars()).ravel()
    sample = scalars[:: max(1, len(scalars) // 100_000)]
    low, high = np.percentile(sample, (0.1, 99.9))
    return float(low), float(max(high, low + 1e-6))


def _carried(window: _Window, low: float, high: float) -> tuple[float, float]:
    before, now = window.automatic_high - window.automatic_low, high - low
    if 1 / _SIMILAR < now / before < _SIMILAR and abs(low - window.automatic_low) < before / 2:
        return window.low, window.high
    first = low + (window.low - window.automatic_low) / before * now
    last = low + (window.high - window.automatic_low) / before * now
    return first, max(last, first + 1e-6)
