"""The embedded generalist nano: the protocol, its promises about prompts, and its windows."""

import json

import numpy as np
import pytest
import torch

from semisam.errors import GeneralistError
from semisam.generalists import windows
from semisam.generalists.base import Context, Embedding
from semisam.generalists.nano.generalist import Nano, weights_path
from semisam.generalists.nano.network import MASK
from semisam.prompts import Prompts
from semisam.volumes import Geometry, Volume

torch.set_num_threads(1)

SHAPE, SPACING = (24, 56, 48), (2.0, 1.0, 1.0)
CENTER, RADIUS = np.array([12.0, 26.0, 22.0]), 12.0


def ball(shape=SHAPE, spacing=SPACING, center=CENTER, radius=RADIUS):
    """(k, j, i) bool, round in millimeters."""
    offsets = [(np.arange(n) - c) * s for n, c, s in zip(shape, center, spacing, strict=True)]
    return offsets[0][:, None, None] ** 2 + offsets[1][:, None] ** 2 + offsets[2] ** 2 < radius**2


def volume(mask, spacing=SPACING, seed=0):
    noise = np.random.default_rng(seed).normal(0, 8, mask.shape)
    return Volume((100 + 60 * mask + noise).astype(np.float32), Geometry.simple(mask.shape, spacing))


def click(point, label=1):
    return Prompts(points=np.array([point], np.float32), labels=np.array([label], np.uint8))


def dice(first, second):
    return 2 * np.count_nonzero(first & second) / max(1, first.sum() + second.sum())


@pytest.fixture(scope="module")
def nano():
    return Nano(Context())


@pytest.fixture(scope="module")
def embedding(nano):
    return nano.encode(volume(ball()))


@pytest.fixture(scope="module")
def prompts():
    truth = ball()
    lost = truth.copy()
    lost[:, 30:] = False
    return [
        click(CENTER),
        Prompts(box=(6, 14, 10, 19, 39, 35)),
        Prompts(mask=truth.astype(np.float32)),
        Prompts(),
        Prompts(
            mask=lost.astype(np.float32), points=np.array([[12, 33, 22]], np.float32), labels=np.array([1], np.uint8)
        ),
    ]


def test_answers_are_probabilities_on_the_grid_of_the_volume(nano, embedding, prompts):
    answers = nano.predict(embedding, prompts)
    assert answers.shape == (5, *SHAPE)
    assert answers.dtype == np.float32
    assert answers.min() >= 0 and answers.max() <= 1


def test_prompts_do_not_influence_one_another(nano, embedding, prompts):
    together = nano.predict(embedding, prompts)
    for answer, prompt in zip(together, prompts, strict=True):
        np.testing.assert_allclose(nano.predict(embedding, [prompt])[0], answer, atol=1e-5)


def test_finds_a_bright_ball_from_a_box_or_a_click(nano, embedding, prompts):
    from_click, from_box = nano.predict(embedding, prompts[:2])
    assert dice(from_box > 0.5, ball()) > 0.85
    assert dice(from_click > 0.5, ball()) > 0.6


def test_what_was_found_in_a_box_is_given_back_once_as_a_mask(nano, embedding, monkeypatch):
    seen = []
    decode = Nano._decode

    def watched(self, features, maps):
        seen.append(maps[:, MASK].any())
        return decode(self, features, maps)

    monkeypatch.setattr(Nano, "_decode", watched)
    box = (6, 14, 10, 19, 39, 35)
    nano.predict(embedding, [Prompts(box=box)])
    assert seen == [False, True]
    seen.clear()
    nano.predict(embedding, [Prompts(box=box, mask=ball().astype(np.float32))])
    assert seen == [True], "a mask that is given is asked about once, so that a good one stays as it is"


def test_leaves_a_good_mask_good_and_repairs_a_cut_one(nano, embedding, prompts):
    kept, repaired = nano.predict(embedding, [prompts[2], prompts[4]])
    assert dice(kept > 0.5, ball()) > 0.92
    assert dice(repaired > 0.5, ball()) > dice(prompts[4].mask > 0.5, ball()) + 0.03


def test_a_click_inside_is_inside_and_a_click_outside_is_outside(nano, embedding):
    both = Prompts(points=np.array([CENTER, [12, 50, 42]], np.float32), labels=np.array([1, 0], np.uint8))
    answer = nano.predict(embedding, [both])[0]
    assert answer[12, 26, 22] > 0.5
    assert answer[12, 50, 42] < 0.5


def test_empty_prompts_and_masks_give_zeros(nano, embedding):
    nothing = np.zeros(SHAPE, np.float32)
    answers = nano.predict(embedding, [Prompts(), Prompts(mask=nothing), click(CENTER, 0)])
    assert not answers.any()


def test_no_prompts_give_no_answers(nano, embedding):
    assert nano.predict(embedding, []).shape == (0, *SHAPE)


