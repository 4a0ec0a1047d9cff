"""The demonstration: its made-up volumes and the commands it runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from conftest import Study
from semisam.cli import make_parser
from semisam.demo.demo import given_data, made_up_data, run_demo, sample_project
from semisam.demo.volumes import SEGMENTS, make_cases
from semisam.errors import ProjectError, UsageError
from semisam.files.volume_files import find_images, read_image, read_mask
from semisam.project import Project
from semisam.volumes import canonical, content_hash


def test_made_up_cases_are_the_same_for_the_same_seed():
    first, again, other = make_cases(2, seed=1), make_cases(2, seed=1), make_cases(2, seed=2)
    assert [content_hash(case.image) for case in first] == [content_hash(case.image) for case in again]
    assert content_hash(first[0].image) != content_hash(other[0].image)


def test_every_made_up_case_holds_both_segments_and_more_than_can_be_told_by_brightness():
    for case in make_cases(6):
        voxels, truth = canonical(case.image).voxels, canonical(case.truth).voxels
        assert {0, 1, 2} == set(np.unique(truth))
        assert 0.01 < (truth > 0).mean() < 0.25
        as_bright_as_the_tail = voxels > np.median(voxels[truth == 2])
        assert (as_bright_as_the_tail & (truth == 0)).sum() > 50


def test_made_up_cases_come_in_several_orientations():
    assert len({case.image.geometry.direction for case in make_cases(8)}) > 3


def recorded(data, folder: Path, results: dict) -> list[list[str]]:
    commands: list[list[str]] = []

    def run(command):
        commands.append(list(command))
        make_parser().parse_args(command)
        return results.get(command[0], {"command": command[0]})

    run_demo(data, folder, 2.0, run)
    return commands


def test_the_demonstration_runs_the_commands_that_a_user_would(tmp_path):
    data = made_up_data(tmp_path, annotated=2, seed=0)
    commands = recorded(data, tmp_path, {})
    assert [command[0] for command in commands] == ["init", "train", "evaluate", "segment", "evaluate", "report"]
    assert commands[0][commands[0].index("--cases") + 1] == "case01,case02"
    assert len(find_images(data.images)) == 12
    assert data.new_image is not None and data.new_image.exists()
    image = read_image(data.images / "case03.nii.gz")
    mask = read_mask(data.labels / "case03.nii.gz", SEGMENTS, reference=image.geometry)
    assert mask.voxels.any()


def test_it_stops_when_a_command_is_interrupted(tmp_path, study: Study):
    data = given_data(study.folder, 1, None)
    commands = recorded(data, tmp_path, {"train": None})
    assert [command[0] for command in commands] == ["init", "train"]


def test_it_takes_the_data_of_a_user(tmp_path, study: Study):
    data = given_data(study.folder, 2, None)
    assert data.annotated == ("case1", "case2")
    assert [segment.value for segment in data.segments] == [1, 2]
    with pytest.raises(UsageError, match="images"):
        given_data(tmp_path, 2, None)
    with pytest.raises(UsageError, match="4 images"):
        given_data(study.folder, 5, None)


def test_a_sample_project_is_ready_for_learning_and_can_be_carried_elsewhere(tmp_path):
    new_image = sample_project(tmp_path / "made", 3, annotated=2, seed=0)
    assert new_image == tmp_path / "made" / "new" / "case04.nii.gz" and new_image.exists()
    (tmp_path / "made").rename(tmp_path / "carried")
    project = Project.open(tmp_path / "carried")
    assert project.training_cases() == ["case01", "case02"] and project.unannotated_cases() == ["case03"]
    assert project.check() == []
    assert set(np.unique(project.annotation("case01").voxels)) == {0, 1, 2}
    assert project.image("case03").geometry.is_close(make_cases(3)[2].image.geometry)


def test_a_sample_project_takes_no_folder_that_holds_something_and_leaves_nothing_behind(tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "letter.txt").write_text("dear")
    with pytest.raises(ProjectError, match="holds something already"):
        sample_project(tmp_path / "taken", 2, annotated=1, seed=0)
    with pytest.raises(UsageError, match="cannot be annotated"):
        sample_project(tmp_path / "new", 2, annotated=3, seed=0)
    assert [path.name for path in tmp_path.rglob("*")] == ["taken", "letter.txt"]
