"""Review of proposals: accepting all or some segments, editing, rejecting, many at once, and undo of each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PySide6 import QtCore, QtWidgets

from semisam.volumes import Volume
from small_study import SEGMENTS, ellipsoid, make_images, make_project, open_project, painted

CONFIDENCES = (0.97, 0.93, 0.85, 0.6)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make_images(tmp_path_factory.mktemp("study") / "images", 5)


@pytest.fixture
def session(widget: Any, host: Any, images: list[Path], tmp_path: Path) -> Any:
    """A project, open in the panel: one annotated case and four proposals, each with its uncertainty."""
    project = make_project(tmp_path / "project", images, annotated=1)
    for number, confidence in enumerate(CONFIDENCES, 1):
        geometry = project.image_geometry(f"case{number}")
        mask = ellipsoid(number, geometry.shape)
        doubt = Volume((mask > 0).astype("float32") * 0.5, geometry)
        project.set_proposal(
            f"case{number}", Volume(mask, geometry), model="test", confidence=confidence, uncertainty=doubt
        )
    widget._parameterNode.confidenceToAccept = 0.9
    widget._parameterNode.showDifference = widget._parameterNode.showUncertainty = False
    return open_project(widget, host, project.path)


@pytest.fixture
def becomes(host: Any, session: Any) -> Callable[..., None]:
    """Waits until a case is in a state."""

    def wait(name: str, state: str) -> None:
        assert host.process_events(until=lambda: session.cases.get(name).state == state, timeout=30), session.cases.get(
            name
        ).state
        host.process_events()

    return wait


def node(name: str) -> Any:
    """A segmentation of the scene by a part of its name, or None."""
    import slicer

    nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    return next((item for item in nodes if name in item.GetName()), None)


def check(widget: Any, row: int, checked: bool) -> None:
    import qt

    state = qt.Qt.Checked if checked else qt.Qt.Unchecked
    widget.ui.proposalSegmentsList.item(row).setCheckState(state)


def test_all_segments_are_accepted_and_that_is_taken_back(
    widget: Any, click: Callable[[Any], None], becomes: Callable[..., None]
) -> None:
    ui = widget.ui
    widget.controller.open_case("case1")
    assert ui.proposalLabel.text == "Proposal for case1, confidence 0.97." and painted(widget) == 0
    click(ui.acceptButton)
    becomes("case1", "accepted")
    assert ui.proposalLabel.text == "The proposal for case1 was accepted." and painted(widget) > 100
    click(ui.undoReviewButton)
    becomes("case1", "proposed")
    assert painted(widget) == 0 and not ui.undoReviewButton.enabled
    assert ui.proposalLabel.text == "Proposal for case1, confidence 0.97."


def test_one_segment_is_accepted_and_the_other_one_later(
    widget: Any, session: Any, click: Callable[[Any], None], becomes: Callable[..., None]
) -> None:
    ui = widget.ui
    widget.controller.open_case("case1")
    check(widget, 0, False)
    click(ui.acceptButton)
    becomes("case1", "in work")
    assert painted(widget, SEGMENTS[0]) == 0 and painted(widget, SEGMENTS[1]) > 100
    assert [ui.proposalSegmentsList.item(row).text() for row in range(2)] == ["head", "tail (accepted)"]
    check(widget, 0, False)
    assert not ui.acceptButton.enabled and "Check a segment" in ui.acceptButton.toolTip
    check(widget, 0, True)
    click(ui.acceptButton)
    becomes("case1", "accepted")
    click(ui.undoReviewButton)
    becomes("case1", "in work")
    assert painted(widget, SEGMENTS[0]) == 0 and painted(widget, SEGMENTS[1]) > 100
    assert session.cases.get("case1").annotation is not None


def test_a_proposal_is_edited_then_accepted_and_editing_is_taken_back(
    widget: Any, session: Any, click: Callable[[Any], None], becomes: Callable[..., None]
) -> None:
    ui = widget.ui
    widget.controller.open_case("case2")
    click(ui.editProposalButton)
    becomes("case2", "in work")
    assert painted(widget) > 100 and not ui.showProposalCheckBox.checked
    click(ui.undoReviewButton)
    becomes("case2", "proposed")
    assert painted(widget) == 0 and ui.showProposalCheckBox.checked
    ui.annotateSection.collapsed = True
    click(ui.editProposalButton)
    becomes("case2", "in work")
    # The proposal as it was must not take the place of the correction by a quick Accept.
    assert not ui.acceptButton.enabled and "Annotation is complete" in ui.proposalLabel.text
    assert ui.proposalSegmentsList.item(0).text() == "head (in the annotation)"
    assert not ui.annotateSection.collapsed
    widget.controller.open_case("case3")
    assert ui.acceptButton.enabled
    widget.controller.open_case("case2")  # as on the next day
    assert not ui.acceptButton.enabled and "in work" in ui.proposalLabel.text
    click(ui.finishAnnotationButton)
    becomes("case2", "annotated")


def test_undo_brings_back_the_annotation_even_when_it_was_saved_in_between(
    widget: Any, session: Any, host: Any, click: Callable[[Any], None], becomes: Callable[..., None]
) -> None:
    from SemiSAMPlusLib.scene.grids import Patch
    from SemiSAMPlusLib.scene.segments import find_segment, write_segment

    ui, scene = widget.ui, widget.controller.case_scene
    widget.controller.open_case("case1")
    few = ellipsoid(1, scene.grid.shape)[8:10] == 1
    write_segment(scene.annotation, find_segment(scene.annotation, "head"), Patch(scene.grid, (8, 0, 0), few))
    click(ui.saveWorkButton)
    becomes("case1", "in work")
    before = painted(widget)
    revision = session.cases.get("case1").annotation.revision
    click(ui.editProposalButton)
    write_segment(scene.annotation, find_segment(scene.annotation, "head"), Patch(scene.grid, (0, 0, 0), few))
    click(ui.saveWorkButton)
    assert host.process_events(until=lambda: session.cases.get("case1").annotation.revision >= revision + 2, timeout=30)
    click(ui.undoReviewButton)
    assert painted(widget) == before
    assert host.process_events(until=lambda: session.cases.get("case1").annotation.revision == revision + 3, timeout=30)
    widget.controller.open_case("case2")
    widget.controller.open_case("case1")
    assert painted(widget) == before and session.cases.get("case1").state == "in work"


def test_a_proposal_is_rejected_and_that_is_taken_back(
    widget: Any, click: Callable[[Any], None], becomes: Callable[..., None]
) -> None:
    ui = widget.ui
    widget.controller.open_case("case3")
    click(ui.rejectButton)
    becomes("case3", "rejected")
    assert not ui.rejectButton.enabled and not node("proposal").GetDisplayNode().GetVisibility()
    click(ui.undoReviewButton)
    becomes("case3", "proposed")
    assert ui.rejectButton.enabled and node("proposal").GetDisplayNode().GetVisibility()


def test_the_proposal_is_hidden_and_shown(widget: Any, session: Any, click: Callable[[Any], None]) -> None:
    ui = widget.ui
    widget.controller.open_case("case3")
    display = node("proposal").GetDisplayNode()
    click(ui.showProposalCheckBox)
    assert not display.GetVisibility()
    click(ui.showProposalCheckBox)
    assert display.GetVisibility()


def test_difference_and_uncertainty_are_shown_and_follow_edits(
    widget: Any, session: Any, host: Any, click: Callable[[Any], None], screenshot: Callable[..., Path]
) -> None:
    import slicer

    from SemiSAMPlusLib.scene.segments import copy_segments, find_segment, read_segment

    ui, scene = widget.ui, widget.controller.case_scene
    widget.controller.open_case("case3")
    composite = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")[0]
    click(ui.uncertaintyCheckBox)
    overlay = slicer.mrmlScene.GetNodeByID(composite.GetForegroundVolumeID())
    assert overlay.GetName() == "case3 uncertainty"
    assert overlay.GetDisplayNode().GetColorNode() is not None
    click(ui.differenceCheckBox)

    def only_proposed() -> int:
        shown = node("difference")
        return read_segment(shown, find_segment(shown, "Only in the proposal"), scene.grid).count

    before = only_proposed()
    assert before > 500
    screenshot("difference")
    from SemiSAMPlusLib.scene.segments import SegmentStatus

    copy_segments(scene.proposal, scene.annotation, ["head"], scene.grid, SegmentStatus.IN_PROGRESS)
    assert host.process_events(until=lambda: only_proposed() < before, timeout=5)
    widget.controller.open_case("case1")
    assert slicer.mrmlScene.GetNodeByID(composite.GetForegroundVolumeID()).GetName() == "case1 uncertainty"
    assert node("case1 difference") is not None and node("case3 difference") is None
    click(ui.uncertaintyCheckBox)
    click(ui.differenceCheckBox)
    assert composite.GetForegroundVolumeID() is None and node("difference") is None


def test_nothing_is_drawn_again_while_cases_change(widget: Any, session: Any, click: Callable[[Any], None]) -> None:
    """Proposals arrive one by one while the user looks at one: his overlay stays as it is."""
    ui = widget.ui
    widget.controller.open_case("case3")
    click(ui.differenceCheckBox)
    shown = node("difference")
    for _number in range(3):
        session.cases_changed.emit(["case4"])
    assert node("difference") is shown


def test_a_newer_proposal_does_not_take_the_place_of_an_edited_one(
    widget: Any, session: Any, host: Any, click: Callable[[Any], None]
) -> None:
    from semisam.project import Project
    from SemiSAMPlusLib.scene.grids import Patch
    from SemiSAMPlusLib.scene.segments import find_segment, read_segment, write_segment

    ui, scene = widget.ui, widget.controller.case_scene
    widget.controller.open_case("case4")
    assert ui.newerProposalButton.isHidden()
    write_segment(scene.proposal, find_segment(scene.proposal, "head"), Patch.empty(scene.grid))
    project = Project.open(session.project)
    geometry = project.image_geometry("case4")
    project.set_proposal("case4", Volume(ellipsoid(0, geometry.shape), geometry), model="test", confidence=0.7)
    session.refresh()
    assert host.process_events(until=lambda: not ui.newerProposalButton.isHidden(), timeout=30)
    assert read_segment(scene.proposal, find_segment(scene.proposal, "head"), scene.grid).count == 0
    click(ui.newerProposalButton)
    assert read_segment(scene.proposal, find_segment(scene.proposal, "head"), scene.grid).count > 100
    assert ui.newerProposalButton.isHidden()


# Many at once ---------------------------------------------------------------------------------------------------------


def answer(uncheck: str = "", accept: bool = True) -> None:
    """Answer the dialog that is about to open: uncheck a case, then accept or cancel."""

    def act() -> None:
        window = QtWidgets.QApplication.activeModalWidget()
        rows = window.findChild(QtWidgets.QListWidget)
        for row in range(rows.count()):
            if uncheck and rows.item(row).text().startswith(uncheck):
                rows.item(row).setCheckState(QtCore.Qt.CheckState.Unchecked)
        buttons = window.findChild(QtWidgets.QDialogButtonBox)
        kind = QtWidgets.QDialogButtonBox.StandardButton
        buttons.button(kind.Ok if accept else kind.Cancel).click()

    QtCore.QTimer.singleShot(300, act)


def test_confident_proposals_are_accepted_together_after_a_look_at_the_list(
    widget: Any, session: Any, host: Any, click: Callable[[Any], None], becomes: Callable[..., None]
) -> None:
    ui = widget.ui
    assert ui.acceptConfidentButton.text == "Accept 2 confident..."
    ui.confidenceBox.value = 0.8
    assert widget._parameterNode.confidenceToAccept == 0.8
    assert ui.acceptConfidentButton.text == "Accept 3 confident..."
    answer(accept=False)
    click(ui.acceptConfidentButton)
    assert session.cases.counts()["proposed"] == 4 and not ui.undoConfidentButton.enabled
    answer(uncheck="case2")
    click(ui.acceptConfidentButton)
    for name in ("case1", "case3"):
        becomes(name, "accepted")
    assert session.cases.get("case2").state == "proposed" and session.cases.get("case4").state == "proposed"
    click(ui.undoConfidentButton)
    for name in ("case1", "case3"):
        becomes(name, "proposed")
    assert not ui.undoConfidentButton.enabled


def test_the_open_case_is_not_accepted_with_the_others(widget: Any, session: Any) -> None:
    widget.controller.open_case("case1")
    assert widget.ui.acceptConfidentButton.text == "Accept 1 confident..."


def test_undo_of_all_leaves_what_was_edited_since(
    widget: Any, session: Any, host: Any, click: Callable[[Any], None], becomes: Callable[..., None]
) -> None:
    from SemiSAMPlusLib.scene.grids import Patch
    from SemiSAMPlusLib.scene.segments import find_segment, write_segment

    ui, scene = widget.ui, widget.controller.case_scene
    answer()
    click(ui.acceptConfidentButton)
    for name in ("case1", "case2"):
        becomes(name, "accepted")
    widget.controller.open_case("case1")
    write_segment(scene.annotation, find_segment(scene.annotation, "tail"), Patch.empty(scene.grid))
    click(ui.finishAnnotationButton)
    becomes("case1", "annotated")
    widget.controller.open_case("case2")
    assert painted(widget) > 100
    click(ui.undoConfidentButton)
    becomes("case2", "proposed")
    assert session.cases.get("case1").state == "annotated" and ui.messageLabel.text == (
        "case1 was changed since and stays as it is."
    )
    # The open case shows what the project has.
    assert host.process_events(until=lambda: painted(widget) == 0, timeout=10)


def test_the_list_of_confident_cases_looks_right(
    widget: Any, session: Any, host: Any, screenshot: Callable[..., Path]
) -> None:
    from SemiSAMPlusLib.confident_dialog import ConfidentDialog

    dialog = ConfidentDialog(session.cases.confident_proposals(0.8))
    dialog.window.show()
    host.process_events()
    assert dialog.names() == ["case1", "case2", "case3"] and dialog._ok.text == "Accept 3"
    screenshot("confident", dialog.window)
    for row in range(3):
        dialog.list.item(row).setCheckState(0)
    assert dialog.names() == [] and not dialog._ok.enabled
    dialog.window.close()
