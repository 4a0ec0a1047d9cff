"""Registration: masks of annotated cases carried over to other volumes."""

import numpy as np
import pytest

from semisam.errors import GeneralistError
from semisam.files.volume_files import read_image, read_mask
from semisam.generalists.base import Context, Example
from semisam.generalists.cache import EmbeddingCache
from semisam.generalists.registration.generalist import Registration
from semisam.prompts import Prompts
from semisam.segments import parse_segments
from semisam.volumes import Geometry, Volume, reorder_voxels

SHAPE = (32, 40, 36)


def study(seed, center=(16, 20, 18), radii=(7, 10, 8), scale=1.0, spacing=(1.0, 1.0, 1.0), name="case"):
    """A bright ellipsoid (2 halves: segments 1 and 2) in a darker body, somewhat noisy."""
    rng = np.random.default_rng(seed)
    axes = np.ogrid[tuple(slice(0, n) for n in SHAPE)]

    def within(factor):
        return sum(((axis - c) / (factor * r)) ** 2 for axis, c, r in zip(axes, center, radii, strict=True)) < 1

    mask = within(1.0).astype(np.uint8)
    mask[:, int(center[1]) :][mask[:, int(center[1]) :] > 0] = 2
    voxels = within(1.6) * 0.4 + (mask > 0) * 0.4 + (mask == 2) * 0.2 + rng.normal(0, 0.03, SHAPE)
    return Example(name, Volume((voxels * scale).astype(np.float32), Geometry.simple(SHAPE, spacing)), mask)


def dice(first, second):
    return 2 * np.count_nonzero(first & second) / max(1, np.count_nonzero(first) + np.count_nonzero(second))


def whole(segment=0):
    return Prompts(box=(0, 0, 0, *SHAPE), segment=segment)


EXAMPLE = study(1)
TARGET = study(2, center=(18, 17, 20), radii=(8, 9, 7), scale=5000)


@pytest.fixture(scope="module")
def registration():
    return Registration(Context([EXAMPLE]))


@pytest.fixture(scope="module")
def embedding(registration):
    return registration.encode(TARGET.volume)


def test_every_segment_is_carried_over_whatever_the_scale_of_intensities(registration, embedding):
    answers = registration.predict(embedding, [whole(0), whole(1), whole(2)])
    assert dice(answers[0] >= 0.5, TARGET.mask > 0) > 0.85
    assert dice(answers[1] >= 0.5, TARGET.mask == 1) > 0.8
    assert dice(answers[2] >= 0.5, TARGET.mask == 2) > 0.8
    assert answers.dtype == np.float32 and answers.min() >= 0 and answers.max() <= 1


def test_prompts_that_name_nothing_known_get_zeros(registration, embedding):
    assert not registration.predict(embedding, [Prompts(), Prompts(segment=1), whole(7)]).any()
    assert registration.predict(embedding, []).shape == (0, *SHAPE)


def test_an_example_says_nothing_about_itself(registration):
    embedding = registration.encode(EXAMPLE.volume)
    assert not registration.predict(embedding, [whole(1)]).any()
    assert Registration.reliability(embedding) == 0


def test_an_example_is_left_out_of_its_own_case_only():
    pair = Registration(Context([EXAMPLE, study(3, center=(15, 21, 17), name="other")]))
    embedding = pair.encode(EXAMPLE.volume)
    assert set(embedding.meta["examples"]) == {"other"}
    assert dice(pair.predict(embedding, [whole()])[0] >= 0.5, EXAMPLE.mask > 0) > 0.85


def test_without_annotated_cases_there_is_no_registration():
    empty = Example("empty", EXAMPLE.volume, np.zeros(SHAPE, np.uint8))
    for examples in ([], [empty]):
        with pytest.raises(GeneralistError, match="at least one annotated case"):
            Registration(Context(examples))


def test_the_fingerprint_follows_the_annotations():
    corrected = EXAMPLE.mask.copy()
    corrected[16, 20, 18] = 0
    fingerprints = {
        Registration(Context(examples)).fingerprint
        for examples in ([EXAMPLE], [Example("case", EXAMPLE.volume, corrected)], [EXAMPLE, TARGET])
    }
    assert len(fingerprints) == 3
    assert Registration(Context([EXAMPLE])).fingerprint in fingerprints


def test_clicks_that_contradict_are_honored_nearby(registration, embedding):
    plain = registration.predict(embedding, [whole()])[0]
    points = np.array([[18, 17, 20], [3, 3, 3]], np.float32)
    clicked = registration.predict(embedding, [Prompts(points, np.array([0, 1], np.uint8), whole().box)])[0]
    assert clicked[18, 17, 20] < 0.5 and clicked[3, 3, 3] > 0.5
    assert np.count_nonzero(np.abs(clicked - plain) > 0.01) < 800


