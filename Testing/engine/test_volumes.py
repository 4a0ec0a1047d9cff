"""Grids and resampling: where voxels lie, and that nothing moves them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semisam.errors import VolumeError
from semisam.volumes import (
    Geometry,
    Volume,
    canonical,
    content_hash,
    resample_image,
    resample_mask,
    resample_probabilities,
    working_geometry,
)


def rotation(angles):
    """A 3x3 rotation by three angles (radians) about x, y and z."""
    result = np.eye(3)
    for axis, angle in enumerate(angles):
        first, second = [other for other in range(3) if other != axis]
        turn = np.eye(3)
        turn[first, first] = turn[second, second] = np.cos(angle)
        turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
        result = turn @ result
    return result


@st.composite
def geometries(draw, smallest=12, largest=28, anisotropy=10.0):
    """Random oblique, flipped, permuted and anisotropic grids; axes have ``smallest`` to ``largest`` voxels."""
    shape = tuple(draw(st.integers(smallest, largest)) for _ in range(3))
    spacing = tuple(draw(st.floats(4.0 / anisotropy, 4.0)) for _ in range(3))
    origin = tuple(draw(st.floats(-500, 500)) for _ in range(3))
    axes = rotation([draw(st.floats(-0.6, 0.6)) for _ in range(3)])
    axes = axes[:, draw(st.permutations(range(3)))] * [draw(st.sampled_from([-1, 1])) for _ in range(3)]
    return Geometry(shape, spacing, origin, tuple(axes.ravel().tolist()))


def ball(geometry, radius_mm, centre=None):
    """A ball in space: true within the radius of the centre of the grid."""
    index = np.stack(np.meshgrid(*(np.arange(size) for size in geometry.shape), indexing="ij"), -1)
    points = geometry.index_to_world(index)
    middle = geometry.index_to_world((np.array(geometry.shape) - 1) / 2) if centre is None else centre
    return np.linalg.norm(points - middle, axis=-1) <= radius_mm


def dice(first, second):
    return 2 * np.count_nonzero(first & second) / (np.count_nonzero(first) + np.count_nonzero(second))


OBLIQUE = Geometry((14, 20, 17), (2.5, 0.8, 1.1), (10.0, -33.0, 71.0), tuple(rotation([0.3, -0.2, 0.4]).ravel()))


def random_volume(geometry, seed=0):
    return Volume(np.random.default_rng(seed).normal(size=geometry.shape).astype(np.float32), geometry)


@given(geometries(), st.lists(st.floats(-20, 40), min_size=3, max_size=3))
@settings(max_examples=50, deadline=None)
def test_world_and_index_are_inverse(geometry, index):
    assert np.allclose(geometry.world_to_index(geometry.index_to_world(index)), index, atol=1e-6)


def test_index_to_world_agrees_with_itk():
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.Image([17, 20, 14], sitk.sitkUInt8)
    image.SetSpacing(OBLIQUE.spacing[::-1])
    image.SetOrigin(OBLIQUE.origin)
    image.SetDirection(OBLIQUE.direction)
    for index in ([0, 0, 0], [13, 4, 9], [2, 19, 16]):
        point = image.TransformIndexToPhysicalPoint(index[::-1])
        assert np.allclose(OBLIQUE.index_to_world(index), point, atol=1e-9)


@given(geometries(3, 9))
@settings(max_examples=60, deadline=None)
def test_canonical_keeps_every_voxel_at_its_place(geometry):
    volume = Volume(np.arange(np.prod(geometry.shape)).reshape(geometry.shape), geometry)
    turned = canonical(volume)
    index = np.argwhere(np.ones(geometry.shape, bool))
    there = turned.geometry.world_to_index(geometry.index_to_world(index))
    assert np.allclose(there, np.rint(there), atol=1e-6)
    assert np.array_equal(turned.voxels[tuple(np.rint(there).astype(int).T)], volume.voxels[tuple(index.T)])
    # k, j, i run closest to +z, +y, +x, and a second call changes nothing.
    axes = turned.geometry.axes[::-1]
    assert (np.diag(axes) > 0).all()
    again = canonical(turned)
    assert again.geometry == turned.geometry and np.array_equal(again.voxels, turned.voxels)


@given(geometries())
@settings(max_examples=40, deadline=None)
def test_the_way_to_canonical_and_back_is_exact(geometry):
    mask = Volume(np.random.default_rng(0).integers(0, 4, geometry.shape).astype(np.uint8), geometry)
    image = random_volume(geometry)
    assert np.array_equal(resample_mask(canonical(mask), geometry, [1, 2, 3]), mask.voxels)
    assert np.array_equal(resample_image(canonical(image), geometry), image.voxels)
    probabilities = np.abs(image.voxels)[None]
    assert np.array_equal(resample_probabilities(probabilities, geometry, geometry), probabilities)


@given(geometries())
@settings(max_examples=30, deadline=None)
def test_the_working_grid_at_the_own_spacing_is_the_canonical_grid(geometry):
    grid = geometry.canonical()
    assert working_geometry(geometry, grid.spacing).is_close(grid, 1e-6)
    mask = Volume(ball(geometry, 6.0).astype(np.uint8), geometry)
    work = working_geometry(geometry, grid.spacing)
    there = resample_mask(mask, work, [1])
    assert np.array_equal(resample_mask(Volume(there, work), geometry, [1]), mask.voxels)


@given(geometries(), st.lists(st.floats(0.5, 3.0), min_size=3, max_size=3))
@settings(max_examples=40, deadline=None)
def test_the_working_grid_has_the_spacing_and_covers_the_field_of_view(geometry, spacing):
    work = working_geometry(geometry, spacing)
    assert np.allclose(work.spacing, spacing, rtol=2e-3)
    edges = np.array(np.meshgrid(*([-0.5, size - 0.5] for size in geometry.shape))).reshape(3, -1).T
    there = work.world_to_index(geometry.index_to_world(edges))
    slack = 2e-3 * np.array(work.shape) + 1e-2
    assert (there >= -0.5 - slack).all() and (there <= np.array(work.shape) - 0.5 + slack).all()
    extent = np.array(geometry.canonical().shape) * geometry.canonical().spacing
    assert (np.array(work.shape) * work.spacing < extent + np.array(work.spacing) + 1e-6).all()


@given(geometries(anisotropy=4.0), st.floats(0.6, 1.5))
@settings(max_examples=25, deadline=None)
def test_a_mask_survives_the_way_to_the_working_grid_and_back(geometry, factor):
    # An object of sensible size: ten voxels across along the coarsest axis of both grids, well inside the image.
    coarsest = max(geometry.spacing) * max(factor, 1.0)
    radius = 5 * coarsest
    shape = tuple(int(np.ceil(12 * coarsest / step)) for step in geometry.spacing)
    geometry = replace(geometry, shape=shape)
    mask = ball(geometry, radius)
    work = working_geometry(geometry, [max(geometry.spacing) * factor] * 3)
    there = resample_mask(Volume(mask.astype(np.uint8), geometry), work, [1])
    back = resample_mask(Volume(there, work), geometry, [1])
    assert back.shape == geometry.shape and back.dtype == np.uint8
    assert dice(back == 1, mask) > 0.9
    assert dice(there == 1, ball(work, radius, geometry.index_to_world((np.array(geometry.shape) - 1) / 2))) > 0.9


def test_several_segments_keep_their_values_and_places():
    centre = OBLIQUE.index_to_world([7, 10, 8])
    mask = np.where(ball(OBLIQUE, 4.0, centre), 7, np.where(ball(OBLIQUE, 7.0, centre), 200, 0)).astype(np.uint8)
    work = working_geometry(OBLIQUE, (1.0, 1.0, 1.0))
    back = resample_mask(Volume(resample_mask(Volume(mask, OBLIQUE), work, [7, 200]), work), OBLIQUE, [7, 200])
    assert set(np.unique(back)) == {0, 7, 200}
    assert dice(back == 7, mask == 7) > 0.9 and dice(back == 200, mask == 200) > 0.9


def test_values_that_are_not_asked_for_become_background():
    mask = Volume(np.full((5, 5, 5), 3, np.uint8), Geometry.simple((5, 5, 5)))
    assert not resample_mask(mask, mask.geometry, [1, 2]).any()
    with pytest.raises(VolumeError, match="1 to 255"):
        resample_mask(mask, mask.geometry, [0])


def test_an_empty_mask_stays_empty_on_every_grid():
    mask = Volume(np.zeros(OBLIQUE.shape, np.uint8), OBLIQUE)
    for target in (OBLIQUE, working_geometry(OBLIQUE, (2, 2, 2)), Geometry.simple((9, 9, 9))):
        assert not resample_mask(mask, target, [1]).any()


def test_a_thin_wall_is_kept_at_half_the_resolution():
    mask = np.zeros((20, 20, 20), np.uint8)
    mask[:, :, 9] = 1
    geometry = Geometry.simple((20, 20, 20))
    small = resample_mask(Volume(mask, geometry), working_geometry(geometry, (2, 2, 2)), [1])
    assert small.any(axis=2).all()


def test_the_border_of_the_image_is_not_lost_between_grids():
    geometry = Geometry.simple((16, 16, 16), (1.3, 0.7, 0.7))
    full = np.ones((1, *geometry.shape), np.float32)
    work = working_geometry(geometry, (2.0, 2.0, 2.0))
    assert (resample_probabilities(np.ones((1, *work.shape), np.float32), work, geometry) == 1).all()
    filled = resample_mask(Volume(full[0].astype(np.uint8), geometry), work, [1])
    assert resample_mask(Volume(filled, work), geometry, [1]).all()


def test_probabilities_are_zero_outside_the_field_of_view():
    source = Geometry.simple((8, 8, 8))
    target = Geometry((8, 8, 24), (1, 1, 1), (-8.0, 0.0, 0.0), source.direction)
    moved = resample_probabilities(np.ones((2, 8, 8, 8), np.float32), source, target)
    assert (moved[:, :, :, 8:16] == 1).all() and not moved[:, :, :, :8].any() and not moved[:, :, :, 16:].any()
    with pytest.raises(VolumeError, match="segments, k, j, i"):
        resample_probabilities(np.ones((8, 8, 8), np.float32), source, target)


def test_an_image_continues_with_its_edge_outside():
    source = Geometry.simple((4, 4, 4))
    voxels = np.broadcast_to(np.arange(4, dtype=np.float32), (4, 4, 4))
    target = Geometry((4, 4, 10), (1, 1, 1), (-3.0, 0.0, 0.0), source.direction)
    assert np.allclose(resample_image(Volume(voxels, source), target)[0, 0], [0, 0, 0, 0, 1, 2, 3, 3, 3, 3])


@given(geometries(10, 16), st.lists(st.floats(0.5, 1.9), min_size=3, max_size=3))
@settings(max_examples=25, deadline=None)
def test_linear_intensities_are_met_exactly_inside(geometry, factors):
    index = np.stack(np.meshgrid(*(np.arange(size) for size in geometry.shape), indexing="ij"), -1)
    slope = np.array([0.3, -0.5, 0.7])
    volume = Volume((geometry.index_to_world(index) @ slope).astype(np.float32), geometry)
    work = working_geometry(geometry, np.array(geometry.canonical().spacing) * factors)
    result = resample_image(volume, work)
    inner = np.stack(np.meshgrid(*(np.arange(size) for size in work.shape), indexing="ij"), -1)
    points = work.index_to_world(inner)
    position = geometry.world_to_index(points)
    # Three voxels from the border the smoothing window is symmetric.
    inside = ((position >= 4) & (position <= np.array(geometry.shape) - 5)).all(-1)
    assert np.allclose(result[inside], (points @ slope)[inside], atol=0.02)


def test_fine_patterns_do_not_alias_when_the_step_grows():
    voxels = np.zeros((32, 32, 33), np.float32)
    voxels[:, :, ::2] = 1.0
    geometry = Geometry.simple(voxels.shape)
    # Every third voxel exactly: without smoothing 0 and 1 would alternate.
    coarse = resample_image(Volume(voxels, geometry), working_geometry(geometry, (1.0, 1.0, 3.0)))
    assert coarse.shape == (32, 32, 11) and np.abs(coarse[:, :, 1:-1] - 0.5).max() < 0.05
    turned = Geometry((32, 32, 11), (1, 1, 3), (1.0, 0.0, 0.0), tuple(rotation([0.01, 0, 0]).ravel()))
    assert np.abs(resample_image(Volume(voxels, geometry), turned)[2:-2, 2:-2, 1:-1] - 0.5).max() < 0.05
    same = resample_image(Volume(voxels, geometry), working_geometry(geometry, (2.0, 1.0, 1.0)))
    assert np.array_equal(same[0], voxels[0])  # no smoothing along an axis whose step stays


def test_a_turned_grid_goes_through_itk_to_the_same_place():
    pytest.importorskip("SimpleITK")
    straight = Geometry.simple((30, 30, 30))
    turned = Geometry((40, 40, 40), (1.0, 1.0, 1.0), (14.5, -13.7, 14.5), tuple(rotation([0, 0, np.pi / 4]).ravel()))
    centre = np.array([15.0, 14.0, 16.0])
    mask = ball(straight, 8.0, centre)
    moved = resample_mask(Volume(mask.astype(np.uint8), straight), turned, [1])
    probability = resample_probabilities(mask[None].astype(np.float32), straight, turned)
    image = resample_image(Volume(mask.astype(np.float32), straight), turned)
    seen = ball(turned, 8.0, centre)
    for found in (moved == 1, probability[0] > 0.5, image > 0.5):
        assert dice(found, seen) > 0.9


def test_content_hash_sees_voxels_type_and_geometry():
    volume = random_volume(OBLIQUE)
    same = Volume(volume.voxels.copy(), Geometry(*(getattr(OBLIQUE, f) for f in OBLIQUE.__dataclass_fields__)))
    assert content_hash(volume) == content_hash(same)
    changed = volume.voxels.copy()
    changed[3, 4, 5] += 1
    moved = Geometry(OBLIQUE.shape, OBLIQUE.spacing, (0.0, 0.0, 0.0), OBLIQUE.direction)
    others = [Volume(changed, OBLIQUE), Volume(volume.voxels, moved), Volume(volume.voxels.astype("f8"), OBLIQUE)]
    assert len({content_hash(volume), *map(content_hash, others)}) == 4


def test_content_hash_does_not_depend_on_memory_layout():
    volume = random_volume(OBLIQUE)
    assert content_hash(Volume(np.asfortranarray(volume.voxels), OBLIQUE)) == content_hash(volume)


def test_voxels_that_do_not_fit_their_geometry_are_refused():
    with pytest.raises(VolumeError, match="same grid"):
        Volume(np.zeros((2, 3, 4)), Geometry.simple((4, 3, 2)))


@pytest.mark.parametrize("spacing", [(0.0, 1.0, 1.0), (1.0, 1.0), (1.0, float("nan"), 1.0), (1.0, -1.0, 1.0)])
def test_a_working_spacing_without_sense_is_refused(spacing):
    with pytest.raises(VolumeError, match="three positive numbers"):
        working_geometry(OBLIQUE, spacing)
