"""Prompts: from positions in the patient to voxel indices of the file, and answers back to the volume's grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed: pip install slicer-core")
pytest.importorskip("SimpleITK", reason="SimpleITK is not installed: the tests write their files with it")

import numpy as np
import SimpleITK as sitk

import images
from places import VOLUMES
from SemiSAMPlusLib.prompt_session import PromptError, Prompts, PromptSession
from SemiSAMPlusLib.scene.grids import Grid, Patch
from SemiSAMPlusLib.scene.images import load_image
from SemiSAMPlusLib.scene.nodes import Logics
from SemiSAMPlusLib.worker_messages import WorkerError


class Engine:
    """Answers when told to; reads and writes files as the engine does, with SimpleITK."""

    def __init__(self, image: Path) -> None:
        names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(image)) if image.is_dir() else str(image)
        self.file = sitk.ReadImage(names)
        self.encodes: list[dict[str, Any]] = []
        self.prompts: list[dict[str, Any]] = []

    def encode(self, subject: dict[str, Any], *, on_done: Any = None, on_error: Any = None) -> None:
        self.encodes.append({"on_done": on_done, "on_error": on_error, **subject})

    def prompt(self, fields: dict[str, Any], *, on_done: Any = None, on_error: Any = None) -> None:
        self.prompts.append({"on_done": on_done, "on_error": on_error, **fields})

    def encoded(self) -> None:
        i, j, k = self.file.GetSize()
        answer = {"shape": [k, j, i], "spacing": list(self.file.GetSpacing())[::-1]}
        answer |= {"origin": list(self.file.GetOrigin()), "direction": list(self.file.GetDirection())}
        self.encodes[-1]["on_done"](answer)

    def answer(self, box: tuple[int, ...] | None, number: int = -1) -> None:
        """A full box (k0, j0, i0, k1, j1, i1) of the file's voxels, cut out as with "extent": "region"."""
        request = self.prompts[number]
        k0, j0, i0, k1, j1, i1 = box or (0, 0, 0, 2, 2, 2)
        voxels = np.full((k1 - k0, j1 - j0, i1 - i0), box is not None, np.uint8)
        region = sitk.GetImageFromArray(voxels)
        region.SetSpacing(self.file.GetSpacing())
        region.SetDirection(self.file.GetDirection())
        region.SetOrigin(self.file.TransformIndexToPhysicalPoint((i0, j0, k0)))
        sitk.WriteImage(region, str(request["output"]))
        request["on_done"]({"box": box and list(box), "output": str(request["output"])})


class Case:
    def __init__(self, scene: Any, folder: Path, image: Path) -> None:
        self.engine = Engine(image)
        self.volume = load_image(Logics(scene), image, "a")
        self.grid = Grid.of_volume(self.volume)
        self.folder = folder / "exchange"
        self.folder.mkdir()
        self.prompts = PromptSession(self.engine, {"case": "a"}, self.grid, self.folder)
        self.answers: list[Patch] = []
        self.failures: list[WorkerError] = []
        self.prompts.answered.connect(lambda patch, event: self.answers.append(patch))
        self.prompts.failed.connect(self.failures.append)

    def ras(self, k: float, j: float, i: float) -> tuple[float, float, float]:
        """RAS of an index of the file."""
        return images.point_ras(self.engine.file, k, j, i)


KINDS = [*images.KINDS, "CT_pitch.nii.gz", "T2w_anisotropic.nii.gz"]


@pytest.fixture
def made(scene: Any, tmp_path: Path, request: pytest.FixtureRequest) -> Case:
    kind = getattr(request, "param", "oblique flipped")
    if kind in images.KINDS:
        path = tmp_path / "a.nii.gz"
        images.write_image(path, kind)
    else:
        path = VOLUMES / "oblique" / kind
        if not path.exists():
            pytest.skip(f"the real volumes are not at {VOLUMES}")
    return Case(scene, tmp_path, path)


