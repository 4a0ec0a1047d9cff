"""Prompts as a user gives them: clicks in the slice views, a box, 'Improve'; answered by the real engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mouse import Mouse
from semisam.files.volume_files import write_image
from semisam.volumes import Geometry, Volume

SHAPE = (24, 30, 28)
HIPPOCAMPUS = Path(__file__).resolve().parents[3] / "shared" / "data" / "hippocampus"


def truth() -> np.ndarray:
    """(k, j, i) uint8: two bright blobs, 1 and 2."""
    k, j, i = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    first = ((k - 11) / 6) ** 2 + ((j - 9) / 6) ** 2 + ((i - 13) / 8) ** 2 < 1
    second = ((k - 12) / 5) ** 2 + ((j - 22) / 5) ** 2 + ((i - 14) / 6) ** 2 < 1
    return np.where(first, 1, np.where(second, 2, 0)).astype(np.uint8)


def write_blobs(path: Path) -> Path:
    mask = truth()
    voxels = (mask > 0) * 80 + np.random.default_rng(3).normal(50, 4, SHAPE)
    geometry = Geometry(SHAPE, (1.5, 1.2, 1.0), (-7.0, 12.0, 3.0), (-1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0))
    write_image(path, Volume(voxels.astype(np.float32), geometry))
    return path


class Desk:
    """The module with one case open, and what a user sees and does there."""

    def __init__(self, widget: Any, host: Any, click: Callable[[Any], None]) -> None:
        self.ui, self.controller, self.host, self.click = widget.ui, widget.controller, host, click
        self.parameters = widget._parameterNode
        self.mouse = Mouse(host)

    def open(self, folder: Path, image: Path) -> None:
        from SemiSAMPlusLib.cases import SegmentInfo

        (folder / "project").mkdir()
        segments = [SegmentInfo(1, "first", (220, 60, 60)), SegmentInfo(2, "second", (60, 90, 220))]
        self.controller.open_project(folder / "project", segments)
        self.wait(lambda: self.controller.session.state.value == "open")
        self.controller.session.add_case("a", image)
        self.wait(lambda: "a" in self.controller.session.cases)
        self.controller.open_case("a")
        self.ui.annotateSection.collapsed = False

    @property
    def scene(self) -> Any:
        return self.controller.case_scene

    @property
    def preview(self) -> Any:
        import slicer

        found = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
        return next((node for node in found if node.GetName() == "Preview"), None)

    def previewed(self) -> np.ndarray:
        """(k, j, i) bool, what the preview shows on the volume's grid."""
        from SemiSAMPlusLib.scene.segments import read_segment

        if self.preview is None:
            return np.zeros(self.scene.grid.shape, bool)
        return read_segment(self.preview, self.preview.GetSegmentation().GetNthSegmentID(0), self.scene.grid).whole()

    def segment(self, name: str) -> np.ndarray:
        """(k, j, i) bool, a segment of the annotation on the volume's grid."""
        from SemiSAMPlusLib.scene.segments import find_segment, read_segment

        return read_segment(self.scene.annotation, find_segment(self.scene.annotation, name), self.scene.grid).whole()

    def paint(self, name: str, voxels: np.ndarray) -> None:
        from SemiSAMPlusLib.scene.grids import Patch
        from SemiSAMPlusLib.scene.segments import find_segment, write_segment

        annotation = self.scene.annotation
        write_segment(annotation, find_segment(annotation, name), Patch(self.scene.grid, (0, 0, 0), voxels))

    def ras(self, k: float, j: float, i: float) -> list[float]:
        """Where a voxel of the volume node is seen, under the transforms of the volume."""
        import vtk

        position = self.scene.grid.to_ras([(k, j, i)])[0]
        transform = vtk.vtkGeneralTransform()
        parent = self.scene.volume.GetParentTransformNode()
        if parent is not None:
            parent.GetTransformToWorld(transform)
        return list(transform.TransformPoint(position))

    def wait(self, condition: Callable[[], Any], timeout: float = 60) -> None:
        assert self.host.process_events(until=lambda: bool(condition()), timeout=timeout), self.state

    def answered(self) -> None:
        """Wait until the answer to all that was asked is shown."""
        self.host.process_events(until=lambda: False, timeout=0.15)  # longer than what is dragged has to rest
        for _ in range(5):
            self.host.process_events()
        self.wait(lambda: not self.state.startswith(("Waiting", "Encoding")))

    @property
    def state(self) -> str:
        return str(self.ui.promptStateLabel.text)

    def ours(self) -> list[str]:
        """Names of the nodes that prompts have put into the scene."""
        import slicer

        classes = ("vtkMRMLMarkupsNode", "vtkMRMLMarkupsDisplayNode", "vtkMRMLMarkupsStorageNode")
        names = [node.GetName() for name in classes for node in slicer.util.getNodesByClass(name)]
        return names + (["Preview"] if self.preview is not None else [])


