"""From what the network says on the working grid to a mask on the grid of the image."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch

from semisam.predict import Prediction, Specialist
from semisam.segments import Segment
from semisam.volumes import Geometry, resample_probabilities
from test_supervision import make_plan

WORKING = Geometry.simple((12, 10, 14), (4.0, 4.0, 4.0))


def scripted(segments: int, original: Geometry) -> tuple[np.ndarray, Prediction]:
    """Probabilities of noise, and what a specialist that has them says of an image on this grid."""
    logits = np.random.default_rng(segments).normal(0, 2, (1 + segments, *WORKING.shape))
    probability = (np.exp(logits) / np.exp(logits).sum(0)).astype(np.float32)
    named = [Segment(3 * index + 2, f"part {index}", (0, 0, 0)) for index in range(segments)]
    specialist = Specialist(torch.nn.Identity(), make_plan(clean_up=False), named, [False] * segments)
    specialist.probabilities = lambda image: probability  # type: ignore[method-assign]
    return probability, specialist.predict(np.zeros(WORKING.shape, np.float32), WORKING, original)


@pytest.mark.parametrize("segments", [1, 5])
@pytest.mark.parametrize("turned", [False, True])
def test_the_likeliest_wins_on_the_grid_of_the_image(segments: int, turned: bool) -> None:
    original = Geometry.simple((30, 20, 40), (1.6, 2.0, 1.4))
    if turned:
        original = Geometry(original.shape, original.spacing, original.origin, (0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1))
    probability, prediction = scripted(segments, original)
    maps = resample_probabilities(probability[1:], WORKING, original)
    entropy = -(probability * np.log2(np.maximum(probability, 1e-6))).sum(0)
    doubt = resample_probabilities(np.clip(entropy, 0, 1).astype(np.float32)[None], WORKING, original)[0]
    wins = maps.max(0) > 1 - maps.sum(0)
    assert 0.1 < wins.mean() < 1
    assert np.array_equal(prediction.mask.voxels, np.where(wins, 3 * maps.argmax(0) + 2, 0))
    assert np.array_equal(prediction.uncertainty.voxels, (doubt * 100).round().astype(np.uint8))
    assert prediction.mask.voxels.dtype == prediction.uncertainty.voxels.dtype == np.uint8


def test_many_segments_need_no_more_memory_for_a_mask_than_few() -> None:
    original = Geometry.simple((72, 60, 84), (0.66, 0.66, 0.66))
    peaks: list[float] = []
    for segments in (2, 12):
        tracemalloc.start()
        scripted(segments, original)
        peaks.append(tracemalloc.get_traced_memory()[1] / np.prod(original.shape))
        tracemalloc.stop()
    # In bytes for each voxel of the image; one map has 4.
    assert max(peaks) < 22 and peaks[1] < peaks[0] + 2
