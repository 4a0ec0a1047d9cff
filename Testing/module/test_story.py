"""The main story, as a user clicks it, with the real engine: project, cases, annotations, learning, review, undo."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from small_study import SEGMENTS, make_images, paint, painted


@pytest.fixture
def project(widget: Any, host: Any, tmp_path: Path) -> Any:
    """A project of five cases, made through the panel's own calls."""
    from SemiSAMPlusLib.cases import SegmentInfo

    controller = widget.controller
    chosen = [SegmentInfo(index + 1, name, (200, 100 * index, 50)) for index, name in enumerate(SEGMENTS)]
    (tmp_path / "project").mkdir()
    controller.open_project(tmp_path / "project", chosen)
    assert host.process_events(until=lambda: controller.session.state.value == "open", timeout=60)
    controller.project_panel.add_files(make_images(tmp_path / "images", 5))
    rows = widget.ui.casesTable.model().rowCount
    assert host.process_events(until=lambda: rows() == 5, timeout=60)
    return controller.session


def test_the_panel_opens_without_torch_and_says_what_to_do(widget: Any, screenshot: Callable[..., Path]) -> None:
    assert "torch" not in sys.modules and "monai" not in sys.modules
    ui = widget.ui
    assert ui.projectLabel.text == "No project is open."
    assert not ui.learnButton.enabled and ui.learnButton.toolTip.endswith("Open a project first")
    assert not ui.addCasesButton.enabled and not ui.acceptButton.enabled
    assert ui.setupFrame.isHidden() and ui.messageFrame.isHidden()
    screenshot("empty-panel", widget.parent)


@pytest.mark.slow
def test_annotate_learn_review_accept_and_undo(
    widget: Any,
    project: Any,
    host: Any,
    click: Callable[[Any], None],
    screenshot: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ui, controller = widget.ui, widget.controller
    assert ui.casesTable.model().rowCount() == 5
    assert ui.learnSummaryLabel.text == "Annotate at least one case, then press Learn."
    for done, name in enumerate(("case0", "case1")):
        controller.open_case(name)
        paint(widget)
        click(ui.finishAnnotationButton)
        assert host.process_events(until=lambda done=done: project.cases.annotated == done + 1, timeout=30)
    widget._parameterNode.minutes = 0.5
    assert ui.learnSummaryLabel.text.startswith("2 annotated and 3 other cases, 0.5 minutes")

    click(ui.learnButton)
    assert ui.learnButton.text == "Stop"
    assert host.process_events(until=lambda: len(project.jobs.training.history) > 2, timeout=120)
    screenshot("learning", widget.parent)
    controller.open_case("case4")
    opened = time.time()
    assert host.process_events(until=lambda: controller.case_scene.proposal is not None, timeout=120)
    written = project.cases.get("case4").proposal.path.stat().st_mtime
    # From the file that the engine writes to the nodes on the screen; it may have been there when the case was opened.
    assert time.time() - max(written, opened) < 1.0
    assert ui.acceptButton.enabled
    assert host.process_events(until=lambda: not project.jobs.training.active, timeout=240)
    assert project.jobs.training.problem is None and ui.learnButton.text == "Learn"
    assert host.process_events(until=lambda: project.cases.counts().get("proposed") == 3, timeout=30)
    assert ui.trustTable.rowCount > 0

    controller.open_case("case3")
    assert ui.proposalLabel.text.startswith("Proposal for case3, confidence")
    assert ui.proposalSegmentsList.count == 2
    screenshot("review", widget.parent)
    click(ui.acceptButton)
    assert host.process_events(until=lambda: project.cases.get("case3").state == "accepted", timeout=30)
    click(ui.undoReviewButton)
    assert host.process_events(until=lambda: project.cases.get("case3").state == "proposed", timeout=30)
    click(ui.rejectButton)
    assert host.process_events(until=lambda: project.cases.get("case3").state == "rejected", timeout=30)

    segment_a_volume_and_export(widget, host, click, tmp_path, monkeypatch)


def segment_a_volume_and_export(
    widget: Any, host: Any, click: Callable[[Any], None], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One click for a volume that is no case, and its mask as a file."""
    import qt
    import slicer

    ui, (path,) = widget.ui, make_images(folder / "new", 1)
    ui.segmentSection.collapsed = False
    volume = slicer.util.loadVolume(str(path))
    assert not ui.segmentButton.enabled
    widget._parameterNode.inputVolume = volume
    assert not ui.exportMaskButton.enabled
    click(ui.segmentButton)
    assert host.process_events(until=lambda: ui.exportMaskButton.enabled, timeout=120)
    result = next(
        node for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode") if "segmentation" in node.GetName()
    )
    names = [result.GetSegmentation().GetNthSegment(n).GetName() for n in range(2)]
    assert names == list(SEGMENTS)
    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", lambda *arguments: str(folder / "mask.nii.gz"))
    click(ui.exportMaskButton)
    from semisam.files.volume_files import read_image

    assert read_image(folder / "mask.nii.gz").geometry.is_close(read_image(path).geometry)


def test_half_done_work_is_kept_when_another_case_is_opened(widget: Any, project: Any, host: Any) -> None:
    controller = widget.controller
    controller.open_case("case0")
    paint(widget)
    controller.open_case("case1")
    assert host.process_events(until=lambda: project.cases.get("case0").state == "in work", timeout=30)
    controller.open_case("case0")
    assert painted(widget) > 100


def test_a_killed_engine_is_told_in_words_and_restarted(
    widget: Any, project: Any, host: Any, click: Callable[[Any], None]
) -> None:
    import os
    import signal

    ui = widget.ui
    os.kill(project.client._process.pid, signal.SIGKILL)
    assert host.process_events(until=lambda: project.state.value == "failed", timeout=30)
    assert ui.messageLabel.text and "Traceback" not in ui.messageLabel.text and not ui.messageFrame.isHidden()
    assert not ui.learnButton.enabled
    click(ui.restartButton)
    assert host.process_events(until=lambda: project.state.value == "open", timeout=60)
    assert len(project.cases) == 5 and ui.messageFrame.isHidden()


def test_closing_the_scene_in_the_middle_keeps_the_work(widget: Any, project: Any, host: Any) -> None:
    import slicer

    widget.controller.open_case("case2")
    paint(widget)
    slicer.mrmlScene.Clear(False)
    assert widget.controller.current_case() is None
    assert host.process_events(until=lambda: project.cases.get("case2").state == "in work", timeout=30)
    widget.controller.open_case("case2")
    assert widget.controller.current_case() == "case2"
