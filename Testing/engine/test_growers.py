"""What holds for every generalist that grows an object from seeds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semisam.generalists.base import Context
from semisam.generalists.registry import create
from semisam.prompts import Prompts
from semisam.volumes import Geometry, Volume
from test_random_walker import SHAPE, SHIFTED, TRUTH


@pytest.fixture(scope="module", params=["random-walker", "grow-cut"])
def grower(request):
    return create(request.param, Context())


@pytest.fixture(scope="module")
def embedding(grower):
    noise = np.random.default_rng(0).normal(0, 0.1, SHAPE)
    return grower.encode(Volume((TRUTH + noise).astype(np.float32) * 4000 - 900, Geometry.simple(SHAPE)))


def test_clicks_are_honored_against_the_mask(grower, embedding):
    points = np.array([[15, 20, 16], [4, 4, 4]], np.float32)
    prompts = Prompts(points, np.array([0, 1], np.uint8), mask=SHIFTED.astype(np.float32))
    answer = grower.predict(embedding, [prompts])[0]
    assert answer[15, 20, 16] < 0.5 and answer[4, 4, 4] >= 0.5


def test_prompts_do_not_influence_one_another(grower, embedding):
    many = [Prompts(mask=SHIFTED.astype(np.float32)), Prompts(box=(7, 8, 9, 24, 33, 24)), Prompts()]
    together = grower.predict(embedding, many)
    for one, answer in zip(many, together, strict=True):
        np.testing.assert_array_equal(grower.predict(embedding, [one])[0], answer)
    assert not together[2].any()


def test_nothing_is_said_about_nothing(grower, embedding):
    outside = np.array([[3, 3, 3]], np.float32)
    tiny = np.zeros(SHAPE, np.float32)
    tiny[3, 3, 3] = 1
    for prompts in (
        Prompts(),
        Prompts(mask=np.zeros(SHAPE, np.float32)),
        Prompts(mask=tiny),
        Prompts(outside, np.array([0], np.uint8)),
    ):
        assert not grower.predict(embedding, [prompts]).any()
    assert grower.predict(embedding, []).shape == (0, *SHAPE)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_prompt_gets_finite_probabilities(grower, data):
    shape = tuple(data.draw(st.integers(1, 9)) for _ in range(3))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    count = data.draw(st.integers(0, 3))
    lower = rng.integers(0, shape)
    prompts = Prompts(
        rng.uniform(-2, np.array(shape) + 2, (count, 3)).astype(np.float32),
        rng.integers(0, 2, count).astype(np.uint8),
        box=tuple(float(x) for x in (*lower, *(lower + rng.integers(1, 5, 3)))) if data.draw(st.booleans()) else None,
        mask=(rng.random(shape) > 0.5).astype(np.float32) if data.draw(st.booleans()) else None,
    )
    value = float(rng.choice([0, 1]))  # with and without contrast
    embedding = grower.encode(Volume(value * rng.random(shape, np.float32), Geometry.simple(shape, (4.0, 1.0, 1.0))))
    answer = grower.predict(embedding, [prompts])
    assert answer.shape == (1, *shape) and answer.dtype == np.float32
    assert np.isfinite(answer).all() and answer.min() >= 0 and answer.max() <= 1