def overlap(found: np.ndarray, true: np.ndarray) -> float:
    """Dice."""
    return float(2 * (found & true).sum() / max(1, found.sum() + true.sum()))


@pytest.fixture
def desk(widget: Any, host: Any, click: Callable[[Any], None], tmp_path: Path) -> Desk:
    made = Desk(widget, host, click)
    made.open(tmp_path, write_blobs(tmp_path / "blobs.nii.gz"))
    return made


def test_points_are_answered_in_the_view_and_accepted_into_the_segment(
    desk: Desk, screenshot: Callable[..., Path]
) -> None:
    ui, first = desk.ui, truth() == 1
    assert not ui.acceptPreviewButton.enabled and not ui.undoPromptButton.enabled and not ui.clearPromptsButton.enabled
    desk.click(ui.positivePointButton)
    assert desk.state == "Encoding the image ..."
    desk.wait(lambda: desk.state.startswith("Click into first"))
    desk.mouse.click(desk.ras(11, 9, 13))
    desk.answered()
    assert desk.state.startswith("Preview for first")
    desk.click(ui.negativePointButton)
    assert ui.negativePointButton.checked and not ui.positivePointButton.checked
    desk.mouse.click(desk.ras(11, 22, 14))
    desk.answered()
    screenshot("prompt-points")
    shown = desk.previewed()
    assert overlap(shown, first) > 0.7 and not shown[11, 22, 14]
    assert not desk.segment("first").any()
    desk.click(ui.acceptPreviewButton)
    assert np.array_equal(desk.segment("first"), shown) and desk.preview is None
    assert not ui.acceptPreviewButton.enabled and not ui.clearPromptsButton.enabled
    ui.segmentEditor.undo()
    assert not desk.segment("first").any()


def test_the_preview_is_hidden_for_a_look_at_what_lies_below(desk: Desk) -> None:
    desk.click(desk.ui.positivePointButton)
    desk.mouse.click(desk.ras(11, 9, 13))
    desk.wait(lambda: desk.ui.showPreviewCheckBox.enabled)
    desk.click(desk.ui.showPreviewCheckBox)
    assert not desk.preview.GetDisplayNode().GetVisibility() and not desk.ui.showPreviewCheckBox.checked
    desk.mouse.click(desk.ras(11, 10, 13))  # the next answer is seen again
    desk.wait(lambda: desk.preview.GetDisplayNode().GetVisibility())
    assert desk.ui.showPreviewCheckBox.checked


def test_a_box_is_drawn_with_two_clicks_and_asked_again_when_it_was_moved(
    desk: Desk, screenshot: Callable[..., Path]
) -> None:
    from SemiSAMPlusLib.scene.prompt_nodes import Tool

    ui, first = desk.ui, truth() == 1
    desk.click(ui.boxButton)
    assert ui.boxButton.checked
    desk.wait(lambda: desk.state.startswith("Click two opposite corners"))
    desk.mouse.click(desk.ras(11, 2, 4))
    desk.mouse.click(desk.ras(11, 16, 22))
    assert not ui.boxButton.checked  # one box is enough
    desk.answered()
    screenshot("prompt-box")
    shown = desk.previewed()
    assert overlap(shown, first) > 0.6
    box = desk.controller.annotate_panel._prompts._nodes.node(Tool.BOX)
    assert min(box.GetSize()) > 5  # a box drawn in a slice is as deep as it is wide

    # It is dragged by its middle, with rests on the way that are answered; one 'Undo' takes all of it back.
    start, end = np.array(box.GetCenter()), np.array(desk.ras(11, 22, 14))
    before, steps = desk.scene.grid.to_kji([start])[0], desk.controller.annotate_panel._prompts._prompts._undo
    assert len(steps) == 1
    desk.mouse.drag(start, end, rest=0.15)
    assert len(steps) == 2
    desk.answered()
    moved = desk.previewed()
    assert overlap(moved, truth() == 2) > 0.5 and overlap(moved, first) < 0.3
    desk.click(ui.undoPromptButton)
    desk.answered()
    assert np.array_equal(desk.previewed(), shown)
    assert desk.scene.grid.to_kji([box.GetCenter()])[0] == pytest.approx(before, abs=0.01)
    # Another one is begun, and not finished: the box before comes back.
    desk.click(ui.boxButton)
    desk.answered()
    assert desk.preview is None
    desk.click(ui.undoPromptButton)
    desk.answered()
    assert not ui.boxButton.checked and np.array_equal(desk.previewed(), shown)
    desk.click(ui.undoPromptButton)
    assert desk.ours() == [] and not ui.undoPromptButton.enabled


