"""Changing the segments of a project that has masks, and without."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from semisam.errors import UsageError
from semisam.project import Project
from semisam.segments import Segment, are_called
from semisam.worker.protocol import Refusal, parse_request
from small_project import SEGMENTS, make_mask, make_project

LIVER = "Segmentation category and type~SCT^85756007^Tissue~SCT^10200004^Liver~^^~Anatomic codes~^^~^^"


@pytest.fixture
def annotated(tmp_path: Path) -> Project:
    project = make_project(tmp_path)
    project.set_annotation("a", make_mask(1), author="Ada", source="drawn")
    return project


def test_renamed_segments_keep_their_masks_and_what_was_learned(annotated: Project) -> None:
    before = annotated.annotation("a").voxels
    plan = annotated.models_dir / "plan.json"
    plan.write_text(json.dumps({"segments": [segment.name for segment in SEGMENTS], "patch": [1, 2, 3]}))
    renamed = [replace(SEGMENTS[0], name="whole liver", color=(1, 2, 3), terminology=LIVER), *SEGMENTS[1:]]
    annotated.change_segments(renamed)
    again = Project.open(annotated.path)
    assert again.segments[0] == replace(renamed[0], former_names=(SEGMENTS[0].name,))
    assert np.array_equal(again.annotation("a").voxels, before)
    assert again.case("a").annotation.provenance["segments"] == [segment.name for segment in renamed]
    assert json.loads(plan.read_text())["segments"] == [segment.name for segment in renamed]
    again.set_annotation("a", again.annotation("a"), author="Ada", source="drawn")
    image = sitk.ReadImage(str(again.annotation_path("a")))
    assert image.GetMetaData("Segment0_Name") == "whole liver"
    assert image.GetMetaData("Segment0_Tags") == f"TerminologyEntry:{LIVER}|"


def test_a_former_name_cannot_become_that_of_another_segment(annotated: Project) -> None:
    first, second, *rest = SEGMENTS
    with pytest.raises(UsageError, match="was the name of another segment"):
        annotated.change_segments([replace(first, name=second.name), replace(second, name=first.name), *rest])
    annotated.change_segments([replace(first, name="x"), second, *rest])
    annotated.change_segments([first, second, *rest])
    assert annotated.segments[0].name == first.name and annotated.segments[0].former_names == ("x",)


def test_with_masks_no_segment_comes_or_goes(annotated: Project) -> None:
    for wanted in (SEGMENTS[:-1], (*SEGMENTS, Segment(99, "new", (1, 2, 3)))):
        with pytest.raises(UsageError, match="once there are masks"):
            annotated.change_segments(wanted)
    assert annotated.segments == SEGMENTS


def test_with_a_model_segments_are_renamed_as_with_masks(tmp_path: Path) -> None:
    """As a colleague's model that was imported before anything was annotated."""
    project = make_project(tmp_path)
    plan = project.models_dir / "plan.json"
    plan.write_text(json.dumps({"segments": [segment.name for segment in SEGMENTS]}))
    (project.models_dir / "specialist.json").write_text("{}")
    project.change_segments([replace(SEGMENTS[0], name="Leber"), *SEGMENTS[1:]])
    assert json.loads(plan.read_text())["segments"] == ["Leber", SEGMENTS[1].name]
    assert are_called(project.segments, [segment.name for segment in SEGMENTS])
    for wanted in (project.segments[:-1], (*project.segments, Segment(99, "new", (1, 2, 3)))):
        with pytest.raises(UsageError, match="or a model"):
            project.change_segments(wanted)


def test_without_masks_segments_come_and_go(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    project.change_segments([Segment(1, "spleen", (1, 2, 3))])
    assert project.segments == (Segment(1, "spleen", (1, 2, 3)),)
    with pytest.raises(UsageError, match="the same name"):
        project.change_segments([Segment(1, "spleen", (1, 2, 3)), Segment(2, "Spleen", (1, 2, 3))])


def test_terminology_that_would_break_a_mask_file_is_refused() -> None:
    segment = {"value": 1, "name": "liver", "color": [1, 2, 3], "terminology": LIVER}
    request = {"id": 1, "request": "change-segments", "segments": [segment]}
    assert parse_request(request)["segments"][0].terminology == LIVER
    for bad in ("a|b", "a\nb"):
        answer = parse_request({**request, "segments": [{**segment, "terminology": bad}]})
        assert isinstance(answer, Refusal)
