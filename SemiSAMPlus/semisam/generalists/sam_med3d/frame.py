"""How SAM-Med3D sees a volume: RAS axes, 1.5 mm, in tiles of 128^3 voxels; and the way from there and back.

A volume that fits into one tile is padded around; a larger one has a lattice of tiles that overlap by half and more, so
that every object of up to 96 mm lies whole in one of them, not far from its middle. Arrays in the frame are (x, y, z),
indices growing towards the patient's right, front and head.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from semisam.generalists import windows
from semisam.generalists.windows import Grid
from semisam.volumes import Geometry, axis_map

SPACING = 1.5
# The mask's grid is this much coarser than the tile's.
COARSE = 4
# What an object should have around it in its tile, and what tiles share that show an object together; parts of a tile.
_CONTEXT, _OVERLAP = 1 / 16, 1 / 4

Tile = tuple[int, int, int]


@dataclass(frozen=True)
class Frame:
    """The frame of one volume.

    shape, spacing  of the volume, (k, j, i)
    order, flips    axis n of the frame is axis order[n] of the volume, reversed where flips[n]
    side            voxels of a tile along each axis
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    order: tuple[int, int, int]
    flips: tuple[bool, bool, bool]
    side: int

    @classmethod
    def of(cls, geometry: Geometry, side: int) -> Frame:
        """The frame of a volume; oblique ones keep their own axes, the nearest to right, front and head."""
        ras = geometry.canonical().reordered((2, 1, 0), (True, True, False))
        mapping = axis_map(geometry, ras)
        assert mapping is not None  # the same axes in another order
        return cls(geometry.shape, geometry.spacing, *mapping, side)  # type: ignore[arg-type]

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Frame:
        lists = (tuple(data[name]) for name in ("shape", "spacing", "order", "flips"))
        return cls(*lists, data["side"])  # type: ignore[call-arg, arg-type]

    def turned(self, voxels: np.ndarray) -> np.ndarray:
        """A view of a (k, j, i) array along the frame's axes."""
        steps = tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)
        return voxels.transpose(self.order)[steps]

    @property
    def voxels(self) -> Grid:
        """The volume's own voxels along the frame's axes, mm."""
        return windows.volume_grid(
            [self.shape[axis] for axis in self.order], [self.spacing[axis] for axis in self.order]
        )

    @property
    def grid(self) -> Grid:
        """The 1.5 mm grid over the volume's field of view."""
        voxels = self.voxels
        spacing, extent = np.asarray(voxels.step), np.asarray(voxels.step) * voxels.shape
        count = np.maximum(1, np.ceil(extent / SPACING - 1e-3)).astype(int)
        start = 0.5 * (extent - spacing) - 0.5 * (count - 1) * SPACING
        return Grid(tuple(start.tolist()), (SPACING,) * 3, tuple(count.tolist()))

    def indices(self, points: np.ndarray) -> np.ndarray:
        """(n, 3) indices of the 1.5 mm grid, not rounded, for (n, 3) voxel indices (k, j, i) of the volume."""
        voxels = self.voxels
        turned = np.asarray(points, float).reshape(-1, 3)[:, self.order]
        turned = np.where(self.flips, np.asarray(voxels.shape) - 1 - turned, turned)
        return self.grid.index(turned * voxels.step)

    def starts(self) -> list[list[int]]:
        """For each axis, the first voxels of the lattice's tiles; negative where a tile reaches beyond the volume."""
        found = []
        for count in self.grid.shape:
            room = count - self.side
            if room <= 0:
                found.append([-((1 - room) // 2)])
            else:
                steps = -(-2 * room // self.side)
                found.append([round(n * room / steps) for n in range(steps + 1)])
        return found

    def tiles(self, lower: np.ndarray, upper: np.ndarray) -> list[Tile]:
        """The tiles to look at for an object between two corners (x, y, z) of the 1.5 mm grid: one if it fits."""
        chosen = []
        for starts, count, low, high in zip(self.starts(), self.grid.shape, lower, upper, strict=True):
            low, high = np.clip((low, high), 0, count - 1)
            first, last = max(low - _CONTEXT * self.side, 0), min(high + _CONTEXT * self.side, count - 1)
            whole = [start for start in starts if start <= first and last <= start + self.side - 1]
            if whole or len(starts) == 1:
                middle = (low + high - self.side + 1) / 2
                chosen.append([min((abs(start - middle), start) for start in whole or starts)[1]])
                continue
            cover = [max(start for start in starts if start <= first)]
            while cover[-1] + self.side - 1 < last:
                cover.append(max(start for start in starts if start <= cover[-1] + (1 - _OVERLAP) * self.side))
            chosen.append(cover)
        return [(x, y, z) for x in chosen[0] for y in chosen[1] for z in chosen[2]]

    def cut(self, image: np.ndarray, tile: Tile) -> np.ndarray:
        """(side, side, side) voxels of an image on the 1.5 mm grid; zeros beyond it."""
        result = np.zeros((self.side,) * 3, image.dtype)
        source, target = [], []
        for start, count in zip(tile, image.shape, strict=True):
            first, last = max(start, 0), min(start + self.side, count)
            source.append(slice(first, last))
            target.append(slice(first - start, last - start))
        result[tuple(target)] = image[tuple(source)]
        return result

    def mask_grid(self, tile: Tile) -> Grid:
        """Where the values of a tile's mask lie, mm: each stands for a cube of voxels."""
        grid = self.grid
        start = [at + (first + (COARSE - 1) / 2) * SPACING for at, first in zip(grid.start, tile, strict=True)]
        return Grid(tuple(start), (COARSE * SPACING,) * 3, (self.side // COARSE,) * 3)  # type: ignore[arg-type]

    def seen(self, tile: Tile, probability: np.ndarray) -> np.ndarray:
        """A (k, j, i) map on the volume, averaged to the mask of a tile; zeros beyond the volume."""
        grid = self.mask_grid(tile)
        return windows.sample(self.turned(probability), self.voxels, grid) * windows.in_view(grid, self.voxels)

    def add(self, tile: Tile, logits: np.ndarray, total: np.ndarray, weight: np.ndarray) -> None:
        """Interpolate a tile's mask logits to the volume's voxels in it, weighted more towards its middle.

        ``total`` and ``weight`` are (k, j, i) float32 on the volume; ``total / weight`` are the logits in the end.
        """
        grid, voxels = self.mask_grid(tile), self.voxels
        half = (grid.shape[0] * grid.step[0]) / 2
        region, matrices, shares = [], [], []
        for axis in range(3):
            middle = grid.start[axis] + (grid.shape[axis] - 1) / 2 * grid.step[axis]
            away = np.abs(voxels.positions(axis) - middle)
            inside = np.flatnonzero(away <= half)
            if inside.size == 0:
                return
            part = slice(int(inside[0]), int(inside[-1]) + 1)
            region.append(part)
            matrices.append(windows.axis_matrix(grid, voxels, axis)[part])
            shares.append(np.clip(1 - away[part] / half, 0.02, 1).astype(np.float32))
        share = shares[0][:, None, None] * shares[1][:, None] * shares[2]
        self.turned(total)[tuple(region)] += share * windows.multiply(logits, matrices)
        self.turned(weight)[tuple(region)] += share
