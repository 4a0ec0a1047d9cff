"""What several tests share: tiny studies with a known truth, and where the real data lie."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

# Tests are small: threads would only wait for each other. Libraries read this when they are loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# What this computer's user has imported must not change what the tests see.
os.environ["SEMISAMPLUS_WEIGHTS"] = str(Path(__file__).with_name("no-weights-here"))

import numpy as np
import pytest

from semisam.files.volume_files import write_image, write_mask
from semisam.project import Project
from semisam.segments import Segment, parse_segments
from semisam.volumes import Geometry, Volume

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
SEGMENTS = "1=head,2=tail"


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder with the real data sets; skips where they are absent."""
    if not DATA.is_dir():
        pytest.skip(f"the real data are not at {DATA}")
    return DATA


@dataclass(frozen=True)
class Study:
    """A folder with images and labels of ellipsoids in two halves, case1 to case4, and where a project may go."""

    folder: Path

    @property
    def images(self) -> Path:
        return self.folder / "images"

    @property
    def labels(self) -> Path:
        return self.folder / "labels"

    @property
    def project(self) -> Path:
        return self.folder / "project"

    @property
    def segments(self) -> tuple[Segment, ...]:
        return parse_segments(SEGMENTS)

    def init_arguments(self, *more: str) -> list[str]:
        """The command line that makes the project of this study."""
        folders = ["--images", str(self.images), "--annotations", str(self.labels)]
        return ["init", str(self.project), *folders, "--segments", SEGMENTS, *more]

    def make_project(self, annotated: tuple[str, ...] = ("case1", "case2")) -> Project:
        """The project with some cases annotated."""
        from semisam.project.importing import import_project

        project, _ = import_project(
            self.project, self.segments, images=self.images, annotations=self.labels, cases=annotated, author="tester"
        )
        return project


def ellipsoid(shape: tuple[int, int, int], shift: float = 0.0) -> np.ndarray:
    """A uint8 mask (k, j, i): 1 in the first half along j, 2 in the second."""
    k, j, i = np.ogrid[tuple(slice(-1, 1, complex(0, size)) for size in shape)]
    inside = (k / 0.6) ** 2 + ((j - shift) / 0.7) ** 2 + (i / 0.5) ** 2 < 1
    return np.where(inside, np.where(j < shift, 1, 2), 0).astype(np.uint8)


def make_study(folder: Path, cases: int = 4) -> Study:
    """Write a study of ``cases`` cases with different shapes and spacings."""
    study = Study(folder)
    study.images.mkdir(parents=True)
    study.labels.mkdir()
    for number in range(1, cases + 1):
        shape = (18 + number, 22, 20)
        mask = ellipsoid(shape, shift=0.05 * number)
        rng = np.random.default_rng(number)
        voxels = (mask > 0) * 80 + (mask == 2) * 40 + rng.normal(50, 6, shape)
        geometry = Geometry.simple(shape, (1.2, 1.0, 1.0))
        write_image(study.images / f"case{number}.nii.gz", Volume(voxels.astype(np.float32), geometry))
        write_mask(study.labels / f"case{number}.nii.gz", Volume(mask, geometry), study.segments)
    return study


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return make_study(tmp_path / "study")


@pytest.fixture
def proposed(study: Study) -> Study:
    """A study whose project has two annotated cases and two proposals: case3 perfect, case4 shifted and less sure."""
    project = study.make_project()
    for name, shift, confidence in (("case3", 0.15, 0.95), ("case4", 0.0, 0.7)):
        geometry = project.image(name).geometry
        mask = Volume(ellipsoid(geometry.shape, shift), geometry)
        doubt = Volume(np.where(mask.voxels > 0, 20, 0).astype(np.uint8), geometry)
        volumes = {s.name: float((mask.voxels == s.value).sum()) * geometry.voxel_volume / 1000 for s in study.segments}
        details = {"volumes_ml": volumes}
        project.set_proposal(
            name, mask, model="specialist-0001", confidence=confidence, uncertainty=doubt, details=details
        )
    return study
