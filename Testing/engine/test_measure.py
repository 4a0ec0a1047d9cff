"""Overlap, distances, volumes, and whether a confidence knows what it says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from semisam.measure import dice, measure, rank_correlation, surface_distances, surface_points, worst_found

masks = arrays(bool, (5, 6, 7))


def box(shape, *limits):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*limit) for limit in limits)] = True
    return mask


def test_dice_of_half_overlapping_boxes_is_one_half():
    first, second = box((4, 4, 8), (0, 4), (0, 4), (0, 4)), box((4, 4, 8), (0, 4), (0, 4), (2, 6))
    assert dice(first, second) == 0.5


def test_a_shift_by_one_slice_is_measured_in_mm_along_that_axis():
    first, second = box((9, 9, 9), (2, 5), (2, 7), (2, 7)), box((9, 9, 9), (3, 6), (2, 7), (2, 7))
    hd95, assd = surface_distances(first, second, (5.0, 1.0, 1.0))
    assert hd95 == pytest.approx(5.0)
    assert 0 < assd < 5.0
    hd95, _ = surface_distances(first, second, (0.5, 1.0, 1.0))
    assert hd95 == pytest.approx(0.5)


def test_parallel_planes_have_their_distance():
    first, second = box((8, 20, 20), (1, 2), (0, 20), (0, 20)), box((8, 20, 20), (4, 5), (0, 20), (0, 20))
    assert surface_distances(first, second, (2.0, 1.0, 1.0)) == pytest.approx((6.0, 6.0))


def test_two_empty_masks_agree():
    empty = np.zeros((3, 3, 3), bool)
    result = measure(empty, empty, (1, 1, 1))
    assert (result.dice, result.hd95_mm, result.surface_distance_mm, result.volume_error_percent) == (1.0, 0, 0, 0)


def test_one_empty_mask_has_no_distance():
    empty, full = np.zeros((3, 3, 3), bool), np.ones((3, 3, 3), bool)
    missed, invented = measure(empty, full, (1, 1, 1)), measure(full, empty, (1, 1, 1))
    assert (missed.dice, missed.hd95_mm, missed.volume_error_percent) == (0.0, None, -100.0)
    assert (invented.dice, invented.hd95_mm, invented.volume_error_percent) == (0.0, None, None)


def test_volumes_are_in_millilitres():
    result = measure(box((10, 10, 10), (0, 10), (0, 10), (0, 5)), np.ones((10, 10, 10), bool), (2.0, 1.0, 0.5))
    assert (result.volume_ml, result.reference_ml, result.volume_error_percent) == (0.5, 1.0, -50.0)


def test_masks_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match="cannot be compared"):
        measure(np.zeros((2, 2, 2), bool), np.zeros((2, 2, 3), bool), (1, 1, 1))


def test_inner_voxels_are_no_surface():
    points = surface_points(box((7, 7, 7), (1, 6), (1, 6), (1, 6)), (1, 1, 1))
    assert len(points) == 5**3 - 3**3


@settings(max_examples=40, deadline=None)
@given(masks, masks)
def test_measures_are_symmetric_and_zero_only_for_equal_surfaces(first, second):
    spacing = (2.0, 1.0, 0.5)
    assert dice(first, second) == dice(second, first)
    there, back = surface_distances(first, second, spacing), surface_distances(second, first, spacing)
    assert there == (None, None) == back or there == pytest.approx(back)
    assert surface_distances(first, first, spacing) == (0.0, 0.0)


@settings(max_examples=30, deadline=None)
@given(masks, masks)
def test_distances_agree_with_distance_transforms(first, second):
    """The same quantities by another way: Euclidean distance maps of the surfaces."""
    from scipy.ndimage import binary_erosion, distance_transform_edt

    hd95, assd = surface_distances(first, second, (2.0, 1.0, 0.5))
    if hd95 is None or not first.any():
        return
    surfaces = [mask & ~binary_erosion(mask) for mask in (first, second)]
    maps = [distance_transform_edt(~surface, sampling=(2.0, 1.0, 0.5)) for surface in surfaces]
    there, back = maps[1][surfaces[0]], maps[0][surfaces[1]]
    assert hd95 == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)))
    assert assd == pytest.approx(np.concatenate([there, back]).mean())


@given(st.lists(st.floats(0, 1), min_size=5, max_size=30, unique=True))
def test_rank_correlation_sees_order_only(values):
    assert rank_correlation(values, [value**3 + 1 for value in range(len(values))]) is not None
    ordered = sorted(values)
    assert rank_correlation(ordered, list(range(len(ordered)))) == pytest.approx(1.0)
    assert rank_correlation(ordered, list(range(len(ordered), 0, -1))) == pytest.approx(-1.0)


def test_rank_correlation_agrees_with_scipy_on_ties():
    from scipy.stats import spearmanr

    first, second = [0.1, 0.2, 0.2, 0.9, 0.5, 0.5], [3, 1, 2, 2, 5, 5]
    assert rank_correlation(first, second) == pytest.approx(spearmanr(first, second).statistic)


def test_rank_correlation_of_constants_is_unknown():
    assert rank_correlation([0.5, 0.5, 0.5], [1, 2, 3]) is None
    assert rank_correlation([0.5, 0.6], [1, 2]) is None


def test_worst_found_counts_the_worst_cases_among_the_least_sure():
    quality = [0.9, 0.2, 0.8, 0.3, 0.85, 0.7, 0.95, 0.6, 0.75, 0.99]
    assert worst_found(quality, quality) == 1.0
    assert worst_found([-value for value in quality], quality) == 0.0
    assert worst_found([0.1, 0.9, 0.5], [0.5, 0.9, 0.1]) is None
