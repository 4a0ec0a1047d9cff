"""A small made-up study for the tests of the module, and what a person does with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from semisam.files.volume_files import write_image
from semisam.project import Project
from semisam.segments import parse_segments
from semisam.specialists.plan import Plan
from semisam.volumes import Geometry, Volume

SEGMENTS = ("head", "tail")
SHAPE = (20, 24, 22)

# So small that a step of training takes a moment, also beside other work.
SMALL_PLAN = Plan(
    segments=SEGMENTS,
    modality="MR or other",
    working_spacing=(1.5, 1.2, 1.0),
    patch=(16, 16, 16),
    channels=(4, 8, 8),
    strides=((2, 2, 2), (2, 2, 2)),
    intensity={"mean": 0.0, "std": 1.0, "low": 0.0, "high": 1.0},
    device="cpu",
    bfloat16=False,
    threads=1,
    memory_mb=1000,
)


def make_images(folder: Path, count: int, shape: tuple[int, int, int] = SHAPE) -> list[Path]:
    """Bright ellipsoids in noise, on a flipped and shifted grid."""
    folder.mkdir(parents=True)
    geometry = Geometry(shape, (1.5, 1.2, 1.0), (-7.0, 12.0, 3.0), (-1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0))
    paths = []
    for number in range(count):
        mask = ellipsoid(number, shape)
        noise = np.random.default_rng(number).normal(50, 6, geometry.shape)
        paths.append(folder / f"case{number}.nii.gz")
        write_image(paths[-1], Volume(((mask > 0) * 80 + (mask == 2) * 40 + noise).astype(np.float32), geometry))
    return paths


def ellipsoid(number: int, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """(k, j, i) uint8: 1 and 2 are the two halves of an ellipsoid that lies a little further with every number."""
    k, j, i = np.ogrid[tuple(slice(-1, 1, size * 1j) for size in shape)]
    shift = 0.05 * number
    inside = (k / 0.6) ** 2 + ((j - shift) / 0.7) ** 2 + (i / 0.5) ** 2 < 1
    return np.where(inside, np.where(j < shift, 1, 2), 0).astype(np.uint8)


def make_project(folder: Path, images: Sequence[Path], annotated: int = 0, proposed: int = 0) -> Project:
    """A project of ``images``: the first ones ``annotated``, the next ones with made-up proposals."""
    project = Project.create(folder, parse_segments(",".join(f"{n}={name}" for n, name in enumerate(SEGMENTS, 1))))
    project.add_cases({path.name.removesuffix(".nii.gz"): path for path in images})
    for number, name in enumerate(list(project.cases)[: annotated + proposed]):
        geometry = project.image_geometry(name)
        mask = Volume(ellipsoid(number, geometry.shape), geometry)
        if number < annotated:
            project.set_annotation(name, mask, author="test", source="made up")
        else:
            doubt = Volume(np.full(geometry.shape, 0.1, np.float32), geometry)
            confidence = 0.8 + 0.04 * number
            project.set_proposal(name, mask, model="specialist-0001", confidence=confidence, uncertainty=doubt)
    return project


def open_project(widget: Any, host: Any, folder: Path) -> Any:
    """Open a project in the panel, and wait for it; its session."""
    widget.controller.open_project(folder)
    session = widget.controller.session
    assert host.process_events(until=lambda: session.state.value == "open", timeout=60), session.problem
    return session


def paint(widget: Any, ranges: Mapping[str, tuple[float, float]] | None = None, slices: slice = slice(None)) -> None:
    """Write the true mask into the annotation, as the editor's effects would; or what is as bright as in ``ranges``;
    on some ``slices`` (k of the volume node) or on all."""
    import slicer

    from SemiSAMPlusLib.scene.grids import Patch
    from SemiSAMPlusLib.scene.segments import find_segment, write_segment

    scene = widget.controller.case_scene
    # The volume node may hold the slices in another order than the file: paint what is bright.
    voxels = slicer.util.arrayFromVolume(scene.volume)
    for name, (low, high) in (ranges or {"head": (100, 150), "tail": (150, 1000)}).items():
        segment_id = find_segment(scene.annotation, name)
        assert segment_id is not None
        inside = np.zeros(voxels.shape, bool)
        inside[slices] = (voxels[slices] >= low) & (voxels[slices] < high)
        write_segment(scene.annotation, segment_id, Patch(scene.grid, (0, 0, 0), inside))


def painted(widget: Any, name: str = "head") -> int:
    """How many voxels a segment of the open case's annotation has."""
    from SemiSAMPlusLib.scene.segments import find_segment, read_segment

    scene = widget.controller.case_scene
    segment_id = find_segment(scene.annotation, name)
    assert segment_id is not None
    return int(read_segment(scene.annotation, segment_id, scene.grid).count)
