""".seg.nrrd files as 3D Slicer reads and writes them."""

import numpy as np
import pytest

from semisam.errors import VolumeError
from semisam.files.volume_files import read_mask, write_mask
from semisam.segments import Segment, parse_segments
from semisam.volumes import Geometry, Volume

sitk = pytest.importorskip("SimpleITK")

SEGMENTS = parse_segments("1=anterior,2=posterior")
GEOMETRY = Geometry((6, 8, 7), (3.0, 0.7, 1.2), (-40.0, 12.5, 200.0), (0.8, -0.6, 0, 0.48, 0.64, -0.6, 0.36, 0.48, 0.8))


def header_of(path):
    """The text header of an NRRD file as key -> value."""
    lines = path.read_bytes().split(b"\n\n", 1)[0].decode().splitlines()[1:]
    pairs = [line.split(":=" if ":=" in line else ": ", 1) for line in lines if not line.startswith("#")]
    return dict(pairs)


def slicer_file(path, layers, named, *, start=(0, 0, 0), fields=None, geometry=GEOMETRY):
    """A file laid out as 3D Slicer lays it out: ``layers`` (n, k, j, i), ``named`` (name, value, layer)."""
    layers = np.asarray(layers, np.uint8)
    text = {"Segmentation_MasterRepresentation": "Binary labelmap"}
    for number, (name, value, layer) in enumerate(named):
        text |= {
            f"Segment{number}_ID": f"Segment_{number + 1}",
            f"Segment{number}_Name": name,
            f"Segment{number}_LabelValue": str(value),
            f"Segment{number}_Layer": str(layer),
        }
    text |= fields or {}
    steps = (geometry.axes * geometry.spacing)[:, ::-1].T
    directions = " ".join(f"({','.join(map(repr, step))})" for step in steps.tolist())
    origin = ",".join(map(repr, geometry.index_to_world(start).tolist()))
    several = len(layers) > 1
    sizes = [*([len(layers)] if several else []), *layers.shape[:0:-1]]
    head = [
        "NRRD0004",
        "type: unsigned char",
        f"dimension: {len(sizes)}",
        "space: left-posterior-superior",
        f"sizes: {' '.join(map(str, sizes))}",
        f"space directions: {'none ' if several else ''}{directions}",
        f"kinds: {'list ' if several else ''}domain domain domain",
        "encoding: raw",
        f"space origin: ({origin})",
        *(f"{key}:={value}" for key, value in text.items() if value is not None),
    ]
    voxels = np.ascontiguousarray(np.moveaxis(layers, 0, -1) if several else layers[0])
    path.write_bytes("\n".join(head).encode() + b"\n\n" + voxels.tobytes())
    return path


def boxes():
    """Two layers on the full grid: value 1 in the first, value 1 in the second, side by side."""
    layers = np.zeros((2, *GEOMETRY.shape), np.uint8)
    layers[0, 1:3, 2:6, 1:4] = 1
    layers[1, 3:5, 2:6, 3:6] = 1
    return layers


def merged():
    layers = boxes()
    return layers[0] + 2 * layers[1]


def test_the_header_is_what_slicer_expects(tmp_path):
    segments = (Segment(3, "lobe (left)", (255, 0, 128)), Segment(7, "empty", (1, 2, 3)))
    path = tmp_path / "case.seg.nrrd"
    write_mask(path, Volume((boxes()[0] * 3).astype(np.uint8), GEOMETRY), segments)
    header = header_of(path)
    assert header["type"] == "unsigned char" and header["space"] == "left-posterior-superior"
    assert header["sizes"] == "7 8 6" and header["kinds"] == "domain domain domain"
    expected = {
        "Segmentation_MasterRepresentation": "Binary labelmap",
        "Segmentation_ContainedRepresentationNames": "Binary labelmap|",
        "Segmentation_ReferenceImageExtentOffset": "0 0 0",
        "Segment0_ID": "Segment_3",
        "Segment0_Name": "lobe (left)",
        "Segment0_Color": "1 0 0.501961",
        "Segment0_LabelValue": "3",
        "Segment0_Layer": "0",
        "Segment0_Extent": "1 3 2 5 1 2",
        "Segment1_ID": "Segment_7",
        "Segment1_Name": "empty",
        "Segment1_LabelValue": "7",
        "Segment1_Extent": "0 -1 0 -1 0 -1",
    }
    assert {key: header[key] for key in expected} == expected


