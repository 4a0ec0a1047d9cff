"""Image and mask files: what is written comes back, and what cannot be used is said in a sentence."""

import gzip
import logging
import os
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from semisam.errors import VolumeError
from semisam.files.volume_files import find_images, find_masks, read_image, read_mask, write_image, write_mask
from semisam.segments import parse_segments
from semisam.volumes import Geometry, Volume, canonical

sitk = pytest.importorskip("SimpleITK")

SEGMENTS = parse_segments("1=anterior,2=posterior")
TURN = np.array([[0.8, -0.6, 0.0], [0.48, 0.64, -0.6], [0.36, 0.48, 0.8]])
IMAGE_FORMATS = [".nii.gz", ".nii", ".nrrd", ".mha"]
MASK_FORMATS = [*IMAGE_FORMATS, ".seg.nrrd"]


def make_geometry(axes=TURN, shape=(6, 8, 7), spacing=(3.0, 0.7, 1.2), origin=(-40.0, 12.5, 200.0)):
    return Geometry(shape, spacing, origin, tuple(np.asarray(axes, float).ravel().tolist()))


GEOMETRY = make_geometry()
# i, j, k axes of the storage orders in the words of NIfTI viewers: where the axis points to (RAS letters).
ORIENTATIONS = {
    "LPS": np.diag([1, 1, 1]),
    "RAS": np.diag([-1, -1, 1]),
    "LAS": np.diag([1, -1, 1]),
    "LPI": np.diag([1, 1, -1]),
    "PSL": np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]]),
    "LSP": np.array([[1, 0, 0], [0, 0, 1], [0, 1, 0]]),
    "oblique": TURN,
    "oblique, flipped": TURN * [1, -1, 1],
}


def image_of(geometry, seed=0):
    return Volume(np.random.default_rng(seed).normal(100, 30, geometry.shape).astype(np.float32), geometry)


def mask_of(geometry):
    voxels = np.zeros(geometry.shape, np.uint8)
    voxels[1:3, 2:6, 1:4] = 1
    voxels[3:5, 2:6, 3:6] = 2
    return Volume(voxels, geometry)


def write_raw(path, array, geometry=None, vector=False):
    image = sitk.GetImageFromArray(np.asarray(array), isVector=vector)
    if geometry is not None:
        image.SetSpacing(geometry.spacing[::-1])
        image.SetOrigin(geometry.origin)
        image.SetDirection(geometry.direction)
    sitk.WriteImage(image, str(path))
    return path


def patched_nifti(path, *, shape=(4, 5, 6), sform=None, sform_code=None, qform_code=None, pixdim=None, quaternion=None):
    """A small NIfTI file whose header fields are overwritten."""
    write_raw(path, np.ones(shape, np.int16))
    content = bytearray(path.read_bytes())
    if sform is not None:
        struct.pack_into("<12f", content, 280, *np.asarray(sform, float).ravel())
    if quaternion is not None:
        struct.pack_into("<3f", content, 256, *quaternion)
    if qform_code is not None:
        struct.pack_into("<h", content, 252, qform_code)
    if sform_code is not None:
        struct.pack_into("<h", content, 254, sform_code)
    if pixdim is not None:
        struct.pack_into("<3f", content, 80, *pixdim)
    path.write_bytes(bytes(content))
    return path


def refused(path, *parts, reader=read_image):
    """The file is refused in one sentence or two that name it and hold all ``parts``."""
    with pytest.raises(VolumeError) as caught:
        reader(path)
    message = str(caught.value)
    assert Path(path).name in message and message.endswith(".")
    for part in parts:
        assert part in message, message


