"""SAM-Med3D as a generalist: what the network is shown and told, tiles, and answers on the volume's own grid."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.torch import save_file

from formula_weights import formula_weights
from semisam.errors import GeneralistError
from semisam.generalists.base import Context
from semisam.generalists.cache import EmbeddingCache
from semisam.generalists.sam_med3d import generalist as sam_med3d
from semisam.generalists.sam_med3d.frame import Frame
from semisam.generalists.sam_med3d.generalist import SamMed3D, normalized
from semisam.generalists.sam_med3d.network import Architecture, shapes_of
from semisam.generalists.sam_med3d.prompts import Telling
from semisam.prompts import Prompts
from semisam.volumes import Geometry, Volume

# Tiles of 32^3 voxels, 48 mm.
SMALL = Architecture(tokens=2, channels=24, heads=2, blocks=2, global_blocks=(1,), window=3, outputs=48, hidden=16)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_file(formula_weights(shapes_of(SMALL)), path)
    return path


@pytest.fixture
def generalist(file):
    return SamMed3D(Context(), file)


def volume_of(shape, spacing=(1.5, 1.5, 1.5), seed=0):
    voxels = np.random.default_rng(seed).normal(100, 30, shape).astype(np.float32)
    return Volume(voxels, Geometry.simple(shape, spacing))


def ball(shape, center, radius):
    grid = np.ogrid[tuple(slice(0, n) for n in shape)]
    return (sum((axis - at) ** 2 for axis, at in zip(grid, center, strict=True)) < radius**2).astype(np.float32)


def click(*point, label=1):
    return Prompts(np.array([point], np.float32), np.array([label], np.uint8))


# What the network is shown --------------------------------------------------------------------------------------------


def test_the_frame_grows_to_the_right_front_and_head():
    # An image in LPS: i to the left, j to the back, k to the head.
    frame = Frame.of(Geometry.simple((20, 24, 28), (1.5, 1.5, 1.5)), 32)
    assert frame.grid.shape == (28, 24, 20)
    assert frame.indices(np.array([[3, 5, 7]])).tolist() == [[28 - 1 - 7, 24 - 1 - 5, 3]]


def test_the_frame_does_not_depend_on_how_an_image_is_stored():
    straight = volume_of((20, 24, 28), (2.0, 1.0, 1.3))
    order, flips = (2, 0, 1), (True, False, True)
    stored = Volume(
        np.ascontiguousarray(straight.voxels.transpose(order)[::-1, :, ::-1]), straight.geometry.reordered(order, flips)
    )
    frames = [Frame.of(volume.geometry, 32) for volume in (straight, stored)]
    views = [frame.turned(volume.voxels) for frame, volume in zip(frames, (straight, stored), strict=True)]
    assert np.array_equal(*views) and frames[0].grid == frames[1].grid
    point = np.array([4, 6, 8])
    same = stored.geometry.world_to_index(straight.geometry.index_to_world(point))
    assert np.allclose(frames[0].indices(point), frames[1].indices(same))


def test_intensities_are_normalized_by_the_voxels_above_zero():
    tile = np.zeros((8, 8, 8), np.float16)
    tile[2:6] = np.random.default_rng(0).normal(300, 40, (4, 8, 8))
    result = normalized(tile)
    assert abs(result[2:6].mean()) < 1e-3 and abs(result[2:6].std(ddof=1) - 1) < 1e-3
    assert result[0, 0, 0] < -5  # what is zero stays far below
    assert np.isfinite(normalized(np.zeros((4, 4, 4)))).all() and np.isfinite(normalized(np.full((4, 4, 4), -3))).all()


def test_ct_is_clamped_and_other_images_are_not():
    voxels = np.full((32, 32, 32), 40.0, np.float32)
    voxels[0], voxels[1] = -1024, 3000
    ct = sam_med3d._image(
        Volume(voxels, Geometry.simple((32, 32, 32), (1.5,) * 3)), Frame.of(Geometry.simple((32,) * 3, (1.5,) * 3), 32)
    )
    assert ct.min() == -1000 and ct.max() == 1000 and ct[0, 0, 5] == 40
    voxels[0] = 0
    mr = sam_med3d._image(
        Volume(voxels, Geometry.simple((32, 32, 32), (1.5,) * 3)), Frame.of(Geometry.simple((32,) * 3, (1.5,) * 3), 32)
    )
    assert mr.max() / mr[0, 0, 5] == pytest.approx(3000 / 40, rel=1e-2)


def test_a_small_volume_is_padded_around_to_one_tile():
    frame = Frame.of(Geometry.simple((10, 20, 31), (1.5,) * 3), 32)
    assert frame.starts() == [[-1], [-6], [-11]]
    cut = frame.cut(np.ones((31, 20, 10)), (-1, -6, -11))
    assert cut.sum() == 31 * 20 * 10 and cut[1:, 6:26, 11:21].all()


# Tiles ----------------------------------------------------------------------------------------------------------------


def test_every_small_object_lies_whole_in_one_tile():
    frame = Frame.of(Geometry.simple((70, 33, 100), (1.5,) * 3), 32)
    size = np.array(frame.grid.shape)
    for lower in np.random.default_rng(0).integers(0, size - 8, (50, 3)):
        (tile,) = frame.tiles(lower, lower + 7)
        assert (np.array(tile) <= lower).all() and (lower + 7 < np.array(tile) + 32).all()


def test_a_large_object_is_covered_by_tiles_that_overlap():
    frame = Frame.of(Geometry.simple((20, 20, 120), (1.5,) * 3), 32)
    tiles = frame.tiles(np.array([10, 2, 2]), np.array([100, 17, 17]))
    starts = sorted({tile[0] for tile in tiles})
    assert starts[0] <= 10 and starts[-1] + 32 > 100 and len(tiles) == len(starts)
    assert all(later - earlier <= 24 for earlier, later in zip(starts, starts[1:], strict=False))


def test_tiles_of_a_large_volume_are_encoded_when_needed_and_kept_on_disk(file, tmp_path, monkeypatch):
    encoded = []
    features = SamMed3D._features
    monkeypatch.setattr(SamMed3D, "_features", lambda self, tile: encoded.append(1) or features(self, tile))
    volume = volume_of((70, 40, 40))
    for expected in (1, 2, 2):  # first click, a distant one, and both again in a new process
        generalist = SamMed3D(Context(cache=tmp_path), file)
        embedding = EmbeddingCache(tmp_path).get(generalist, volume)
        prompts = [click(10, 12, 12), click(60, 30, 30)][: 1 if expected == 1 else 2]
        answers = generalist.predict(embedding, prompts)
        assert len(encoded) == expected and answers.shape == (len(prompts), 70, 40, 40)


# What the network is told ---------------------------------------------------------------------------------------------


def test_a_mask_becomes_logits_on_the_coarse_grid_and_three_clicks():
    frame = Frame.of(Geometry.simple((32, 32, 32), (1.5,) * 3), 32)
    points = np.array([[16, 16, 16], [15, 16, 16], [17, 16, 16], [16, 16, 4], [4, 16, 16]], np.float32)
    prompt = Prompts(points, np.array([1, 1, 1, 0, 0], np.uint8), None, ball((32, 32, 32), (16, 16, 16), 8))
    telling = Telling(prompt, frame)
    told = telling.told(telling.tiles[0])
    assert told.mask.shape == (8, 8, 8) and told.mask[4, 4, 3] > 2 and told.mask[0, 0, 0] < -4
    assert told.labels.tolist() == [1, 1, 0]  # the newest two inside, the newest one outside
    assert told.points[-1].tolist() == [15, 15, 4]


def test_a_box_becomes_an_ellipsoid_and_a_click_in_its_middle():
    frame = Frame.of(Geometry.simple((32, 32, 32), (1.5,) * 3), 32)
    telling = Telling(Prompts(box=(4, 8, 8, 20, 24, 24)), frame)
    told = telling.told(telling.tiles[0])
    assert told.points.tolist() == [[16, 16, 11.5]] or np.allclose(told.points, [[15.5, 15.5, 11.5]])
    assert told.labels.tolist() == [1]
    assert told.mask[3, 3, 2] > 2 and told.mask[2, 2, 1] < 0 and told.mask[7, 7, 7] < -4


def test_a_mask_comes_back_from_the_coarse_grid_where_it_was():
    geometry = Geometry.simple((40, 36, 50), (2.0, 1.2, 0.9))
    mask = ball(geometry.shape, (20, 18, 22), 12)
    frame = Frame.of(geometry, 64)
    tile = tuple(starts[0] for starts in frame.starts())
    total, weight = np.zeros(geometry.shape, np.float32), np.zeros(geometry.shape, np.float32)
    frame.add(tile, frame.seen(tile, mask) - 0.5, total, weight)
    found = total > 0
    assert weight.min() > 0
    assert 2 * (found & (mask > 0)).sum() / (found.sum() + mask.sum()) > 0.9


# Answers --------------------------------------------------------------------------------------------------------------


def test_answers_are_probabilities_on_the_grid_of_the_volume(generalist):
    volume = volume_of((20, 18, 26), (2.0, 1.0, 0.8))
    embedding = generalist.encode(volume)
    assert embedding.arrays["features"].shape == (48, 2, 2, 2)
    mask = ball(volume.shape, (10, 9, 13), 5)
    prompts = [
        click(10, 9, 13),
        Prompts(box=(5, 5, 5, 15, 14, 20)),
        Prompts(mask=mask),
        Prompts(
            np.array([[10, 9, 13], [2, 2, 2]], np.float32), np.array([1, 0], np.uint8), (4, 3, 6, 16, 15, 20), mask
        ),
    ]
    answers = generalist.predict(embedding, prompts)
    assert answers.shape == (4, *volume.shape) and answers.dtype == np.float32
    assert answers.min() >= 0 and answers.max() <= 1
    for index, prompt in enumerate(prompts):
        assert np.allclose(generalist.predict(embedding, [prompt])[0], answers[index], atol=1e-4)
        assert answers[index].std() > 0.001


def test_prompts_that_name_no_object_give_zeros(generalist):
    volume = volume_of((20, 18, 26))
    empty = [Prompts(), Prompts(mask=np.zeros(volume.shape, np.float32)), click(3, 3, 3, label=0)]
    assert not generalist.predict(generalist.encode(volume), empty).any()
    assert generalist.predict(generalist.encode(volume), []).shape == (0, *volume.shape)


def test_an_object_across_tiles_gets_one_seamless_answer(generalist):
    volume = volume_of((16, 16, 90))
    mask = np.zeros(volume.shape, np.float32)
    mask[4:12, 4:12, 5:85] = 1
    (answer,) = generalist.predict(generalist.encode(volume), [Prompts(mask=mask)])
    assert (answer > 0).all()  # every voxel lies in a tile that was asked
    # Tiles are blended: from voxel to voxel nothing jumps more than within a tile.
    steps = np.abs(np.diff(answer, axis=2)).max((0, 1))
    assert steps.max() < 0.25


def test_the_answer_does_not_depend_on_how_the_image_is_stored(generalist):
    straight = volume_of((20, 18, 26), (1.5, 1.2, 1.0))
    order, flips = (1, 2, 0), (False, True, True)
    stored = Volume(
        np.ascontiguousarray(straight.voxels.transpose(order)[:, ::-1, ::-1]), straight.geometry.reordered(order, flips)
    )
    point = np.array([10.0, 9.0, 13.0])
    same = stored.geometry.world_to_index(straight.geometry.index_to_world(point))
    one = generalist.predict(generalist.encode(straight), [click(*point)])[0]
    other = generalist.predict(generalist.encode(stored), [click(*same)])[0]
    assert np.allclose(one.transpose(order)[:, ::-1, ::-1], other, atol=2e-3)


def test_damaged_weights_are_told(tmp_path):
    path = tmp_path / "broken.safetensors"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(GeneralistError, match="damaged.*generalists add sam-med3d"):
        SamMed3D(Context(), path)
    weights = formula_weights(shapes_of(SMALL))
    del weights["image_encoder.neck.2.weight"]
    save_file(weights, path)
    with pytest.raises(GeneralistError, match="damaged"):
        SamMed3D(Context(), path)