def test_segments_are_matched_by_name_whatever_their_values(tmp_path):
    path = tmp_path / "case.seg.nrrd"
    slicer_file(path, merged()[None], [("POSTERIOR", 2, 0), ("Anterior", 1, 0)])
    swapped = parse_segments("5=posterior,9=anterior")
    mask = read_mask(path, swapped, GEOMETRY)
    assert np.array_equal(mask.voxels == 9, merged() == 1) and np.array_equal(mask.voxels == 5, merged() == 2)
    # What this project wrote under other values comes back too.
    write_mask(path, mask, swapped)
    assert np.array_equal(read_mask(path, SEGMENTS, GEOMETRY).voxels, merged())


def test_segments_without_names_are_matched_by_value(tmp_path):
    path = tmp_path / "case.seg.nrrd"
    slicer_file(path, merged()[None], [(None, 2, 0), (None, 1, 0)])
    assert np.array_equal(read_mask(path, SEGMENTS, GEOMETRY).voxels, merged())
    slicer_file(path, merged()[None], [])
    assert np.array_equal(read_mask(path, SEGMENTS, GEOMETRY).voxels, merged())


def test_layers_that_do_not_overlap_are_merged(tmp_path):
    path = slicer_file(tmp_path / "case.seg.nrrd", boxes(), [("anterior", 1, 0), ("posterior", 1, 1)])
    mask = read_mask(path, SEGMENTS, GEOMETRY)
    assert np.array_equal(mask.voxels, merged()) and mask.geometry == GEOMETRY


def test_old_files_with_one_layer_for_each_segment_are_read(tmp_path):
    fields = {f"Segment{n}_{key}": None for n in (0, 1) for key in ("LabelValue", "Layer")}
    path = slicer_file(tmp_path / "old.seg.nrrd", boxes(), [("anterior", 1, 0), ("posterior", 1, 1)], fields=fields)
    assert np.array_equal(read_mask(path, SEGMENTS, GEOMETRY).voxels, merged())


def test_overlapping_segments_are_refused_with_their_names(tmp_path):
    layers = boxes()
    layers[1, 2, 2, 1:4] = 1
    path = slicer_file(tmp_path / "case.seg.nrrd", layers, [("anterior", 1, 0), ("posterior", 1, 1)])
    with pytest.raises(VolumeError, match=r'"anterior" and "posterior" overlap in 3 voxels.*Subtract'):
        read_mask(path, SEGMENTS, GEOMETRY)


@pytest.mark.parametrize("several", [False, True])
def test_a_file_that_covers_a_part_of_the_image_is_put_in_its_place(tmp_path, several):
    full = boxes() if several else merged()[None]
    named = [("anterior", 1, 0), ("posterior", 1, 1)] if several else [("anterior", 1, 0), ("posterior", 2, 0)]
    path = slicer_file(tmp_path / "case.seg.nrrd", full[:, 1:5, 2:6, 1:6], named, start=(1, 2, 1))
    mask = read_mask(path, SEGMENTS, GEOMETRY)
    assert mask.geometry == GEOMETRY and np.array_equal(mask.voxels, merged())
    assert read_mask(path, SEGMENTS).shape == (4, 4, 5)