@pytest.mark.parametrize("name", ORIENTATIONS)
@pytest.mark.parametrize("extension", IMAGE_FORMATS)
def test_an_image_comes_back_with_its_geometry_in_every_orientation(tmp_path, extension, name):
    volume = image_of(make_geometry(ORIENTATIONS[name]))
    write_image(tmp_path / f"case{extension}", volume)
    back = read_image(tmp_path / f"case{extension}")
    assert back.voxels.dtype == np.float32 and np.array_equal(back.voxels, volume.voxels)
    assert back.geometry.is_close(volume.geometry, 1e-4)
    assert np.allclose(back.geometry.direction, volume.geometry.direction, atol=1e-6)


@pytest.mark.parametrize("name", ORIENTATIONS)
@pytest.mark.parametrize("extension", MASK_FORMATS)
def test_a_mask_comes_back_on_the_grid_of_its_image_in_every_orientation(tmp_path, extension, name):
    mask = mask_of(make_geometry(ORIENTATIONS[name]))
    write_mask(tmp_path / f"case{extension}", mask, SEGMENTS)
    back = read_mask(tmp_path / f"case{extension}", SEGMENTS, mask.geometry)
    assert back.voxels.dtype == np.uint8 and np.array_equal(back.voxels, mask.voxels)
    assert back.geometry == mask.geometry


@pytest.mark.parametrize("extension", MASK_FORMATS)
def test_a_mask_in_another_axis_order_than_its_image_is_put_in_order(tmp_path, extension):
    mask = mask_of(make_geometry(ORIENTATIONS["PSL"]))
    write_mask(tmp_path / f"case{extension}", canonical(mask), SEGMENTS)
    back = read_mask(tmp_path / f"case{extension}", SEGMENTS, mask.geometry)
    assert np.array_equal(back.voxels, mask.voxels) and back.geometry == mask.geometry


@pytest.mark.parametrize("extension", MASK_FORMATS)
def test_a_mask_beside_its_image_is_refused(tmp_path, extension):
    path = tmp_path / f"case{extension}"
    write_mask(path, mask_of(GEOMETRY), SEGMENTS)
    shifted = make_geometry(origin=(-40.0, 12.5, 200.4))
    stretched = make_geometry(spacing=(3.0, 0.7, 1.3))
    turned = make_geometry(np.eye(3))
    flipped = make_geometry(TURN * [1, -1, 1])
    for reference in (shifted, stretched, turned, flipped):
        refused(path, "grid of its image", " mm ", reader=lambda path, grid=reference: read_mask(path, SEGMENTS, grid))
    larger = make_geometry(shape=(7, 8, 7), spacing=(3.0, 0.7, 1.25))
    refused(path, "(6, 8, 7)", "(7, 8, 7)", reader=lambda path: read_mask(path, SEGMENTS, larger))


def test_a_label_map_of_another_size_is_refused_even_when_its_voxels_would_fit(tmp_path):
    write_mask(tmp_path / "case.nii.gz", mask_of(GEOMETRY), SEGMENTS)
    larger = make_geometry(shape=(7, 8, 7))
    refused(tmp_path / "case.nii.gz", "(7, 8, 7)", reader=lambda path: read_mask(path, SEGMENTS, larger))


def test_rounded_geometry_of_a_mask_is_accepted_and_replaced_by_that_of_the_image(tmp_path):
    write_mask(tmp_path / "case.nii.gz", mask_of(make_geometry(origin=(-40.0004, 12.5003, 200.0))), SEGMENTS)
    assert read_mask(tmp_path / "case.nii.gz", SEGMENTS, GEOMETRY).geometry == GEOMETRY


@pytest.mark.parametrize("extension", MASK_FORMATS)
def test_unknown_values_are_refused_in_reading_and_writing(tmp_path, extension):
    mask = mask_of(GEOMETRY)
    three = parse_segments("1=anterior,2=posterior,3=other")
    mask.voxels[0, 0, 0] = 3
    path = tmp_path / f"case{extension}"
    refused(path, "value 3", "1 (anterior)", reader=lambda path: write_mask(path, mask, SEGMENTS))
    assert not list(tmp_path.iterdir())
    write_mask(path, mask, three)
    refused(path, "3" if extension != ".seg.nrrd" else "other", reader=lambda path: read_mask(path, SEGMENTS))