def test_improve_starts_from_the_segment_and_takes_its_place(desk: Desk, screenshot: Callable[..., Path]) -> None:
    ui, first = desk.ui, truth() == 1
    desk.click(ui.improveButton)
    desk.answered()
    assert desk.state.startswith("The segment is empty")
    rough = first.copy()
    rough[:, :, :11] = False
    rough[9:14, 15:18, 11:16] = True  # too large at one side, too small at the other
    desk.paint("first", rough)
    desk.click(ui.improveButton)
    desk.answered()
    shown = desk.previewed()
    screenshot("prompt-improve")
    assert shown.any() and not np.array_equal(shown, rough)
    desk.click(ui.acceptPreviewButton)
    assert np.array_equal(desk.segment("first"), shown)
    ui.segmentEditor.undo()
    assert np.array_equal(desk.segment("first"), rough)


def test_a_negative_point_alone_corrects_the_mask_that_the_segment_has(desk: Desk) -> None:
    ui = desk.ui
    desk.click(ui.negativePointButton)
    desk.wait(lambda: not desk.state.startswith("Encoding"))
    desk.mouse.click(desk.ras(11, 22, 14))
    desk.answered()
    assert "segment is empty" in desk.state and desk.preview is None
    desk.paint("first", truth() > 0)
    desk.mouse.click(desk.ras(11, 22, 14))
    desk.answered()
    assert not desk.previewed()[11, 22, 14]


@pytest.mark.parametrize("overwrite", [False, True])
def test_other_segments_keep_their_voxels_unless_told_otherwise(desk: Desk, overwrite: bool) -> None:
    ui = desk.ui
    other = np.zeros(SHAPE, bool)
    other[8:12, 6:10, 8:20] = True  # in the middle of what the click will find
    desk.paint("second", other)
    desk.parameters.overwriteOtherSegments = overwrite
    desk.click(ui.positivePointButton)
    desk.wait(lambda: desk.state.startswith("Click into first"))
    desk.mouse.click(desk.ras(13, 9, 13))
    desk.answered()
    shown = desk.previewed()
    assert (shown & other).sum() > 20
    desk.click(ui.acceptPreviewButton)
    assert np.array_equal(desk.segment("second"), other & ~shown if overwrite else other)
    assert np.array_equal(desk.segment("first"), shown if overwrite else shown & ~other)
    ui.segmentEditor.undo()
    assert np.array_equal(desk.segment("second"), other) and not desk.segment("first").any()


def test_under_a_transform_prompts_lie_where_they_are_seen(desk: Desk) -> None:
    import slicer
    import vtk

    turn = vtk.vtkTransform()
    turn.Translate(40, -15, 22)
    turn.RotateZ(25)
    turn.RotateX(10)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(turn.GetMatrix())
    desk.scene.volume.SetAndObserveTransformNodeID(transform.GetID())
    slicer.util.resetSliceViews()
    desk.click(desk.ui.positivePointButton)
    desk.wait(lambda: desk.state.startswith("Click into first"))
    desk.mouse.click(desk.ras(11, 9, 13))
    desk.answered()
    assert overlap(desk.previewed(), truth() == 1) > 0.6
    assert desk.preview.GetTransformNodeID() == transform.GetID()

    # Another transform: the point stays on its voxel, and nothing is asked for it.
    given = desk.controller.annotate_panel._prompts._prompts.given
    turn.RotateZ(30)
    transform.SetMatrixTransformToParent(turn.GetMatrix())
    desk.host.process_events(until=lambda: False, timeout=0.2)
    assert desk.controller.annotate_panel._prompts._prompts.given is given

    desk.click(desk.ui.clearPromptsButton)
    desk.click(desk.ui.boxButton)
    desk.mouse.click(desk.ras(11, 2, 4))
    desk.mouse.click(desk.ras(11, 16, 22))
    desk.answered()
    assert overlap(desk.previewed(), truth() == 1) > 0.5


