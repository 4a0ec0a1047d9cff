"""Prompts from probability maps: what they say about the object is true, and perturbed ones differ."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semisam.prompts import MINIMUM_VOXELS, perturbed_prompts, prompts_from_probability


def ellipsoid(shape=(40, 56, 40), radii=(9, 18, 8)):
    axes = np.ogrid[tuple(slice(-n / 2, n / 2, complex(0, n)) for n in shape)]
    return (sum((axis / radius) ** 2 for axis, radius in zip(axes, radii, strict=True)) < 1).astype(np.float32)


@st.composite
def masks(draw):
    """Boxes, slabs, lines and dots, several at once, anywhere in the volume, also at its border."""
    shape = tuple(draw(st.integers(1, 16)) for _ in range(3))
    mask = np.zeros(shape, np.float32)
    for _ in range(draw(st.integers(0, 4))):
        lower = [draw(st.integers(0, n - 1)) for n in shape]
        size = [draw(st.sampled_from([1, 1, 2, 5, 16])) for _ in shape]
        mask[tuple(slice(a, a + s) for a, s in zip(lower, size, strict=True))] = draw(st.sampled_from([0.5, 0.8, 1.0]))
    noise = np.random.default_rng(draw(st.integers(0, 9))).random(shape) * 0.49
    return np.where(mask > 0, mask, noise).astype(np.float32)


def assert_true_of(prompts, probability):
    points = prompts.points.astype(int)
    assert (points == prompts.points).all()
    assert ((points >= 0) & (points < probability.shape)).all()
    inside = probability[tuple(points.T)] >= 0.5
    assert (inside == (prompts.labels == 1)).all()
    assert prompts.points.dtype == np.float32 and prompts.labels.dtype == np.uint8
    lower, upper = np.array(prompts.box[:3]), np.array(prompts.box[3:])
    assert (lower >= 0).all() and (upper <= probability.shape).all() and (lower < upper).all()
    assert prompts.mask.shape == probability.shape
    assert np.isfinite(prompts.mask).all() and prompts.mask.min() >= 0 and prompts.mask.max() <= 1
    assert ((prompts.mask >= 0.5) & (probability >= 0.5)).any()


@settings(max_examples=150, deadline=None)
@given(masks(), st.integers(0, 1000), st.sampled_from([(1, 1, 1), (5, 1, 1), (10, 0.5, 0.5), (0.3, 1, 2)]))
def test_positive_clicks_lie_in_the_object_and_negative_ones_outside(probability, seed, spacing):
    many = perturbed_prompts(probability, np.random.default_rng(seed), 3, spacing=spacing, segment=2)
    if np.count_nonzero(probability >= 0.5) < MINIMUM_VOXELS:
        assert many == []
        return
    assert len(many) == 3
    for prompts in many:
        assert_true_of(prompts, probability)
        assert prompts.labels.any() and prompts.segment == 2


@pytest.mark.parametrize("voxels", [0, 1, MINIMUM_VOXELS - 1])
def test_an_empty_or_tiny_object_gives_no_prompts(voxels):
    probability = np.zeros((8, 8, 8), np.float32)
    probability[2, 2, :voxels] = 1
    rng = np.random.default_rng(0)
    assert prompts_from_probability(probability, rng) is None
    assert perturbed_prompts(probability, rng, 5) == []


def test_no_prompts_are_made_when_none_are_asked_for():
    assert perturbed_prompts(ellipsoid(), np.random.default_rng(0), 0) == []


def test_an_object_that_fills_the_volume_has_no_negative_clicks():
    prompts = prompts_from_probability(np.ones((6, 6, 6)), np.random.default_rng(0))
    assert (prompts.labels == 1).all() and prompts.box == (0, 0, 0, 6, 6, 6)


def test_values_that_are_not_finite_count_as_outside():
    probability = ellipsoid()
    probability[:, :20] = np.nan
    for prompts in perturbed_prompts(probability, np.random.default_rng(0), 3):
        assert_true_of(prompts, np.nan_to_num(probability))


def test_without_jitter_mask_and_box_are_those_of_the_object():
    probability = ellipsoid() * 0.9
    prompts = prompts_from_probability(probability, np.random.default_rng(0), points=4, negatives=2)
    found = np.argwhere(probability >= 0.5)
    assert prompts.box == (*found.min(0), *(found.max(0) + 1))
    np.testing.assert_array_equal(prompts.mask, probability)
    assert prompts.labels.tolist() == [1, 1, 1, 1, 0, 0]


def test_the_first_click_is_the_deepest_voxel():
    prompts = prompts_from_probability(ellipsoid(), np.random.default_rng(0))
    assert np.abs(prompts.points[0] - [19.5, 27.5, 19.5]).max() <= 6 and abs(prompts.points[0][0] - 19.5) <= 1


def test_negative_clicks_lie_near_the_object_but_not_at_its_surface():
    probability = ellipsoid()
    prompts = prompts_from_probability(probability, np.random.default_rng(0), negatives=30)
    inside = np.argwhere(probability > 0)
    for point in prompts.points[prompts.labels == 0]:
        assert 1.5 < np.linalg.norm(inside - point, axis=1).min() < 5


def test_perturbed_prompts_differ_and_start_with_the_unperturbed_one():
    probability = ellipsoid()
    many = perturbed_prompts(probability, np.random.default_rng(3), 5)
    np.testing.assert_array_equal(many[0].mask, probability)
    for index, one in enumerate(many):
        for other in many[:index]:
            assert one.box != other.box
            assert not np.array_equal(one.points, other.points)
            assert np.count_nonzero((one.mask >= 0.5) != (other.mask >= 0.5)) > 20
        overlap = 2 * ((one.mask >= 0.5) & (probability >= 0.5)).sum() / ((one.mask >= 0.5).sum() + probability.sum())
        assert overlap > 0.75


def test_the_same_seed_makes_the_same_prompts():
    first, second = (perturbed_prompts(ellipsoid(), np.random.default_rng(5), 3) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.points, other.points)
        np.testing.assert_array_equal(one.mask, other.mask)
        assert one.box == other.box


def test_the_probability_map_is_left_as_it_was():
    probability = ellipsoid()
    before = probability.copy()
    perturbed_prompts(probability, np.random.default_rng(0), 4)
    np.testing.assert_array_equal(probability, before)


def test_five_perturbed_prompts_take_a_fraction_of_a_training_step():
    probability, rng = ellipsoid(), np.random.default_rng(0)
    perturbed_prompts(probability, rng, 5)
    start = time.process_time()
    for _ in range(5):
        perturbed_prompts(probability, rng, 5)
    assert (time.process_time() - start) / 5 < 0.1  # about 0.008 s on a free core
