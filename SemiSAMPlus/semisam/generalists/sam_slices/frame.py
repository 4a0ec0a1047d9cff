"""How a network for pictures sees a volume: as slices across its thickest axis, in 8 bits, scaled to the input's size.

Arrays in this frame are (slice, row, column); pixels are x, y of the network's square input.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from semisam.generalists import windows
from semisam.generalists.windows import Grid
from semisam.volumes import Geometry, axis_map

# Slices are cut across another axis than head to feet only if its voxels are this much longer.
_THICKER = 1.1
# Images that go below this can only be CT; the window is that of soft tissue, as in MedSAM's training.
_CT_BELOW, _CT_WINDOW = -200.0, (-160.0, 240.0)
_MEAN, _DEVIATION = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
# The network's masks are this much coarser than its input.
_COARSE = 4


@dataclass(frozen=True)
class SliceFrame:
    """The frame of one volume.

    shape, spacing  (slices, rows, columns) and mm
    order, flips    axis n of the frame is axis order[n] of the volume, reversed where flips[n]
    side            of the network's input, pixels
    stretched       whether slices fill the whole input (MedSAM), instead of keeping their proportions (SAM)
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    order: tuple[int, int, int]
    flips: tuple[bool, bool, bool]
    side: int
    stretched: bool

    @classmethod
    def of(cls, geometry: Geometry, side: int, stretched: bool) -> SliceFrame:
        grid = geometry.canonical()
        thickest = int(np.argmax(grid.spacing))
        axis = thickest if grid.spacing[thickest] > _THICKER * grid.spacing[0] else 0
        grid = grid.reordered([axis, *(other for other in range(3) if other != axis)], (False, False, False))
        mapping = axis_map(geometry, grid)
        assert mapping is not None  # the same axes in another order
        return cls.from_dict(
            {
                "shape": grid.shape,
                "spacing": grid.spacing,
                "order": mapping[0],
                "flips": mapping[1],
                "side": side,
                "stretched": stretched,
            }
        )

    @classmethod
    def of_picture(cls, geometry: Geometry, side: int, stretched: bool) -> SliceFrame:
        """The frame of a volume that is one slice already."""
        return cls(geometry.shape, geometry.spacing, (0, 1, 2), (False, False, False), side, stretched)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SliceFrame:
        names = ("shape", "spacing", "order", "flips")
        return cls(*(tuple(data[name]) for name in names), data["side"], data["stretched"])  # type: ignore[call-arg, arg-type]

    def turned(self, voxels: np.ndarray) -> np.ndarray:
        """A view of a (k, j, i) array along the frame's axes."""
        steps = tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)
        return voxels.transpose(self.order)[steps]

    def indices(self, points: np.ndarray) -> np.ndarray:
        """(n, 3) slice, row, column for (n, 3) voxel indices (k, j, i) of the volume."""
        turned = np.asarray(points, float).reshape(-1, 3)[:, self.order]
        return np.where(self.flips, np.asarray(self.shape) - 1 - turned, turned)

    @property
    def scale(self) -> tuple[float, float]:
        """Pixels per row and per column."""
        rows, columns = self.shape[1:]
        if self.stretched:
            return self.side / rows, self.side / columns
        longest = max(rows * self.spacing[1], columns * self.spacing[2])
        return self.side * self.spacing[1] / longest, self.side * self.spacing[2] / longest

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """(n, 2) x, y in pixels for (n, 2) rows, columns; those of a voxel are its centre."""
        return ((np.asarray(points, float) + 0.5) * self.scale - 0.5)[:, ::-1]

    def input(self, picture: np.ndarray) -> torch.Tensor:
        """(1, 3, side, side) for a slice (rows, columns) uint8."""
        size = [min(self.side, max(1, round(n * s))) for n, s in zip(picture.shape, self.scale, strict=True)]
        pixels = torch.from_numpy(np.array(picture, np.float32))[None, None]
        pixels = functional.interpolate(pixels, size=size, mode="bilinear", align_corners=False, antialias=True)
        if self.stretched:
            low, high = pixels.amin(), pixels.amax()
            return ((pixels - low) / (high - low).clamp(min=1e-8)).expand(1, 3, -1, -1)
        colors = (pixels - torch.tensor(_MEAN).view(1, 3, 1, 1)) / torch.tensor(_DEVIATION).view(1, 3, 1, 1)
        return functional.pad(colors, (0, self.side - size[1], 0, self.side - size[0]))

    def to_mask(self, values: np.ndarray) -> np.ndarray:
        """A slice (rows, columns) averaged to the network's mask (side / 4, side / 4); zeros beyond it."""
        coarse, voxels = self._grids()
        return (windows.sample(values[None], voxels, coarse) * windows.in_view(coarse, voxels))[0]

    def from_mask(self, logits: np.ndarray) -> np.ndarray:
        """The network's mask (side / 4, side / 4) interpolated to a slice (rows, columns)."""
        coarse, voxels = self._grids()
        return windows.sample(logits[None], coarse, voxels)[0]

    def _grids(self) -> tuple[Grid, Grid]:
        """The mask's and the slice's pixels, in voxels of the slice."""
        step = [_COARSE / scale for scale in self.scale]
        count = self.side // _COARSE
        start = (0.0, (step[0] - 1) / 2, (step[1] - 1) / 2)
        return (
            Grid(start, (1.0, step[0], step[1]), (1, count, count)),
            Grid((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (1, *self.shape[1:])),
        )


def eight_bits(voxels: np.ndarray) -> np.ndarray:
    """uint8 of the same shape: CT in a soft tissue window, other images between their percentiles 0.5 and 99.5.

    Voxels that are zero, as around many MR images, do not count for the percentiles.
    """
    voxels = np.nan_to_num(np.asarray(voxels, np.float32), posinf=0.0, neginf=0.0)
    if voxels.min() < _CT_BELOW:
        low, high = _CT_WINDOW
    else:
        counted = voxels[voxels != 0]
        counted = counted[:: max(1, counted.size // 200_000)]
        low, high = np.percentile(counted, (0.5, 99.5)) if counted.size else (0.0, 1.0)
    scaled = (voxels - low) * (255 / max(high - low, 1e-6))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
