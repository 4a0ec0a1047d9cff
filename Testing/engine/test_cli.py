"""The command line: exit codes, errors in one sentence, JSON for machines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from command_line import answer, assert_one_sentence, run
from conftest import Study
from semisam import __version__
from semisam.files.volume_files import read_mask
from semisam.project import Project
from semisam.segments import Segment


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
