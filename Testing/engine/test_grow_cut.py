"""Grow-cut: the shortest way wins, edges are long ways, prompts are kept, and nothing surprises."""

import numpy as np
import pytest

from semisam.generalists.base import Context
from semisam.generalists.growing.grow_cut import GrowCut
from semisam.generalists.growing.seeds import Guess
from semisam.generalists.registry import create
from semisam.prompts import Prompts
from semisam.volumes import Geometry, Volume
from test_random_walker import SHAPE, SHIFTED, TRUTH, ball, dice


@pytest.fixture(scope="module")
def grower():
    return create("grow-cut", Context())


@pytest.fixture(scope="module")
def embedding(grower):
    noise = np.random.default_rng(0).normal(0, 0.1, SHAPE)
    return grower.encode(Volume((TRUTH + noise).astype(np.float32) * 4000 - 900, Geometry.simple(SHAPE)))


def grown(image, seeds, spacing=(1.0, 1.0, 1.0)):
    unknown = Guess(np.zeros(image.shape, np.float32), 1.0, 1.0, np.zeros(image.shape, bool))
    return GrowCut(Context()).grow(image, spacing, seeds, unknown)


def test_without_edges_the_nearer_seed_wins_and_the_middle_is_doubtful():
    seeds = np.zeros((1, 1, 11), np.int8)
    seeds[..., 0], seeds[..., -1] = 1, 2
    answer = grown(np.zeros(seeds.shape, np.float32), seeds).ravel()
    assert (np.diff(answer) <= 0).all() and answer[0] > 0.999 and answer[-1] < 0.001
    assert answer[5] == pytest.approx(0.5)


def test_an_edge_is_a_long_way():
    seeds = np.zeros((1, 1, 11), np.int8)
    seeds[..., 0], seeds[..., -1] = 1, 2
    image = np.zeros(seeds.shape, np.float32)
    image[..., 8:] = 1
    answer = grown(image, seeds).ravel()
    assert (answer[:8] > 0.8).all() and (answer[8:] < 0.2).all()


def test_a_wide_gap_between_slices_is_a_long_way():
    seeds = np.zeros((3, 1, 5), np.int8)
    seeds[0, 0, 0], seeds[2, 0, 4] = 1, 2
    answer = grown(np.zeros(seeds.shape, np.float32), seeds, (10.0, 1.0, 1.0))[:, 0]
    assert (answer[0] > 0.6).all() and (answer[2] < 0.4).all()


def test_seeds_of_one_kind_take_all_there_is():
    seeds = np.zeros((1, 2, 3), np.int8)
    seeds[0, 0, 0] = 1
    assert (grown(np.ones(seeds.shape, np.float32), seeds) > 0.999).all()


def test_a_poor_mask_becomes_better_and_a_good_one_stays_good(grower, embedding):
    for mask, wanted in ((SHIFTED, dice(SHIFTED, TRUTH) + 0.04), (TRUTH, 0.95)):
        answer = grower.predict(embedding, [Prompts(mask=mask.astype(np.float32))])[0]
        assert dice(answer >= 0.5, TRUTH) > wanted


def test_a_box_and_clicks_give_a_first_mask(grower, embedding):
    box = grower.predict(embedding, [Prompts(box=(7, 8, 9, 24, 33, 24))])[0]
    assert dice(box >= 0.5, TRUTH) > 0.9
    outside = np.ones(SHAPE, bool)
    outside[7:24, 8:33, 9:24] = False
    assert box[outside].max() < 0.01
    points = np.array([[15, 20, 16], [15, 28, 16], [15, 12, 16], [27, 20, 16]], np.float32)
    clicked = grower.predict(embedding, [Prompts(points, np.array([1, 1, 1, 0], np.uint8))])[0]
    assert dice(clicked >= 0.5, TRUTH) > 0.8


def test_large_objects_are_solved_on_a_coarser_grid(grower):
    shape = (40, 160, 160)
    truth = ball((20, 80, 80), (15, 60, 50), shape)
    embedding = grower.encode(Volume(truth.astype(np.float32), Geometry.simple(shape, (3.0, 1.0, 1.0))))
    poor = ball((21, 82, 82), (15, 60, 50), shape)
    answer = grower.predict(embedding, [Prompts(mask=poor.astype(np.float32))])[0]
    assert answer.shape == shape and dice(answer >= 0.5, truth) > dice(poor, truth)
