"""Patches of unannotated cases are taken where their proposals show structures."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from conftest import SEGMENTS, Study, make_study
from frameworks_kit import tiny_plan
from semisam.files.volume_files import write_image
from semisam.learning.augmentation import Augmentation
from semisam.learning.sampling import Sampler
from semisam.learning.whereabouts import Whereabouts
from semisam.learning.working import WorkingSet
from semisam.project import Project
from semisam.segments import parse_segments
from semisam.volumes import Geometry, Volume, canonical, resample_mask

TURN = math.radians(25)
# Columns are the directions along i, j, k: oblique, and both i and k run backwards.
DIRECTION = (-math.cos(TURN), math.sin(TURN), 0.0, math.sin(TURN), math.cos(TURN), 0.0, 0.0, 0.0, -1.0)


def test_the_places_lie_in_the_segments_of_an_oblique_flipped_anisotropic_volume(tmp_path: Path) -> None:
    geometry = Geometry((20, 60, 48), (3.0, 0.8, 0.8), (10.0, -40.0, 7.0), DIRECTION)
    rng = np.random.default_rng(0)
    image = Volume(rng.normal(size=geometry.shape).astype(np.float32), geometry)
    write_image(tmp_path / "far.nii.gz", image)
    project = Project.create(tmp_path / "project", parse_segments(SEGMENTS))
    project.add_case("far", tmp_path / "far.nii.gz")
    mask = np.zeros(geometry.shape, np.uint8)
    mask[2:8, 6:26, 30:44] = 1
    mask[12:17, 40:55, 4:20] = 2
    project.set_proposal("far", Volume(mask, geometry), model="specialist-0001", confidence=0.9)
    plan = tiny_plan(working_spacing=(2.5, 1.5, 1.5))
    case = WorkingSet(project, plan)["far"]
    places = Whereabouts(project).of(case)
    assert len(places) == 2
    on_grid = resample_mask(canonical(Volume(mask, geometry)), case.geometry, [1, 2])
    for value, found in enumerate(places, start=1):
        assert 300 < len(found) <= 500
        index = np.rint(found).astype(int)
        assert (index >= 0).all() and (index < case.image.shape).all()
        # At the border a voxel of one grid may lie in the background of the other.
        assert (on_grid[tuple(index.T)] == value).mean() > 0.75


def test_a_new_proposal_is_noticed_and_a_rejected_one_says_nothing(proposed: Study) -> None:
    project = Project.open(proposed.project)
    case = WorkingSet(project, tiny_plan())["case3"]
    whereabouts = Whereabouts(project)
    before = whereabouts.of(case)
    assert whereabouts.of(case) is before  # read once
    empty = np.zeros(case.original.shape, np.uint8)
    empty[2:4, 2:4, 2:4] = 2
    project.set_proposal("case3", Volume(empty, case.original), model="specialist-0002", confidence=0.5)
    (after,) = whereabouts.of(case)
    assert len(after) == 8
    project.reject("case3", author="tester")
    assert whereabouts.of(case) == []


def test_without_a_proposal_or_with_a_damaged_one_nothing_is_known(proposed: Study) -> None:
    project = Project.open(proposed.project)
    working = WorkingSet(project, tiny_plan())
    assert Whereabouts(project).of(working["case1"]) == []
    project.proposal_path("case4").write_bytes(b"no mask")
    assert Whereabouts(project).of(working["case4"]) == []


def test_patches_of_a_large_volume_show_what_was_proposed(tmp_path: Path) -> None:
    project = make_study(tmp_path).make_project()
    plan = tiny_plan()
    case = WorkingSet(project, plan)["case3"]
    size = np.array((64, 64, 64))
    case = replace(case, image=np.zeros(size, np.float16))
    rng = np.random.default_rng(0)
    sampler = Sampler(plan, Augmentation(plan.patch, plan.working_spacing, rng), rng, "cpu")
    place = np.array([[50.0, 12.0, 50.0]])
    near = [sampler._unlabelled_centre(case, [place]) for _ in range(300)]
    anywhere = [sampler._unlabelled_centre(case, []) for _ in range(300)]
    assert 0.6 < np.mean([np.allclose(centre, place[0]) for centre in near]) < 0.8
    assert np.std(anywhere, axis=0).min() > 5