def test_undo_takes_back_one_prompt_and_clear_drops_all(desk: Desk) -> None:
    from SemiSAMPlusLib.scene.prompt_nodes import Tool

    ui, nodes = desk.ui, desk.controller.annotate_panel._prompts._nodes
    desk.click(ui.positivePointButton)
    desk.wait(lambda: desk.state.startswith("Click into first"))
    desk.mouse.click(desk.ras(11, 9, 11))
    desk.answered()
    shown = desk.previewed()
    desk.mouse.click(desk.ras(11, 9, 15))
    desk.answered()
    assert len(nodes.points(desk.scene.volume)) == 2
    desk.click(ui.undoPromptButton)
    desk.answered()
    assert np.array_equal(desk.previewed(), shown) and len(nodes.points(desk.scene.volume)) == 1
    # Placing goes on after it, and a point that is dragged is asked again.
    desk.mouse.click(desk.ras(11, 9, 16))
    desk.answered()
    assert len(nodes.points(desk.scene.volume)) == 2
    prompts = desk.controller.annotate_panel._prompts._prompts
    nodes.node(Tool.INSIDE).SetNthControlPointPosition(1, *desk.scene.grid.to_ras([(11, 9, 13)])[0])
    desk.answered()
    kji = desk.scene.grid.to_kji([point.ras for point in prompts.given.points])
    assert kji[1] == pytest.approx((11, 9, 13), abs=0.01) and len(kji) == 2
    # The user deletes one in the view.
    nodes.node(Tool.INSIDE).RemoveNthControlPoint(0)
    desk.answered()
    assert len(prompts.given.points) == 1
    desk.click(ui.clearPromptsButton)
    assert desk.preview is None and nodes.points(desk.scene.volume) == []
    assert not ui.undoPromptButton.enabled and ui.positivePointButton.checked


def test_points_beside_the_image_are_refused_in_words(desk: Desk) -> None:
    desk.click(desk.ui.positivePointButton)
    desk.wait(lambda: desk.state.startswith("Click into first"))
    desk.mouse.click(desk.ras(11, 9, -5))
    desk.answered()
    assert "beside the image" in desk.state
    nodes = desk.controller.annotate_panel._prompts._nodes
    assert nodes.points(desk.scene.volume) == [] and desk.preview is None
    desk.mouse.click(desk.ras(11, 9, 13))
    desk.answered()
    assert desk.state.startswith("Preview for first")


def test_escape_ends_placing_and_so_does_another_use_of_the_mouse(desk: Desk) -> None:
    import slicer
    from PySide6 import QtCore
    from PySide6.QtTest import QTest

    ui = desk.ui
    interaction = slicer.mrmlScene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
    desk.click(ui.positivePointButton)
    assert interaction.GetCurrentInteractionMode() == interaction.Place
    desk.host.application.window.activateWindow()
    desk.host.process_events(until=lambda: desk.host.application.window.isActiveWindow(), timeout=5)
    QTest.keyClick(desk.host.application.window, QtCore.Qt.Key.Key_Escape)
    desk.host.process_events()
    assert not ui.positivePointButton.checked
    assert interaction.GetCurrentInteractionMode() == interaction.ViewTransform
    desk.click(ui.boxButton)
    interaction.SwitchToViewTransformMode()
    assert not ui.boxButton.checked
    assert desk.ours() == [] or "Box" not in desk.ours()
    desk.click(ui.negativePointButton)
    desk.host.close_module("SemiSAMPlus")
    assert interaction.GetCurrentInteractionMode() == interaction.ViewTransform
    desk.host.open_module("SemiSAMPlus")


def test_another_generalist_answers_the_same_prompts(desk: Desk) -> None:
    ui = desk.ui
    assert [ui.promptGeneralistBox.itemData(n) for n in range(ui.promptGeneralistBox.count)][0] == "nano"
    desk.click(ui.positivePointButton)
    desk.wait(lambda: desk.state.startswith("Click into first"))
    desk.mouse.click(desk.ras(11, 9, 13))
    desk.answered()
    shown = desk.previewed()
    ui.promptGeneralistBox.currentIndex = ui.promptGeneralistBox.findData("random-walker")
    desk.answered()
    assert desk.preview is not None and not np.array_equal(desk.previewed(), shown)


