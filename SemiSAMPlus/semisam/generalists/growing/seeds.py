"""Prompts as seeds, for the generalists that grow an object from them: a window, a guess, and the seeds in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from semisam.generalists.base import Context, Embedding
from semisam.generalists.grids import affordable_geometry, robust_scaled
from semisam.prompts import MINIMUM_VOXELS, THRESHOLD, Prompts
from semisam.volumes import Geometry, Volume, bounding_box, resample_image, resample_mask, resample_probabilities

OBJECT, BACKGROUND = 1, 2

# Distances are in voxels of the mean spacing. Deeper than INSIDE and further than OUTSIDE a mask is believed.
INSIDE, OUTSIDE = 5.0, 6.0
# Doubt about a mask's border falls by the factor e with this distance, before the intensities are heard.
_WIDTH = 0.5
# Radius of the ball of seeds around a click.
_CLICK = 1.5
# Crops with more voxels than this are solved on a coarser grid.
_LARGEST = 100_000


class Grower:
    """A generalist that grows an object from seeds; subclasses say how, in ``grow``.

    mask    its deep inside is object, everything far outside is background
    box     everything outside is background; without a mask, the ellipsoid in it is a first, doubtful guess
    points  seeds, on top of mask and box; alone, they look for the object within a quarter of the volume's extent
    """

    name: str
    fingerprint: str

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
            window = Window.around(prompt, voxels.shape, relative)
            guess = None if window is None else Guess.of(window, prompt)
            if window is None or guess is None:
                continue
            image = resample_image(Volume(voxels[window.region].astype(np.float32), window.fine), window.coarse)
            probability = self.grow(image, window.coarse.spacing, seed_map(window, guess, prompt), guess)
            answer[window.region] = resample_probabilities(probability[None], window.coarse, window.fine)[0]
        return answers

    def grow(
        self, image: np.ndarray, spacing: tuple[float, float, float], seeds: np.ndarray, guess: Guess
    ) -> np.ndarray:
        """(k, j, i) float32 probabilities on the grid of ``image`` from ``seeds`` (OBJECT, BACKGROUND, 0)."""
        raise NotImplementedError


@dataclass(frozen=True)
class Window:
    """The part of the volume in which a prompt's object may be, with the grid on which it is looked for.

    region  slices of the volume
    fine    the region's own grid; spacing in voxels of the mean spacing
    coarse  the grid to solve on: ``fine``, or a coarser one over the same field of view
    """

    region: tuple[slice, slice, slice]
    fine: Geometry
    coarse: Geometry

    @classmethod
    def around(cls, prompt: Prompts, shape: tuple[int, ...], relative: np.ndarray) -> Window | None:
        """None when the prompt does not say where the object is."""
        size = np.asarray(shape)
        margin = np.ceil((OUTSIDE + 1) / relative)
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
        clicks = clicks_of(prompt)[0]
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
class Guess:
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
    def of(cls, window: Window, prompt: Prompts) -> Guess | None:
        """None when nothing in the window is meant."""
        spacing, shape = window.coarse.spacing, window.coarse.shape
        if prompt.mask is not None:
            given = (np.asarray(prompt.mask)[window.region] >= THRESHOLD).astype(np.uint8)
            mask = resample_mask(Volume(given, window.fine), window.coarse, [1]) > 0
            if mask.any():
                depth = _depth(mask, spacing)
                return cls(depth, min(INSIDE, 0.7 * float(depth.max())), _WIDTH, mask)
        elif prompt.box is not None:
            mask = np.zeros(shape, bool)
            block = window.block(prompt.box)
            axes = np.ogrid[tuple(slice(-1, 1, complex(0, part.stop - part.start + 2)) for part in block)]
            mask[block] = np.less(sum(axis**2 for axis in axes), 1)[1:-1, 1:-1, 1:-1]
            depth = _depth(mask, spacing)
            deepest = float(depth.max())
            return cls(depth, 0.6 * deepest, 0.3 * deepest, mask)
        clicks = window.indices(np.rint(clicks_of(prompt)[0]))
        if len(clicks) == 0:
            return None
        # Nothing says how large the object is: guess half of what the window has room for, less around each of many.
        room = float(np.prod(np.asarray(shape) * spacing)) ** (1 / 3) / 2
        reach = 0.5 * room / len(clicks) ** (1 / 6)
        distance = np.sqrt(squared_distance(clicks, window))
        return cls(reach - distance, reach - _CLICK, 0.3 * reach, distance < 2 * _CLICK)


def seed_map(window: Window, guess: Guess, prompt: Prompts) -> np.ndarray:
    """(k, j, i) int8 on the coarse grid: OBJECT, BACKGROUND, or 0 where it has to be found out."""
    seeds = np.zeros(window.coarse.shape, np.int8)
    seeds[guess.depth > guess.core] = OBJECT
    seeds[guess.depth < -max(OUTSIDE, 3 * guess.width)] = BACKGROUND
    if prompt.box is not None:
        outside = np.ones(seeds.shape, bool)
        outside[window.block(prompt.box)] = False
        seeds[outside] = BACKGROUND
    for points, value in zip(clicks_of(prompt), (OBJECT, BACKGROUND), strict=True):
        if len(points):
            seeds[squared_distance(window.indices(np.rint(points)), window) <= _CLICK**2] = value
    return seeds


def squared_distance(points: np.ndarray, window: Window) -> np.ndarray:
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


def clicks_of(prompt: Prompts) -> tuple[np.ndarray, np.ndarray]:
    """Positive (n, 3) and negative (m, 3) points."""
    points = np.asarray(prompt.points, float).reshape(-1, 3)
    positive = np.asarray(prompt.labels).ravel() > 0
    return points[positive], points[~positive]
