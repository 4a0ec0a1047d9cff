"""Volumes: voxels with their geometry, and how they move between grids.

Arrays and spacing are in (k, j, i) order (slice, row, column); origin and direction are ITK's (x, y, z in LPS, mm).
Files are read and written in ``volume_files.py``; outside these two files nobody converts an axis order.

The field of view of a grid reaches from the outer edge of its first voxel to the outer edge of its last one, half a
voxel beyond the centres. Between grids whose axes are parallel (the normal case: a working grid and the original grid
of the same image) resampling goes axis by axis, with one small table of weights for each; other pairs go through
SimpleITK.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from semisam.errors import VolumeError

# Axes whose cosines differ from 0 and 1 by less than this are parallel: at most 0.05 voxel over 500 voxels.
_PARALLEL = 1e-4
# Positions this close to whole voxels (in voxels) are taken as whole, so that equal grids exchange voxels exactly.
_SNAP = 1e-3
# A segment wins against background when it has at least half of a voxel, up to rounding: thin structures survive.
_TIE = 1e-4


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

    @property
    def axes(self) -> np.ndarray:
        """(3, 3) float64 whose columns are the unit vectors (x, y, z) along k, j and i."""
        return np.asarray(self.direction, np.float64).reshape(3, 3)[:, ::-1]

    @property
    def voxel_volume(self) -> float:
        """Volume of one voxel in cubic millimetres."""
        return float(np.prod(self.spacing))

    def index_to_world(self, index: Any) -> np.ndarray:
        """(..., 3) voxel indices k, j, i (fractions allowed) to (..., 3) LPS points x, y, z in mm."""
        return np.asarray(index, np.float64) * np.asarray(self.spacing) @ self.axes.T + np.asarray(self.origin)

    def world_to_index(self, points: Any) -> np.ndarray:
        """(..., 3) LPS points x, y, z in mm to (..., 3) fractional voxel indices k, j, i."""
        return (np.asarray(points, np.float64) - np.asarray(self.origin)) @ self.axes / np.asarray(self.spacing)

    def corners(self) -> np.ndarray:
        """(8, 3) LPS points: the centres of the eight corner voxels."""
        return self.index_to_world(list(itertools.product(*((0, size - 1) for size in self.shape))))

    def is_close(self, other: Geometry, tolerance: float = 0.1) -> bool:
        """True for the same grid: equal shape, and no corner voxel further off than ``tolerance`` of a voxel."""
        if self.shape != other.shape:
            return False
        limit = tolerance * min(*self.spacing, *other.spacing)
        return bool(np.abs(self.corners() - other.corners()).max() <= limit)

    def canonical(self) -> Geometry:
        """The same grid with its axes permuted and flipped so that k, j, i run closest to +z, +y, +x of LPS."""
        order, flips = _canonical_axes(self)
        return self.reordered(order, flips)

    def reordered(self, order: Sequence[int], flips: Sequence[bool]) -> Geometry:
        """The same grid stored differently: new axis ``n`` is old axis ``order[n]``, reversed where ``flips[n]``."""
        signs = np.where(flips, -1.0, 1.0)
        axes = self.axes[:, list(order)] * signs
        start = np.zeros(3)
        for axis, flip in zip(order, flips, strict=True):
            start[axis] = self.shape[axis] - 1 if flip else 0
        # Adding 0.0 turns -0.0 into 0.0, so that equal grids also compare equal as text and bytes.
        return Geometry(
            shape=tuple(self.shape[axis] for axis in order),  # type: ignore[arg-type]
            spacing=tuple(self.spacing[axis] for axis in order),  # type: ignore[arg-type]
            origin=tuple((self.index_to_world(start) + 0.0).tolist()),
            direction=tuple((axes[:, ::-1] + 0.0).ravel().tolist()),
        )


@dataclass(frozen=True)
class Volume:
    """Voxels (k, j, i) and where they lie."""

    voxels: np.ndarray
    geometry: Geometry

    def __post_init__(self) -> None:
        if tuple(self.voxels.shape) != tuple(self.geometry.shape):
            raise VolumeError(
                f"An array of {self.voxels.shape} voxels does not fit a geometry of {self.geometry.shape}: "
                "voxels and geometry must come from the same grid."
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.geometry.shape

    @property
    def spacing(self) -> tuple[float, float, float]:
        return self.geometry.spacing


def content_hash(volume: Volume) -> str:
    """32 hexadecimal digits that change with any voxel, the data type or the geometry (BLAKE2b)."""
    geometry = volume.geometry
    numbers = np.asarray([*geometry.shape, *geometry.spacing, *geometry.origin, *geometry.direction], "<f8")
    digest = hashlib.blake2b(volume.voxels.dtype.str.encode() + numbers.tobytes(), digest_size=16)
    digest.update(np.ascontiguousarray(volume.voxels).data)
    return digest.hexdigest()


def canonical(volume: Volume) -> Volume:
    """The same voxels at the same places with k, j, i closest to +z, +y, +x of LPS. Nothing is interpolated."""
    order, flips = _canonical_axes(volume.geometry)
    return Volume(reorder_voxels(volume.voxels, order, flips), volume.geometry.reordered(order, flips))


def reorder_voxels(voxels: np.ndarray, order: Sequence[int], flips: Sequence[bool]) -> np.ndarray:
    """Voxels for ``Geometry.reordered(order, flips)``: contiguous, and a copy only where something moves."""
    steps = tuple(slice(None, None, -1 if flip else 1) for flip in flips)
    return np.ascontiguousarray(np.transpose(voxels, order)[steps])


def nearest_axes(axes: np.ndarray, spacing: Sequence[float], size: Sequence[int]) -> tuple[np.ndarray, float]:
    """The right-angled axes nearest to ``axes`` (3, 3; unit vectors in columns), and how far they move a voxel.

    ``spacing`` and ``size`` are in the order of the columns. The distance is that of the corner voxel that moves most,
    in voxels along one axis.
    """
    left, _, right = np.linalg.svd(axes)
    nearest = left @ right
    corners = np.array(list(itertools.product(*((0, count - 1) for count in size)))) * np.asarray(spacing)
    moved = corners @ (axes - nearest).T @ nearest / np.asarray(spacing)
    return nearest, float(np.abs(moved).max())


def axis_map(
    source: Geometry, target: Geometry, tolerance: float = _PARALLEL
) -> tuple[tuple[int, ...], tuple[bool, ...]] | None:
    """(order, flips) for which ``source.reordered`` has the target's axis directions; None unless all are parallel.

    ``tolerance`` is how far the cosines between the axes may be from 0 and 1.
    """
    cosines = target.axes.T @ source.axes
    rounded = np.rint(cosines)
    if np.abs(cosines - rounded).max() > tolerance or not np.array_equal(np.abs(rounded).sum(0), np.ones(3)):
        return None
    order = np.abs(rounded).argmax(1)
    return tuple(order.tolist()), tuple((rounded[np.arange(3), order] < 0).tolist())


def working_geometry(geometry: Geometry, spacing_kji: Sequence[float]) -> Geometry:
    """The grid to work on: the canonical orientation of ``geometry``, its field of view, the given spacing.

    ``spacing_kji`` is in mm along the canonical axes (k closest to head-feet, j to front-back, i to left-right). The
    spacing is kept exactly; where it does not divide the field of view, the grid reaches up to half a voxel beyond it
    on both sides. With the image's own spacing this is exactly the canonical grid of the image.
    """
    if len(spacing_kji) != 3 or not all(np.isfinite(step) and step > 0 for step in spacing_kji):
        raise VolumeError(f"The working spacing {tuple(spacing_kji)} cannot be used: give three positive numbers (mm).")
    grid = geometry.canonical()
    old = np.asarray(grid.spacing)
    new = np.where(np.isclose(spacing_kji, old, rtol=1e-3, atol=0), old, np.asarray(spacing_kji, np.float64))
    extent = old * grid.shape
    shape = np.maximum(np.ceil(extent / new - 1e-3), 1).astype(int)
    # In old voxels: from the centre of the first old voxel to the centre of the first new one, about a common centre.
    start = (extent - new * shape + new - old) / 2 / old
    origin = grid.index_to_world(np.where((shape == grid.shape) & (new == old), 0.0, start))
    return Geometry(tuple(shape.tolist()), tuple(new.tolist()), tuple(origin.tolist()), grid.direction)


def resample_image(volume: Volume, geometry: Geometry) -> np.ndarray:
    """Voxels (k, j, i) float32 of an image on another grid: linear, anti-aliased; outside, the nearest edge voxel.

    Along each axis whose step grows by a factor f the image is first smoothed by a Gaussian of
    sqrt(f^2 - 1) / 2.355 voxels, which matches the widths at half maximum of the two grids' point spread functions
    (Cardoso et al., Scale factor point spread function matching, MICCAI 2015).
    """
    voxels = np.asarray(volume.voxels, np.float32)
    mapping = axis_map(volume.geometry, geometry)
    if mapping is None:
        return _resample_oblique(_smoothed(voxels, volume.geometry, geometry), volume.geometry, geometry, clamp=True)
    order, flips = mapping
    weights = _axis_weights(volume.geometry.reordered(order, flips), geometry, smooth=True, clamp=True)
    return _weighted(reorder_voxels(voxels, order, flips), weights)


def resample_mask(mask: Volume, geometry: Geometry, values: Sequence[int]) -> np.ndarray:
    """A mask on another grid, (k, j, i) uint8: each of ``values`` is interpolated linearly, the largest share wins.

    That follows surfaces more smoothly than the nearest voxel does. A segment that holds half of a voxel wins against
    background; other values and everything outside the mask's field of view become 0. On the same grid, also when it
    is stored in another axis order, the voxels come back exactly.
    """
    wanted = [int(value) for value in values]
    if not all(1 <= value <= 255 for value in wanted):
        raise VolumeError(f"The segment values {wanted} cannot be resampled: values lie within 1 to 255.")
    result = np.zeros(geometry.shape, np.uint8)
    best = np.zeros(geometry.shape, np.float32)
    background = np.ones(geometry.shape, np.float32)
    mapping = axis_map(mask.geometry, geometry)
    if mapping is not None:
        voxels = reorder_voxels(mask.voxels, *mapping)
        weights = _axis_weights(mask.geometry.reordered(*mapping), geometry, smooth=False, clamp=False)
    for value in wanted:
        region: tuple[slice, ...] = (slice(None),) * 3
        if mapping is None:
            share = _resample_oblique((mask.voxels == value).astype(np.float32), mask.geometry, geometry, clamp=False)
        else:
            box = bounding_box(voxels == value)
            if box is None:
                continue
            # Work in the object's box only: a small object on a large grid costs little.
            columns = [matrix[:, part] for matrix, part in zip(weights, box, strict=True)]
            touched = [np.flatnonzero(matrix.any(1)) for matrix in columns]
            if any(rows.size == 0 for rows in touched):
                continue
            region = tuple(slice(int(rows[0]), int(rows[-1]) + 1) for rows in touched)
            parts = [matrix[rows] for matrix, rows in zip(columns, region, strict=True)]
            share = _weighted((voxels[box] == value).astype(np.float32), parts)
        background[region] -= share
        wins = share > best[region]
        result[region][wins] = value
        best[region][wins] = share[wins]
    result[best < background - _TIE] = 0
    return result


def resample_probabilities(probabilities: np.ndarray, source: Geometry, target: Geometry) -> np.ndarray:
    """(s, k, j, i) float32 probabilities on another grid: linear, 0 outside the field of view of ``source``.

    One map is worked on at a time, so memory beyond the result stays below three maps.
    """
    result = np.empty((len(probabilities), *target.shape), np.float32)
    for index, probability in enumerate(resampled_maps(probabilities, source, target)):
        result[index] = probability
    return result


def resampled_maps(probabilities: np.ndarray, source: Geometry, target: Geometry) -> Iterator[np.ndarray]:
    """The maps of ``resample_probabilities`` one after the other, for those who need not have them all at once."""
    if probabilities.ndim != 4 or probabilities.shape[1:] != tuple(source.shape):
        raise VolumeError(
            f"Probabilities of shape {probabilities.shape} do not fit a grid of {source.shape} voxels: "
            "they must be (segments, k, j, i)."
        )
    mapping = axis_map(source, target)
    if mapping is not None:
        weights = _axis_weights(source.reordered(*mapping), target, smooth=False, clamp=False)
    for probability in probabilities:
        voxels = np.asarray(probability, np.float32)
        if mapping is None:
            yield _resample_oblique(voxels, source, target, clamp=False)
        else:
            yield _weighted(reorder_voxels(voxels, *mapping), weights)


def bounding_box(mask: np.ndarray) -> tuple[slice, slice, slice] | None:
    """The smallest box (slices along k, j, i) around the true voxels of a (k, j, i) mask; None when there are none."""
    box = []
    for axis in range(3):
        found = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        if found.size == 0:
            return None
        box.append(slice(int(found[0]), int(found[-1]) + 1))
    return box[0], box[1], box[2]


def _canonical_axes(geometry: Geometry) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    # Row n of ``towards`` holds the cosines of +z, +y, +x with the axes k, j, i of the grid.
    towards = geometry.axes[::-1]
    order = max(itertools.permutations(range(3)), key=lambda order: sum(abs(towards[n, order[n]]) for n in range(3)))
    return order, tuple(bool(towards[n, order[n]] < 0) for n in range(3))


def _axis_weights(source: Geometry, target: Geometry, *, smooth: bool, clamp: bool) -> list[np.ndarray]:
    """For each of k, j, i the (target, source) matrix of interpolation weights between grids with equal directions."""
    start = source.world_to_index(target.origin)
    weights = []
    for axis in range(3):
        step = target.spacing[axis] / source.spacing[axis]
        size = source.shape[axis]
        positions = start[axis] + step * np.arange(target.shape[axis])
        whole = np.rint(positions)
        if np.abs(positions - whole).max() < _SNAP:
            positions = whole
        inside = np.clip(positions, 0, size - 1)
        lower = np.minimum(inside.astype(int), max(size - 2, 0))
        fraction = inside - lower
        matrix = np.zeros((len(positions), size), np.float32)
        rows = np.arange(len(positions))
        matrix[rows, lower] = 1 - fraction
        matrix[rows, np.minimum(lower + 1, size - 1)] += fraction
        if smooth and step > 1 + 1e-3:
            matrix = matrix @ _gaussian(size, step)
        if not clamp:
            matrix[(positions < -0.5 - _SNAP) | (positions > size - 0.5 + _SNAP)] = 0
        weights.append(matrix)
    return weights


def _gaussian(size: int, step: float) -> np.ndarray:
    """(size, size) smoothing matrix for steps that grow by the factor ``step``; rows sum to 1 also at the edges."""
    sigma = np.sqrt(step**2 - 1) / 2.355
    distance = np.arange(size)[:, None] - np.arange(size)[None, :]
    kernel = np.where(np.abs(distance) <= max(3.5 * sigma, 1), np.exp(-0.5 * (distance / sigma) ** 2), 0)
    return (kernel / kernel.sum(1, keepdims=True)).astype(np.float32)


def _weighted(voxels: np.ndarray, weights: Sequence[np.ndarray]) -> np.ndarray:
    """Apply one (target, source) matrix along each axis.

    Each row of the matrices has few weights, side by side, so the work is a few sums of shifted copies: one thread, no
    matrix library whose threads would wait for one another on a busy machine, and the same bits everywhere.
    """
    # Where the number of voxels shrinks, whole slices go first; where it grows, they go last: less is moved singly.
    shrinking = [axis for axis in range(3) if weights[axis].shape[0] < weights[axis].shape[1]]
    growing = [axis for axis in (2, 1, 0) if axis not in shrinking]
    for axis in shrinking + growing:
        matrix = weights[axis]
        rows, columns = matrix.shape
        used = matrix != 0
        first = used.argmax(1)
        width = int((columns - used[:, ::-1].argmax(1) - first)[used.any(1)].max(initial=1))
        index = first[:, None] + np.arange(width)
        # Past the last column the same column is taken again, with weight 0.
        factors = np.where(index < columns, matrix[np.arange(rows)[:, None], np.minimum(index, columns - 1)], 0)
        index = np.minimum(index, columns - 1)
        if width == 1 and (factors == 1).all():
            if rows != columns or not np.array_equal(index[:, 0], np.arange(rows)):
                voxels = voxels.take(index[:, 0], axis)
            continue
        along = [1, 1, 1]
        along[axis] = rows
        total = voxels.take(index[:, 0], axis)
        total *= factors[:, 0].reshape(along)
        part = np.empty_like(total)
        for tap in range(1, width):
            # With "clip" numpy writes straight to ``out``; the indices are in range anyway.
            voxels.take(index[:, tap], axis, out=part, mode="clip")
            part *= factors[:, tap].reshape(along)
            total += part
        voxels = total
    return np.ascontiguousarray(voxels, np.float32)


def _smoothed(voxels: np.ndarray, source: Geometry, target: Geometry) -> np.ndarray:
    """Smooth along the source's axes for a target grid with other directions."""
    reach = np.abs(target.axes.T @ source.axes) * np.asarray(target.spacing)[:, None]
    steps = reach.max(0) / np.asarray(source.spacing)
    matrices = [
        _gaussian(size, step) if step > 1 + 1e-3 else np.eye(size, dtype=np.float32)
        for size, step in zip(source.shape, steps.tolist(), strict=True)
    ]
    return _weighted(voxels, matrices)


def _resample_oblique(voxels: np.ndarray, source: Geometry, target: Geometry, *, clamp: bool) -> np.ndarray:
    """Linear interpolation between grids at any angle; outside the field of view the edge (``clamp``) or 0."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing(source.spacing[::-1])
    image.SetOrigin(source.origin)
    image.SetDirection(source.direction)
    resampler = sitk.ResampleImageFilter()
    resampler.SetSize([int(size) for size in target.shape[::-1]])
    resampler.SetOutputSpacing(target.spacing[::-1])
    resampler.SetOutputOrigin(target.origin)
    resampler.SetOutputDirection(target.direction)
    resampler.SetInterpolator(sitk.sitkLinear)
    resampler.SetUseNearestNeighborExtrapolator(clamp)
    return sitk.GetArrayFromImage(resampler.Execute(image))
