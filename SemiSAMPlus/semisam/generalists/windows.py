"""Windows on a volume: small grids on which the object in question has a sensible size, and the way there and back.

A window is an axis-aligned grid in the volume's own index frame, measured in mm from the centre of voxel (0, 0, 0)
along k, j, i. Its steps are equal in mm, except along slices thicker than that: up to twice as long. Resampling is
separable: one small matrix an axis, a triangle filter as wide as the coarser of the two grids, so coarse windows do not
alias.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

GRID_MULTIPLE = 8
"""Sides of a window are multiples of this, as networks that halve it three times need."""
WHOLE_VOXELS = 48**3
"""Grid points of a window on a whole volume, at most."""
LOCAL_VOXELS = 40**3
"""Grid points of a window on a part, at most: the size that training ends with."""
_LEAST_STEPS = 24
_FINEST = 0.75
_MOST_STRETCH = 2.0


@dataclass(frozen=True)
class Grid:
    """Points ``start + index * step`` (mm) along each of k, j, i."""

    start: tuple[float, float, float]
    step: tuple[float, float, float]
    shape: tuple[int, int, int]

    def positions(self, axis: int) -> np.ndarray:
        return self.start[axis] + self.step[axis] * np.arange(self.shape[axis])

    def index(self, position: np.ndarray) -> np.ndarray:
        """(..., 3) indices, not rounded, of positions (..., 3) in mm."""
        return (np.asarray(position, float) - self.start) / self.step


def volume_grid(shape: Sequence[int], spacing: Sequence[float]) -> Grid:
    """The voxels of a volume themselves."""
    return Grid((0.0, 0.0, 0.0), _triple(np.asarray(spacing, float)), _shape(np.asarray(shape)))


def reduced_grid(volume: Grid, voxels: int) -> Grid:
    """A grid over the same field of view with at most ``voxels`` points; the finest axes are coarsened first."""
    spacing, shape = np.asarray(volume.step), np.asarray(volume.shape)
    extent, step = spacing * shape, spacing.min()
    while np.prod(np.ceil(extent / np.maximum(spacing, step) - 1e-3)) > voxels:
        step *= 1.02
    counts = np.maximum(1, np.ceil(extent / np.maximum(spacing, step) - 1e-3)).astype(int)
    steps = extent / counts
    return Grid(_triple(0.5 * (steps - spacing)), _triple(steps), _shape(counts))


def whole_window(volume: Grid) -> Grid:
    """The window on the whole volume: its own voxels if they are few, else coarser."""
    spacing = np.asarray(volume.step)
    extent = spacing * volume.shape
    return _fit(extent, 0.5 * (extent - spacing), spacing, spacing.min(), WHOLE_VOXELS)


def local_window(volume: Grid, lower: np.ndarray, upper: np.ndarray) -> Grid:
    """The window round an object that reaches from ``lower`` to ``upper`` (mm along k, j, i).

    The object spans about half of it, as in training. Positions and sides are rounded coarsely, so that slightly
    different prompts for the same object share a window, and its encoding. Windows that would be nearly the whole
    volume are the whole volume's.
    """
    spacing = np.asarray(volume.step)
    whole_extent = spacing * volume.shape
    finest = _FINEST * spacing.min()
    extent = np.maximum(upper - lower, spacing)
    side = np.maximum(1.5 * extent + 0.3 * extent.max(), _LEAST_STEPS * _steps(finest, spacing))
    side = np.minimum(side, whole_extent)
    if (side >= 0.85 * whole_extent).all():
        return whole_window(volume)
    # Sides on a geometric scale, centers on a lattice of a sixth of the side.
    side = np.minimum(1.2 ** np.ceil(np.log(side) / np.log(1.2)), whole_extent)
    lattice = side / 6
    center = np.round((0.5 * (lower + upper)) / lattice) * lattice
    first, last = -0.5 * spacing, whole_extent - 0.5 * spacing
    center = np.clip(center, first + 0.5 * side, last - 0.5 * side)
    return _fit(side, center, spacing, finest, LOCAL_VOXELS)


def _fit(side: np.ndarray, center: np.ndarray, spacing: np.ndarray, finest: float, voxels: int) -> Grid:
    step = finest
    while True:
        steps = _steps(step, spacing)
        counts = np.ceil(side / steps / GRID_MULTIPLE - 1e-3).clip(2).astype(int) * GRID_MULTIPLE
        if np.prod(counts) <= voxels:
            return Grid(_triple(center - 0.5 * (counts - 1) * steps), _triple(steps), _shape(counts))
        step *= 1.02


def _steps(step: float, spacing: np.ndarray) -> np.ndarray:
    return np.clip(spacing, step, _MOST_STRETCH * step)


def in_view(window: Grid, volume: Grid) -> np.ndarray:
    """(k, j, i) bool: the points of ``window`` that lie inside the volume's field of view."""
    axes = []
    for axis in range(3):
        index = (window.positions(axis) - volume.start[axis]) / volume.step[axis]
        axes.append((index >= -0.5) & (index <= volume.shape[axis] - 0.5))
    return axes[0][:, None, None] & axes[1][:, None] & axes[2]


def sample(voxels: np.ndarray, source: Grid, target: Grid) -> np.ndarray:
    """(k, j, i) float32: ``voxels`` on ``source`` brought to ``target``; edges are repeated outside."""
    crop, matrices = [], []
    for axis in range(3):
        matrix = axis_matrix(source, target, axis)
        used = np.flatnonzero(matrix.any(0))
        part = slice(int(used[0]), int(used[-1]) + 1)
        crop.append(part)
        matrices.append(matrix[:, part])
    # Float16 voxels and bool masks become float32 only where they are needed.
    values = voxels[tuple(crop)].astype(np.float32)
    return multiply(values, matrices)


def axis_matrix(source: Grid, target: Grid, axis: int) -> np.ndarray:
    """(target, source) float32 weights along one axis; every row sums to 1."""
    count = source.shape[axis]
    index = (target.positions(axis) - source.start[axis]) / source.step[axis]
    width = max(1.0, target.step[axis] / source.step[axis])
    distance = np.abs(np.clip(index, 0, count - 1)[:, None] - np.arange(count)[None])
    weights = np.clip(1 - distance / width, 0, None)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def multiply(values: np.ndarray, matrices: Sequence[np.ndarray]) -> np.ndarray:
    """Apply one matrix along each of k, j, i; axes that shrink most go first, so that little is computed."""
    result = torch.from_numpy(np.ascontiguousarray(values, np.float32))
    for axis in sorted(range(3), key=lambda axis: matrices[axis].shape[0] / matrices[axis].shape[1]):
        matrix = torch.from_numpy(np.ascontiguousarray(matrices[axis]))
        if axis == 0:
            result = (matrix @ result.flatten(1)).unflatten(1, result.shape[1:])
        elif axis == 1:
            result = torch.matmul(matrix, result)
        else:
            result = result @ matrix.T
    return result.numpy()


def _triple(values: np.ndarray) -> tuple[float, float, float]:
    return (float(values[0]), float(values[1]), float(values[2]))


def _shape(values: np.ndarray) -> tuple[int, int, int]:
    return (int(values[0]), int(values[1]), int(values[2]))