@pytest.mark.parametrize("made", KINDS, indirect=True)
def test_points_go_to_the_engine_in_the_axes_of_the_file(made: Case) -> None:
    made.prompts.add_point(made.ras(3, 5, 7), positive=True)
    made.engine.encoded()
    assert made.engine.prompts[0]["points"][0] == pytest.approx([3, 5, 7], abs=0.01)
    assert made.engine.prompts[0]["labels"] == [1] and made.engine.prompts[0]["extent"] == "region"


@pytest.mark.parametrize("made", KINDS, indirect=True)
def test_a_box_holds_its_corners_in_the_axes_of_the_file(made: Case) -> None:
    made.engine.encoded()
    made.prompts.set_box([made.ras(1.5, 2.5, 3.5), made.ras(4.5, 7.5, 9.5)])  # on the borders of voxels
    assert made.engine.prompts[0]["box"] == [2, 3, 4, 5, 8, 10]


@pytest.mark.parametrize("made", KINDS, indirect=True)
def test_an_answer_lies_in_the_volume_where_the_engine_saw_it(made: Case) -> None:
    made.engine.encoded()
    made.prompts.add_point(made.ras(3, 5, 7), positive=True)
    made.engine.answer((2, 3, 4, 5, 8, 10))
    patch = made.answers[0]
    assert patch.grid is made.grid and patch.count == 3 * 5 * 6
    for k, j, i, inside in ((2, 3, 4, True), (4, 7, 9, True), (1, 3, 4, False), (5, 7, 9, False), (4, 8, 9, False)):
        found = np.rint(made.grid.to_kji(made.ras(k, j, i))[0]).astype(int)
        assert patch.whole()[tuple(found)] == inside
    assert list(made.folder.iterdir()) == []


@pytest.mark.parametrize("made", KINDS, indirect=True)
def test_a_mask_to_be_improved_is_on_the_grid_of_the_file(made: Case) -> None:
    made.engine.encoded()
    voxels = np.zeros(made.grid.shape, bool)
    for k, j, i in ((2, 3, 4), (2, 4, 4), (2, 4, 6)):
        voxels[tuple(np.rint(made.grid.to_kji(made.ras(k, j, i))[0]).astype(int))] = True
    made.prompts.improve(Patch(made.grid, (0, 0, 0), voxels))
    path = made.engine.prompts[0]["mask"]
    mask = sitk.ReadImage(str(path))
    assert min(mask.GetSize()) >= 2
    assert np.allclose(mask.GetDirection(), made.engine.file.GetDirection(), atol=1e-3)
    assert np.allclose(mask.GetSpacing(), made.engine.file.GetSpacing(), rtol=1e-4)
    found = []
    for k, j, i in np.argwhere(sitk.GetArrayFromImage(mask)).tolist():
        point = mask.TransformIndexToPhysicalPoint((i, j, k))
        found.append(made.engine.file.TransformPhysicalPointToIndex(point)[::-1])
    assert sorted(found) == [(2, 3, 4), (2, 4, 4), (2, 4, 6)]
    made.engine.answer((2, 3, 4, 5, 8, 10))
    assert not path.exists()


def test_clicks_while_an_answer_is_awaited_become_one_question(made: Case) -> None:
    made.engine.encoded()
    for n in range(4):
        made.prompts.add_point(made.ras(3, 5, 7 + n), positive=n < 3)
    assert len(made.engine.prompts) == 1 and made.prompts.waiting
    made.engine.answer((2, 3, 4, 5, 8, 10))
    assert made.answers == []  # an answer to older prompts is not shown
    assert made.engine.prompts[1]["labels"] == [1, 1, 1, 0]
    made.engine.answer((2, 3, 4, 5, 8, 11))
    assert len(made.answers) == 1 and not made.prompts.waiting