@pytest.mark.parametrize(
    ("value", "part"), [(0.5, "not whole"), (np.nan, "not whole"), (-1, "-1"), (300, "300"), (1e30, "no segment has")]
)
def test_masks_with_other_numbers_than_segment_values_are_refused(tmp_path, value, part):
    voxels = np.zeros((4, 4, 4), np.float32)
    voxels[1, 1, 1] = value
    for extension in MASK_FORMATS:
        path = write_raw(tmp_path / f"mask{extension}", voxels)
        refused(path, part, reader=lambda path: read_mask(path, SEGMENTS))


def test_label_maps_of_any_number_type_are_read(tmp_path):
    for kind in ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"):
        write_raw(tmp_path / "mask.nii.gz", mask_of(GEOMETRY).voxels.astype(kind), GEOMETRY)
        back = read_mask(tmp_path / "mask.nii.gz", SEGMENTS, GEOMETRY)
        assert back.voxels.dtype == np.uint8 and np.array_equal(back.voxels, mask_of(GEOMETRY).voxels)


@pytest.mark.parametrize("extension", IMAGE_FORMATS)
def test_a_few_voxels_that_are_not_finite_are_replaced_and_logged(tmp_path, caplog, extension):
    voxels = image_of(GEOMETRY).voxels
    voxels[0, 0, :3] = [np.nan, np.inf, -np.inf]
    low, high = voxels[np.isfinite(voxels)].min(), voxels[np.isfinite(voxels)].max()
    path = write_raw(tmp_path / f"image{extension}", voxels)
    with caplog.at_level(logging.WARNING):
        back = read_image(path)
    assert np.isfinite(back.voxels).all()
    assert back.voxels[0, 0, :3].tolist() == [low, high, low]
    assert "3 voxels" in caplog.text and path.name in caplog.text


def test_numbers_beyond_float32_are_treated_as_infinite(tmp_path):
    voxels = np.ones((4, 4, 4))
    voxels[0, 0, 0], voxels[1, 1, 1] = 1e300, 7.0
    assert read_image(write_raw(tmp_path / "image.mha", voxels)).voxels[0, 0, 0] == 7.0


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("extension", IMAGE_FORMATS)
def test_an_image_without_finite_voxels_is_refused(tmp_path, extension, value):
    path = write_raw(tmp_path / f"image{extension}", np.full((4, 4, 4), value, np.float32))
    refused(path, "64 of 64 voxels", "NaN or infinite")


@pytest.mark.parametrize("extension", [".nii.gz", ".nrrd", ".mha"])
def test_a_time_series_is_refused(tmp_path, extension):
    image = sitk.JoinSeries([sitk.Image(5, 6, 7, sitk.sitkInt16)] * 3)
    sitk.WriteImage(image, str(tmp_path / f"series{extension}"))
    refused(tmp_path / f"series{extension}", "dimension" if extension == ".nii.gz" else "")


def test_a_fourth_dimension_of_one_is_dropped(tmp_path):
    sitk.WriteImage(sitk.JoinSeries([sitk.Image(5, 6, 7, sitk.sitkInt16)]), str(tmp_path / "one.nii.gz"))
    assert read_image(tmp_path / "one.nii.gz").shape == (7, 6, 5)


@pytest.mark.parametrize("extension", [".nii.gz", ".nrrd", ".mha"])
def test_color_images_are_refused(tmp_path, extension):
    path = write_raw(tmp_path / f"color{extension}", np.zeros((4, 5, 6, 3), np.uint8), vector=True)
    refused(path, "3 values in a voxel", "grey")
    refused(path, "3 values in a voxel", reader=lambda path: read_mask(path, SEGMENTS))


