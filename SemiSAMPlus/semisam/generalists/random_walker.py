"""``random-walker``: grows an object from seeds along the image's homogeneous regions. Needs no training.

L. Grady, "Random Walks for Image Segmentation", IEEE TPAMI 28(11), 2006, with the prior of its CVPR 2005 variant. It
turns a poor mask into a better one where the object has edges, and clicks into a first mask; it knows no anatomy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from semisam.generalists.base import Context, Embedding
from semisam.generalists.grids import affordable_geometry, robust_scaled
from semisam.generalists.random_walk import walk
from semisam.prompts import MINIMUM_VOXELS, THRESHOLD, Prompts
from semisam.volumes import Geometry, Volume, bounding_box, resample_image, resample_mask, resample_probabilities

_OBJECT, _BACKGROUND = 1, 2

# Distances are in voxels of the mean spacing. Deeper than _INSIDE and further than _OUTSIDE a mask is believed.
_INSIDE, _OUTSIDE = 5.0, 6.0
# Doubt about a mask's border falls by the factor e with this distance, before the intensities are heard.
_WIDTH = 0.5
# Radius of the ball of seeds around a click.
_CLICK = 1.5
# See random_walk.walk. These and the above were chosen on corrupted masks (Testing/benchmarks/training_free.md).
_PULL, _CONTRAST = 0.6, 10.0
_BINS = 32
# Crops with more voxels than this are solved on a coarser grid.
_LARGEST = 100_000


class RandomWalker:
    """Prompts become seeds and a prior; the answer is the probability that a walker ends in the object.

    mask    its deep inside is object, everything far outside is background; between, the prior weighs the distance to
            the mask's border against how typical the voxel's intensity is of the mask and of its surroundings
    box     everything outside is background; without a mask, the ellipsoid in it is a first, doubtful guess
    points  seeds, on top of mask and box; alone, they look for the object within a quarter of the volume's extent
    """

    name = "random-walker"
    fingerprint = "random-walker-3"

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
                answer[window.region] = _grown(window, voxels[window.region], prompt)
        return answers


@dataclass(frozen=True)
class _Window:
    """The part of the volume in which a prompt's object may be, with the grid on which it is looked for.

    region  slices of the volume
    fine    the region's own grid; spacing in voxels of the mean spacing
    coarse  the grid to solve on: ``fine``, or a coarser one over the same field of view
    """

    region: tuple[slice, slice, slice]
    fine: Geometry
    coarse: Geometry

    @classmethod
    def around(cls, prompt: Prompts, shape: tuple[int, ...], relative: np.ndarray) -> _Window | None:
        """None when the prompt does not say where the object is."""
        size = np.asarray(shape)
        margin = np.ceil((_OUTSIDE + 1) / relative)
        lower, upper = size.astype(float), np.zeros(3)
        box = None
        if prompt.mask is not None:
            mask = np.asarray(prompt.mask) >= THRESHOLD
            box = bounding_box(mask) if np.count_nonzero(mask) >= MINIMUM_VOXELS else None
        if box is not None:
            lower = np.array([part.start for part in box]) - margin
            upper = np.array([part.stop for part in box]) + margin
        elif prompt.box is not None:
            lower, upper = prompt.box[:3] - margin, prompt.box[3:] + margin
        clicks = _clicks(prompt)[0]
        if len(clicks):
            reach = margin if box is not None or prompt.box is not None else np.maximum(size / 4, margin)
            lower = np.minimum(lower, clicks.min(0) - reach)
            upper = np.maximum(upper, clicks.max(0) + reach + 1)
        start = np.clip(np.floor(lower), 0, size).astype(int)
        stop = np.clip(np.ceil(upper), 0, size).astype(int)
        if (start >= stop).any():
            return None
        region = tuple(slice(a, b) for a, b in zip(start.tolist(), stop.tolist(), strict=True))
        fine = Geometry.simple(tuple((stop - start).tolist()), tuple(relative.tolist()))
        return cls(region, fine, affordable_geometry(fine, _LARGEST))  # type: ignore[arg-type]

    def indices(self, points: np.ndarray) -> np.ndarray:
        """(n, 3) voxels of the coarse grid that hold (n, 3) points of the volume; they may lie outside of it."""
        local = points - [part.start for part in self.region]
        return np.rint(self.coarse.world_to_index(self.fine.index_to_world(local))).astype(int)

    def block(self, box: tuple[float, ...]) -> tuple[slice, slice, slice]:
        """The voxels of the coarse grid in a half-open box of the volume; at least one along each axis."""
        size = np.asarray(self.coarse.shape)
        start = np.clip(self.indices(np.floor(box[:3])), 0, size - 1)
        stop = np.clip(self.indices(np.ceil(box[3:]) - 1) + 1, start + 1, size)
        return tuple(slice(a, b) for a, b in zip(start.tolist(), stop.tolist(), strict=True))  # type: ignore[return-value]


@dataclass(frozen=True)
class _Guess:
    """What a prompt says about the object before the image is looked at, on the coarse grid.

    depth    (k, j, i) signed distance to the guessed surface, positive inside
    core     depth from which on a voxel is object for sure
    width    distance over which doubt about the surface falls by the factor e
    typical  (k, j, i) bool, voxels whose intensities stand for the object
    """

    depth: np.ndarray
    core: float
    width: float
    typical: np.ndarray

    @classmethod
    def of(cls, window: _Window, prompt: Prompts) -> _Guess | None:
        """None when nothing in the window is meant."""
        spacing, shape = window.coarse.spacing, window.coarse.shape
        if prompt.mask is not None:
            given = (np.asarray(prompt.mask)[window.region] >= THRESHOLD).astype(np.uint8)
            mask = resample_mask(Volume(given, window.fine), window.coarse, [1]) > 0
            if mask.any():
                depth = _depth(mask, spacing)
                return cls(depth, min(_INSIDE, 0.7 * float(depth.max())), _WIDTH, mask)
        elif prompt.box is not None:
            mask = np.zeros(shape, bool)
            block = window.block(prompt.box)
            axes = np.ogrid[tuple(slice(-1, 1, complex(0, part.stop - part.start + 2)) for part in block)]
            mask[block] = np.less(sum(axis**2 for axis in axes), 1)[1:-1, 1:-1, 1:-1]
            depth = _depth(mask, spacing)
            deepest = float(depth.max())
            return cls(depth, 0.6 * deepest, 0.3 * deepest, mask)
        clicks = window.indices(np.rint(_clicks(prompt)[0]))
        if len(clicks) == 0:
            return None
        # Nothing says how large the object is: guess half of what the window has room for, less around each of many.
        room = float(np.prod(np.asarray(shape) * spacing)) ** (1 / 3) / 2
        reach = 0.5 * room / len(clicks) ** (1 / 6)
        distance = np.sqrt(_squared_distance(clicks, window))
        return cls(reach - distance, reach - _CLICK, 0.3 * reach, distance < 2 * _CLICK)


def _grown(window: _Window, voxels: np.ndarray, prompt: Prompts) -> np.ndarray:
    """(k, j, i) float32 probability in the window's region."""
    guess = _Guess.of(window, prompt)
    if guess is None:
        return np.zeros(window.fine.shape, np.float32)
    image = resample_image(Volume(voxels.astype(np.float32), window.fine), window.coarse)
    seeds = np.zeros(window.coarse.shape, np.int8)
    seeds[guess.depth > guess.core] = _OBJECT
    seeds[guess.depth < -max(_OUTSIDE, 3 * guess.width)] = _BACKGROUND
    if prompt.box is not None:
        outside = np.ones(seeds.shape, bool)
        outside[window.block(prompt.box)] = False
        seeds[outside] = _BACKGROUND
    for points, value in zip(_clicks(prompt), (_OBJECT, _BACKGROUND), strict=True):
        if len(points):
            seeds[_squared_distance(window.indices(np.rint(points)), window) <= _CLICK**2] = value
    probability = walk(image, window.coarse.spacing, seeds, _prior(image, guess), _PULL, _CONTRAST)
    return resample_probabilities(probability[None], window.coarse, window.fine)[0]


