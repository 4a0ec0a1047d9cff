"""What goes wrong while a person works: the engine dies, scenes and projects are closed, nodes and folders vanish."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from small_study import make_images, make_project, open_project, paint, painted

Click = Callable[[Any], None]


@pytest.fixture
def session(widget: Any, host: Any, tmp_path: Path) -> Any:
    """An open project: two annotated cases, two with a proposal, one new."""
    project = make_project(tmp_path / "project", make_images(tmp_path / "images", 5), annotated=2, proposed=2)
    return open_project(widget, host, project.path)


def state_of(session: Any, case: str) -> str:
    return str(session.cases.get(case).state)


def kill(session: Any) -> None:
    os.kill(session.client._process.pid, signal.SIGKILL)


def start_learning(widget: Any, host: Any, session: Any, click: Click) -> None:
    """Press Learn and wait for the first steps."""
    widget._parameterNode.generalists = ["registration"]
    click(widget.ui.learnButton)
    assert host.process_events(until=lambda: session.jobs.training.history, timeout=120), session.jobs.training.problem


def restart(widget: Any, host: Any, session: Any, click: Click) -> None:
    """What the user does after a crash: reads the sentence, presses Restart."""
    text = widget.ui.messageLabel.text
    assert "Restart" in text and "Traceback" not in text
    click(widget.ui.restartButton)
    assert host.process_events(until=lambda: session.state.value == "open", timeout=60)
    assert widget.ui.messageFrame.isHidden()


# The engine dies ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_killed_in_the_middle_of_training_nothing_is_lost_and_learning_goes_on(
    widget: Any, session: Any, host: Any, click: Click
) -> None:
    import slicer

    start_learning(widget, host, session, click)
    # The scene is closed meanwhile: training does not mind, and the half-done annotation is kept.
    widget.controller.open_case("case4")
    paint(widget)
    slicer.mrmlScene.Clear(False)
    assert host.process_events(until=lambda: state_of(session, "case4") == "in work", timeout=30)
    assert session.jobs.training.active

    widget.controller.open_case("case4")
    paint(widget, {"head": (100, 1000), "tail": (5000, 6000)})
    kept = painted(widget)
    kill(session)
    assert host.process_events(until=lambda: session.state.value == "failed", timeout=30)
    assert widget.ui.learnButton.text == "Learn" and not widget.ui.learnButton.enabled
    widget.controller.open_case("case0")  # leaves what was painted waiting for the engine
    restart(widget, host, session, click)
    taken = host.process_events(until=lambda: not list(session.pending.waiting()), timeout=30)
    assert taken, widget.ui.messageLabel.text
    widget.controller.open_case("case4")
    assert painted(widget) == kept

    start_learning(widget, host, session, click)
    click(widget.ui.learnButton)
    assert host.process_events(until=lambda: not session.jobs.training.active, timeout=60)
    assert session.jobs.training.problem is None


def test_killed_in_the_middle_of_a_prompt_the_next_prompt_is_answered(
    widget: Any, session: Any, host: Any, click: Click
) -> None:
    ui = widget.ui
    widget.controller.open_case("case4")
    paint(widget)
    ui.segmentEditor.setCurrentSegmentID("Segment_1")
    click(ui.improveButton)
    kill(session)
    assert host.process_events(until=lambda: session.state.value == "failed", timeout=30)
    host.process_events(until=lambda: False, timeout=0.3)
    restart(widget, host, session, click)
    click(ui.improveButton)
    assert host.process_events(until=lambda: ui.acceptPreviewButton.enabled, timeout=60), ui.messageLabel.text
    click(ui.acceptPreviewButton)
    assert painted(widget) > 0


def test_killed_before_it_took_a_decision_the_mask_is_kept_and_taken_later(
    widget: Any, session: Any, host: Any, click: Click
) -> None:
    widget.controller.open_case("case2")
    os.kill(session.client._process.pid, signal.SIGSTOP)
    click(widget.ui.acceptButton)
    kept = painted(widget)
    kill(session)
    assert host.process_events(until=lambda: session.state.value == "failed", timeout=30)
    restart(widget, host, session, click)
    assert host.process_events(until=lambda: session.cases.get("case2").finished, timeout=30)
    widget.controller.open_case("case0")
    widget.controller.open_case("case2")
    assert painted(widget) == kept > 0


# Scenes, modules and projects come and go -----------------------------------------------------------------------------


def test_the_module_is_reloaded_while_a_project_is_open(widget: Any, session: Any, host: Any) -> None:
    import slicer

    widget.controller.open_case("case4")
    paint(widget)
    worker = session.client.hello.pid
    nodes = {node.GetID() for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")}
    slicer.util.reloadScriptedModule("SemiSAMPlus")
    fresh = slicer.modules.SemiSAMPlusWidget
    assert fresh is not widget and fresh.controller is not widget.controller
    left = {node.GetID() for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")}
    assert nodes and not left & nodes
    assert not Path(f"/proc/{worker}").exists()

    assert host.process_events(until=lambda: fresh.controller.setup_panel.ready, timeout=60)
    again = open_project(fresh, host, session.project)
    assert host.process_events(until=lambda: state_of(again, "case4") == "in work", timeout=30)
    fresh.controller.open_case("case4")
    assert painted(fresh) > 100
    fresh.controller.close_project()


def test_a_second_project_is_opened_while_the_first_trains(
    widget: Any, session: Any, host: Any, click: Click, tmp_path: Path
) -> None:
    start_learning(widget, host, session, click)
    widget.controller.open_case("case4")
    paint(widget)
    second = make_project(tmp_path / "second", make_images(tmp_path / "others", 1))
    other = open_project(widget, host, second.path)
    assert widget.ui.learnButton.text == "Learn" and not widget.ui.showCurvesButton.enabled
    assert len(other.cases) == 1 and widget.controller.current_case() is None
    # What the first one learned is saved, by an engine that ends by itself.
    process = session.client
    assert host.process_events(until=lambda: process.state.value == "stopped", timeout=30)
    first = open_project(widget, host, session.project)
    assert host.process_events(until=lambda: state_of(first, "case4") == "in work", timeout=30)
    assert first.jobs.training.history and (session.project / "models").is_dir()


# Things vanish --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["volume", "annotation", "proposal", "everything"])
def test_nodes_of_the_open_case_are_deleted(widget: Any, session: Any, host: Any, kind: str) -> None:
    import slicer

    controller = widget.controller
    controller.open_case("case2")
    paint(widget)
    kept, scene = painted(widget), controller.case_scene
    for name in ("volume", "annotation", "proposal") if kind == "everything" else (kind,):
        slicer.mrmlScene.RemoveNode(getattr(scene, name))
        host.process_events()
    if kind == "proposal":
        assert controller.current_case() == "case2" and not widget.ui.acceptButton.enabled
    else:
        assert controller.current_case() is None and "case2" in widget.ui.messageLabel.text
    controller.open_case("case0")
    controller.open_case("case2")
    assert painted(widget) == kept > 0 and controller.case_scene.proposal is not None


def test_a_folder_that_cannot_be_written_is_told_and_nothing_is_lost(widget: Any, session: Any, host: Any) -> None:
    if os.getuid() == 0:
        # Nothing is read-only for root: a file stands where the folder of waiting masks has to be.
        (session.project / "pending").write_text("")
    else:
        session.project.chmod(0o500)
    controller = widget.controller
    controller.open_case("case4")
    paint(widget)
    kept = painted(widget)
    controller.open_case("case0")
    assert controller.current_case() == "case4" and painted(widget) == kept
    assert str(session.project) in widget.ui.messageLabel.text
    widget.ui.finishAnnotationButton.click()
    widget.ui.saveWorkButton.click()
    if os.getuid() == 0:
        (session.project / "pending").unlink()
    else:
        session.project.chmod(0o700)
    controller.open_case("case0")
    assert controller.current_case() == "case0"
    assert host.process_events(until=lambda: state_of(session, "case4") == "in work", timeout=30)


def test_a_segmentation_that_was_chosen_elsewhere_gets_no_strokes_of_the_open_case(widget: Any, session: Any) -> None:
    import slicer

    editor, scene = widget.ui.segmentEditor, slicer.mrmlScene
    widget.controller.open_case("case4")
    other = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "another one")
    for node in (other, None):
        editor.setSegmentationNode(node)  # as in the module Segment Editor
        widget.exit()
        widget.enter()
        assert editor.segmentationNode() is widget.controller.case_scene.annotation
        assert editor.sourceVolumeNode() is widget.controller.case_scene.volume
        editor.setSegmentationNode(node)  # as a scene that is loaded does
        scene.InvokeEvent(scene.EndImportEvent)
        assert editor.segmentationNode() is widget.controller.case_scene.annotation
    editor.setSegmentationNode(widget.controller.case_scene.annotation)


def test_the_project_folder_vanishes(widget: Any, session: Any, host: Any, tmp_path: Path) -> None:
    controller = widget.controller
    controller.open_case("case4")
    paint(widget)
    shutil.rmtree(session.project)
    widget.ui.finishAnnotationButton.click()
    host.process_events(until=lambda: bool(widget.ui.messageLabel.text), timeout=10)
    assert "project" in widget.ui.messageLabel.text
    controller.open_case("case0")
    controller.open_project(tmp_path / "no such project")
    assert host.process_events(until=lambda: controller.session.state.value == "failed", timeout=60)
    assert "no such project" in widget.ui.messageLabel.text


def test_work_that_has_no_place_in_the_project_any_more_is_put_elsewhere(
    widget: Any, session: Any, host: Any, tmp_path: Path
) -> None:
    import slicer

    widget.controller.open_case("case4")
    paint(widget)
    kept = painted(widget)
    shutil.rmtree(session.project)
    session.project.write_text("a file now")
    slicer.mrmlScene.Clear(False)
    text = widget.ui.messageLabel.text
    rescued = Path(text.split('"')[1])
    assert "case4" in text and rescued.is_file()
    segmentation = slicer.util.loadSegmentation(str(rescued))
    head = segmentation.GetSegmentation().GetSegmentIdBySegmentName("head")
    voxels = slicer.util.arrayFromSegmentInternalBinaryLabelmap(segmentation, head)
    assert (voxels == segmentation.GetSegmentation().GetSegment(head).GetLabelValue()).sum() == kept
    rescued.unlink()