@pytest.mark.parametrize("extension", [".nii.gz", ".mha"])
def test_complex_images_are_refused(tmp_path, extension):
    path = write_raw(tmp_path / f"complex{extension}", np.zeros((4, 5, 6), np.complex64))
    refused(path, "complex numbers", "grey")


@pytest.mark.parametrize("shape", [(1, 8, 8), (8, 1, 8), (8, 8, 1)])
def test_an_image_of_one_slice_is_refused(tmp_path, shape):
    refused(write_raw(tmp_path / "slice.nrrd", np.zeros(shape, np.int16)), "two or more along every axis")


@pytest.mark.parametrize("extension", [".nii.gz", ".nrrd", ".mha"])
def test_a_flat_image_is_refused(tmp_path, extension):
    refused(write_raw(tmp_path / f"flat{extension}", np.zeros((8, 8), np.int16)), "")


@pytest.mark.parametrize("extension", MASK_FORMATS)
def test_an_empty_file_is_refused(tmp_path, extension):
    (tmp_path / f"empty{extension}").touch()
    refused(tmp_path / f"empty{extension}", "is empty")
    refused(tmp_path / f"empty{extension}", "is empty", reader=lambda path: read_mask(path, SEGMENTS))


@pytest.mark.parametrize("kept", [0.001, 0.02, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("extension", IMAGE_FORMATS)
def test_a_truncated_file_is_refused(tmp_path, capfd, extension, compressed, kept):
    image = sitk.GetImageFromArray(image_of(make_geometry(shape=(12, 16, 15))).voxels)
    path = tmp_path / f"cut{extension}"
    sitk.WriteImage(image, str(path), useCompression=compressed)
    content = path.read_bytes()
    path.write_bytes(content[: max(int(len(content) * kept), 1)])
    refused(path)
    assert capfd.readouterr() == ("", "")


def test_a_damaged_compressed_file_is_refused(tmp_path):
    path = tmp_path / "damaged.nii.gz"
    write_image(path, image_of(GEOMETRY))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))
    refused(path, "damaged")


@pytest.mark.parametrize("extension", MASK_FORMATS)
def test_a_file_of_other_content_is_refused_without_noise(tmp_path, capfd, extension):
    (tmp_path / f"text{extension}").write_text("This is no image.\n" * 40)
    refused(tmp_path / f"text{extension}")
    (tmp_path / f"bytes{extension}").write_bytes(np.random.default_rng(0).bytes(5000))
    refused(tmp_path / f"bytes{extension}")
    if extension == ".nii.gz":
        (tmp_path / "text.nii.gz").write_bytes(gzip.compress(b"This is no image either."))
        refused(tmp_path / "text.nii.gz", "NIfTI")
    assert capfd.readouterr() == ("", "")


def test_missing_files_and_unknown_formats_are_named(tmp_path):
    refused(tmp_path / "absent.nii.gz", "There is no file")
    (tmp_path / "photo.jpg").write_bytes(b"x")
    refused(tmp_path / "photo.jpg", "no known image format", "NIfTI", "DICOM")
    refused(tmp_path / "photo.jpg", "no known image format", reader=lambda path: read_mask(path, SEGMENTS))
    refused(tmp_path, "is a folder", reader=lambda path: read_mask(path, SEGMENTS))
    (tmp_path / "head.mhd").write_text(
        "ObjectType = Image\nNDims = 3\nDimSize = 4 4 4\nElementType = MET_SHORT\nElementDataFile = head.raw\n"
    )
    refused(tmp_path / "head.mhd", "head.raw", "not there")
    (tmp_path / "head.raw").write_bytes(b"\0" * 100)
    refused(tmp_path / "head.mhd", "100 of 128 bytes")
    (tmp_path / "head.raw").write_bytes(b"\0" * 128)
    assert read_image(tmp_path / "head.mhd").shape == (4, 4, 4)


