"""Patches: the same whatever part of a volume they are cut from, and pseudo-labels that do not fill the memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from frameworks_kit import tiny_plan
from semisam.learning.augmentation import Augmentation, Strength
from semisam.learning.sampling import PseudoLabel, Sampler, _around
from semisam.learning.working import UNKNOWN, WorkingCase
from semisam.volumes import Geometry


@pytest.mark.parametrize("border", [True, False])
@pytest.mark.parametrize("shape", [(40, 50, 60), (12, 20, 9), (1, 30, 30), (20, 16, 24)])
def test_a_patch_from_a_part_of_a_volume_is_that_from_the_whole(shape: tuple[int, int, int], border: bool) -> None:
    rng = np.random.default_rng(0)
    augmentation = Augmentation((8, 16, 12), (2.0, 1.0, 1.5), rng)
    volume = torch.from_numpy(rng.normal(size=(3, *shape)).astype(np.float32))
    for _ in range(20):
        # Some patches hang out of the volume, on either side.
        places = augmentation.spatial(rng.uniform(-0.2, 1.2, 3) * shape)
        region, there = _around(places, shape)
        part = volume[:, *region]
        assert 0 < part[0].numel() <= volume[0].numel()
        whole = augmentation.warp(volume, places, border)
        torch.testing.assert_close(augmentation.warp(part, there, border), whole, atol=1e-3, rtol=0)


def test_a_patch_of_a_large_volume_needs_a_small_part_of_it() -> None:
    augmentation = Augmentation((16, 16, 16), (1.0, 1.0, 1.0), np.random.default_rng(0))
    region, _ = _around(augmentation.spatial(np.array([100.0, 100.0, 100.0])), (200, 200, 200))
    assert all(part.stop - part.start < 40 for part in region)


@pytest.mark.parametrize(("spacing", "across"), [((8.0, 1.0, 1.0), 0), ((1.0, 1.0, 6.0), 2)])
def test_thick_slices_are_turned_far_in_their_plane_and_never_out_of_it(
    spacing: tuple[float, float, float], across: int
) -> None:
    still = Strength(scale=0, shift=0, elastic=0)
    augmentation = Augmentation((9, 9, 9), spacing, np.random.default_rng(0), strength=still)
    first, second = (axis for axis in range(3) if axis != across)
    turns = []
    for _ in range(200):
        places = (augmentation.spatial(np.zeros(3)) * torch.tensor(spacing)).numpy()
        line = np.moveaxis(places, first, 0)[:, 4, 4]  # through the middle, along an axis in the plane
        np.testing.assert_allclose(line[:, across], 0, atol=1e-4)
        direction = line[-1] - line[0]
        turns.append(np.degrees(np.arctan2(direction[second], direction[first])))
    assert -60 <= min(turns) < -50 and 50 < max(turns) <= 60


def test_a_small_segment_beside_a_large_one_is_seen_from_many_places() -> None:
    labels = np.zeros((60, 60, 60), np.uint8)
    labels[:40] = 1
    labels[50:54, 30:35, 30:35] = 2
    labels[58:] = UNKNOWN
    rng = np.random.default_rng(0)
    geometry = Geometry.simple(labels.shape)
    case = WorkingCase("case", np.zeros(labels.shape, np.float16), geometry, geometry, labels)
    plan = tiny_plan(patch=(8, 8, 8))
    sampler = Sampler(plan, Augmentation(plan.patch, plan.working_spacing, rng), rng, "cpu")
    centres = np.array([sampler._labelled_centre(case, labels) for _ in range(1000)])
    values = labels[tuple(np.rint(centres).astype(int).T)]
    places = {value: len(np.unique(centres[values == value], axis=0)) for value in (1, 2)}
    assert places[1] > 300 and places[2] > 90  # of 100 voxels
    assert 0.25 < np.mean(values == 2) < 0.45


def test_a_pseudo_label_knows_its_size() -> None:
    assert PseudoLabel.nothing((2, 10, 10, 10)).nbytes == 2 * 1000 * (2 + 2 + 1)
