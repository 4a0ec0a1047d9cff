"""Cases annotated in part: scribbles, or a few slices. What nobody marked is unknown, and teaches nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from semisam.cli import main
from semisam.errors import ProjectError, UsageError, VolumeError
from semisam.files.volume_files import read_mask, write_mask
from semisam.learning import working as working_copies
from semisam.learning.augmentation import Augmentation
from semisam.learning.losses import segmentation_loss
from semisam.learning.sampling import Sampler
from semisam.learning.working import UNKNOWN, WorkingSet
from semisam.project import Project, State
from semisam.project.masks import drawn_slices, read_given
from semisam.segments import OUTSIDE, Segment
from semisam.specialists.fingerprint import take_fingerprint
from semisam.specialists.hardware import detect
from semisam.specialists.plan import make_plan
from semisam.volumes import Geometry, Volume

IDENTITY = (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0)


def truth_of(study, name):
    return read_mask(study.labels / f"{name}.nii.gz", study.segments)


def some_slices(mask, step=4):
    """Every ``step``-th slice of a mask, and (k, j, i) bool: these slices."""
    known = np.zeros(mask.shape, bool)
    known[::step] = True
    return Volume(np.where(known, mask.voxels, 0).astype(np.uint8), mask.geometry), known


def annotate_in_part(project, study, name):
    mask, known = some_slices(truth_of(study, name))
    project.set_annotation(name, mask, author="test", source="slices", known=known)
    return mask, known


def test_a_partial_annotation_is_kept_as_it_was_drawn(study):
    project = study.make_project(annotated=("case1",))
    mask, known = annotate_in_part(project, study, "case2")
    project = Project.open(project.path)
    read, where = project.annotation_and_known("case2")
    np.testing.assert_array_equal(read.voxels, mask.voxels)
    np.testing.assert_array_equal(where, known)
    assert project.annotation_and_known("case1")[1] is None
    case = project.case("case2")
    assert case.state is State.IN_WORK and case.partial
    assert "case2" in project.training_cases() and "case2" not in project.finished_cases()
    assert project.unannotated_cases().count("case2") == 1
    assert project.check() == []


def test_an_annotation_of_all_voxels_is_no_partial_one(study):
    project = study.make_project(annotated=())
    mask = truth_of(study, "case1")
    project.set_annotation("case1", mask, author="test", source="all", known=np.ones(mask.shape, bool))
    assert project.case("case1").state is State.ANNOTATED and not project.case("case1").partial


def test_work_that_is_merely_unfinished_is_still_not_learned_from(study):
    project = study.make_project(annotated=("case1",))
    project.set_annotation("case2", truth_of(study, "case2"), author="test", source="half", state=State.IN_WORK)
    assert project.training_cases() == ["case1"]


def test_it_is_finished_removed_and_brought_back_like_any_other(study):
    project = study.make_project(annotated=("case1",))
    _, known = annotate_in_part(project, study, "case2")
    project.set_annotation("case2", truth_of(study, "case2"), author="test", source="finished")
    assert project.case("case2").state is State.ANNOTATED and not project.case("case2").partial
    project.restore_annotation("case2", author="test")
    assert project.case("case2").partial
    np.testing.assert_array_equal(project.annotation_and_known("case2")[1], known)
    project.adopt_annotation("case2", author="test")
    assert project.case("case2").partial
    project.remove_annotation("case2")
    assert project.training_cases() == ["case1"]


@pytest.mark.parametrize("what", ["nothing", "no outside", "no segment", "another grid"])
def test_what_shows_too_little_is_refused(study, what):
    project = study.make_project(annotated=())
    mask = truth_of(study, "case1")
    known = {
        "nothing": np.zeros(mask.shape, bool),
        "no outside": mask.voxels > 0,
        "no segment": mask.voxels == 0,
        "another grid": np.zeros((2, 2, 2), bool),
    }[what]
    with pytest.raises(ProjectError, match="case1"):
        project.set_annotation("case1", mask, author="test", source="poor", known=known)
    assert project.training_cases() == []


def test_accepting_a_proposal_completes_it(study):
    project = study.make_project(annotated=())
    mask, _ = annotate_in_part(project, study, "case1")
    whole = truth_of(study, "case1")
    project.set_proposal("case1", whole, model="specialist-0001", confidence=0.9)
    assert project.case("case1").partial
    project.accept("case1", author="test", segments=[project.segments[0].name])
    assert not project.case("case1").partial
    first = project.annotation("case1").voxels
    assert (first == project.segments[0].value).sum() >= (mask.voxels == project.segments[0].value).sum()
    project.accept("case1", author="test")
    np.testing.assert_array_equal(project.annotation("case1").voxels, whole.voxels)
    assert project.case("case1").state is State.ACCEPTED


def test_drawn_slices_are_those_across_which_one_draws():
    voxels = np.zeros((12, 10, 8), np.uint8)
    voxels[4, 2:8, 2:6] = 1
    voxels[9, 3:7, 2:6] = 2
    for spacing in ((1.0, 1.0, 1.0), (6.0, 1.0, 1.0)):
        known = drawn_slices(Volume(voxels, Geometry(voxels.shape, spacing, (0.0,) * 3, IDENTITY)))
        assert known[4].all() and known[9].all() and known.sum() == 2 * 80
    turned = np.ascontiguousarray(voxels.transpose(2, 1, 0))
    known = drawn_slices(Volume(turned, Geometry(turned.shape, (1.0, 1.0, 1.0), (0.0,) * 3, IDENTITY)))
    assert known[:, :, 4].all() and known.sum() == 2 * 80


def test_scribbles_are_read_with_the_value_of_what_is_unknown(study, tmp_path):
    mask = truth_of(study, "case1")
    scribbles = np.full(mask.shape, 9, np.uint8)
    scribbles[5, 5], scribbles[0, 0] = mask.voxels[5, 5], 0
    segments = [*study.segments, Segment(9, "unknown", (0, 0, 0))]
    write_mask(tmp_path / "scribbles.nii.gz", Volume(scribbles, mask.geometry), segments)
    read, known = read_given(tmp_path / "scribbles.nii.gz", study.segments, mask.geometry, "9")
    assert known[5, 5].all() and known[0, 0].all() and known.sum() == 2 * mask.shape[2]
    assert read.voxels.max() < 9
    for unknown in ("all", "0", "300", str(study.segments[0].value), "-1"):
        with pytest.raises(UsageError, match="slices"):
            read_given(tmp_path / "scribbles.nii.gz", study.segments, mask.geometry, unknown)
    with pytest.raises(VolumeError, match="--unknown 9"):
        read_given(tmp_path / "scribbles.nii.gz", study.segments, mask.geometry, None)


@pytest.mark.parametrize("name", ["mask.nii.gz", "mask.seg.nrrd"])
def test_255_means_outside_only_where_a_file_says_so(study, tmp_path, name):
    mask, known = some_slices(truth_of(study, "case1"))
    marked = Volume(np.where(known & (mask.voxels == 0), 255, mask.voxels).astype(np.uint8), mask.geometry)
    write_mask(tmp_path / name, marked, (*study.segments, Segment(255, "ignored", (0, 0, 0))))
    with pytest.raises(VolumeError, match="--unknown 255" if name == "mask.nii.gz" else '"ignored"'):
        read_given(tmp_path / name, study.segments, mask.geometry, None)
    write_mask(tmp_path / "own.seg.nrrd", marked, (*study.segments, OUTSIDE))
    np.testing.assert_array_equal(read_given(tmp_path / "own.seg.nrrd", study.segments, mask.geometry, None)[1], known)


def working_set(project):
    plan = make_plan(take_fingerprint(project), detect("cpu"), tuple(segment.name for segment in project.segments))
    return WorkingSet(project, plan), plan


def test_unknown_voxels_reach_training_as_unknown(study):
    project = study.make_project(annotated=("case1",))
    annotate_in_part(project, study, "case2")
    working, _ = working_set(project)
    assert working.annotated == ["case1", "case2"] and working.complete == ["case1"]
    assert "case2" in working.unannotated and "case1" not in working.unannotated
    labels = working["case2"].labels
    assert (labels == UNKNOWN).any() and (labels == 0).any() and (labels == 1).any()
    assert not (working["case1"].labels == UNKNOWN).any()


def test_thin_strokes_survive_a_coarse_grid(study, monkeypatch):
    monkeypatch.setattr(working_copies, "grown", lambda image, labels, count, unknown: labels)  # as they were drawn
    project = study.make_project(annotated=("case1",))
    mask = truth_of(study, "case2")
    known = np.zeros(mask.shape, bool)
    known[mask.shape[0] // 2, mask.shape[1] // 2] = True  # one line of voxels
    project.set_annotation("case2", mask, author="test", source="a stroke", known=known)
    plan = make_plan(
        take_fingerprint(project), detect("cpu"), tuple(s.name for s in project.segments), chosen_spacing=2.0
    )
    labels = WorkingSet(project, plan)["case2"].labels
    assert set(np.unique(labels)) >= {0, UNKNOWN} and ((labels > 0) & (labels != UNKNOWN)).any()
    assert (labels != UNKNOWN).mean() < 0.1


def test_the_loss_and_its_gradient_do_not_depend_on_what_is_predicted_for_unknown_voxels():
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 4, 5, 6, requires_grad=True)
    target = torch.nn.functional.one_hot(torch.randint(0, 3, (2, 4, 5, 6)), 3).movedim(-1, 1).float()
    target[:, :, 2:] = 0
    loss = segmentation_loss(logits, target)
    loss.backward()
    assert logits.grad[:, :, :2].abs().sum() > 0 and not logits.grad[:, :, 2:].any()
    other = logits.detach().clone()
    other[:, :, 2:] = 7
    assert torch.equal(segmentation_loss(other, target), loss.detach())
    part = segmentation_loss(logits[:, :, :2], target[:, :, :2])
    torch.testing.assert_close(part, loss)


def test_a_patch_of_a_partial_case_has_no_target_where_nothing_is_known(study):
    project = study.make_project(annotated=())
    annotate_in_part(project, study, "case1")
    working, plan = working_set(project)
    rng = np.random.default_rng(0)
    sampler = Sampler(plan, Augmentation(plan.patch, plan.working_spacing, rng), rng, "cpu")
    total = sampler.labelled([working["case1"]], 4).target.sum(1)
    assert ((total > -1e-5) & (total < 1 + 1e-5)).all()
    assert (total < 0.01).float().mean() > 0.3 and (total > 0.5).float().mean() > 0.05


def test_what_is_hidden_in_unknown_voxels_changes_nothing(study, tmp_path):
    """Bit for bit: other values where nothing is known, the same weights."""
    weights = []
    for number, filler in enumerate((0, 1)):
        scribbles = truth_of(study, "case1").voxels.copy()
        scribbles[1::2] = 9
        project = Project.create(tmp_path / f"p{number}", study.segments)
        for path in sorted(study.images.glob("*.nii.gz")):
            project.add_case(path.name.removesuffix(".nii.gz"), path)
        voxels = np.where(scribbles == 9, filler, scribbles).astype(np.uint8)
        geometry = project.image_geometry("case1")
        project.set_annotation("case1", Volume(voxels, geometry), author="t", source="s", known=scribbles != 9)
        options = ["--steps", "6", "--seed", "1", "--framework", "copy-paste", "--generalist", "none"]
        assert main(["train", str(project.path), *options]) == 0
        from safetensors.torch import load_file

        name = json.loads((project.models_dir / "specialist.json").read_text())["weights"]
        weights.append(load_file(project.models_dir / name))
        assert project.reload() and project.case("case1").proposal is not None and project.case("case1").partial
    for name, value in weights[0].items():
        assert torch.equal(weights[1][name], value), name


def test_on_the_command_line(study, tmp_path, capsys):
    mask, _ = some_slices(truth_of(study, "case1"))
    (tmp_path / "slices").mkdir()
    write_mask(tmp_path / "slices" / "case1.nii.gz", mask, study.segments)
    text = ",".join(f"{segment.value}={segment.name}" for segment in study.segments)
    start = ["init", str(tmp_path / "p"), "--images", str(study.images), "--segments", text]
    assert main([*start, "--unknown", "slices"]) != 0
    assert "--annotations" in capsys.readouterr().err
    assert main([*start, "--annotations", str(tmp_path / "slices"), "--unknown", "slices"]) == 0
    project = Project.open(tmp_path / "p")
    assert project.case("case1").partial and project.training_cases() == ["case1"]
    capsys.readouterr()
    arguments = ["annotate", str(project.path), "case2", str(study.labels / "case2.nii.gz")]
    assert main(arguments) == 0
    assert "in full" in capsys.readouterr().out
    assert main([*arguments, "--unknown", "slices"]) == 0
    assert "in part" in capsys.readouterr().out
