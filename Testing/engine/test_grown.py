"""What strokes and drawn slices mean for the voxels between them."""

from __future__ import annotations

import numpy as np
import pytest

from semisam.learning import grown as growing
from semisam.learning.grown import grown
from semisam.volumes import Geometry, Volume

UNKNOWN = 255
SPACING = (3.0, 1.0, 1.0)


def scene(seed=0):
    """A noisy volume with a bright ball that has a dark core: (k, j, i) image and labels, 1 shell and 2 core."""
    shape = (20, 48, 52)
    grids = np.meshgrid(*[np.arange(n) - n / 2 for n in shape], indexing="ij")
    radius = np.sqrt(sum((grid * step) ** 2 for grid, step in zip(grids, SPACING, strict=True)))
    labels = np.where(radius < 9, 2, np.where(radius < 18, 1, 0)).astype(np.uint8)
    noise = np.random.default_rng(seed).normal(0, 0.15, shape)
    image = np.select([labels == 1, labels == 2], [1.0, -0.5], 0.0) + noise
    return Volume(image.astype(np.float32), Geometry.simple(shape, SPACING)), labels


def strokes(labels):
    """A cross through the centre of every third slice, a voxel wide."""
    marked = np.full(labels.shape, UNKNOWN, np.uint8)
    marked[1::3, 24, :] = labels[1::3, 24, :]
    marked[1::3, :, 26] = labels[1::3, :, 26]
    return marked


def dice(one, two):
    return 2 * (one & two).sum() / (one.sum() + two.sum())


@pytest.mark.parametrize("largest", [300_000, 15_000])
def test_strokes_grow_to_the_borders_that_the_image_shows(monkeypatch, largest):
    monkeypatch.setattr(growing, "_LARGEST", largest)
    image, labels = scene()
    marked = strokes(labels)
    result = grown(image, marked, 2, UNKNOWN)
    known = result != UNKNOWN
    assert known.mean() > 0.5 and (marked != UNKNOWN).mean() < 0.02
    assert (result == labels)[known].mean() > 0.95
    for label in (1, 2):
        assert dice(result == label, (labels == label) & known) > 0.9
    drawn = marked != UNKNOWN
    np.testing.assert_array_equal(result[drawn], marked[drawn])


def test_slices_drawn_in_full_are_left_as_they_are():
    """There the borders are drawn, and a network tells better than a walk what lies between the slices."""
    image, labels = scene()
    for axis in range(3):
        drawn = np.arange(labels.shape[axis]) % 4 == 0
        known = np.broadcast_to(np.expand_dims(drawn, [other for other in range(3) if other != axis]), labels.shape)
        marked = np.where(known, labels, UNKNOWN).astype(np.uint8)
        np.testing.assert_array_equal(grown(image, marked, 2, UNKNOWN), marked)


def test_nothing_grows_from_nothing_and_far_from_all_that_was_drawn():
    image, labels = scene()
    nothing = np.full(labels.shape, UNKNOWN, np.uint8)
    np.testing.assert_array_equal(grown(image, nothing, 2, UNKNOWN), nothing)
    np.testing.assert_array_equal(grown(image, labels, 2, UNKNOWN), labels)
    corner = nothing.copy()
    corner[0, 0, 0:3], corner[0, 4, 0:3] = 1, 0
    result = grown(image, corner, 2, UNKNOWN)
    assert (result[:, :, 40:] == UNKNOWN).all() and not (result == 2).any()
    assert corner[0, 1, 1] == UNKNOWN  # what was given is not changed


def test_a_flat_image_does_not_spoil_it():
    image, labels = scene()
    image.voxels[...] = 0.0  # flat: no variance to scale by
    result = grown(image, strokes(labels), 2, UNKNOWN)
    assert set(np.unique(result)) <= {0, 1, 2, UNKNOWN}
