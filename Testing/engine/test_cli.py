"""The command line: exit codes, errors in one sentence, JSON for machines."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conftest import SEGMENTS, Study, ellipsoid
from semisam import __version__
from semisam.cli import main
from semisam.files.volume_files import read_mask, write_image, write_mask
from semisam.project import Project, State
from semisam.project.masks import drawn_slices
from semisam.segments import Segment, parse_segments
from semisam.volumes import Geometry, Volume, bounding_box


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def answer(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict:
    """The one JSON line of a command that works."""
    code, out, err = run(capsys, *arguments, "--json")
    assert code == 0, err
    lines = out.splitlines()
    assert len(lines) == 1
    result = json.loads(lines[0])
    assert result["event"] == "done"
    return result


def assert_one_sentence(err: str) -> None:
    assert err.startswith("semisam: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err


def test_version_and_help_work(capsys):
    assert run(capsys, "--version")[:2] == (0, f"semisam {__version__}\n")
    code, out, _ = run(capsys, "--help")
    assert code == 0
    for command in ("init", "status", "train", "propose", "segment", "evaluate", "prompt", "report", "worker", "demo"):
        assert command in out


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["unheard-of"],
        ["train"],
        ["train", "p", "--minutes", "1", "--steps", "2"],
        ["train", "p", "--minutes", "-1"],
        ["train", "p", "--steps", "1.5"],
        ["segment", "p", "image.nii.gz"],
        ["prompt", "image.nii.gz", "--point", "1,2", "-o", "out.nii.gz"],
        ["prompt", "image.nii.gz", "--box", "1,2,x,4,5,6", "-o", "out.nii.gz"],
        ["pretrain", "-o", "run"],
    ],
)
def test_wrong_options_end_with_code_2_and_one_sentence(capsys, arguments):
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert_one_sentence(err)
    assert "--help" in err


@pytest.mark.parametrize("command", [["status"], ["train"], ["propose"], ["report"], ["accept"], ["segment"]])
def test_a_folder_that_is_no_project_is_named_with_the_remedy(capsys, tmp_path, command):
    more = {"accept": ["case1"], "segment": ["image.nii.gz", "-o", tmp_path]}.get(command[0], [])
    code, _, err = run(capsys, *command, tmp_path / "nowhere", *more)
    assert code == 1
    assert_one_sentence(err)
    assert "nowhere" in err


def test_an_error_is_an_event_for_machines_too(capsys, tmp_path):
    code, out, err = run(capsys, "status", tmp_path, "--json")
    event = json.loads(out)
    assert code == 1
    assert event["event"] == "error" and event["kind"] == "project"
    assert event["text"] in err


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


def test_training_without_annotations_is_refused(capsys, study: Study):
    arguments = study.init_arguments()
    at = arguments.index("--annotations")
    assert run(capsys, *arguments[:at], *arguments[at + 2 :])[0] == 0
    code, _, err = run(capsys, "train", study.project, "--steps", "1")
    assert code == 1
    assert_one_sentence(err)
    assert "annotate" in err


def test_an_unknown_generalist_is_told_with_the_choices(capsys, proposed: Study):
    code, _, err = run(capsys, "train", proposed.project, "--steps", "1", "--generalist", "oracle")
    assert code == 1
    assert_one_sentence(err)
    assert "nano" in err


def test_proposing_and_segmenting_need_a_trained_model(capsys, proposed: Study, tmp_path):
    image = proposed.images / "case1.nii.gz"
    for command in (["propose", proposed.project], ["segment", proposed.project, image, "-o", tmp_path / "masks"]):
        code, _, err = run(capsys, *command)
        assert code == 1
        assert_one_sentence(err)
        assert "train" in err


def test_a_missing_image_is_told_before_anything_is_segmented(capsys, proposed: Study, tmp_path):
    code, _, err = run(capsys, "segment", proposed.project, tmp_path / "lost.nii.gz", "-o", tmp_path / "masks")
    assert code == 2
    assert_one_sentence(err)
    assert "lost.nii.gz" in err
    assert not (tmp_path / "masks").exists()


def test_segmenting_never_takes_the_place_of_images_or_annotations(capsys, proposed: Study, monkeypatch):
    kept = [proposed.images / "case1.nii.gz", proposed.project / "annotations" / "case1.seg.nrrd"]
    before = [path.read_bytes() for path in kept]
    monkeypatch.chdir(proposed.images)
    (proposed.folder / "link").symlink_to(proposed.project)
    lookalike = proposed.folder / "case1.nii.gz"
    lookalike.write_bytes(kept[0].read_bytes())
    for image, folder, reason in (
        ("case1.nii.gz", ".", "is the input"),
        (lookalike, proposed.images, 'is the image of the case "case1"'),
        ("case1.nii.gz", proposed.project / "annotations", "project manages"),
        ("case1.nii.gz", proposed.folder / "link" / "log" / ".." / "annotations", "project manages"),
    ):
        code, _, err = run(capsys, "segment", proposed.project, image, "-o", folder)
        assert code == 2
        assert_one_sentence(err)
        assert reason in err
    assert [path.read_bytes() for path in kept] == before


def test_a_point_gives_a_mask_on_the_grid_of_the_image(capsys, study: Study, tmp_path):
    image, out = study.images / "case1.nii.gz", tmp_path / "object.seg.nrrd"
    points = ["--point", "9,11,10", "--not-point", "1,1,1"]
    result = answer(capsys, "prompt", image, "--generalist", "random-walker", *points, "-o", out)
    mask = read_mask(out, [Segment(1, "object", (0, 0, 0))])
    assert mask.shape == (19, 22, 20)
    assert mask.voxels[9, 11, 10] == 1 and mask.voxels[1, 1, 1] == 0
    assert result["voxels"] == int(mask.voxels.sum()) > 0
    assert {"load", "encode", "predict"} <= set(result["seconds"])
    box = result["box"]
    assert all(box[n] <= [9, 11, 10][n] < box[n + 3] for n in range(3))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--point", "99,0,0"], "99,0,0"),
        (["--point", "0,0,-1"], "0,0,-1"),
        (["--box", "0,0,0,5,5,50"], "50"),
        (["--box", "5,5,5,5,9,9"], "empty"),
        ([], "--point"),
        (["--point", "1,1,1", "--generalist", "auto"], "auto"),
        (["--point", "1,1,1", "--segment", "head"], "--project"),
        (["--mask", "lost.nii.gz"], "lost.nii.gz"),
    ],
)
def test_prompts_that_make_no_sense_are_refused(capsys, study: Study, tmp_path, options, named):
    code, _, err = run(capsys, "prompt", study.images / "case1.nii.gz", *options, "-o", tmp_path / "out.nii.gz")
    assert code == 2
    assert_one_sentence(err)
    assert named in err
    assert not (tmp_path / "out.nii.gz").exists()


def test_a_defect_is_one_sentence_and_its_traceback_is_in_a_file(capsys, proposed: Study, monkeypatch):
    def broken(path: Path) -> Project:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(Project, "open", broken)
    code, _, err = run(capsys, "status", proposed.project)
    assert code == 1
    assert_one_sentence(err)
    log = proposed.project / "log" / "errors.log"
    assert str(log) in err
    assert "ZeroDivisionError" in log.read_text()


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."), "memory", "memory is full"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "memory", "memory is full"),
        (MemoryError("Unable to allocate 3 GiB"), "memory", "memory is full"),
        (OSError(28, "No space left on device", "plan.json"), "system", '"plan.json" (No space left on device)'),
    ],
)
def test_a_full_memory_or_disk_is_no_defect(capsys, proposed: Study, monkeypatch, error, kind, words):
    def full(path: Path) -> Project:
        raise error

    monkeypatch.setattr(Project, "open", full)
    code, out, err = run(capsys, "status", proposed.project, "--json")
    assert code == 1
    assert_one_sentence(err)
    assert words in err and "defect" not in err
    assert json.loads(out)["kind"] == kind
    assert not (proposed.project / "log" / "errors.log").exists()


def test_ctrl_c_ends_with_code_130(capsys, proposed: Study, monkeypatch):
    def interrupted(path: Path) -> Project:
        raise KeyboardInterrupt

    monkeypatch.setattr(Project, "open", interrupted)
    code, _, err = run(capsys, "status", proposed.project)
    assert (code, err) == (130, "semisam: Interrupted.\n")


def test_a_reader_that_goes_away_is_no_defect(proposed: Study):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2] / "SemiSAMPlus")}
    process = subprocess.Popen(
        [sys.executable, "-m", "semisam", "status", str(proposed.project), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert b"Traceback" not in process.stderr.read()
    process.wait()


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
