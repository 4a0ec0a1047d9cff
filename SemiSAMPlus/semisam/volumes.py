"""Volumes: voxels with their geometry, read from and written to files through SimpleITK.

Arrays and spacing are in (k, j, i) order (slice, row, column); origin and direction are ITK's (x, y, z in LPS, mm).
The conversion happens in this file and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Geometry:
    """Where a grid of voxels lies in the patient.

    shape      (k, j, i) voxels
    spacing    (k, j, i) mm
    origin     (x, y, z) LPS mm, centre of voxel (0, 0, 0)
    direction  9 numbers, row-major 3x3; its columns are the unit vectors along i, j and k (ITK's convention)
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: tuple[float, ...]

    @classmethod
    def simple(cls, shape: tuple[int, int, int], spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Geometry:
        """An axis-aligned grid at the origin, for arrays that come without geometry."""
        return cls(shape, spacing, (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))


@dataclass(frozen=True)
class Volume:
    """Voxels (k, j, i) and where they lie."""

    voxels: np.ndarray
    geometry: Geometry

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.geometry.shape

    @property
    def spacing(self) -> tuple[float, float, float]:
        return self.geometry.spacing