def test_prompts_at_and_beyond_the_border_do_not_raise(nano, embedding):
    single = np.zeros(SHAPE, np.float32)
    single[0, 0, 0] = 1
    answers = nano.predict(
        embedding,
        [click((0, 0, 0)), click((23, 55, 47)), Prompts(box=(-3, -3, -3, 40, 70, 60)), Prompts(mask=single)],
    )
    assert np.isfinite(answers).all()


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_a_constant_image_gives_a_finite_answer(nano, value):
    flat = Volume(np.full((9, 10, 11), value, np.float32), Geometry.simple((9, 10, 11)))
    assert np.isfinite(nano.predict(nano.encode(flat), [click((4, 5, 5))])).all()


def test_raw_intensities_do_not_matter(nano, embedding, prompts):
    image = volume(ball())
    scaled = Volume(image.voxels * 3000 + 1e5, image.geometry)
    answer, expected = nano.predict(nano.encode(scaled), prompts[1:2]), nano.predict(embedding, prompts[1:2])
    assert dice(answer[0] > 0.5, expected[0] > 0.5) > 0.97


def test_a_gap_in_the_histogram_does_not_hide_an_organ(nano):
    shape, spacing = (32, 64, 64), (2.0, 2.0, 2.0)
    organ = ball(shape, spacing, np.array([15.0, 26.0, 36.0]), 18.0)
    body = ball(shape, spacing, np.array([15.0, 31.0, 31.0]), 48.0)
    values = np.where(body, 20 + 60 * organ, -1000) + np.random.default_rng(0).normal(0, 10, shape)
    found = np.argwhere(organ)
    embedding = nano.encode(Volume(values.astype(np.float32), Geometry.simple(shape, spacing)))
    answer = nano.predict(embedding, [Prompts(box=(*found.min(0), *(found.max(0) + 1)))])[0]
    assert dice(answer > 0.5, organ) > 0.85


def test_an_embedding_survives_files_and_json(nano, embedding, prompts, tmp_path):
    np.savez(tmp_path / "arrays.npz", **embedding.arrays)
    with np.load(tmp_path / "arrays.npz") as arrays:
        again = Embedding(dict(arrays), json.loads(json.dumps(embedding.meta)))
    assert all(array.dtype == np.float16 for array in again.arrays.values())
    np.testing.assert_array_equal(nano.predict(again, prompts), nano.predict(embedding, prompts))


def test_a_small_object_in_a_large_volume_is_looked_at_closely(nano):
    shape, spacing, center = (40, 160, 150), (3.0, 1.2, 1.2), np.array([12.0, 110.0, 40.0])
    truth = ball(shape, spacing, center, 12.0)
    embedding = nano.encode(volume(truth, spacing))
    assert embedding.arrays["image"].size <= 4_000_000
    found = np.argwhere(truth)
    box = (*found.min(0), *(found.max(0) + 1))
    answer = nano.predict(embedding, [Prompts(box=box)])[0]
    assert dice(answer > 0.5, truth) > 0.8
    assert not answer[:, :40].any()


def test_windows_hold_the_object_with_context_and_stay_small():
    rng = np.random.default_rng(0)
    for _ in range(200):
        shape, spacing = rng.integers(5, 300, 3), rng.uniform(0.3, 8, 3)
        grid = windows.volume_grid(shape, spacing)
        ends = np.sort(rng.uniform(0, 1, (2, 3)) * (shape - 1) * spacing, axis=0)
        window = windows.local_window(grid, ends[0], ends[1])
        assert np.prod(window.shape) <= windows.WHOLE_VOXELS
        assert all(side % 8 == 0 for side in window.shape)
        last = np.array(window.start) + np.array(window.step) * (np.array(window.shape) - 1)
        half = 0.5 * np.array(window.step) + 1e-3
        assert (window.start - half <= ends[0]).all() and (last + half >= ends[1]).all()


def test_sampling_to_a_window_keeps_a_linear_image():
    grid = windows.volume_grid((20, 30, 25), (2.0, 1.0, 1.5))
    k, j, i = np.meshgrid(*(grid.positions(axis) for axis in range(3)), indexing="ij")
    window = windows.Grid((6.0, 5.0, 6.0), (1.0, 0.7, 3.0), (16, 8, 8))
    expected = sum(
        weight * window.positions(axis).reshape([-1 if a == axis else 1 for a in range(3)])
        for axis, weight in enumerate((1.0, 2.0, -3.0))
    )
    np.testing.assert_allclose(windows.sample(k + 2 * j - 3 * i, grid, window), expected, atol=1e-3)


def test_the_weights_are_small_and_part_of_the_fingerprint(nano, tmp_path):
    assert weights_path().stat().st_size <= 10 * 2**20
    assert nano.fingerprint == Nano(Context()).fingerprint
    other = tmp_path / "nano.safetensors"
    content = bytearray(weights_path().read_bytes())
    content[-1] ^= 1
    other.write_bytes(content)
    assert Nano(Context(), other).fingerprint != nano.fingerprint


def test_missing_or_damaged_weights_are_told_in_a_sentence(tmp_path):
    with pytest.raises(GeneralistError, match="missing"):
        Nano(Context(), tmp_path / "none.safetensors")
    damaged = tmp_path / "nano.safetensors"
    damaged.write_bytes(weights_path().read_bytes()[:1000])
    with pytest.raises(GeneralistError, match="damaged"):
        Nano(Context(), damaged)