def test_taking_back_a_click_asks_for_what_is_left(made: Case) -> None:
    made.engine.encoded()
    made.prompts.add_point(made.ras(3, 5, 7), positive=True)
    made.engine.answer((2, 3, 4, 5, 8, 10))
    made.prompts.add_point(made.ras(4, 5, 7), positive=False)
    made.engine.answer((2, 3, 4, 4, 8, 10))
    assert made.prompts.undo() and made.engine.prompts[-1]["labels"] == [1]
    made.engine.answer((2, 3, 4, 5, 8, 10))
    assert made.prompts.undo() and made.prompts.is_empty and len(made.engine.prompts) == 3
    assert not made.prompts.undo()


def test_what_is_dragged_is_taken_back_in_one_step(made: Case) -> None:
    made.engine.encoded()
    for step in range(4):
        corners = np.array([made.ras(1, 2, 3), made.ras(4, 7, 9 + step)])
        made.prompts.give(Prompts(box=corners), same_step=step > 0)
        made.engine.answer((2, 3, 4, 5, 8, 10))
    assert made.prompts.undo() and made.prompts.is_empty and not made.prompts.can_undo


def test_after_a_failed_encoding_the_next_click_tries_again(made: Case) -> None:
    made.prompts.add_point(made.ras(3, 5, 7), positive=True)
    made.engine.encodes[0]["on_error"](WorkerError("volume", "The image is damaged."))
    assert [error.text for error in made.failures] == ["The image is damaged."] and not made.prompts.waiting
    made.prompts.add_point(made.ras(3, 5, 8), positive=True)
    assert len(made.engine.encodes) == 2
    made.engine.encoded()
    assert made.engine.prompts[0]["labels"] == [1, 1]


def test_prompts_beside_the_image_are_refused_in_words(made: Case) -> None:
    made.engine.encoded()
    with pytest.raises(PromptError, match="beside"):
        made.prompts.add_point(made.ras(3, 5, 70), positive=True)
    with pytest.raises(PromptError, match="beside"):
        made.prompts.set_box([made.ras(50, 50, 50), made.ras(60, 60, 60)])
    with pytest.raises(PromptError, match="empty"):
        made.prompts.improve(Patch.empty(made.grid))
    assert made.engine.prompts == [] and made.prompts.is_empty


def test_a_click_at_the_very_border_stays_in_the_image(made: Case) -> None:
    made.engine.encoded()
    made.prompts.add_point(made.ras(-0.49999, 15.4999, 19.4999), positive=True)
    k, j, i = made.engine.prompts[0]["points"][0]
    assert k >= -0.5 and j < 15.5 and i < 19.5


def test_nothing_found_is_an_empty_preview(made: Case) -> None:
    made.engine.encoded()
    made.prompts.add_point(made.ras(3, 5, 7), positive=True)
    made.engine.answer(None)
    assert made.answers[0].count == 0 and list(made.folder.iterdir()) == []


def test_errors_are_told_once_and_the_next_click_works(made: Case) -> None:
    made.engine.encoded()
    made.prompts.add_point(made.ras(3, 5, 7), positive=True)
    made.engine.prompts[0]["on_error"](WorkerError("generalist", "Nothing to learn from."))
    assert [error.text for error in made.failures] == ["Nothing to learn from."]
    made.prompts.add_point(made.ras(3, 5, 8), positive=True)
    made.engine.answer((2, 3, 4, 5, 8, 10))
    assert len(made.answers) == 1


def test_after_clear_and_close_late_answers_are_dropped(made: Case) -> None:
    made.engine.encoded()
    made.prompts.add_point(made.ras(3, 5, 7), positive=True)
    made.prompts.clear()
    made.engine.answer((2, 3, 4, 5, 8, 10))
    assert made.answers == []
    made.prompts.add_point(made.ras(3, 5, 7), positive=True)
    made.prompts.close()
    made.engine.answer((2, 3, 4, 5, 8, 10))
    made.prompts.ask()
    assert made.answers == [] and made.failures == [] and list(made.folder.iterdir()) == []