def test_a_part_may_reach_beyond_the_image_only_where_it_is_empty(tmp_path):
    part = np.zeros((1, 6, 8, 7), np.uint8)
    part[0, 2:4, 2:4, 2:4] = 1
    path = slicer_file(tmp_path / "case.seg.nrrd", part, [("anterior", 1, 0)], start=(-2, 1, 1))
    mask = read_mask(path, SEGMENTS, GEOMETRY)
    assert mask.voxels[0:2, 3:5, 3:5].all() and mask.voxels.sum() == 8
    slicer_file(path, part, [("anterior", 1, 0)], start=(-3, 1, 1))
    with pytest.raises(VolumeError, match="grid of its image"):
        read_mask(path, SEGMENTS, GEOMETRY)


def test_a_part_between_the_voxels_of_the_image_is_refused(tmp_path):
    path = slicer_file(
        tmp_path / "case.seg.nrrd", merged()[None, 1:5, 2:6, 1:6], [("anterior", 1, 0)], start=(1.3, 2, 1)
    )
    with pytest.raises(VolumeError):
        read_mask(path, SEGMENTS, GEOMETRY)


def test_a_segmentation_without_voxels_is_an_empty_mask_of_the_image(tmp_path):
    # Slicer stores it as a single voxel whose place has no meaning.
    path = slicer_file(
        tmp_path / "case.seg.nrrd", np.zeros((1, 1, 1, 1)), [("anterior", 1, 0)], geometry=Geometry.simple((1, 1, 1))
    )
    mask = read_mask(path, SEGMENTS, GEOMETRY)
    assert mask.geometry == GEOMETRY and not mask.voxels.any()


def test_unknown_segments_are_refused_unless_they_are_empty(tmp_path):
    named = [("anterior", 1, 0), ("posterior", 2, 0), ("Segment_3", 3, 0)]
    path = slicer_file(tmp_path / "case.seg.nrrd", merged()[None], named)
    assert np.array_equal(read_mask(path, SEGMENTS, GEOMETRY).voxels, merged())
    voxels = merged()
    voxels[0, 0, 0] = 3
    slicer_file(path, voxels[None], named)
    with pytest.raises(VolumeError, match='"Segment_3", which the project does not know.*"anterior".*rename'):
        read_mask(path, SEGMENTS, GEOMETRY)


@pytest.mark.parametrize(
    ("named", "fields", "message"),
    [
        ([("anterior", 1, 0)], {}, "belong to none of its segments"),
        ([("anterior", 1, 0), ("Anterior", 2, 0)], {}, "twice"),
        ([("anterior", 1, 0), ("posterior", 2, 4)], {}, "layer that is not in the file"),
        ([("anterior", "one", 0)], {}, "damaged"),
        ([("anterior", 1, 0)], {"Segmentation_MasterRepresentation": "Fractional labelmap"}, "binary labelmap"),
        ([("anterior", 1, 0)], {"Segmentation_SourceRepresentation": "Closed surface"}, "binary labelmap"),
    ],
)
def test_inconsistent_files_are_refused(tmp_path, named, fields, message):
    path = slicer_file(tmp_path / "case.seg.nrrd", merged()[None], named, fields=fields)
    with pytest.raises(VolumeError, match=message) as caught:
        read_mask(path, SEGMENTS, GEOMETRY)
    assert "case.seg.nrrd" in str(caught.value)


def test_layers_without_a_description_are_refused(tmp_path):
    path = slicer_file(tmp_path / "case.seg.nrrd", boxes(), [])
    with pytest.raises(VolumeError, match="2 values in a voxel"):
        read_mask(path, SEGMENTS, GEOMETRY)


def test_names_of_any_language_come_back(tmp_path):
    segments = (Segment(1, "Leber, rechts = größer", (1, 2, 3)), Segment(2, "肝臓 := a|b", (4, 5, 6)))
    path = tmp_path / "case.seg.nrrd"
    write_mask(path, Volume(merged(), GEOMETRY), segments)
    assert np.array_equal(read_mask(path, segments, GEOMETRY).voxels, merged())
