"""``random-walker``: grows an object from seeds along the image's homogeneous regions. Needs no training.

L. Grady, "Random Walks for Image Segmentation", IEEE TPAMI 28(11), 2006, with the prior of its CVPR 2005 variant. It
turns a poor mask into a better one where the object has edges, and clicks into a first mask; it knows no anatomy.
"""

from __future__ import annotations

import numpy as np

from semisam.generalists.growing.random_walk import walk
from semisam.generalists.growing.seeds import INSIDE, Grower, Guess

# See random_walk.walk. These and the constants of seeds.py were chosen on corrupted masks
# (Testing/benchmarks/training_free.md).
_PULL, _CONTRAST = 0.6, 10.0
_BINS = 32


class RandomWalker(Grower):
    """The probability that a walker who starts at a voxel ends in the object.

    Between the seeds a prior weighs the distance to the guessed surface against how typical the voxel's intensity is of
    the guessed object and of its surroundings.
    """

    name = "random-walker"
    fingerprint = "random-walker-3"

    def grow(
        self, image: np.ndarray, spacing: tuple[float, float, float], seeds: np.ndarray, guess: Guess
    ) -> np.ndarray:
        """See ``Grower.grow``."""
        return walk(image, spacing, seeds, _prior(image, guess), _PULL, _CONTRAST)


def _prior(image: np.ndarray, guess: Guess) -> np.ndarray:
    """(k, j, i) float32: how likely each voxel is to be object by its depth and by its intensity.

    Intensities: naive Bayes with the smoothed histograms of the guessed object and of its surroundings.
    """
    from scipy.ndimage import gaussian_filter1d

    low, high = float(image.min()), float(image.max())
    bins = ((image - low) * (0.999 * _BINS / max(high - low, 1e-6))).astype(np.intp)
    log_odds = guess.depth / np.float32(guess.width)
    surroundings = (guess.depth <= 0) & (guess.depth > -max(INSIDE, 2 * guess.width))
    for region, sign in ((guess.typical, 1.0), (surroundings, -1.0)):
        counts = np.bincount(bins[region], minlength=_BINS).astype(np.float32)
        # A fifth of a uniform distribution keeps intensities that were never seen from deciding alone.
        share = gaussian_filter1d(counts / max(1.0, float(counts.sum())), 1.0) + 0.2 / _BINS
        log_odds += np.float32(sign) * np.log(share)[bins]
    return (1 / (1 + np.exp(-np.clip(log_odds, -20, 20)))).astype(np.float32)