def test_a_file_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    path = tmp_path / "secret.nii.gz"
    write_image(path, image_of(GEOMETRY))

    def denied(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("semisam.files.nifti.read_header", denied)
    refused(path, "Permission denied")


def test_a_full_memory_is_not_told_as_a_damaged_file(tmp_path, monkeypatch):
    path = tmp_path / "large.nii.gz"
    write_image(path, image_of(GEOMETRY))

    def full(path, header):
        raise MemoryError("Unable to allocate 3 GiB")

    monkeypatch.setattr("semisam.files.nifti.read_voxels", full)
    with pytest.raises(MemoryError):
        read_image(path)


def test_links_to_nowhere_folders_and_pipes_are_not_taken_for_images(tmp_path):
    (tmp_path / "link.nii.gz").symlink_to(tmp_path / "nowhere.nii.gz")
    refused(tmp_path / "link.nii.gz", "There is no file")
    (tmp_path / "folder.nii.gz").mkdir()
    refused(tmp_path / "folder.nii.gz", "no DICOM files")


@pytest.mark.parametrize("extension", [".nrrd", ".mha", ".nii"])
def test_a_header_that_promises_more_than_memory_holds_is_refused(tmp_path, capfd, extension):
    path = write_raw(tmp_path / f"huge{extension}", np.ones((4, 5, 6), np.int16))
    content = path.read_bytes()
    if extension == ".nii":
        content = content[:42] + struct.pack("<3h", 32767, 32767, 32767) + content[48:]
    else:
        assert content.count(b"6 5 4") == 1
        content = content.replace(b"6 5 4", b"60000 50000 40000")
    path.write_bytes(content)
    refused(path)
    assert capfd.readouterr() == ("", "")


def test_a_detached_header_without_its_voxels_is_refused(tmp_path, capfd):
    (tmp_path / "head.nhdr").write_text(
        "NRRD0004\ntype: short\ndimension: 3\nsizes: 4 4 4\nencoding: raw\nendian: little\ndata file: gone.raw\n"
    )
    refused(tmp_path / "head.nhdr")
    assert capfd.readouterr() == ("", "")
    (tmp_path / "gone.raw").write_bytes(b"\0" * 128)
    assert read_image(tmp_path / "head.nhdr").shape == (4, 4, 4)


@pytest.mark.parametrize("sform", [np.zeros((3, 4)), [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 3, 0]]])
def test_a_singular_orientation_is_refused_or_taken_from_the_qform(tmp_path, caplog, sform):
    path = patched_nifti(tmp_path / "singular.nii", sform=sform, sform_code=1, qform_code=0)
    refused(path, "singular", "sform or qform")
    with caplog.at_level(logging.WARNING):
        volume = read_image(patched_nifti(path, sform=sform, sform_code=1, qform_code=1))
    assert np.allclose(np.abs(np.linalg.det(volume.geometry.axes)), 1) and "qform" in caplog.text


def test_a_sheared_orientation_is_refused_and_a_nearly_right_angled_one_is_mended(tmp_path, caplog):
    def sform(shear):
        return [[-1, shear, 0, 5], [0, -1, 0, 6], [0, 0, 1, 7]]

    path = tmp_path / "sheared.nii"
    refused(patched_nifti(path, sform=sform(0.1), sform_code=1, qform_code=0), "sheared", "right-angled")
    with caplog.at_level(logging.WARNING):
        volume = read_image(patched_nifti(path, sform=sform(0.004), sform_code=1, qform_code=0))
    axes = volume.geometry.axes
    assert np.allclose(axes.T @ axes, np.eye(3), atol=1e-9) and np.allclose(axes[:, ::-1], np.eye(3), atol=0.005)
    assert np.allclose(volume.geometry.origin, [-5, -6, 7]) and "nearly" in caplog.text
    back = tmp_path / "back.nii.gz"
    write_image(back, volume)
    assert read_image(back).geometry.is_close(volume.geometry, 0.01)