def _squared_distance(points: np.ndarray, window: _Window) -> np.ndarray:
    """(k, j, i) squared distance to the nearest of (n, 3) voxels of the coarse grid, which may lie outside of it."""
    nearest = np.full(window.coarse.shape, np.inf, np.float32)
    for point in points:
        axes = [
            (np.arange(size, dtype=np.float32) - index) * np.float32(step)
            for size, index, step in zip(window.coarse.shape, point, window.coarse.spacing, strict=True)
        ]
        np.minimum(nearest, sum(axis**2 for axis in np.ix_(*axes)), out=nearest)
    return nearest


def _depth(mask: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """(k, j, i) float32 signed distance to the mask's surface, positive inside. Beyond the grid is background."""
    from scipy.ndimage import distance_transform_edt

    half = min(spacing) / 2
    inside = distance_transform_edt(np.pad(mask, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    outside = distance_transform_edt(~mask, sampling=spacing)
    return np.where(mask, inside - half, half - outside).astype(np.float32)


def _prior(image: np.ndarray, guess: _Guess) -> np.ndarray:
    """(k, j, i) float32: how likely each voxel is to be object by its depth and by its intensity.

    Intensities: naive Bayes with the smoothed histograms of the guessed object and of its surroundings.
    """
    from scipy.ndimage import gaussian_filter1d

    low, high = float(image.min()), float(image.max())
    bins = ((image - low) * (0.999 * _BINS / max(high - low, 1e-6))).astype(np.intp)
    log_odds = guess.depth / np.float32(guess.width)
    surroundings = (guess.depth <= 0) & (guess.depth > -max(_INSIDE, 2 * guess.width))
    for region, sign in ((guess.typical, 1.0), (surroundings, -1.0)):
        counts = np.bincount(bins[region], minlength=_BINS).astype(np.float32)
        # A fifth of a uniform distribution keeps intensities that were never seen from deciding alone.
        share = gaussian_filter1d(counts / max(1.0, float(counts.sum())), 1.0) + 0.2 / _BINS
        log_odds += np.float32(sign) * np.log(share)[bins]
    return (1 / (1 + np.exp(-np.clip(log_odds, -20, 20)))).astype(np.float32)


def _clicks(prompt: Prompts) -> tuple[np.ndarray, np.ndarray]:
    """Positive (n, 3) and negative (m, 3) points."""
    points = np.asarray(prompt.points, float).reshape(-1, 3)
    positive = np.asarray(prompt.labels).ravel() > 0
    return points[positive], points[~positive]
