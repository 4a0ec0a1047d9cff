"""A small project for tests: a few tiny images, two segments, masks that say which write they come from."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from semisam.files.volume_files import write_image
from semisam.project import Project
from semisam.segments import parse_segments
from semisam.volumes import Geometry, Volume

REPOSITORY = Path(__file__).resolve().parents[2]
GEOMETRY = Geometry((3, 4, 5), (2.0, 1.5, 1.0), (-10.0, 5.0, 20.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
SEGMENTS = parse_segments("1=anterior,2=posterior")


def make_image(path: Path, seed: int = 0) -> Path:
    """Write an image of noise on GEOMETRY."""
    path.parent.mkdir(parents=True, exist_ok=True)
    voxels = np.random.default_rng(seed).normal(size=GEOMETRY.shape).astype(np.float32)
    write_image(path, Volume(voxels, GEOMETRY))
    return path


def make_project(folder: Path, names: str = "abc") -> Project:
    """A project in folder/project with one case for each letter; the images lie in folder/images."""
    project = Project.create(folder / "project", SEGMENTS)
    project.add_cases({name: make_image(folder / "images" / f"{name}.nii.gz", ord(name)) for name in names})
    return project


def make_mask(number: int) -> Volume:
    """A mask whose first ``number`` modulo 61 voxels are set, alternating between the two segments."""
    voxels = np.zeros(GEOMETRY.shape, np.uint8)
    count = number % (voxels.size + 1)
    voxels.ravel()[:count] = np.arange(count) % 2 + 1
    return Volume(voxels, GEOMETRY)


def start_python(code: str, *arguments: str | Path) -> subprocess.Popen[str]:
    """A child process that runs ``code`` with this module and the engine importable, and its output in a pipe."""
    paths = [str(REPOSITORY / "SemiSAMPlus"), str(Path(__file__).parent)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1"}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def leftovers(project: Path) -> list[str]:
    """Temporary and staged files anywhere in a project."""
    return [str(path) for path in project.rglob(".*") if path.name.startswith((".tmp-", ".staged-"))]
