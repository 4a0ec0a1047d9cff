"""The random walker: better masks from poor ones, first masks from boxes and clicks, and no surprises."""

import numpy as np
import pytest

from semisam.files.volume_files import read_image, read_mask
from semisam.generalists.base import Context
from semisam.generalists.growing.random_walk import walk
from semisam.generalists.growing.random_walker import RandomWalker
from semisam.prompts import Prompts
from semisam.segments import parse_segments
from semisam.volumes import Geometry, Volume

SHAPE = (30, 40, 32)


def ball(center, radii, shape=SHAPE):
    axes = np.ogrid[tuple(slice(0, n) for n in shape)]
    return sum(((axis - c) / r) ** 2 for axis, c, r in zip(axes, center, radii, strict=True)) < 1


def dice(first, second):
    return 2 * np.count_nonzero(first & second) / max(1, np.count_nonzero(first) + np.count_nonzero(second))


TRUTH = ball((15, 20, 16), (8, 12, 7))
SHIFTED = ball((16, 22, 17), (8, 12, 7))


@pytest.fixture(scope="module")
def walker():
    return RandomWalker(Context())


@pytest.fixture(scope="module")
def embedding(walker):
    noise = np.random.default_rng(0).normal(0, 0.25, SHAPE)
    return walker.encode(Volume((TRUTH + noise).astype(np.float32) * 4000 - 900, Geometry.simple(SHAPE)))


def test_a_poor_mask_becomes_better(walker, embedding):
    answer = walker.predict(embedding, [Prompts(mask=SHIFTED.astype(np.float32))])[0]
    assert dice(answer >= 0.5, TRUTH) > dice(SHIFTED, TRUTH) + 0.04


def test_a_good_mask_stays_good(walker, embedding):
    answer = walker.predict(embedding, [Prompts(mask=TRUTH.astype(np.float32))])[0]
    assert dice(answer >= 0.5, TRUTH) > 0.97


def test_a_box_gives_a_first_mask_within_it(walker, embedding):
    answer = walker.predict(embedding, [Prompts(box=(7, 8, 9, 24, 33, 24))])[0]
    assert dice(answer >= 0.5, TRUTH) > 0.9
    outside = np.ones(SHAPE, bool)
    outside[7:24, 8:33, 9:24] = False
    assert answer[outside].max() < 0.01


def test_clicks_give_a_first_mask(walker, embedding):
    points = np.array([[15, 20, 16], [15, 28, 16], [15, 12, 16], [27, 20, 16]], np.float32)
    answer = walker.predict(embedding, [Prompts(points, np.array([1, 1, 1, 0], np.uint8))])[0]
    assert dice(answer >= 0.5, TRUTH) > 0.65


@pytest.mark.parametrize("value", [0.0, 7.0, np.nan])
def test_an_image_without_contrast_leaves_the_mask_about_as_it_is(walker, value):
    embedding = walker.encode(Volume(np.full(SHAPE, value, np.float32), Geometry.simple(SHAPE)))
    answer = walker.predict(embedding, [Prompts(mask=TRUTH.astype(np.float32))])[0]
    assert dice(answer >= 0.5, TRUTH) > 0.93


def test_large_objects_are_solved_on_a_coarser_grid(walker):
    shape = (40, 160, 160)
    truth = ball((20, 80, 80), (15, 60, 50), shape)
    noise = np.random.default_rng(0).normal(0, 0.2, shape)
    embedding = walker.encode(Volume((truth + noise).astype(np.float32), Geometry.simple(shape, (3.0, 1.0, 1.0))))
    poor = ball((21, 86, 85), (15, 60, 50), shape)
    answer = walker.predict(embedding, [Prompts(mask=poor.astype(np.float32))])[0]
    assert answer.shape == shape
    assert dice(answer >= 0.5, truth) > dice(poor, truth) + 0.02


def test_between_two_seeds_the_probability_falls_in_a_straight_line():
    seeds = np.zeros((1, 1, 11), np.int8)
    seeds[..., 0], seeds[..., -1] = 1, 2
    flat = np.zeros(seeds.shape, np.float32)
    answer = walk(flat, (1.0, 1.0, 1.0), seeds, flat + 0.5, pull=0.0, contrast=1.0)
    np.testing.assert_allclose(answer.ravel(), np.linspace(1, 0, 11), atol=5e-3)


def test_poor_masks_of_the_hippocampus_become_better_on_average(walker, data_root):
    segments = parse_segments("1=anterior,2=posterior")
    gains = []
    for path in sorted((data_root / "hippocampus" / "images").iterdir())[:40:8]:
        volume = read_image(path)
        truth = read_mask(data_root / "hippocampus" / "labels" / path.name, segments, volume.geometry).voxels > 0
        embedding = walker.encode(volume)
        for shift in ((1, 2, 1), (-1, 2, -1), (1, -2, 2)):
            poor = np.roll(truth, shift, (0, 1, 2))
            answer = walker.predict(embedding, [Prompts(mask=poor.astype(np.float32))])[0]
            gains.append(dice(answer >= 0.5, truth) - dice(poor, truth))
    assert np.mean(gains) > 0.01
