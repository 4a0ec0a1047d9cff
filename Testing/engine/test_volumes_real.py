"""Real files of every orientation: out to the working grid, back on the original grid, through every mask format."""

import time
from pathlib import Path

import numpy as np
import pytest

from semisam.errors import VolumeError
from semisam.files.volume_files import read_image, read_mask, write_mask
from semisam.segments import parse_segments
from semisam.volumes import (
    Volume,
    canonical,
    content_hash,
    resample_image,
    resample_mask,
    resample_probabilities,
    working_geometry,
)

sitk = pytest.importorskip("SimpleITK")

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "volumes"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"the real volumes are not at {DATA}")

VOLUMES = [
    "nrrd/brain1_image.nrrd",
    "nrrd/breast1_image.nrrd",
    "nrrd/prostate_phantom_subvolume.nrrd",
    "oblique/CT_pitch.nii.gz",
    "oblique/Prostatex_0000.nii.gz",
    "oblique/T2w_anisotropic.nii.gz",
    "totalseg_example/example_ct.nii.gz",
    "totalseg_example/example_mr_sm.nii.gz",
]
PAIRS = [
    ("nrrd/brain1_image.nrrd", "nrrd/brain1_label.nrrd", 1),
    ("nrrd/breast1_image.nrrd", "nrrd/breast1_label.nrrd", 1),
    ("oblique/Prostatex_0000.nii.gz", "oblique/Prostatex_0000_lab.nii.gz", 2),
    ("totalseg_example/example_ct_sm.nii.gz", "totalseg_example/example_seg.nii.gz", 117),
]
FORMATS = [".seg.nrrd", ".nii.gz", ".nrrd", ".mha"]


def all_segments(largest):
    return parse_segments(",".join(f"{value}=segment {value}" for value in range(1, largest + 1)))


def dice(first, second):
    return 2 * np.count_nonzero(first & second) / (np.count_nonzero(first) + np.count_nonzero(second))


@pytest.mark.parametrize("name", VOLUMES)
def test_voxels_and_places_are_those_of_itk(name):
    volume = read_image(DATA / name)
    image = sitk.ReadImage(str(DATA / name))
    assert np.array_equal(volume.voxels, sitk.GetArrayFromImage(image).astype(np.float32))
    for index in ([0, 0, 0], [size - 1 for size in volume.shape], [3, 11, 7]):
        there = image.TransformIndexToPhysicalPoint([int(i) for i in index[::-1]])
        assert np.allclose(volume.geometry.index_to_world(index), there, atol=1e-3)


