"""What has to answer at once imports nothing heavy. Times are measured in Testing/benchmarks/start_up.py."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import Study

HEAVY = ("torch", "monai", "SimpleITK", "scipy", "skimage", "matplotlib", "safetensors")
CODE = """
import json, sys
sys.path.insert(0, sys.argv.pop(1))
from semisam.cli import main
code = main(sys.argv[1:])
print(json.dumps([code, [name for name in %r if name in sys.modules]]), file=sys.stderr)
"""


def run(*arguments: object) -> tuple[int, list[str]]:
    """Exit code of a command, and the heavy modules that it imported."""
    engine = Path(__file__).resolve().parents[2] / "SemiSAMPlus"
    command = [sys.executable, "-c", CODE % (HEAVY,), str(engine), *map(str, arguments)]
    process = subprocess.run(command, capture_output=True, text=True, check=True)
    code, modules = json.loads(process.stderr.splitlines()[-1])
    return code, modules


def test_help_is_light():
    assert run("--help") == (0, [])
    assert run("train", "--help") == (0, [])


def test_the_list_of_generalists_is_light(tmp_path, monkeypatch):
    monkeypatch.setenv("SEMISAMPLUS_WEIGHTS", str(tmp_path))
    assert run("generalists", "list") == (0, [])
    assert run("generalists", "list", "--json") == (0, [])
    assert run("generalists", "verify") == (0, [])
    assert run("generalists", "add", "sam-med3d", "nowhere.pth") == (2, [])
    assert run("generalists", "add", "oracle", "nowhere.pth") == (2, [])


def test_status_is_light(proposed: Study):
    assert run("status", proposed.project) == (0, [])
    assert run("status", proposed.project, "--json") == (0, [])


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        (2, ["train"]),
        (2, ["train", "p", "--minutes", "x"]),
        (1, ["train", "nowhere"]),
        (1, ["status", "nowhere"]),
        (1, ["report", "nowhere"]),
        (1, ["propose", "nowhere"]),
        (1, ["segment", "nowhere", "image.nii.gz", "-o", "masks"]),
        (2, ["init", "nowhere", "--images", "nowhere", "--segments", "1=a"]),
        (2, ["init", "nowhere", "--images", ".", "--segments", "one"]),
        (2, ["evaluate", "nowhere", "nowhere"]),
        (2, ["prompt", "nowhere.nii.gz", "--point", "1,2,3", "-o", "out.nii.gz"]),
        (1, ["prompt", "nowhere.nii.gz", "--point", "1,2,3", "-o", "out.nii.gz", "--generalist", "oracle"]),
        (2, ["demo", "nowhere"]),
    ],
)
def test_input_errors_are_light(code, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == (code, [])


def test_errors_of_a_real_project_are_light(proposed: Study):
    project = proposed.project
    assert run("train", project, "--generalist", "oracle") == (1, [])
    assert run("train", project, "--framework", "oracle") == (2, [])
    assert run("segment", project, "lost.nii.gz", "-o", "masks") == (2, [])
    assert run("accept", project, "case9") == (1, [])
    assert run("propose", project) == (1, [])
