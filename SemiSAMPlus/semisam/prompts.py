"""Prompts: what a person, or the specialist, tells a generalist about the object it should find.

All coordinates are voxel indices (k, j, i) of the volume that was given to ``encode``; the centre of the first voxel
is (0, 0, 0). A box is half-open: voxels with ``lower <= index < upper`` are inside.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


def _no_points() -> np.ndarray:
    return np.zeros((0, 3), np.float32)


def _no_labels() -> np.ndarray:
    return np.zeros(0, np.uint8)


@dataclass(frozen=True)
class Prompts:
    """The prompts for one object in one volume.

    points   (n, 3) float32 voxel indices k, j, i
    labels   (n,) uint8: 1 inside the object, 0 outside
    box      (k0, j0, i0, k1, j1, i1), half-open, or None
    mask     (k, j, i) float32 probability of the object on the volume's grid, or None
    segment  value of the project's segment that is meant, or 0 for "any object"; only generalists that work from the
             annotated cases look at it
    """

    points: np.ndarray = field(default_factory=_no_points)
    labels: np.ndarray = field(default_factory=_no_labels)
    box: tuple[float, float, float, float, float, float] | None = None
    mask: np.ndarray | None = None
    segment: int = 0

    @property
    def is_empty(self) -> bool:
        return len(self.points) == 0 and self.box is None and self.mask is None