def test_many_threads_mend_orientations_and_leave_the_environment_alone(tmp_path):
    sform = [[-1, 0.004, 0, 5], [0, -1, 0, 6], [0, 0, 1, 7]]
    path = patched_nifti(tmp_path / "sheared.nii", sform=sform, sform_code=1, qform_code=0)
    before = dict(os.environ)
    with ThreadPoolExecutor(8) as pool:
        volumes = list(pool.map(read_image, [path] * 400))
    assert len({volume.geometry for volume in volumes}) == 1
    assert dict(os.environ) == before


@pytest.mark.parametrize("ending", [".nii", ".nrrd"])
@pytest.mark.parametrize(("size", "accepted"), [(40, True), (400, False)])
def test_axes_nearly_at_right_angles_are_accepted_where_no_voxel_leaves_its_place(tmp_path, ending, size, accepted):
    # Sheared by 0.002, the nearest axes turn by half of it.
    path = tmp_path / f"sheared{ending}"
    if ending == ".nii":
        sform = [[-1, 0, 0, 0], [0.002, -1, 0, 0], [0, 0, 1, 0]]
        patched_nifti(path, shape=(4, 4, size), sform=sform, sform_code=1, qform_code=0)
    else:
        header = (
            f"NRRD0004\ntype: uint8\ndimension: 3\nspace: left-posterior-superior\nsizes: {size} 4 4\n"
            "space directions: (1,0.002,0) (0,1,0) (0,0,1)\nkinds: domain domain domain\nencoding: raw\n"
            "space origin: (0,0,0)\n\n"
        )
        path.write_bytes(header.encode() + b"\1" * 16 * size)
    if accepted:
        assert read_image(path).shape == (4, 4, size)
    else:
        refused(path, "axes", "right-angled grid")


@pytest.mark.parametrize(
    "fields",
    [
        {"sform": np.full((3, 4), np.nan), "sform_code": 1},
        {"quaternion": (np.nan, 0, 0), "qform_code": 1, "sform_code": 0},
        {"pixdim": (0.0, 1.0, 1.0)},
        {"pixdim": (np.nan, 1.0, 1.0)},
    ],
)
def test_an_orientation_or_spacing_without_sense_is_refused(tmp_path, capfd, fields):
    refused(patched_nifti(tmp_path / "odd.nii", **fields))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("order", "<>")
def test_nifti_scaling_and_byte_orders_are_read(tmp_path, order):
    voxels = np.arange(120, dtype="i2").reshape(4, 5, 6)
    header = bytearray(352)
    struct.pack_into(order + "i", header, 0, 348)
    struct.pack_into(order + "8h", header, 40, 3, 6, 5, 4, 1, 1, 1, 1)
    struct.pack_into(order + "2h", header, 70, 4, 16)
    struct.pack_into(order + "8f", header, 76, 1, 1, 2, 3, 0, 0, 0, 0)
    struct.pack_into(order + "3f", header, 108, 352, 2.5, -7)
    struct.pack_into(order + "2h", header, 252, 0, 1)
    struct.pack_into(order + "12f", header, 280, -1, 0, 0, 10, 0, -2, 0, 20, 0, 0, 3, 30)
    header[344:348] = b"n+1\0"
    path = tmp_path / "scaled.nii"
    path.write_bytes(bytes(header) + voxels.astype(order + "i2").tobytes())
    volume = read_image(path)
    assert np.array_equal(volume.voxels, voxels * 2.5 - 7)
    assert volume.geometry.is_close(Geometry((4, 5, 6), (3, 2, 1), (-10, -20, 30), tuple(np.eye(3).ravel())), 1e-6)
    assert np.array_equal(volume.voxels, sitk.GetArrayFromImage(sitk.ReadImage(str(path))))


def test_a_nifti_file_without_orientation_is_read(tmp_path):
    volume = read_image(patched_nifti(tmp_path / "plain.nii", sform_code=0, qform_code=0, pixdim=(1, 2, 3)))
    assert volume.spacing == (3, 2, 1)


