"""The commands that measure: evaluate and report."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from command_line import answer, assert_one_sentence, run
from conftest import SEGMENTS, Study, ellipsoid
from semisam.files.volume_files import read_mask, write_mask
from semisam.project import Project, State
from semisam.segments import parse_segments
from semisam.volumes import Geometry, Volume, bounding_box


def test_evaluate_compares_by_name_and_reports_what_is_missing(capsys, proposed: Study):
    result = answer(capsys, "evaluate", proposed.project, proposed.labels)
    assert set(result["cases"]) == {"case3", "case4"}
    assert result["missing"] == ["case1", "case2"]
    assert result["cases"]["case3"]["head"]["dice"] == 1.0
    assert 0.5 < result["cases"]["case4"]["tail"]["dice"] < 1.0
    assert result["mean"]["all"]["hd95_mm"] > 0


def test_evaluate_takes_two_single_files(capsys, study: Study):
    result = answer(capsys, "evaluate", study.labels / "case1.nii.gz", study.labels / "case1.nii.gz")
    assert result["mean"]["all"]["dice"] == 1.0
    assert set(result["cases"]["case1"]) == {"1", "2"}


def test_evaluate_takes_the_names_that_the_masks_themselves_tell(capsys, proposed: Study, tmp_path: Path):
    result = answer(capsys, "evaluate", proposed.project / "proposals", proposed.labels)
    assert set(result["cases"]["case3"]) == {"head", "tail"} and result["mean"]["head"]["dice"] > 0.5
    assert result["without_reference"] == []  # the uncertainty beside a proposal is no prediction
    # Both sides tell names, so their values may differ.
    turned = parse_segments("1=tail,2=head")
    mask = read_mask(proposed.labels / "case3.nii.gz", proposed.segments)
    (tmp_path / "turned").mkdir()
    path = tmp_path / "turned" / "case3.seg.nrrd"
    write_mask(path, Volume(np.array([0, 2, 1], np.uint8)[mask.voxels], mask.geometry), turned)
    result = answer(capsys, "evaluate", proposed.project / "proposals" / "case3.seg.nrrd", path)
    assert result["mean"]["all"]["dice"] == 1.0
    shutil.copy(proposed.project / "proposals" / "case4.seg.nrrd", tmp_path / "turned")
    code, _, err = run(capsys, "evaluate", tmp_path / "turned", proposed.labels)
    assert code == 2 and "--segments" in err
    assert_one_sentence(err)


def test_the_report_tells_which_references_are_of_no_use(capsys, proposed: Study):
    wrong = Geometry.simple((5, 5, 5))
    write_mask(proposed.labels / "case4.nii.gz", Volume(ellipsoid(wrong.shape), wrong), proposed.segments)
    code, out, _ = run(capsys, "report", proposed.project, "--reference", proposed.labels)
    assert code == 0 and "1 of 2 proposals" in out and "case4.nii.gz" in out
    page = (proposed.project / "report.html").read_text("utf-8")
    assert "case4.nii.gz" in page and page.count('<svg class="slice') == 3 * 4
    (proposed.labels / "case3.nii.gz").rename(proposed.labels / "other.nii.gz")
    result = answer(capsys, "report", proposed.project, "--reference", proposed.labels)
    assert (result["references"]["used"], result["references"]["proposals"]) == (0, 2)


def test_evaluate_leaves_out_what_the_model_was_taught_and_tells_of_several_models(capsys, proposed: Study):
    project = Project.open(proposed.project)
    project.set_annotation("case3", project.proposal("case3"), author="Ada", source="drawn", state=State.IN_WORK)
    result = answer(capsys, "evaluate", proposed.project, proposed.labels)
    assert set(result["cases"]) == {"case4"} and result["annotated"] == ["case3"]
    assert result["mean"]["tail"] == result["cases"]["case4"]["tail"] and "case3" not in result["missing"]
    assert result["models"] == ["specialist-0001"]
    assert "left out (1): case3." in run(capsys, "evaluate", proposed.project, proposed.labels)[1]
    project.remove_annotation("case3")
    project.set_proposal("case3", project.proposal("case3"), model="specialist-0002", confidence=0.9)
    assert answer(capsys, "evaluate", proposed.project, proposed.labels)["models"] == [
        "specialist-0001",
        "specialist-0002",
    ]
    out = run(capsys, "evaluate", proposed.project, proposed.labels)[1]
    assert "2 models (specialist-0001, specialist-0002)" in out and "semisam propose" in out


def cut_to_extent(path: Path, segments) -> None:
    """Write the mask as 3D Slicer writes one without reference image, in a .seg.nrrd file of its own."""
    mask = read_mask(path, segments)
    box = bounding_box(mask.voxels > 0)
    assert box is not None
    origin = tuple(mask.geometry.index_to_world([part.start for part in box]))
    grid = replace(mask.geometry, shape=mask.voxels[box].shape, origin=origin)
    write_mask(path.with_name(f"{path.name.split('.')[0]}.seg.nrrd"), Volume(mask.voxels[box], grid), segments)
    path.unlink()


def test_evaluate_takes_references_that_are_cut_to_their_extent(capsys, proposed: Study, tmp_path: Path):
    before = answer(capsys, "evaluate", proposed.project, proposed.labels)
    proposals = shutil.copytree(proposed.project / "proposals", tmp_path / "proposals")
    cut_to_extent(proposed.labels / "case4.nii.gz", proposed.segments)
    for predictions in (proposed.project, proposals):
        assert answer(capsys, "evaluate", predictions, proposed.labels)["cases"] == before["cases"]


def test_evaluate_refuses_masks_on_different_grids(capsys, study: Study, tmp_path):
    geometry = Geometry.simple((5, 5, 5))
    (tmp_path / "masks").mkdir()
    path = tmp_path / "masks" / "case1.nii.gz"
    write_mask(path, Volume(np.ones(geometry.shape, np.uint8), geometry), study.segments)
    code, _, err = run(capsys, "evaluate", tmp_path / "masks", study.labels, "--segments", SEGMENTS)
    assert code == 1
    assert_one_sentence(err)
    assert "case1.nii.gz" in err


def test_evaluate_without_a_common_name_is_refused(capsys, study: Study, tmp_path):
    (tmp_path / "masks").mkdir()
    geometry = Geometry.simple((5, 5, 5))
    write_mask(tmp_path / "masks" / "other.nii.gz", Volume(np.ones(geometry.shape, np.uint8), geometry), study.segments)
    code, _, err = run(capsys, "evaluate", tmp_path / "masks", study.labels)
    assert code == 2
    assert_one_sentence(err)
