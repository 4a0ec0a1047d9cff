"""Closing a project: half-done work is kept, and a training that runs is stopped only after asking."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from semisam.learning.history import read_history
from semisam.project import Project
from small_study import make_images, make_project, open_project, paint


def test_closing_keeps_the_half_done_annotation_and_leaves_nothing_behind(
    widget: Any, host: Any, click: Callable[[Any], None], tmp_path: Path, screenshot: Callable[..., Path]
) -> None:
    import slicer

    ui, controller = widget.ui, widget.controller
    assert not ui.closeProjectButton.enabled and ui.closeProjectButton.toolTip.endswith("No project is open")
    folder = make_project(tmp_path / "project", make_images(tmp_path / "images", 2)).path
    session = open_project(widget, host, folder)
    screenshot("project", ui.projectSection)
    controller.open_case("case0")
    paint(widget)
    click(ui.closeProjectButton)
    assert not host.dialogs.shown and controller.session is None
    assert ui.projectLabel.text == "No project is open." and ui.casesTable.model().rowCount() == 0
    assert not ui.closeProjectButton.enabled and not ui.tryButton.isHidden()
    assert widget._parameterNode.projectPath == "" and widget._parameterNode.openCase == ""
    for kind in ("vtkMRMLScalarVolumeNode", "vtkMRMLSegmentationNode"):
        assert not slicer.util.getNodesByClass(kind), kind
    assert host.process_events(until=lambda: session.client.state.value == "stopped", timeout=30)

    again = open_project(widget, host, folder)
    assert host.process_events(until=lambda: again.cases.get("case0").state == "in work", timeout=30)
    assert Project.open(folder).annotation("case0").voxels.any()


def test_an_engine_that_died_does_not_keep_the_project_open(
    widget: Any, host: Any, click: Callable[[Any], None], tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    widget.controller.open_project(tmp_path / "empty")
    session = widget.controller.session
    assert host.process_events(until=lambda: session.state.value == "failed", timeout=60)
    assert not widget.ui.messageFrame.isHidden()
    click(widget.ui.closeProjectButton)
    assert widget.controller.session is None and widget.ui.messageFrame.isHidden()


def test_closing_while_it_learns_asks_and_learning_goes_on_the_next_time(
    widget: Any, host: Any, click: Callable[[Any], None], tmp_path: Path
) -> None:
    ui, controller = widget.ui, widget.controller
    folder = make_project(tmp_path / "project", make_images(tmp_path / "images", 3), annotated=1).path
    session = open_project(widget, host, folder)
    widget._parameterNode.minutes, widget._parameterNode.generalists = 5.0, ["registration"]
    click(ui.learnButton)
    assert host.process_events(until=lambda: bool(session.jobs.training.history), timeout=120)
    host.dialogs.answers[:] = [False, False, False, False, True]
    panel = controller.project_panel
    for leave in (
        lambda: click(ui.newProjectButton),
        lambda: click(ui.openProjectButton),
        lambda: panel._on_recent(tmp_path / "another"),
        lambda: click(ui.closeProjectButton),
    ):
        leave()
        assert controller.session is session and session.jobs.training.active
    questions = host.dialogs.texts("confirmOkCancelDisplay")
    assert len(questions) == 4
    assert all(question.startswith("Training runs: stop it and close the project?") for question in questions)
    click(ui.closeProjectButton)
    assert controller.session is None
    assert host.process_events(until=lambda: session.client.state.value == "stopped", timeout=30)

    before = read_history(folder / "log" / "history.jsonl")
    training = open_project(widget, host, folder).jobs.training
    assert training.history == before and not training.active
    click(ui.learnButton)
    assert host.process_events(until=lambda: len(training.history) > len(before), timeout=120)
    assert training.history[: len(before)] == before
    assert training.history[-1]["round"] == 0 and training.history[-1]["step"] > before[-1]["step"]
