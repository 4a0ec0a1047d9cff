"""The random walk's equation, solved on whole arrays."""

from __future__ import annotations

import numpy as np

# Edges keep this weight however large the step between their voxels is, so that the problem stays well conditioned.
_LEAST_WEIGHT = 1e-3
_MOST_ITERATIONS = 300
# Share of the first residual's (preconditioned) energy at which to stop: far below what a probability needs.
_TOLERANCE = 1e-5


def walk(
    image: np.ndarray,
    spacing: tuple[float, float, float],
    seeds: np.ndarray,
    prior: np.ndarray,
    pull: float,
    contrast: float,
) -> np.ndarray:
    """(k, j, i) float32 probability that a random walker who starts at a voxel ends in the object.

    image     (k, j, i) float32
    seeds     (k, j, i): 1 object, 2 background, 0 to be found out
    prior     (k, j, i) float32 probabilities
    pull      how often, against a step to a neighbour across no edge, the walk ends by drawing from the prior
    contrast  an edge between voxels that differ by d standard deviations of the image weighs exp(-contrast d^2),
              over the squared spacing, so that walkers rarely cross edges of the image or gaps between slices

    Solves (L + pull) x = pull prior with x fixed at the seeds, L the graph's Laplacian: Grady, Multilabel random walker
    image segmentation using prior models, CVPR 2005. Conjugate gradients with the diagonal as preconditioner; on the
    crops met here whole-array arithmetic is several times faster than a sparse matrix.
    """
    free = (seeds == 0).astype(np.float32)
    weights = _edge_weights(image, spacing, contrast)
    diagonal = np.full(image.shape, pull, np.float32)
    for axis, weight in enumerate(weights):
        front, back = _ends(axis)
        diagonal[front] += weight
        diagonal[back] += weight
    inverse = free / np.maximum(diagonal, np.float32(1e-12))

    def applied(x: np.ndarray) -> np.ndarray:
        y = diagonal * x
        for axis, weight in enumerate(weights):
            front, back = _ends(axis)
            y[front] -= weight * x[back]
            y[back] -= weight * x[front]
        y *= free
        return y

    x = np.where(seeds == 0, prior, seeds == 1).astype(np.float32)
    residual = np.float32(pull) * free * prior.astype(np.float32) - applied(x)
    preconditioned = inverse * residual
    direction = preconditioned.copy()
    energy = float(np.vdot(residual, preconditioned))
    enough = _TOLERANCE * energy
    for _ in range(_MOST_ITERATIONS):
        if energy <= enough:
            break
        product = applied(direction)
        step = np.float32(energy / float(np.vdot(direction, product)))
        x += step * direction
        residual -= step * product
        np.multiply(inverse, residual, out=preconditioned)
        energy, before = float(np.vdot(residual, preconditioned)), energy
        direction *= np.float32(energy / before)
        direction += preconditioned
    return np.clip(x, 0, 1)


def _edge_weights(image: np.ndarray, spacing: tuple[float, float, float], contrast: float) -> list[np.ndarray]:
    """Along each axis, the weights of the edges between neighbours; one fewer than voxels."""
    scale = contrast / max(float(image.var()), 1e-12)
    return [
        ((np.exp(-scale * np.diff(image, axis=axis) ** 2) + _LEAST_WEIGHT) / step**2).astype(np.float32)
        for axis, step in enumerate(spacing)
    ]


def _ends(axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """The voxels at the lower and the upper end of all edges along ``axis``."""
    before = (slice(None),) * axis
    return (*before, slice(None, -1)), (*before, slice(1, None))