def test_nodes_may_be_deleted_at_any_time(desk: Desk) -> None:
    import slicer

    from SemiSAMPlusLib.scene.prompt_nodes import Tool

    ui, nodes = desk.ui, desk.controller.annotate_panel._prompts._nodes
    desk.click(ui.positivePointButton)
    desk.wait(lambda: desk.state.startswith("Click into first"))
    desk.mouse.click(desk.ras(11, 9, 13))
    desk.answered()
    slicer.mrmlScene.RemoveNode(desk.preview)
    ui.acceptPreviewButton.click()  # nothing is there any more
    assert not desk.segment("first").any() and not ui.acceptPreviewButton.enabled

    desk.mouse.click(desk.ras(11, 9, 13))
    desk.answered()
    slicer.mrmlScene.RemoveNode(nodes.node(Tool.INSIDE))
    assert not ui.positivePointButton.checked
    desk.answered()
    assert desk.preview is None

    desk.click(ui.positivePointButton)
    desk.mouse.click(desk.ras(11, 9, 13))
    desk.answered()
    slicer.mrmlScene.RemoveNode(desk.scene.annotation)
    ui.acceptPreviewButton.click()
    desk.wait(lambda: desk.controller.current_case() is None)
    assert desk.ours() == [] and desk.state == ""

    desk.controller.open_case("a")
    desk.click(ui.positivePointButton)
    desk.wait(lambda: desk.state.startswith("Click into first"))
    desk.mouse.click(desk.ras(11, 9, 15))
    slicer.mrmlScene.RemoveNode(desk.scene.volume)  # while an answer is awaited
    desk.wait(lambda: desk.controller.current_case() is None)
    desk.host.process_events(until=lambda: False, timeout=0.5)
    assert desk.ours() == [] and desk.state == ""


@pytest.mark.parametrize("end", ["close the case", "close the project", "close the scene", "kill the engine"])
def test_whatever_ends_leaves_no_node_of_ours(desk: Desk, end: str) -> None:
    import os
    import signal

    import slicer

    ui, session = desk.ui, desk.controller.session
    desk.click(ui.positivePointButton)
    desk.wait(lambda: desk.state.startswith("Click into first"))
    desk.mouse.click(desk.ras(11, 9, 13))
    desk.answered()
    assert desk.preview is not None
    desk.click(ui.boxButton)
    desk.mouse.click(desk.ras(11, 2, 4))  # half a box
    if end == "close the case":
        desk.controller.editor.close()
    elif end == "close the project":
        desk.controller.close_project()
    elif end == "close the scene":
        slicer.mrmlScene.Clear(False)
    else:
        os.kill(session.client.hello.pid, signal.SIGKILL)
        desk.wait(lambda: session.state.value == "failed")
        assert not ui.boxButton.checked and not ui.boxButton.enabled
        desk.click(ui.acceptPreviewButton)  # what was answered before can still be taken
        assert desk.segment("first").any()
        desk.click(ui.restartButton)
        desk.wait(lambda: session.state.value == "open")
        desk.click(ui.positivePointButton)
        desk.mouse.click(desk.ras(11, 9, 13))
        desk.answered()
        assert desk.preview is not None
        desk.controller.editor.close()
    desk.host.process_events(until=lambda: False, timeout=0.2)
    assert desk.ours() == []
    interaction = slicer.mrmlScene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
    assert interaction.GetCurrentInteractionMode() == interaction.ViewTransform


def test_a_hippocampus_from_clicks_and_box(
    widget: Any, host: Any, click: Callable[[Any], None], screenshot: Callable[..., Path], tmp_path: Path
) -> None:
    image = HIPPOCAMPUS / "images" / "hippocampus_332.nii.gz"
    if not image.exists():
        pytest.skip(f"the hippocampus data are not at {HIPPOCAMPUS}")
    import slicer

    desk = Desk(widget, host, click)
    desk.open(tmp_path, image)
    label = slicer.util.loadLabelVolume(str(HIPPOCAMPUS / "labels" / image.name), {"show": False})
    true = slicer.util.arrayFromVolume(label) > 0
    slicer.mrmlScene.RemoveNode(label)
    inside = np.argwhere(true)
    middle = inside[np.abs(inside - inside.mean(axis=0)).sum(axis=1).argmin()]
    desk.click(desk.ui.positivePointButton)
    desk.wait(lambda: desk.state.startswith("Click into first"))
    desk.mouse.click(desk.ras(*middle))
    desk.answered()
    assert desk.previewed()[tuple(middle)]
    desk.click(desk.ui.boxButton)
    lower, upper = inside.min(axis=0), inside.max(axis=0)
    desk.mouse.click(desk.ras(middle[0], *lower[1:]))
    desk.mouse.click(desk.ras(middle[0], *upper[1:]))
    desk.answered()
    shown = desk.previewed()
    screenshot("prompt-hippocampus")
    corners = desk.scene.grid.to_kji(desk.controller.annotate_panel._prompts._prompts.given.box)
    assert corners.min(axis=0)[1:] == pytest.approx(lower[1:], abs=0.5)
    assert corners.max(axis=0)[1:] == pytest.approx(upper[1:], abs=0.5)
    assert overlap(shown, true) > 0.3
    desk.click(desk.ui.acceptPreviewButton)
    assert np.array_equal(desk.segment("first"), shown)