def test_the_mask_of_a_prompt_chooses_among_the_examples():
    wrong = np.zeros(SHAPE, np.uint8)
    wrong[14:18, 18:22, 14:30] = 1
    one = Example("ball", EXAMPLE.volume, (EXAMPLE.mask > 0).astype(np.uint8))
    other = Example("bar", study(9).volume, wrong)
    registration = Registration(Context([one, other]))
    embedding = registration.encode(TARGET.volume)
    ball, bar = registration.predict(
        embedding,
        [
            Prompts(mask=(TARGET.mask > 0).astype(np.float32), segment=1),
            Prompts(mask=np.roll(wrong, (2, -3, 2), (0, 1, 2)).astype(np.float32), segment=1),
        ],
    )
    assert dice(ball >= 0.5, TARGET.mask > 0) > dice(bar >= 0.5, TARGET.mask > 0) + 0.1


def test_answers_lie_on_the_grid_of_the_volume_however_it_is_stored(registration):
    order, flips = (2, 0, 1), (True, False, True)
    moved = Volume(reorder_voxels(TARGET.volume.voxels, order, flips), TARGET.volume.geometry.reordered(order, flips))
    embedding = registration.encode(moved)
    answer = registration.predict(embedding, [Prompts(box=(0, 0, 0, *moved.shape))])[0]
    assert dice(answer >= 0.5, reorder_voxels(TARGET.mask, order, flips) > 0) > 0.85


def test_large_volumes_are_registered_on_a_coarser_grid(registration):
    fine = Volume(
        np.repeat(np.repeat(np.repeat(TARGET.volume.voxels, 2, 0), 2, 1), 2, 2),
        Geometry.simple(tuple(2 * n for n in SHAPE), (0.5, 0.5, 0.5)),
    )
    embedding = registration.encode(fine)
    assert embedding.arrays["labels"][0, 0].size <= 150_000
    answer = registration.predict(embedding, [Prompts(box=(0, 0, 0, *fine.shape), segment=0)])[0]
    assert dice(answer[::2, ::2, ::2] >= 0.5, TARGET.mask > 0) > 0.8


@pytest.mark.parametrize(
    "voxels",
    [
        np.zeros((9, 9, 9)),
        np.full((9, 9, 9), np.nan),
        np.random.default_rng(0).normal(size=(1, 20, 20)),
        np.random.default_rng(0).normal(size=(2, 2, 2)),
        np.random.default_rng(0).normal(size=(5, 60, 3)) * 1e30,
    ],
)
def test_volumes_that_fit_nothing_raise_nothing(registration, voxels):
    volume = Volume(voxels.astype(np.float32), Geometry.simple(voxels.shape))
    answer = registration.predict(registration.encode(volume), [Prompts(box=(0, 0, 0, *voxels.shape))])
    assert answer.shape == (1, *voxels.shape) and np.isfinite(answer).all()


def test_examples_of_any_size_raise_nothing():
    dot = np.zeros((3, 20, 20), np.uint8)
    dot[1, 3, 3] = 1
    rng = np.random.default_rng(0)
    thin = Example("thin", Volume(rng.random((3, 20, 20), np.float32), Geometry.simple((3, 20, 20), (8, 1, 1))), dot)
    full = Example("full", study(4).volume, np.full(SHAPE, 1, np.uint8))
    registration = Registration(Context([thin, full]))
    assert np.isfinite(registration.predict(registration.encode(TARGET.volume), [whole()])).all()


def test_reliability_tells_a_likely_match_from_noise(registration, embedding):
    noise = Volume(np.random.default_rng(0).normal(size=SHAPE).astype(np.float32), Geometry.simple(SHAPE))
    assert Registration.reliability(embedding) > Registration.reliability(registration.encode(noise)) + 0.2


def test_a_cached_embedding_answers_the_same(registration, embedding, tmp_path):
    cache = EmbeddingCache(tmp_path)
    cache.get(registration, TARGET.volume)
    np.testing.assert_array_equal(
        registration.predict(cache.get(registration, TARGET.volume), [whole(1)]),
        registration.predict(embedding, [whole(1)]),
    )


def test_one_hippocampus_says_where_another_one_lies(data_root):
    segments = parse_segments("1=anterior,2=posterior")
    cases = []
    for path in sorted((data_root / "hippocampus" / "images").iterdir())[:90:18]:
        volume = read_image(path)
        mask = read_mask(data_root / "hippocampus" / "labels" / path.name, segments, volume.geometry)
        cases.append(Example(path.name, volume, mask.voxels))
    registration = Registration(Context(cases[:1]))
    scores = []
    for case in cases[1:]:
        answers = registration.predict(
            registration.encode(case.volume), [Prompts(box=(0, 0, 0, *case.volume.shape), segment=s) for s in (1, 2)]
        )
        scores += [dice(answer >= 0.5, case.mask == value) for value, answer in zip((1, 2), answers, strict=True)]
    assert np.mean(scores) > 0.6
