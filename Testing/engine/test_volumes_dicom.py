"""DICOM series: a regular one becomes a volume, any other is refused with the reason."""

import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from semisam.errors import VolumeError
from semisam.files.volume_files import find_images, read_image, read_mask, write_mask
from semisam.segments import parse_segments
from semisam.volumes import Volume

sitk = pytest.importorskip("SimpleITK")

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "volumes" / "dicom"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"the DICOM examples are not at {DATA}")


def write_slice(
    path, position, *, series="1.2.3.4", direction=(1, 0, 0, 0, 1, 0), voxels=None, spacing=(0.5, 0.5), scale=None
):
    """One CT slice; ``position`` is (x, y, z) of its first voxel, ``scale`` are slope and intercept."""
    voxels = np.full((6, 5), int(position[2]) % 100, np.int16) if voxels is None else voxels
    image = sitk.GetImageFromArray(voxels[None], isVector=voxels.ndim == 3)
    image.SetSpacing((*spacing, 1.0))
    number = path.stem
    tags = {
        "0008|0016": "1.2.840.10008.5.1.4.1.1.2",
        "0008|0018": f"1.2.3.9.{number}",
        "0008|0060": "CT",
        "0020|000d": "1.2.3",
        "0020|000e": series,
        "0020|0013": number,
        "0020|0032": "\\".join(map(str, position)),
        "0020|0037": "\\".join(map(str, direction)),
    }
    if scale is not None:
        tags |= {"0028|1053": str(scale[0]), "0028|1052": str(scale[1])}
        tags |= {"0028|0100": "16", "0028|0101": "16", "0028|0102": "15", "0028|0103": "1"}
    for key, value in tags.items():
        image.SetMetaData(key, value)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    writer.SetFileName(str(path))
    writer.Execute(image)


def series(folder, heights, shift=0.0, **options):
    folder.mkdir(exist_ok=True)
    start = len(list(folder.iterdir()))
    for index, height in enumerate(heights):
        write_slice(folder / f"{start + index + 1}.dcm", (10.0, 20.0 + shift * height, height), **options)
    return folder


def refused(folder, *parts):
    with pytest.raises(VolumeError) as caught:
        read_image(folder)
    message = str(caught.value)
    assert folder.name in message
    for part in parts:
        assert part in message, message


def test_a_regular_series_is_a_volume_in_the_order_of_its_slices(tmp_path):
    folder = series(tmp_path / "ct", [40, 10, 30, 20])
    volume = read_image(folder)
    assert volume.shape == (4, 6, 5) and volume.spacing == (10, 0.5, 0.5)
    assert volume.voxels[:, 0, 0].tolist() == [10, 20, 30, 40]
    assert volume.geometry.origin == (10, 20, 10)


def test_slices_that_are_scaled_differently_are_read_in_full(tmp_path):
    folder, voxels = tmp_path / "pet", np.full((6, 5), 300.0)
    for height, scale in ((0, (1, 0)), (3, (0.25, 0.5)), (6, (200, -40000))):
        series(folder, [height], voxels=voxels * scale[0] + scale[1], scale=scale)
    assert read_image(folder).voxels[:, 0, 0].tolist() == [300, 75.5, 20000]


def test_a_mask_of_a_series_comes_back_on_its_grid(tmp_path):
    folder = series(tmp_path / "ct", [0, 3, 6])
    volume = read_image(folder)
    mask = Volume((volume.voxels == 3).astype(np.uint8), volume.geometry)
    segments = parse_segments("1=middle")
    write_mask(tmp_path / "ct.seg.nrrd", mask, segments)
    back = read_mask(tmp_path / "ct.seg.nrrd", segments, volume.geometry)
    assert np.array_equal(back.voxels, mask.voxels) and back.geometry == volume.geometry


def test_a_missing_slice_is_noticed(tmp_path):
    refused(series(tmp_path / "ct", [0, 3, 6, 12, 15]), "unevenly spaced", "3.00 to 6.00 mm")


def test_a_gantry_tilt_is_noticed(tmp_path):
    refused(series(tmp_path / "ct", [0, 3, 6, 9], shift=0.3), "tilted by 16.7 degrees", "regularization")


def test_two_series_in_one_folder_are_refused(tmp_path):
    folder = series(tmp_path / "ct", [0, 3, 6])
    refused(series(folder, [0, 3, 6], series="1.2.3.5"), "2 DICOM series", "folder of its own")


def test_two_slices_at_one_place_are_refused(tmp_path):
    refused(series(tmp_path / "ct", [0, 3, 3, 6]), "same place")


def test_slices_that_differ_are_refused(tmp_path):
    folder = series(tmp_path / "ct", [0, 3])
    refused(series(folder, [6], voxels=np.zeros((6, 7), np.int16)), "differ in size")
    other = series(tmp_path / "other", [0, 3])
    refused(series(other, [6], direction=(0, 1, 0, 1, 0, 0)), "differ in size, pixel spacing or direction")


def test_a_single_slice_is_refused(tmp_path):
    refused(series(tmp_path / "ct", [0]), "two slices or more")


