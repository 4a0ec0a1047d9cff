"""Coarser grids for generalists whose cost grows with the number of voxels."""

from __future__ import annotations

import numpy as np

from semisam.volumes import Geometry, working_geometry


def affordable_geometry(geometry: Geometry, voxels: int) -> Geometry:
    """A canonical grid over the field of view of ``geometry`` with at most about ``voxels`` voxels.

    The axes with the finest spacing are coarsened first, so that thick slices stay as they are. Grids that are small
    enough are only brought into canonical axis order.
    """
    grid = geometry.canonical()
    spacing = np.asarray(grid.spacing, float)
    extent = spacing * grid.shape
    step = spacing.min()
    while np.prod(np.ceil(extent / np.maximum(spacing, step) - 1e-3)) > voxels:
        step *= 1.05
    return working_geometry(grid, np.maximum(spacing, step).tolist())


def robust_scaled(voxels: np.ndarray) -> np.ndarray:
    """(k, j, i) float32 with the 1st percentile at 0 and the 99th at 1, clipped to -0.5..1.5; not finite becomes 0.

    Percentiles, because raw intensities differ up to 10,000-fold between cases and single voxels are outliers; they
    are taken from at most 64 voxels along each axis.
    """
    voxels = np.nan_to_num(np.asarray(voxels, np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    sample = voxels[tuple(slice(None, None, -(-size // 64)) for size in voxels.shape)]
    low, high = np.percentile(sample, (1, 99))
    if high <= low:
        low, high = float(voxels.min()), float(voxels.max())
    if high <= low:
        return np.zeros_like(voxels)
    return np.clip((voxels - np.float32(low)) / np.float32(high - low), -0.5, 1.5)


def robust_bounds(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last index along k, j, i of a non-empty mask, leaving out specks at its far ends."""
    flat = np.count_nonzero(mask, axis=0)
    profiles = (np.count_nonzero(mask, axis=(1, 2)), flat.sum(1), flat.sum(0))
    lower, upper = np.zeros(3), np.zeros(3)
    for axis, profile in enumerate(profiles):
        share = np.cumsum(profile) / profile.sum()
        lower[axis] = np.searchsorted(share, 0.002, side="right")
        upper[axis] = np.searchsorted(share, 0.998, side="left")
    return lower, np.maximum(lower, upper)
