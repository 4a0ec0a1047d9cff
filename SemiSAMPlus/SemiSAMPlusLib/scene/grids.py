"""Grids of voxels and pieces of masks on them. Arrays are in (k, j, i) order, the world is RAS in millimetres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import slicer
import vtk

if TYPE_CHECKING:
    import numpy as np

# Grids whose voxels lie closer than this part of a voxel are the same.
_TOLERANCE = 0.02
_Box = tuple[slice, slice, slice]


@dataclass(frozen=True, eq=False)
class Grid:
    """Where the voxels of an image lie.

    shape  (k, j, i) voxels
    ras    (4, 4) float64, from (i, j, k, 1) to RAS millimetres
    """

    shape: tuple[int, int, int]
    ras: np.ndarray

    @classmethod
    def of_volume(cls, node: Any) -> Grid:
        """The grid of a volume node. A transform above the node does not count: masks go with their volume."""
        matrix = vtk.vtkMatrix4x4()
        node.GetIJKToRASMatrix(matrix)
        i, j, k = node.GetImageData().GetDimensions()
        return cls((k, j, i), from_vtk(matrix))

    @classmethod
    def from_engine(cls, shape: Sequence[int], spacing: Sequence[float], origin: Any, direction: Any) -> Grid:
        """The grid as the engine tells it: spacing k, j, i; origin and direction in LPS, as in ITK."""
        import numpy as np

        matrix = np.eye(4)
        matrix[:3, :3] = np.asarray(direction, float).reshape(3, 3) * np.asarray(spacing, float)[::-1]
        matrix[:3, 3] = origin
        k, j, i = (int(size) for size in shape)
        return cls((k, j, i), np.diag([-1.0, -1.0, 1.0, 1.0]) @ matrix)

    def to_ras(self, kji: Any) -> np.ndarray:
        """(n, 3) RAS positions of (n, 3) voxel indices; the center of the first voxel is (0, 0, 0)."""
        import numpy as np

        ijk = np.asarray(kji, float).reshape(-1, 3)[:, ::-1]
        return ijk @ self.ras[:3, :3].T + self.ras[:3, 3]

    def to_kji(self, ras: Any) -> np.ndarray:
        """(n, 3) voxel indices, with fractions, of (n, 3) RAS positions."""
        import numpy as np

        ijk = (np.asarray(ras, float).reshape(-1, 3) - self.ras[:3, 3]) @ np.linalg.inv(self.ras[:3, :3]).T
        return ijk[:, ::-1]

    def is_same(self, other: Grid) -> bool:
        """Whether all voxels of both lie at the same places, in the same order."""
        import numpy as np

        if self.shape != other.shape:
            return False
        ends = np.array([[0, 0, 0], [self.shape[0] - 1, 0, 0], [0, self.shape[1] - 1, 0], [0, 0, self.shape[2] - 1]])
        return bool(np.abs(self.to_kji(other.to_ras(ends)) - ends).max() < _TOLERANCE)


@dataclass(frozen=True, eq=False)
class Patch:
    """A piece of a mask.

    start   (k, j, i) of its first voxel on ``grid``; may be negative
    voxels  (k, j, i) bool
    """

    grid: Grid
    start: tuple[int, int, int]
    voxels: np.ndarray

    @classmethod
    def empty(cls, grid: Grid) -> Patch:
        """A mask without a voxel."""
        import numpy as np

        return cls(grid, (0, 0, 0), np.zeros((0, 0, 0), bool))

    @property
    def count(self) -> int:
        """The number of its voxels that are set."""
        import numpy as np

        return int(np.count_nonzero(self.voxels))

    def within(self, box: _Box) -> np.ndarray:
        """(k, j, i) bool: the mask in a box of the grid; what is outside of the patch is not set."""
        import numpy as np

        result = np.zeros([part.stop - part.start for part in box], bool)
        lower = [max(a, part.start) for a, part in zip(self.start, box, strict=True)]
        upper = [min(a + n, part.stop) for a, n, part in zip(self.start, self.voxels.shape, box, strict=True)]
        if all(a < b for a, b in zip(lower, upper, strict=True)):
            inside = tuple(slice(a - p.start, b - p.start) for a, b, p in zip(lower, upper, box, strict=True))
            source = tuple(slice(a - s, b - s) for a, b, s in zip(lower, upper, self.start, strict=True))
            result[inside] = self.voxels[source]
        return result

    def whole(self) -> np.ndarray:
        """(k, j, i) bool on the whole grid."""
        k, j, i = self.grid.shape
        return self.within((slice(0, k), slice(0, j), slice(0, i)))

    def cropped(self) -> Patch:
        """The same mask without empty borders, and without what lies beyond the grid."""
        import numpy as np

        voxels, corner = self.voxels, list(self.start)
        # Axis by axis, so that the slow ones have little left to look at.
        for axis, limit in enumerate(self.grid.shape):
            others = tuple(other for other in range(3) if other != axis)
            used = np.flatnonzero(voxels.any(axis=others)) if voxels.size else np.array([], int)
            used = used[(used >= -corner[axis]) & (used < limit - corner[axis])]
            if not len(used):
                return Patch.empty(self.grid)
            voxels = voxels[(slice(None),) * axis + (slice(int(used[0]), int(used[-1]) + 1),)]
            corner[axis] += int(used[0])
        return Patch(self.grid, (corner[0], corner[1], corner[2]), np.ascontiguousarray(voxels))

    def onto(self, grid: Grid) -> Patch:
        """The mask on another grid: voxel by voxel where the axes are parallel, else the nearest voxels."""
        import numpy as np

        if self.grid.is_same(grid):
            return Patch(grid, self.start, self.voxels)
        mapping = np.linalg.inv(grid.ras) @ self.grid.ras  # from our (i, j, k) to theirs
        order = np.abs(mapping[:3, :3]).argmax(axis=0)
        signs = np.sign(mapping[order, range(3)])
        exact = np.zeros((3, 3))
        exact[order, range(3)] = signs
        reach = max(self.grid.shape)
        parallel = len(set(order.tolist())) == 3 and np.abs(mapping[:3, :3] - exact).max() * reach < 0.3
        if not parallel:
            return _nearest(self, grid)
        first = np.array([*self.start[::-1], 1.0])
        last = first + [*(np.array(self.voxels.shape[::-1]) - 1), 0]
        corners = np.stack([mapping @ first, mapping @ last])[:, :3]
        start = np.rint(corners.min(axis=0)).astype(int)
        voxels = self.voxels.transpose(2, 1, 0)  # i, j, k
        voxels = np.flip(voxels, tuple(axis for axis in range(3) if signs[axis] < 0))
        voxels = voxels.transpose(np.argsort(order))
        i, j, k = (int(number) for number in start)
        return Patch(grid, (k, j, i), np.ascontiguousarray(voxels.transpose(2, 1, 0)))


def world_to_volume(volume: Any, world: Any) -> np.ndarray:
    """(n, 3) RAS positions in the volume's own coordinates, which ``Grid`` knows, of (n, 3) positions in the views.

    They differ where the volume lies under a transform.
    """
    import numpy as np

    points = np.asarray(world, float).reshape(-1, 3)
    parent = volume.GetParentTransformNode()
    if parent is None:
        return points
    transform = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(None, parent, transform)
    return np.array([transform.TransformPoint(point) for point in points]).reshape(-1, 3)


def bounding_box(*patches: Patch) -> _Box:
    """The box that holds all the patches, cut to the grid of the first; empty patches do not count."""
    filled = [patch for patch in patches if patch.voxels.size]
    if not filled:
        return (slice(0, 0), slice(0, 0), slice(0, 0))
    limits = patches[0].grid.shape
    axes = [
        slice(
            max(0, min(patch.start[axis] for patch in filled)),
            min(limits[axis], max(patch.start[axis] + patch.voxels.shape[axis] for patch in filled)),
        )
        for axis in range(3)
    ]
    return axes[0], axes[1], axes[2]


def from_vtk(matrix: Any) -> np.ndarray:
    """(4, 4) float64 array of a vtkMatrix4x4."""
    import numpy as np

    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def to_vtk(array: np.ndarray) -> Any:
    """A vtkMatrix4x4 of a (4, 4) array."""
    matrix = vtk.vtkMatrix4x4()
    for row in range(4):
        for column in range(4):
            matrix.SetElement(row, column, float(array[row, column]))
    return matrix


def oriented_image(patch: Patch) -> Any:
    """A vtkOrientedImageData, unsigned char, of a patch."""
    from vtk.util.numpy_support import vtk_to_numpy

    image = slicer.vtkOrientedImageData()
    k, j, i = patch.start
    depth, height, width = patch.voxels.shape
    image.SetExtent(i, i + width - 1, j, j + height - 1, k, k + depth - 1)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    if patch.voxels.size:
        vtk_to_numpy(image.GetPointData().GetScalars())[:] = patch.voxels.ravel()
    image.SetImageToWorldMatrix(to_vtk(patch.grid.ras))
    return image


def patch_of_image(image: Any, grid: Grid, value: int | None = None) -> Patch:
    """The voxels of a vtkOrientedImageData that are ``value``, or without one those that are not 0, on ``grid``."""
    from vtk.util.numpy_support import vtk_to_numpy

    i0, i1, j0, j1, k0, k1 = image.GetExtent()
    if i1 < i0 or j1 < j0 or k1 < k0 or image.GetPointData().GetScalars() is None:
        return Patch.empty(grid)
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    voxels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(k1 - k0 + 1, j1 - j0 + 1, i1 - i0 + 1)
    voxels = voxels != 0 if value is None else voxels == value
    # The extent counts from the matrix's origin, so the grid of the image may be taken as large as that of the volume.
    return Patch(Grid(grid.shape, from_vtk(matrix)), (k0, j0, i0), voxels).onto(grid)


def _nearest(patch: Patch, grid: Grid) -> Patch:
    k, j, i = grid.shape
    reference = slicer.vtkOrientedImageData()
    reference.SetExtent(0, i - 1, 0, j - 1, 0, k - 1)
    reference.SetImageToWorldMatrix(to_vtk(grid.ras))
    output = slicer.vtkOrientedImageData()
    slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(
        oriented_image(patch), reference, output, False, False
    )
    return patch_of_image(output, grid)