@pytest.mark.parametrize("name", VOLUMES)
def test_a_bright_region_survives_the_working_grid_and_comes_back_in_every_format(tmp_path, name):
    volume = read_image(DATA / name)
    middle = [size // 2 for size in volume.shape]
    index = np.stack(np.meshgrid(*(np.arange(size) for size in volume.shape), indexing="ij"), -1)
    away = np.linalg.norm((index - middle) * volume.spacing, axis=-1)
    radius = 0.35 * min(np.array(volume.shape) * volume.spacing)
    mask = Volume((away <= radius).astype(np.uint8), volume.geometry)
    work = working_geometry(volume.geometry, [max(1.0, min(volume.spacing) * 1.3)] * 3)
    small = resample_image(volume, work)
    assert small.shape == work.shape and np.isfinite(small).all()
    assert volume.voxels.min() - 1 <= small.min() and small.max() <= volume.voxels.max() + 1
    there = Volume(resample_mask(mask, work, [1]), work)
    back = Volume(resample_mask(there, volume.geometry, [1]), volume.geometry)
    assert dice(back.voxels == 1, mask.voxels == 1) > 0.9
    probability = resample_probabilities((there.voxels == 1)[None].astype(np.float32), work, volume.geometry)
    assert dice(probability[0] > 0.5, mask.voxels > 0) > 0.9
    assert np.array_equal(resample_mask(canonical(mask), volume.geometry, [1]), mask.voxels)
    image = sitk.ReadImage(str(DATA / name))
    for extension in FORMATS:
        path = tmp_path / f"mask{extension}"
        write_mask(path, back, all_segments(1))
        again = read_mask(path, all_segments(1), volume.geometry)
        assert again.geometry == volume.geometry and np.array_equal(again.voxels, back.voxels)
        written = sitk.ReadImage(str(path))
        assert written.GetSize() == image.GetSize()
        assert np.allclose(written.GetDirection(), image.GetDirection(), atol=1e-5)
        assert np.allclose(written.GetOrigin(), image.GetOrigin(), atol=1e-3)


@pytest.mark.parametrize(("image", "label", "largest"), PAIRS)
def test_real_labels_lie_on_the_grid_of_their_images(image, label, largest):
    geometry = read_image(DATA / image).geometry
    mask = read_mask(DATA / label, all_segments(largest), geometry)
    assert mask.geometry == geometry
    stored = sitk.GetArrayFromImage(sitk.ReadImage(str(DATA / label)))
    assert np.array_equal(mask.voxels, stored)
    # On a finer grid and back the larger segments keep their shape.
    values, counts = np.unique(stored[stored > 0], return_counts=True)
    large = [int(value) for value, count in zip(values, counts, strict=True) if count > 500]
    work = working_geometry(geometry, [min(geometry.spacing)] * 3)
    back = resample_mask(Volume(resample_mask(mask, work, large), work), geometry, large)
    assert all(dice(back == value, stored == value) > 0.9 for value in large)


def test_labels_of_another_image_are_refused():
    geometry = read_image(DATA / "nrrd/brain1_image.nrrd").geometry
    with pytest.raises(VolumeError, match="grid of its image"):
        read_mask(DATA / "nrrd/breast1_label.nrrd", all_segments(1), geometry)
    with pytest.raises(VolumeError, match="value 255"):
        read_mask(DATA / "oblique/Prostatex_0000_scribble.nii.gz", all_segments(2))


@pytest.mark.parametrize("name", ["ax_asc_35sl_6", "cor_asc_35sl_16", "sag_asc_35sl_22"])
def test_real_time_series_are_refused(name):
    with pytest.raises(VolumeError, match="64 x 64 x 35 x 2"):
        read_image(DATA / "oblique" / f"{name}.nii")


@pytest.mark.parametrize("name", ["ax_asc_35sl_6", "cor_asc_35sl_16", "sag_asc_35sl_22"])
def test_one_volume_of_a_real_time_series_keeps_its_place(tmp_path, name):
    image = sitk.ReadImage(str(DATA / "oblique" / f"{name}.nii"))[:, :, :, 0]
    sitk.WriteImage(image, str(tmp_path / "one.nii.gz"))
    volume = read_image(tmp_path / "one.nii.gz")
    turned = canonical(volume)
    index = np.array([[2, 3, 4], [30, 60, 10]])
    for position in index:
        place = volume.geometry.index_to_world(position)
        there = np.rint(turned.geometry.world_to_index(place)).astype(int)
        assert turned.voxels[tuple(there)] == volume.voxels[tuple(position)]
        assert np.allclose(image.TransformIndexToPhysicalPoint(position[::-1].tolist()), place, atol=1e-3)


def test_reading_and_resampling_a_full_size_ct_cost_a_few_plain_readings():
    """In processor time, so that a busy machine does not matter; 78 x 512 x 512 voxels."""

    def seconds(action):
        start = time.process_time()
        action()
        return time.process_time() - start

    path = DATA / "chaos_ct/ct.nii.gz"
    volume = read_image(path)
    work = working_geometry(volume.geometry, (2.0, 1.5, 1.5))
    probabilities = np.random.default_rng(0).random((1, *work.shape), np.float32)
    plain = seconds(lambda: sitk.GetArrayFromImage(sitk.ReadImage(str(path))))
    ratios = {
        "read": seconds(lambda: read_image(path)) / plain,
        "hash": seconds(lambda: content_hash(volume)) / plain,
        "to the working grid": seconds(lambda: resample_image(volume, work)) / plain,
        "probabilities back": seconds(lambda: resample_probabilities(probabilities, work, volume.geometry)) / plain,
    }
    assert max(ratios.values()) < 8, ratios