def test_a_singular_or_sheared_nrrd_file_is_refused(tmp_path, capfd):
    for directions in ("(1,1,0) (1,1,0) (0,0,1)", "(1,0,0) (0.3,1,0) (0,0,1)", "(0,0,0) (0,1,0) (0,0,1)"):
        header = (
            "NRRD0004\ntype: uint8\ndimension: 3\nspace: left-posterior-superior\nsizes: 4 4 4\nspace directions: "
            f"{directions}\nkinds: domain domain domain\nencoding: raw\nspace origin: (0,0,0)\n\n"
        )
        (tmp_path / "odd.nrrd").write_bytes(header.encode() + b"\1" * 64)
        refused(tmp_path / "odd.nrrd")
    assert capfd.readouterr() == ("", "")


def test_images_are_found_by_name(tmp_path):
    for name in ("b.nii.gz", "a.nrrd", "c.v2.mha", "a.seg.nrrd", ".hidden.nrrd", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "folder").mkdir()
    assert {name: path.name for name, path in find_images(tmp_path).items()} == {
        "a": "a.nrrd",
        "b": "b.nii.gz",
        "c.v2": "c.v2.mha",
    }
    (tmp_path / "a.nrrd").unlink()
    assert find_masks(tmp_path)["a"].name == "a.seg.nrrd"


@pytest.mark.parametrize("other", ["a.nrrd", "A.mha"])
def test_two_files_for_one_case_are_refused(tmp_path, other):
    (tmp_path / "a.nii.gz").touch()
    (tmp_path / other).touch()
    for find in (find_images, find_masks):
        with pytest.raises(VolumeError, match="Rename or remove") as caught:
            find(tmp_path)
        assert "a.nii.gz" in str(caught.value) and other in str(caught.value)


def test_folders_without_images_are_refused(tmp_path):
    with pytest.raises(VolumeError, match="holds no images"):
        find_images(tmp_path)
    with pytest.raises(VolumeError, match="holds no masks"):
        find_masks(tmp_path)
    with pytest.raises(VolumeError, match="does not exist"):
        find_images(tmp_path / "absent")
    with pytest.raises(VolumeError, match="no DICOM files"):
        read_image(tmp_path)


def test_writing_is_all_or_nothing(tmp_path, monkeypatch):
    path = tmp_path / "case.nii.gz"
    write_image(path, image_of(GEOMETRY, 1))
    before = path.read_bytes()

    def fails(image, name, **options):
        Path(name).write_bytes(b"half")
        raise RuntimeError("disk full")

    monkeypatch.setattr(sitk, "WriteImage", fails)
    refused(path, "Cannot write", reader=lambda path: write_image(path, image_of(GEOMETRY, 2)))
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_places_that_cannot_be_written_to_are_named(tmp_path):
    refused(tmp_path / "a.jpg", "must end in", reader=lambda path: write_image(path, image_of(GEOMETRY)))
    refused(tmp_path / "no" / "a.nii.gz", "does not exist", reader=lambda path: write_image(path, image_of(GEOMETRY)))


@pytest.mark.parametrize("kind", ["?", "f2", "u1", "i2", "f4", "f8"])
def test_voxels_of_all_usual_types_are_written(tmp_path, kind):
    voxels = (image_of(GEOMETRY).voxels > 100).astype(kind)
    write_image(tmp_path / "case.nrrd", Volume(voxels, GEOMETRY))
    assert np.array_equal(read_image(tmp_path / "case.nrrd").voxels, voxels.astype(np.float32))


def test_importing_the_modules_loads_nothing_heavy():
    heavy = "('SimpleITK', 'torch', 'scipy')"
    code = f"import sys, semisam.files.volume_files; print([m for m in {heavy} if m in sys.modules])"
    root = Path(__file__).resolve().parents[2] / "SemiSAMPlus"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert shown.stdout.strip() == "[]"
