"""The job from the command line with real training: a few steps, then stopping with Ctrl+C and going on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import Study
from semisam.cli import main
from semisam.files.volume_files import read_mask
from semisam.project import Project

ENGINE = Path(__file__).resolve().parents[2] / "SemiSAMPlus"


def events(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.slow
def test_the_whole_job_runs_from_the_command_line(capsys: pytest.CaptureFixture[str], study: Study):
    assert main(study.init_arguments("--cases", "case1,case2")) == 0
    project = str(study.project)
    capsys.readouterr()
    assert main(["train", project, "--steps", "10", "--generalist", "none", "--json"]) == 0
    told = events(capsys.readouterr().out)
    assert told[-1]["event"] == "done" and told[-1]["steps"] == 10 and told[-1]["finished"]
    assert {"progress", "done"} <= {event["event"] for event in told}
    assert {case.state.value for case in Project.open(project).cases.values()} == {"annotated", "proposed"}

    assert main(["propose", project]) == 0
    out, err = capsys.readouterr()
    assert "2 proposals" in out and "100%" in err

    image = study.images / "case3.nii.gz"
    assert main(["segment", project, str(image), "-o", str(study.folder / "masks"), "--json"]) == 0
    result = events(capsys.readouterr().out)[-1]["results"][0]
    mask = read_mask(result["mask"], study.segments)
    assert mask.geometry.is_close(Project.open(project).image("case3").geometry)

    broken = study.folder / "broken.nii.gz"
    broken.write_bytes(image.read_bytes()[:200])
    images = [str(broken), str(study.folder / "images" / "case1.nii.gz"), str(study.folder / "images" / "case2.nii.gz")]
    assert main(["segment", project, *images, "-o", str(study.folder / "batch"), "--json"]) == 1
    told = events(capsys.readouterr().out)
    assert [Path(event["mask"]).name for event in told if event["event"] == "mask-ready"] == [
        "case1.nii.gz",
        "case2.nii.gz",
    ]
    assert told[-1]["event"] == "error" and "broken.nii.gz" in told[-1]["text"]
    assert main(["segment", project, *images, "-o", str(study.folder / "batch")]) == 1
    out, err = capsys.readouterr()
    assert "case2.nii.gz" in out and "broken.nii.gz" in err.splitlines()[-1]

    assert main(["evaluate", project, str(study.labels), "--json"]) == 0
    assert set(events(capsys.readouterr().out)[-1]["cases"]) == {"case3", "case4"}
    assert main(["report", project, "--reference", str(study.labels)]) == 0
    assert "Learning" in (study.project / "report.html").read_text("utf-8")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Ctrl+C cannot be sent to one process on Windows")
def test_ctrl_c_stops_training_with_a_checkpoint_and_it_goes_on(capsys: pytest.CaptureFixture[str], study: Study):
    assert main(study.init_arguments("--cases", "case1,case2")) == 0
    command = ["train", str(study.project), "--minutes", "5", "--generalist", "none"]
    process = subprocess.Popen(
        [sys.executable, "-m", "semisam", *command, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ENGINE)},
    )
    assert process.stdout is not None and process.stderr is not None
    for line in process.stdout:
        if json.loads(line)["event"] == "metrics":
            break
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=300)
    assert process.returncode == 130, errors
    summary = events(rest)[-1]
    assert summary["event"] == "done" and not summary["finished"] and summary["steps"] > 0
    capsys.readouterr()
    assert main([*command[:2], "--steps", str(summary["steps"] + 2), *command[4:], "--json"]) == 0
    assert events(capsys.readouterr().out)[-1]["steps"] == summary["steps"] + 2
