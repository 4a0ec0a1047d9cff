"""The commands on a project and its cases: init, add, link, status, annotate, accept, reject, restore, remove."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from command_line import answer, assert_one_sentence, run
from conftest import SEGMENTS, Study, ellipsoid
from semisam.cli import main
from semisam.files.volume_files import read_mask, write_image, write_mask
from semisam.project import Project, State
from semisam.project.masks import drawn_slices
from semisam.segments import Segment
from semisam.volumes import Geometry, Volume


def test_init_tells_what_it_understood(capsys, study: Study):
    code, out, err = run(capsys, *study.init_arguments("--cases", "case1,case2"))
    assert code == 0, err
    assert "4 cases, 2 annotated, 2 unannotated" in out
    assert re.search(r"case1\s+19 x 22 x 20\s+1.2 x 1 x 1", out)
    project = Project.open(study.project)
    assert project.training_cases() == ["case1", "case2"]
    assert project.case("case1").annotation.provenance["source"].endswith("case1.nii.gz")


def test_masks_of_other_cases_are_not_opened_at_all(capsys, study: Study):
    (study.labels / "case3.nii.gz").write_bytes(b"no mask")
    result = answer(capsys, *study.init_arguments("--cases", "case1"))
    assert result["annotated"] == ["case1"]
    assert result["annotations_not_used"] == ["case2", "case3", "case4"]


def test_init_never_overwrites_a_project(capsys, study: Study):
    assert run(capsys, *study.init_arguments())[0] == 0
    before = (study.project / "project.json").read_bytes()
    code, _, err = run(capsys, *study.init_arguments())
    assert code == 1
    assert_one_sentence(err)
    assert "already is a project" in err
    assert (study.project / "project.json").read_bytes() == before


def test_init_makes_no_project_among_other_files(capsys, study: Study):
    arguments = study.init_arguments()
    for place, reason in (
        (study.images, "folder of the images"),
        (study.labels, "holds something already"),
        (study.folder.parent, "holds something already"),
    ):
        arguments[1] = str(place)
        code, _, err = run(capsys, *arguments)
        assert code == 1 and reason in err
        assert_one_sentence(err)
    study.project.mkdir()
    (study.project / ".hidden").touch()  # as file managers leave them
    assert run(capsys, *study.init_arguments())[0] == 0


def test_init_works_in_a_folder_that_holds_the_images(capsys, study: Study):
    arguments = study.init_arguments()
    arguments[1] = str(study.folder)
    (study.images).rename(study.folder / "scans")
    arguments[arguments.index("--images") + 1] = str(study.folder / "scans")
    assert run(capsys, *arguments)[0] == 0
    project = Project.open(study.folder)
    assert project.image("case1").shape == (19, 22, 20)


@pytest.mark.parametrize("cases", ["case9", "case1,case9"])
def test_unknown_cases_are_told(capsys, study: Study, cases):
    code, _, err = run(capsys, *study.init_arguments("--cases", cases))
    assert code == 2
    assert "case9" in err and "--cases" in err
    assert not study.project.exists()


def test_a_bad_annotation_stops_init_and_leaves_nothing_behind(capsys, study: Study):
    wrong = Geometry.simple((19, 22, 20), (3.0, 1.0, 1.0))
    write_mask(study.labels / "case1.nii.gz", Volume(ellipsoid(wrong.shape), wrong), study.segments)
    code, _, err = run(capsys, *study.init_arguments())
    assert code == 1
    assert_one_sentence(err)
    assert "case1.nii.gz" in err
    assert sorted(path.name for path in study.folder.iterdir()) == ["images", "labels"]


def test_unknown_values_in_an_annotation_are_told(capsys, study: Study):
    arguments = study.init_arguments()
    arguments[arguments.index("--segments") + 1] = "1=head"
    code, _, err = run(capsys, *arguments)
    assert code == 1
    assert_one_sentence(err)
    assert "case1" in err


def test_images_can_be_copied_into_the_project(capsys, study: Study):
    assert run(capsys, *study.init_arguments("--copy"))[0] == 0
    for image in study.images.iterdir():
        image.unlink()
    assert Project.open(study.project).image("case2").shape == (20, 22, 20)


def test_cases_are_added_with_their_annotations(capsys, study: Study, tmp_path: Path):
    first = study.images / "case1.nii.gz"
    (tmp_path / "some").mkdir()
    shutil.copy(first, tmp_path / "some")
    arguments = ["init", study.project, "--images", tmp_path / "some", "--segments", SEGMENTS]
    assert "semisam suggest" in run(capsys, *arguments)[1]
    more = [study.images / f"case{number}.nii.gz" for number in (2, 3)]
    (study.labels / "case3.nii.gz").unlink()
    result = answer(capsys, "add", study.project, *more, "--annotations", study.labels, "--copy")
    assert result["annotated"] == ["case2"] and list(result["cases"]) == ["case2", "case3"]
    project = Project.open(study.project)
    assert list(project.cases) == ["case1", "case2", "case3"] and project.training_cases() == ["case2"]
    assert project.case("case3").image.is_relative_to(study.project.resolve())


def test_of_several_images_all_or_none_are_added(capsys, study: Study, tmp_path: Path):
    assert run(capsys, *study.init_arguments())[0] == 0
    good = shutil.copy(study.images / "case1.nii.gz", tmp_path / "good.nii.gz")
    bad = [tmp_path / "bad.nii.gz", tmp_path / "worse.nii.gz"]
    for path in bad:
        path.write_bytes(b"no image")
    code, _, err = run(capsys, "add", study.project, good, *bad)
    assert code == 1 and all(path.name in err for path in bad)
    assert_one_sentence(err)
    mask = study.folder / "good.seg.nrrd"
    shutil.copy(study.labels / "case1.nii.gz", mask)
    assert "segmentation" in run(capsys, "add", study.project, mask)[2]
    assert "already" in run(capsys, "add", study.project, study.images / "case1.nii.gz")[2]
    (tmp_path / "masks").mkdir()
    mask = read_mask(study.labels / "case1.nii.gz", study.segments)
    write_mask(tmp_path / "masks" / "good.nii.gz", Volume(0 * mask.voxels, mask.geometry), study.segments)
    masks = ["--annotations", tmp_path / "masks", "--unknown", "slices"]
    assert "must show both" in run(capsys, "add", study.project, good, *masks)[2]
    assert len(Project.open(study.project).cases) == 4


def test_a_moved_image_is_linked_again(capsys, proposed: Study, tmp_path: Path):
    moved = shutil.move(proposed.images / "case4.nii.gz", tmp_path / "moved.nii.gz")
    code, _, err = run(capsys, "annotate", proposed.project, "case4", proposed.labels / "case4.nii.gz")
    assert code == 1 and "semisam link" in err
    assert run(capsys, "link", proposed.project, "case4", proposed.images / "case1.nii.gz")[0] == 1
    assert answer(capsys, "link", proposed.project, "case4", moved)["state"] == "proposed"
    assert Project.open(proposed.project).image("case4").shape == (22, 22, 20)


def test_annotating_tells_what_the_mask_shows(capsys, proposed: Study, tmp_path: Path):
    mask = read_mask(proposed.labels / "case4.nii.gz", proposed.segments)
    result = answer(capsys, "annotate", proposed.project, "case4", proposed.labels / "case4.nii.gz")
    volume = (mask.voxels == 1).sum() * mask.geometry.voxel_volume / 1000
    assert result["volumes_ml"]["head"] == pytest.approx(volume)
    empty = tmp_path / "empty.nii.gz"
    write_mask(empty, Volume(0 * mask.voxels, mask.geometry), proposed.segments)
    assert (
        f"head {volume:.3f} ml"
        in run(capsys, "annotate", proposed.project, "case4", proposed.labels / "case4.nii.gz")[1]
    )
    code, out, _ = run(capsys, "annotate", proposed.project, "case4", empty)
    assert code == 0 and "The mask is empty" in out


def test_a_project_without_cases_is_told_how_to_have_some(capsys, tmp_path: Path):
    Project.create(tmp_path / "p", [Segment(1, "x", (0, 0, 0))])
    for command in ("status", "suggest"):
        assert "semisam add" in run(capsys, command, tmp_path / "p")[1]


def test_status_shows_the_least_sure_proposal_first(capsys, proposed: Study):
    code, out, _ = run(capsys, "status", proposed.project)
    assert code == 0
    assert "2 annotated" in out and "2 proposed" in out
    assert out.index("case4") < out.index("case3")


def test_many_segments_do_not_make_the_tables_wide(capsys, study: Study, tmp_path: Path):
    names = ",".join(f"{value}=organ {value}" for value in range(1, 40))
    arguments = ["--images", str(study.images), "--annotations", str(study.labels), "--segments", names]
    assert main(["init", str(tmp_path / "many"), *arguments]) == 0
    told = capsys.readouterr().out
    assert "of 39 segments" in told and "organ 7 ml" not in told
    assert main(["status", str(tmp_path / "many"), "--all"]) == 0
    told = capsys.readouterr().out.partition("All cases")[2]
    assert "all ml" in told and max(map(len, told.splitlines())) < 120


def test_status_tells_nothing_of_a_proposal_that_an_annotation_has_replaced(capsys, proposed: Study):
    assert run(capsys, "annotate", proposed.project, "case4", proposed.labels / "case4.nii.gz")[0] == 0
    assert run(capsys, "accept", proposed.project, "case3")[0] == 0
    out = run(capsys, "status", proposed.project, "--all")[1]
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line.startswith("case")}
    assert rows["case4"] == ["case4", "annotated"]
    assert rows["case3"][:3] == ["case3", "accepted", "0.950"] and len(rows["case3"]) == 5


def test_status_tells_which_work_is_learned_from(capsys, proposed: Study):
    project, name = Project.open(proposed.project), "case4"
    mask = read_mask(proposed.labels / f"{name}.nii.gz", proposed.segments)
    project.set_annotation(name, mask, author="tester", source="drawn", known=drawn_slices(mask))
    assert "1 annotated in part" in run(capsys, "status", proposed.project)[1]
    assert answer(capsys, "status", proposed.project)["states"]["in work"] == 1


def test_status_for_machines_holds_every_case(capsys, proposed: Study):
    result = answer(capsys, "status", proposed.project)
    assert result["states"] == {"annotated": 2, "proposed": 2}
    assert [case["name"] for case in result["cases"]] == ["case4", "case3", "case1", "case2"]
    first = result["cases"][0]
    assert first["confidence"] == 0.7
    assert Path(first["proposal"]["path"]).is_file()


def test_cases_are_accepted_rejected_annotated_and_removed(capsys, proposed: Study):
    assert answer(capsys, "accept", proposed.project, "case3")["state"] == "accepted"
    assert answer(capsys, "reject", proposed.project, "case4")["state"] == "rejected"
    mask = proposed.labels / "case4.nii.gz"
    assert answer(capsys, "annotate", proposed.project, "case4", mask)["state"] == "annotated"
    assert answer(capsys, "remove", proposed.project, "case1", "--annotation-only")["state"] == "new"
    assert answer(capsys, "remove", proposed.project, "case2")["state"] is None
    project = Project.open(proposed.project)
    assert {name: case.state for name, case in project.cases.items()} == {
        "case1": State.NEW,
        "case3": State.ACCEPTED,
        "case4": State.ANNOTATED,
    }
    assert (proposed.images / "case2.nii.gz").exists()


def test_a_finished_annotation_is_replaced_on_demand_only_and_comes_back(capsys, proposed: Study):
    mask = proposed.labels / "case3.nii.gz"
    assert answer(capsys, "annotate", proposed.project, "case3", mask)["state"] == "annotated"
    project = Project.open(proposed.project)
    project.set_proposal(
        "case3",
        Volume(0 * project.annotation("case3").voxels, project.annotation("case3").geometry),
        model="specialist-0002",
        confidence=0.1,
    )
    drawn = project.annotation("case3").voxels
    for _ in range(2):
        code, _, err = run(capsys, "accept", proposed.project, "case3")
        assert code == 1
        assert_one_sentence(err)
        assert "--replace" in err
    code, out, _ = run(capsys, "accept", proposed.project, "case3", "--replace")
    assert code == 0 and "semisam restore" in out
    assert run(capsys, "accept", proposed.project, "case3")[0] == 1
    assert answer(capsys, "restore", proposed.project, "case3")["state"] == "annotated"
    assert np.array_equal(Project.open(proposed.project).annotation("case3").voxels, drawn)


def test_a_removed_annotation_comes_back_and_there_may_be_none(capsys, proposed: Study):
    assert run(capsys, "restore", proposed.project, "case4")[0] == 1
    out = run(capsys, "remove", proposed.project, "case1", "--annotation-only")[1]
    assert "semisam restore" in out
    code, out, _ = run(capsys, "restore", proposed.project, "case1")
    assert code == 0 and "in full" in out
    assert "case1" in Project.open(proposed.project).finished_cases()


def test_a_case_that_does_not_exist_is_told(capsys, proposed: Study):
    for command in (["accept"], ["reject"], ["restore"], ["remove"], ["annotate"]):
        more = [proposed.labels / "case1.nii.gz"] if command == ["annotate"] else []
        code, _, err = run(capsys, *command, proposed.project, "case9", *more)
        assert code == 1
        assert_one_sentence(err)
        assert "case9" in err


def test_a_damaged_image_stops_init_with_its_name(capsys, study: Study):
    path = study.images / "case2.nii.gz"
    path.write_bytes(path.read_bytes()[:200])
    code, _, err = run(capsys, *study.init_arguments())
    assert code == 1
    assert_one_sentence(err)
    assert "case2.nii.gz" in err
    assert not study.project.exists()


def test_all_damaged_images_are_named_at_once(capsys, study: Study):
    for name in ("case1", "case2", "case4"):
        (study.images / f"{name}.nii.gz").write_bytes(b"no image")
    code, _, err = run(capsys, *study.init_arguments())
    assert code == 1
    assert_one_sentence(err)
    assert "3 of 4 cases" in err
    assert all(f"{name}.nii.gz" in err for name in ("case1", "case2", "case4"))


def test_images_of_other_orientations_keep_their_grid(capsys, tmp_path):
    (tmp_path / "images").mkdir()
    geometry = Geometry((6, 7, 8), (3.0, 1.0, 2.0), (5.0, 6.0, 7.0), (0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, -1.0))
    write_image(tmp_path / "images" / "a.nrrd", Volume(np.random.default_rng(0).normal(size=(6, 7, 8)), geometry))
    arguments = ["init", tmp_path / "p", "--images", tmp_path / "images", "--segments", "1=x"]
    assert answer(capsys, *arguments)["cases"]["a"]["shape"] == [6, 7, 8]
    assert Project.open(tmp_path / "p").image("a").geometry.is_close(geometry)
