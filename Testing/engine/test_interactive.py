"""Prompts on images of all grids, without a worker: ``PromptService``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from semisam.errors import GeneralistError, UsageError
from semisam.files.volume_files import read_image, write_image
from semisam.kept import Kept
from semisam.project import Project
from semisam.segments import parse_segments
from semisam.volumes import Geometry, Volume, working_geometry
from semisam.worker import interactive
from semisam.worker.interactive import PromptRequest, PromptService, Subject
from semisam.worker.interactive_grids import working_prompts

# Axes k, j, i along -y, z, x; an anisotropic grid with a shifted origin.
GRID = Geometry((40, 20, 44), (1.0, 2.5, 0.8), (10.0, -20.0, 30.0), (1.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 1.0, 0.0))
INSIDE = (slice(12, 26), slice(6, 13), slice(14, 32))
WALKER = "random-walker"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    voxels = np.random.default_rng(0).normal(0, 0.1, GRID.shape).astype(np.float32)
    voxels[INSIDE] += 1
    path = tmp_path / "image.nii.gz"
    write_image(path, Volume(voxels, GRID))
    return path


def dice(found: np.ndarray) -> float:
    truth = np.zeros(GRID.shape, bool)
    truth[INSIDE] = True
    return float(2 * (found & truth).sum() / (found.sum() + truth.sum()))


@pytest.mark.parametrize("voxels", [10**9, 9000])
def test_a_coarser_working_grid_changes_the_answer_little_and_its_place_not_at_all(
    image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, voxels: int
) -> None:
    monkeypatch.setattr(interactive, "WORKING_VOXELS", voxels)
    service, whole, part = PromptService(), tmp_path / "whole.nrrd", tmp_path / "part.nrrd"
    prompts = {"box": (10, 5, 12, 28, 14, 34)}
    service.prompt(PromptRequest(Subject(image, WALKER), whole, **prompts))
    answer = service.prompt(PromptRequest(Subject(image, WALKER), part, extent="region", **prompts))
    mask = read_image(whole)
    assert mask.geometry.is_close(GRID)
    assert dice(mask.voxels > 0) > (0.95 if voxels > 10**6 else 0.8)
    assert answer.box is not None and answer.voxels == int(mask.voxels.sum())
    box = tuple(slice(a, b) for a, b in zip(answer.box[:3], answer.box[3:], strict=True))
    np.testing.assert_array_equal(read_image(part).voxels, mask.voxels[box])
    np.testing.assert_allclose(read_image(part).geometry.origin, GRID.index_to_world(answer.box[:3]), atol=1e-4)

    # An answer is the next mask, whether it covers the image or a part of it.
    for mask_file in (whole, part):
        again = service.prompt(PromptRequest(Subject(image, WALKER), tmp_path / "again.nrrd", mask=mask_file))
        assert dice(read_image(again.output).voxels > 0) > 0.75


def test_a_mask_beside_the_image_is_refused(image: Path, tmp_path: Path) -> None:
    longer = Geometry((40, 20, 60), GRID.spacing, GRID.origin, GRID.direction)
    voxels = np.zeros(longer.shape, np.uint8)
    voxels[INSIDE] = 1
    mask = tmp_path / "mask.nrrd"
    request = PromptRequest(Subject(image, WALKER), tmp_path / "o.nrrd", mask=mask)
    write_image(mask, Volume(voxels, longer))
    assert PromptService().prompt(request).voxels > 0  # the grid may reach further, the object may not
    voxels[20, 10, 50] = 1
    write_image(mask, Volume(voxels, longer))
    with pytest.raises(UsageError, match="mask.nrrd.*outside of the image"):
        PromptService().prompt(request)
    x, y, z = GRID.index_to_world([-50, 0, 0])
    write_image(mask, Volume(voxels, Geometry(longer.shape, GRID.spacing, (x, y, z), GRID.direction)))
    with pytest.raises(UsageError, match="outside of the image"):
        PromptService().prompt(request)


def test_prompts_mean_the_same_places_on_the_working_grid(image: Path, tmp_path: Path) -> None:
    working = working_geometry(GRID, (2.0, 2.0, 2.0))
    request = PromptRequest(
        Subject(image), tmp_path / "o.nrrd", points=[[3, 4, 5], [30, 2, 40]], labels=[1, 0], box=(10, 5, 12, 28, 14, 34)
    )
    prompts = working_prompts(request, GRID, working, segment=3)
    assert prompts.box is not None and prompts.segment == 3
    np.testing.assert_allclose(working.index_to_world(prompts.points), GRID.index_to_world(request.points), atol=1e-4)
    edges = np.sort([working.index_to_world(np.array(prompts.box[n : n + 3]) - 0.5) for n in (0, 3)], axis=0)
    wanted = np.sort([GRID.index_to_world(np.array(request.box[n : n + 3]) - 0.5) for n in (0, 3)], axis=0)
    np.testing.assert_allclose(edges, wanted, atol=1e-4)
    same = working_prompts(request, GRID, GRID, segment=0)
    np.testing.assert_allclose(same.box, request.box, atol=1e-6)
    np.testing.assert_allclose(same.points, request.points, atol=1e-5)


def test_nothing_found_gives_an_empty_mask_that_can_be_read(image: Path, tmp_path: Path) -> None:
    for extent in ("image", "region"):
        request = PromptRequest(
            Subject(image, WALKER), tmp_path / "o.nrrd", points=[[0, 0, 0]], labels=[0], extent=extent
        )
        answer = PromptService().prompt(request)
        assert answer.box is None and answer.voxels == 0 and answer.volume_ml == 0
        assert not read_image(answer.output).voxels.any()


def test_a_changed_image_is_read_again(image: Path, tmp_path: Path) -> None:
    service = PromptService()
    assert service.encode(Subject(image, WALKER)).source == "encoded"
    assert service.encode(Subject(image, WALKER)).source == "memory"
    write_image(image, Volume(np.zeros(GRID.shape, np.float32), GRID))
    assert service.encode(Subject(image, WALKER)).source == "encoded"


def test_embeddings_of_a_project_are_found_on_disk_by_the_next_program(image: Path, tmp_path: Path) -> None:
    project = Project.create(tmp_path / "project", parse_segments("1=block"))
    assert PromptService(project.path).encode(Subject(image, WALKER)).source == "encoded"
    assert PromptService(project.path).encode(Subject(image, WALKER)).source == "disk"


def test_a_generalist_that_needs_annotated_cases_follows_their_changes(image: Path, tmp_path: Path) -> None:
    project = Project.create(tmp_path / "project", parse_segments("1=block"))
    project.add_case("a", image)
    other = tmp_path / "other.nii.gz"
    voxels = read_image(image).voxels
    write_image(other, Volume(np.roll(voxels, (2, 0, -3), (0, 1, 2)), GRID))
    service = PromptService(project.path)
    request = PromptRequest(
        Subject(other, "registration"), tmp_path / "o.nrrd", segment="Block", points=[[21, 9, 20]], labels=[1]
    )
    with pytest.raises(GeneralistError, match="annotated case"):
        service.prompt(request)
    mask = np.zeros(GRID.shape, np.uint8)
    mask[INSIDE] = 1
    project.set_annotation("a", Volume(mask, GRID), author="test", source="made up")
    first = service.prompt(request)
    assert dice(np.roll(read_image(first.output).voxels > 0, (-2, 0, 3), (0, 1, 2))) > 0.8
    project.set_annotation("a", Volume(np.roll(mask, 6, 0), GRID), author="test", source="made up")
    second = service.prompt(request)
    assert first.box is not None and second.box is not None and second.box[0] > first.box[0] + 2


def test_memory_keeps_what_was_used_last_up_to_its_limit() -> None:
    kept = Kept(100)
    for name in ("a", "b", "c"):
        kept.put((name,), name.upper(), 40)
        kept.get(("b",))
    assert [key for key, _ in kept.sizes()] == [("c",), ("b",)]
    kept.put(("huge",), "H", 1000)
    assert kept.get(("huge",)) == "H" and kept.get(("b",)) is None
