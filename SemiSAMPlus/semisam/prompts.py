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


# Masks with fewer voxels than this are too small to say where the object is: they make no prompts.
MINIMUM_VOXELS = 8
# A voxel belongs to the object from this probability on.
THRESHOLD = 0.5
# Negative clicks fall into a shell around the object, between these distances in voxels (of the mean spacing).
_SHELL = (1.5, 4.0)


def prompts_from_probability(
    probability: np.ndarray,
    rng: np.random.Generator,
    *,
    points: int = 3,
    negatives: int | None = None,
    jitter: float = 0.0,
    segment: int = 0,
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> Prompts | None:
    """Prompts for the object that a probability map shows, as a person would place them; None if there is none.

    probability  (k, j, i) in 0..1 (a binary mask is fine; values that are not finite count as 0)
    points       positive clicks, in the core of the object; without jitter the first is the deepest voxel
    negatives    negative clicks in the shell around the object; as many as ``points`` unless given
    jitter       0 keeps box and mask as they are; 0.1 moves their borders by about a tenth of the object's radius
    segment      passed on to ``Prompts.segment``
    spacing      (k, j, i) mm; only its proportions count

    Positive clicks lie on voxels with probability >= 0.5, negative ones on voxels below. Objects of fewer than
    ``MINIMUM_VOXELS`` voxels give None.
    """
    shape = _Shape.find(probability, spacing)
    if shape is None:
        return None
    return shape.prompts(rng, points, points if negatives is None else negatives, jitter, segment)


def perturbed_prompts(
    probability: np.ndarray,
    rng: np.random.Generator,
    count: int,
    *,
    points: int = 3,
    negatives: int | None = None,
    jitter: float = 0.1,
    segment: int = 0,
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> list[Prompts]:
    """``count`` truly different prompts for the same object: the first unperturbed, the others with other clicks,
    a mask that is grown here and shrunk there, and a jittered box. An empty or tiny object gives [].

    The answers' variance over these prompts is the generalist's uncertainty (SemiSAM+, arXiv 2502.20749). Arguments
    as in ``prompts_from_probability``.
    """
    shape = _Shape.find(probability, spacing) if count > 0 else None
    if shape is None:
        return []
    negatives = points if negatives is None else negatives
    return [shape.prompts(rng, points, negatives, jitter if n else 0.0, segment) for n in range(count)]


@dataclass(frozen=True)
class _Shape:
    """The object in a probability map, measured once in a crop around it.

    depth  signed distance to the object's surface in voxels of the mean spacing, positive inside (crop)
    """

    probability: np.ndarray
    crop: tuple[slice, slice, slice]
    box: tuple[int, int, int, int, int, int]
    depth: np.ndarray
    radius: float

    @classmethod
    def find(cls, probability: np.ndarray, spacing: tuple[float, float, float]) -> _Shape | None:
        from scipy.ndimage import distance_transform_edt

        probability = np.asarray(probability, dtype=np.float32)
        if not np.isfinite(probability).all():
            probability = np.nan_to_num(probability, nan=0.0, posinf=0.0, neginf=0.0)
        whole = probability >= THRESHOLD
        voxels = int(np.count_nonzero(whole))
        if voxels < MINIMUM_VOXELS:
            return None
        ranges = [np.flatnonzero(whole.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
        lower = [int(r[0]) for r in ranges]
        upper = [int(r[-1]) + 1 for r in ranges]
        relative = np.asarray(spacing, dtype=float) / float(np.prod(spacing)) ** (1 / 3)
        margin = np.ceil((_SHELL[1] + 1) / relative).astype(int)
        crop_lower = [max(0, low - m) for low, m in zip(lower, margin, strict=True)]
        crop_upper = [min(n, up + m) for n, up, m in zip(whole.shape, upper, margin, strict=True)]
        crop = tuple(slice(a, b) for a, b in zip(crop_lower, crop_upper, strict=True))
        inner = whole[crop]
        # The volume's border counts as the object's surface, so that clicks stay away from it.
        tight = tuple(slice(a - c, b - c) for a, b, c in zip(lower, upper, crop_lower, strict=True))
        inside = distance_transform_edt(np.pad(inner[tight], 1), sampling=relative)[1:-1, 1:-1, 1:-1]
        depth = -distance_transform_edt(~inner, sampling=relative).astype(np.float32)
        depth[tight] += inside.astype(np.float32)
        # The surface runs between the voxels, half a (smallest) voxel from the centres on either side.
        half = np.float32(relative.min() / 2)
        depth -= np.where(inner, half, -half)
        radius = (voxels * 3 / (4 * np.pi)) ** (1 / 3)
        return cls(probability, crop, (*lower, *upper), depth, radius)  # type: ignore[arg-type]

    def prompts(self, rng: np.random.Generator, positives: int, negatives: int, jitter: float, segment: int) -> Prompts:
        inside = self._inside(rng, positives, deepest_first=jitter <= 0)
        outside = self._outside(rng, negatives)
        offset = [part.start for part in self.crop]
        points = (np.concatenate([inside, outside]) + offset).astype(np.float32)
        labels = np.repeat(np.array([1, 0], np.uint8), [len(inside), len(outside)])
        return Prompts(points, labels, self._box(rng, jitter), self._mask(rng, jitter), segment)

    def _inside(self, rng: np.random.Generator, count: int, deepest_first: bool) -> np.ndarray:
        if count <= 0:
            return np.zeros((0, 3), int)
        depth = self.depth.ravel()
        core = np.flatnonzero(depth > 0)
        weight = depth[core].astype(float) ** 2
        chosen = rng.choice(core, size=min(count, len(core)), replace=False, p=weight / weight.sum())
        if deepest_first:
            deepest = int(core[np.argmax(weight)])
            chosen = np.concatenate([[deepest], chosen[chosen != deepest]])[: len(chosen)]
        return np.stack(np.unravel_index(chosen, self.depth.shape), axis=1)

    def _outside(self, rng: np.random.Generator, count: int) -> np.ndarray:
        depth = self.depth.ravel()
        shell = np.flatnonzero((depth < -_SHELL[0]) & (depth > -_SHELL[1]))
        if len(shell) == 0:
            shell = np.flatnonzero(depth < 0)
        if count <= 0 or len(shell) == 0:
            return np.zeros((0, 3), int)
        # Where the map itself hesitates it may be wrong about "outside": sure voxels come first.
        weight = 1.0 - self.probability[self.crop].ravel()[shell].astype(float)
        chosen = rng.choice(shell, size=min(count, len(shell)), replace=False, p=weight / weight.sum())
        return np.stack(np.unravel_index(chosen, self.depth.shape), axis=1)

    def _box(self, rng: np.random.Generator, jitter: float) -> tuple[float, float, float, float, float, float]:
        if jitter <= 0:
            return tuple(float(b) for b in self.box)  # type: ignore[return-value]
        lower, upper = np.array(self.box[:3], float), np.array(self.box[3:], float)
        # About a voxel at least, but never more than a quarter from either side: the box stays a box.
        reach = np.minimum(np.maximum(jitter * (upper - lower), 1.0), (upper - lower) / 4)
        lower = np.clip(lower + rng.uniform(-reach, reach), 0, None)
        upper = np.clip(upper + rng.uniform(-reach, reach), None, self.probability.shape)
        return tuple(float(b) for b in (*lower, *upper))  # type: ignore[return-value]

    def _mask(self, rng: np.random.Generator, jitter: float) -> np.ndarray:
        """The probability map, its border moved by up to ``jitter`` radii: outwards on one side, inwards on another."""
        if jitter <= 0:
            return self.probability
        reach = jitter * self.radius
        axes = np.ogrid[tuple(slice(-1, 1, complex(0, n)) for n in self.depth.shape)]
        tilt = rng.normal(size=3)
        tilt /= np.linalg.norm(tilt) + 1e-9
        move = rng.uniform(-reach, reach) + sum(reach * t * axis for t, axis in zip(tilt, axes, strict=True))
        # The core stays, however thin the object is.
        border = (self.depth + np.clip(move, -0.5 * self.depth.max(), None)).astype(np.float32)
        ramp = np.clip(border + 0.5, 0, 1)
        old = self.probability[self.crop]
        mask = self.probability.copy()
        # Outwards the ramp may only add, inwards only take away, so that what the map says elsewhere stays.
        mask[self.crop] = np.where(move > 0, np.maximum(old, ramp), np.minimum(old, ramp))
        return mask