def test_several_multi_frame_files_are_refused(tmp_path):
    folder = series(tmp_path / "frames", [0, 12])
    for path in folder.iterdir():
        image = sitk.ReadImage(str(path))
        frames = sitk.JoinSeries([image[:, :, 0]] * 4)
        for key in image.GetMetaDataKeys():
            frames.SetMetaData(key, image.GetMetaData(key))
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetFileName(str(path))
        writer.Execute(frames)
    refused(folder, "4 frames", "Multi-frame")


def test_a_color_series_is_refused(tmp_path):
    refused(series(tmp_path / "photo", [0, 3, 6], voxels=np.zeros((6, 5, 3), np.uint8)), "color")


def test_a_damaged_slice_is_named_or_left_out_as_missing(tmp_path, capfd):
    folder = series(tmp_path / "ct", [0, 3, 6, 9])
    content = (folder / "3.dcm").read_bytes()
    (folder / "3.dcm").write_bytes(content[:200])
    refused(folder)
    (folder / "3.dcm").write_bytes(content[: len(content) - 20])
    refused(folder)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kept", [200, 600, -20])
@pytest.mark.parametrize("number", [1, 4])
def test_a_damaged_slice_at_the_end_is_not_left_out_silently(tmp_path, number, kept):
    folder = series(tmp_path / "ct", [0, 3, 6, 9])
    path = folder / f"{number}.dcm"
    path.write_bytes(path.read_bytes()[:kept])
    refused(folder, path.name, "is damaged")
    path.unlink()
    assert read_image(folder).shape[0] == 3


def element(group, number, kind, value):
    """One element, explicit little endian; ``value`` None begins a sequence that tells its end."""
    if kind == b"SQ":
        size = struct.pack("<2xI", 0xFFFFFFFF if value is None else len(value))
    else:
        size = struct.pack("<H", len(value))
    return struct.pack("<2H", group, number) + kind + size + (value or b"")


def report_file(series):
    """A structured report, which has no voxels, of ``series`` on the series 1.2.3.4."""
    inner = element(0x0020, 0x000E, b"UI", b"1.2.3.4\0")
    ends = (struct.pack("<2HI", 0xFFFE, 0xE00D, 0), struct.pack("<2HI", 0xFFFE, 0xE0DD, 0))
    return b"".join(
        [
            bytes(128) + b"DICM",
            element(0x0002, 0x0010, b"UI", b"1.2.840.10008.1.2.1\0"),
            element(0x0008, 0x0060, b"CS", b"SR"),
            element(0x0008, 0x1115, b"SQ", None),
            struct.pack("<2HI", 0xFFFE, 0xE000, 0xFFFFFFFF),
            inner,
            *ends,
            element(0x0008, 0x1140, b"SQ", struct.pack("<2HI", 0xFFFE, 0xE000, len(inner)) + inner),
            element(0x0020, 0x000E, b"UI", series),
            element(0x0020, 0x0013, b"IS", b"1 "),
        ]
    )


def test_files_of_other_series_without_voxels_may_lie_beside_the_slices(tmp_path):
    folder = series(tmp_path / "ct", [0, 3, 6, 9])
    (folder / "report.dcm").write_bytes(report_file(b"1.2.3.77"))
    (folder / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    (folder / "notes.txt").write_text("a fine scan")
    assert read_image(folder).shape[0] == 4
    (folder / "report.dcm").write_bytes(report_file(b"1.2.3.4\0"))
    refused(folder, "report.dcm", "no slice")


def test_a_folder_of_other_files_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(VolumeError, match="no DICOM files"):
        read_image(tmp_path)


def test_series_folders_are_cases(tmp_path):
    series(tmp_path / "patient.1", [0, 3])
    shutil.copytree(tmp_path / "patient.1", tmp_path / "patient 2")
    (tmp_path / "empty").mkdir()
    assert list(find_images(tmp_path)) == ["patient 2", "patient.1"]
    assert find_images(tmp_path / "patient.1") == {"patient.1": tmp_path / "patient.1"}
    (tmp_path / "patient.1.nii.gz").touch()
    with pytest.raises(VolumeError, match="would both be the case"):
        find_images(tmp_path)


@needs_data
def test_real_series_are_read_in_place_and_without_noise(capfd):
    crop = read_image(DATA / "hippocrop")
    assert crop.shape == (32, 51, 35)
    oblique = read_image(DATA / "brain_T2_oblique")
    assert oblique.shape == (22, 512, 512) and abs(oblique.geometry.axes[1, 0]) > 0.2
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(DATA / "brain_T2_oblique")))
    image = reader.Execute()
    assert np.array_equal(sitk.GetArrayFromImage(image), oblique.voxels)
    for index in ([0, 0, 0], [21, 100, 300]):
        there = image.TransformIndexToPhysicalPoint(index[::-1])
        assert np.allclose(oblique.geometry.index_to_world(index), there, atol=1e-3)
    assert capfd.readouterr() == ("", "")


@needs_data
def test_a_real_tilted_series_is_refused_with_its_angle(capfd):
    refused(DATA / "ct_head_GE_gantry_tilt", "tilted by 18.5 degrees", "unevenly spaced")
    assert capfd.readouterr() == ("", "")
