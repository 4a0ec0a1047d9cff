"""``grow-cut``: object and background grow from seeds and meet at the image's edges. Needs no training.

The idea of Slicer's "Grow from seeds": Zhu, Kolesov, Gao, Kikinis and Tannenbaum, "An effective interactive medical
image segmentation method using fast GrowCut", MICCAI IMIC 2014. Every voxel goes to the seed with the shortest way,
where a step across an edge is long. Where both ways are about as long, the answer is doubtful.
"""

from __future__ import annotations

import numpy as np

from semisam.generalists.growing.seeds import BACKGROUND, OBJECT, Grower, Guess

# Length of a step across an edge of one standard deviation of the image, in voxels of a homogeneous region.
_EDGE = 30.0
# Half the width of the band in which the two meet, in those in which doubt about the guess falls by the factor e:
# without prior, grow-cut believes more of a mask than the random walker does. See Testing/benchmarks/training_free.md.
_BAND = 6.0
# Share of both ways' sum by which they differ where doubt has fallen to 1 / (1 + e).
_SOFTNESS = 0.1


class GrowCut(Grower):
    """Which of the seeds is nearer, along ways that avoid the edges of the image."""

    name = "grow-cut"
    fingerprint = "grow-cut-1"

    def grow(
        self, image: np.ndarray, spacing: tuple[float, float, float], seeds: np.ndarray, guess: Guess
    ) -> np.ndarray:
        """See ``Grower.grow``."""
        band = _BAND * guess.width
        seeds = np.where((seeds == 0) & (guess.depth > band), OBJECT, seeds)
        seeds = np.where((seeds == 0) & (guess.depth < -band), BACKGROUND, seeds)
        graph = _graph(image, spacing)
        to_object, to_background = (_distance(graph, seeds == value) for value in (OBJECT, BACKGROUND))
        lead = (to_background - to_object) / np.maximum(to_background + to_object, 1e-6)
        return (1 / (1 + np.exp(np.clip(-lead / _SOFTNESS, -20, 20)))).astype(np.float32).reshape(image.shape)


def _graph(image: np.ndarray, spacing: tuple[float, float, float]):  # type: ignore[no-untyped-def]
    """The voxels and the lengths of the steps between neighbours, as a sparse matrix."""
    from scipy.sparse import coo_array

    numbers = np.arange(image.size, dtype=np.int32).reshape(image.shape)
    scale = _EDGE / max(float(image.std()), 1e-6)
    starts, ends, lengths = [], [], []
    for axis, step in enumerate(spacing):
        front = (slice(None),) * axis + (slice(None, -1),)
        back = (slice(None),) * axis + (slice(1, None),)
        starts.append(numbers[front].ravel())
        ends.append(numbers[back].ravel())
        lengths.append((step + scale * np.abs(image[front] - image[back])).ravel())
    edges = np.concatenate(starts), np.concatenate(ends)
    return coo_array((np.concatenate(lengths).astype(float), edges), shape=(image.size, image.size)).tocsr()


def _distance(graph, seeds: np.ndarray) -> np.ndarray:  # type: ignore[no-untyped-def]
    """(voxels,) length of the shortest way to a seed; very long when there is none."""
    from scipy.sparse.csgraph import dijkstra

    found = np.flatnonzero(seeds)
    if len(found) == 0:
        return np.full(seeds.size, 1e9)
    return np.minimum(dijkstra(graph, directed=False, indices=found, min_only=True), 1e9)
