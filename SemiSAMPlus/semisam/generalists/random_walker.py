"""``random-walker``: grows an object from seeds along the image's homogeneous regions. Needs no training.

L. Grady, "Random Walks for Image Segmentation", IEEE TPAMI 28(11), 2006. It turns a poor mask into a better one where
the object has edges, and clicks into a first mask; it knows nothing of anatomy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from semisam.generalists.base import Context, Embedding
from semisam.generalists.grids import affordable_geometry, robust_scaled
from semisam.prompts import MINIMUM_VOXELS, THRESHOLD, Prompts
from semisam.volumes import Geometry, Volume, bounding_box, resample_image, resample_mask, resample_probabilities

_OBJECT, _BACKGROUND = 1, 2

# How strongly an intensity step, in standard deviations of the crop, stops the walker.
_BETA = 3.0
# Distances from a mask's surface, in voxels of the mean spacing, from which on the mask is believed.
_INSIDE, _OUTSIDE = 1.5, 2.5
# Crops with more voxels than this are solved on a coarser grid.
_LARGEST = 100_000


class RandomWalker:
    """Prompts become seeds; the answer is the probability that a walker who starts at a voxel meets an object seed
    before a background seed.

    mask    its eroded inside is object, everything beyond its dilated outline is background
    box     everything outside is background; without a mask or a positive click, its middle is object
    points  single seeds, on top of mask and box; alone, they look for the object within a fifth of the volume's extent
    """

    name = "random-walker"
    fingerprint = "random-walker-1"

    def __init__(self, context: Context) -> None:
        """Needs nothing of ``context``."""

    def encode(self, volume: Volume) -> Embedding:
        """The voxels, scaled by their percentiles, as float16."""
        voxels = robust_scaled(volume.voxels).astype(np.float16)
        return Embedding({"voxels": voxels}, {"spacing": [float(step) for step in volume.spacing]})

    def predict(self, embedding: Embedding, prompts: Sequence[Prompts]) -> np.ndarray:
        """(n, k, j, i) float32 probabilities for the n prompts; prompts that name no object give zeros."""
        voxels = embedding.arrays["voxels"]
        spacing = np.asarray(embedding.meta["spacing"], float)
        relative = spacing / np.prod(spacing) ** (1 / 3)
        answers = np.zeros((len(prompts), *voxels.shape), np.float32)
        for answer, prompt in zip(answers, prompts, strict=True):
            window = _Window.around(prompt, voxels.shape, relative)
            if window is not None:
                seeds = window.seeds(prompt)
                answer[window.region] = window.solve(voxels[window.region], seeds)
        return answers


@dataclass(frozen=True)
class _Window:
    """The part of the volume in which a prompt's object may be, with the grid on which it is looked for.

    region  slices of the volume
    fine    the region's own grid; spacing in voxels of the mean spacing, origin at the region's first voxel
    coarse  the grid to solve on: ``fine``, or a coarser one over the same field of view
    """

    region: tuple[slice, slice, slice]
    fine: Geometry
    coarse: Geometry

    @classmethod
    def around(cls, prompt: Prompts, shape: tuple[int, ...], relative: np.ndarray) -> _Window | None:
        """None when the prompt does not say where the object is."""
        size = np.asarray(shape)
        margin = np.ceil((_OUTSIDE + 1.5) / relative)
        lower, upper = size.astype(float), np.zeros(3)
        if prompt.mask is not None:
            mask = np.asarray(prompt.mask) >= THRESHOLD
            box = bounding_box(mask) if np.count_nonzero(mask) >= MINIMUM_VOXELS else None
            if box is not None:
                lower = [part.start for part in box] - margin
                upper = [part.stop for part in box] + margin
        elif prompt.box is not None:
            lower, upper = prompt.box[:3] - margin, prompt.box[3:] + margin
        clicks = _clicks(prompt)[0]
        if len(clicks):
            alone = prompt.mask is None and prompt.box is None
            reach = np.maximum(size / 5, margin) if alone else margin
            lower = np.minimum(lower, clicks.min(0) - reach)
            upper = np.maximum(upper, clicks.max(0) + reach + 1)
        start = np.clip(np.floor(lower), 0, size).astype(int)
        stop = np.clip(np.ceil(upper), 0, size).astype(int)
        if (start >= stop).any():
            return None
        region = tuple(slice(a, b) for a, b in zip(start.tolist(), stop.tolist(), strict=True))
        fine = Geometry.simple(tuple((stop - start).tolist()), tuple(relative.tolist()))
        return cls(region, fine, affordable_geometry(fine, _LARGEST))  # type: ignore[arg-type]

    def seeds(self, prompt: Prompts) -> np.ndarray:
        """(k, j, i) int8 on the coarse grid: 1 object, 2 background, 0 to be found out."""
        seeds = np.zeros(self.coarse.shape, np.int8)
        positives, negatives = _clicks(prompt)
        if prompt.mask is not None:
            self._seed_mask(seeds, np.asarray(prompt.mask)[self.region] >= THRESHOLD)
        elif prompt.box is None:
            self._seed_faces(seeds, prompt)
        if prompt.box is not None:
            lower, upper = np.asarray(prompt.box[:3], float), np.asarray(prompt.box[3:], float)
            within = self._block(lower, upper)
            kept = seeds[within].copy()
            seeds[...] = _BACKGROUND
            seeds[within] = kept
            if prompt.mask is None and len(positives) == 0:
                quarter = (upper - lower) / 4
                seeds[self._block(lower + quarter, upper - quarter)] = _OBJECT
        for points, value in ((positives, _OBJECT), (negatives, _BACKGROUND)):
            indices = self._to_coarse(np.rint(points))
            indices = indices[((indices >= 0) & (indices < seeds.shape)).all(1)]
            seeds[tuple(indices.T)] = value
        return seeds

    def solve(self, voxels: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        """(k, j, i) float32 probability of the object on the fine grid."""
        if not (seeds == _OBJECT).any():
            return np.zeros(self.fine.shape, np.float32)
        if not (seeds == _BACKGROUND).any():
            return np.ones(self.fine.shape, np.float32)
        image = resample_image(Volume(voxels.astype(np.float32), self.fine), self.coarse)
        probability = _walk(image, seeds, np.asarray(self.coarse.spacing))
        return resample_probabilities(probability[None], self.coarse, self.fine)[0]

    def _seed_mask(self, seeds: np.ndarray, mask: np.ndarray) -> None:
        from scipy.ndimage import distance_transform_edt

        coarse = resample_mask(Volume(mask.astype(np.uint8), self.fine), self.coarse, [1]) > 0
        if not coarse.any():
            return
        # Distances to the nearest voxel of the other kind; surfaces run half a voxel before it.
        half = min(self.coarse.spacing) / 2
        depth = distance_transform_edt(coarse, sampling=self.coarse.spacing) - half if not coarse.all() else None
        if depth is None:
            seeds[...] = _OBJECT
            return
        seeds[distance_transform_edt(~coarse, sampling=self.coarse.spacing) - half > _OUTSIDE] = _BACKGROUND
        # Thin parts have no core: then the deepest voxels are believed.
        seeds[coarse & (depth > min(_INSIDE, 0.7 * depth.max()))] = _OBJECT

    def _seed_faces(self, seeds: np.ndarray, prompt: Prompts) -> None:
        """Clicks alone: the window's faces are background, unless they are the volume's own."""
        for axis in range(3):
            for face in (0, -1):
                index: list[slice | int] = [slice(None)] * 3
                index[axis] = face
                seeds[tuple(index)] = _BACKGROUND

    def _to_coarse(self, indices: np.ndarray) -> np.ndarray:
        """(n, 3) indices of the volume to the coarse voxels (n, 3) that hold them."""
        local = indices - [part.start for part in self.region]
        return np.rint(self.coarse.world_to_index(self.fine.index_to_world(local))).astype(int)

    def _block(self, lower: np.ndarray, upper: np.ndarray) -> tuple[slice, slice, slice]:
        """The coarse voxels of a half-open box of the volume; at least one along each axis."""
        size = np.asarray(self.coarse.shape)
        start = np.clip(self._to_coarse(np.floor(lower)[None])[0], 0, size - 1)
        stop = np.clip(self._to_coarse(np.ceil(upper)[None] - 1)[0] + 1, start + 1, size)
        return tuple(slice(a, b) for a, b in zip(start.tolist(), stop.tolist(), strict=True))  # type: ignore[return-value]


def _clicks(prompt: Prompts) -> tuple[np.ndarray, np.ndarray]:
    """Positive (n, 3) and negative (m, 3) points."""
    points = np.asarray(prompt.points, float).reshape(-1, 3)
    positive = np.asarray(prompt.labels).ravel() > 0
    return points[positive], points[~positive]


def _walk(image: np.ndarray, seeds: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Solve Laplace's equation on the voxels' graph, 1 at object seeds and 0 at background seeds: (k, j, i) float32.

    The weight of an edge is exp(-beta (difference / standard deviation)^2) / spacing^2, so that a walker rarely
    crosses an edge of the image or a gap between thick slices. Conjugate gradients with the diagonal as
    preconditioner, on whole arrays instead of a sparse matrix: a few times faster on the small crops met here.
    """
    free = (seeds == 0).astype(np.float32)
    weights = []
    deviation = max(float(image.std()), 1e-6)
    for axis in range(3):
        difference = np.diff(image, axis=axis) / deviation
        # The floor keeps every voxel connected, and the problem well conditioned.
        weight = (np.exp(-_BETA * difference**2) + 1e-3) / spacing[axis] ** 2
        weights.append(weight.astype(np.float32))

    degree = np.zeros(image.shape, np.float32)
    for axis, weight in enumerate(weights):
        front, back = _ends(axis)
        degree[front] += weight
        degree[back] += weight
    inverse = free / np.maximum(degree, np.float32(1e-12))

    def laplacian(x: np.ndarray) -> np.ndarray:
        y = degree * x
        for axis, weight in enumerate(weights):
            front, back = _ends(axis)
            y[front] -= weight * x[back]
            y[back] -= weight * x[front]
        y *= free
        return y

    x = np.where(seeds == 0, np.float32(0.5), (seeds == _OBJECT).astype(np.float32))
    residual = -laplacian(x)
    z = inverse * residual
    direction = z.copy()
    rho = float(np.vdot(residual, z))
    # The error that is left is far below what a probability needs.
    target = 1e-5 * rho
    for _ in range(300):
        if rho <= target or rho <= 0:
            break
        product = laplacian(direction)
        alpha = np.float32(rho / float(np.vdot(direction, product)))
        x += alpha * direction
        residual -= alpha * product
        np.multiply(inverse, residual, out=z)
        rho, previous = float(np.vdot(residual, z)), rho
        direction *= np.float32(rho / previous)
        direction += z
    return np.clip(x, 0, 1)


def _ends(axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """The voxels at the lower and the upper end of all edges along ``axis``."""
    whole = (slice(None),) * axis
    return (*whole, slice(None, -1)), (*whole, slice(1, None))
