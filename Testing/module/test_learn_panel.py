"""What the panel says before, while and after it learns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from small_study import SMALL_PLAN, make_images, make_project, open_project


@pytest.fixture
def session(widget: Any, host: Any, tmp_path: Path) -> Any:
    """Two annotated cases and three others."""
    images = make_images(tmp_path / "images", 5)
    widget._parameterNode.minutes = 10.0
    widget._parameterNode.device = "auto"
    return open_project(widget, host, make_project(tmp_path / "project", images, annotated=2).path)


def test_before_it_starts_it_says_with_what_on_what_and_how_long(widget: Any, session: Any, host: Any) -> None:
    import os

    label = widget.ui.learnSummaryLabel
    count = len(os.sched_getaffinity(0))
    cpu = f"this computer's processor ({count} core{'s' * (count != 1)})"
    assert host.process_events(until=lambda: bool(session.devices), timeout=30)
    widget._parameterNode.device = "cpu"
    assert label.text == f"2 annotated and 3 other cases, 10 minutes, on {cpu}."
    widget._parameterNode.minutes = 2.5
    assert label.text == f"2 annotated and 3 other cases, 2.5 minutes, on {cpu}."


def test_before_the_first_annotation_it_names_the_case_to_begin_with(widget: Any, host: Any, tmp_path: Path) -> None:
    images = make_images(tmp_path / "new", 5)
    session = open_project(widget, host, make_project(tmp_path / "untouched", images).path)
    label = widget.ui.learnSummaryLabel
    assert host.process_events(until=lambda: session.cases.first_to_annotate() is not None, timeout=30)
    first = session.cases.first_to_annotate().name
    assert label.text == f"Annotate {first} first, for it is most like the others; then press Learn."
    assert session.cases.next_to_look_at().name == first
    assert first in ("case1", "case2", "case3")  # the ellipsoids lie a little further with every number


@pytest.mark.parametrize(
    ("cases", "minutes", "words"),
    [
        (3, 1.0, "2 annotated and 1 other case, 1 minute, on "),
        (2, 1.5, "2 annotated and 0 other cases, 1.5 minutes, on "),
    ],
)
def test_one_is_not_many(widget: Any, host: Any, tmp_path: Path, cases: int, minutes: float, words: str) -> None:
    images = make_images(tmp_path / "few", cases)
    open_project(widget, host, make_project(tmp_path / "project of few", images, annotated=2).path)
    widget._parameterNode.minutes = minutes
    assert widget.ui.learnSummaryLabel.text.startswith(words)


def test_between_rounds_it_says_what_waits_for_review(widget: Any, host: Any, tmp_path: Path) -> None:
    images = make_images(tmp_path / "others", 4)
    open_project(widget, host, make_project(tmp_path / "proposed", images, annotated=1, proposed=2).path)
    assert widget.ui.learnStatusLabel.text == "Proposals that wait for you under Review: 2."


def test_the_device_is_told_as_the_engine_found_it(widget: Any, session: Any, host: Any) -> None:
    label = widget.ui.learnSummaryLabel
    assert host.process_events(until=lambda: bool(session.devices), timeout=30)
    for devices, expected in (
        ({}, "the best device that this computer has"),
        ({"cpu": "this computer's processor (2 cores)"}, "this computer's processor (2 cores), as no GPU was found"),
        ({"cuda": "NVIDIA H100, 80 GB", "cpu": "this computer's processor (2 cores)"}, "NVIDIA H100, 80 GB"),
    ):
        session.devices = devices
        widget.controller.show()
        assert label.text.endswith(f"on {expected}.")


def test_network_and_spacing_are_those_that_the_project_has_learned_with(
    widget: Any, host: Any, click: Callable[[Any], None], tmp_path: Path
) -> None:
    import slicer

    ui, images = widget.ui, make_images(tmp_path / "some", 3)
    project = make_project(tmp_path / "learned", images, annotated=1)
    replace(SMALL_PLAN, network="vnet", chosen_spacing=1.25).save(project.models_dir / "plan.json")
    session = open_project(widget, host, project.path)
    assert (ui.networkBox.currentText, ui.spacingBox.value) == ("vnet", 1.25)
    widget.controller.open_case("case1")
    slicer.mrmlScene.Clear(0)  # with the parameter node in it
    host.process_events()
    assert (ui.networkBox.currentText, ui.spacingBox.value) == ("vnet", 1.25)

    session.model = "specialist-0001"
    ui.networkBox.setCurrentText("unet")
    session.cases_changed.emit([])
    assert ui.networkBox.currentText == "unet"
    host.dialogs.answers.append(False)
    click(ui.learnButton)
    (question,) = host.dialogs.texts("confirmOkCancelDisplay")
    assert "vnet and voxels of 1.25 mm" in question and not session.jobs.training.active

    open_project(widget, host, make_project(tmp_path / "untrained", images, annotated=1).path)
    assert (ui.networkBox.currentText, ui.spacingBox.value) == ("unet", 0.0)


def test_while_it_learns_it_says_the_step_and_the_time_left(
    widget: Any, session: Any, host: Any, click: Callable[[Any], None]
) -> None:
    ui, training = widget.ui, session.jobs.training
    widget._parameterNode.device = "cpu"
    click(ui.learnButton)
    assert ui.learnButton.text == "Stop" and ui.learnStatusLabel.text == "Getting ready..."
    assert host.process_events(until=lambda: "step" in ui.learnStatusLabel.text, timeout=120)
    assert ui.learnStatusLabel.text.endswith("left") and "loss" in ui.learnStatusLabel.text
    assert not ui.learnProgressBar.isHidden()
    click(ui.learnButton)
    assert ui.learnStatusLabel.text == "Stopping..." and not ui.learnButton.enabled
    assert host.process_events(until=lambda: not training.active, timeout=60)
    assert training.problem is None and ui.learnButton.text == "Learn" and ui.learnButton.enabled
    assert ui.learnProgressBar.isHidden() and ui.showCurvesButton.enabled


def test_trust_is_told_in_words_for_each_generalist_and_segment(
    widget: Any, session: Any, host: Any, screenshot: Callable[..., Path]
) -> None:
    table = widget.ui.trustTable
    assert table.isHidden()
    trust = {"nano": {"head": 0.0, "tail": 0.2}, "registration": {"head": 0.5, "tail": 0.9}}
    session.jobs.training.take({"event": "metrics", "step": 10, "loss": 0.5, "trust": trust})
    assert host.process_events(until=lambda: table.rowCount == 2, timeout=5)
    words = [[table.item(row, column).text() for column in range(2)] for row in range(2)]
    assert words == [["not used", "a little"], ["partly", "much"]]
    assert table.item(1, 1).toolTip() == "registration with tail: 0.90 of 1"
    assert not table.isHidden()
    screenshot("trust", widget.parent)


def test_the_curves_come_and_go_with_their_button_and_the_layout_stays(
    widget: Any, session: Any, host: Any, click: Callable[[Any], None], screenshot: Callable[..., Path]
) -> None:
    import slicer

    button, manager, layouts = widget.ui.showCurvesButton, slicer.app.layoutManager(), slicer.vtkMRMLLayoutNode
    plain, with_plot = layouts.SlicerLayoutConventionalView, layouts.SlicerLayoutConventionalPlotView
    before = manager.layout
    manager.setLayout(plain)
    assert not button.enabled and not button.checked
    for step in range(10, 200, 10):
        agreement = {"pseudo_label_agreement": 0.9 - 4 / step}
        line = {"step": step, "loss": 8 / step, "loss_supervised": 6 / step, **agreement}
        session.jobs.training.take({"event": "metrics", **line})
    click(button)
    assert manager.layout == with_plot and button.checked
    assert host.process_events(until=lambda: False, timeout=0.5) is False
    screenshot("curves", host.application.window)
    click(button)
    assert manager.layout == plain and not button.checked
    # Slicer's own choice of layouts shows and hides them as well.
    manager.setLayout(with_plot)
    assert button.checked
    manager.setLayout(layouts.SlicerLayoutFourUpView)
    assert not button.checked

    # A plot of somebody else's gives its place only for a while.
    theirs = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotChartNode", "theirs")
    slicer.modules.plots.logic().ShowChartInLayout(theirs)
    other = manager.layout
    (view,) = slicer.util.getNodesByClass("vtkMRMLPlotViewNode")
    assert view.GetPlotChartNode() is theirs
    assert host.process_events(until=lambda: not button.checked, timeout=5)
    click(button)
    assert manager.layout == other and button.checked and view.GetPlotChartNode() is not theirs
    click(button)
    assert manager.layout == other and not button.checked and view.GetPlotChartNode() is theirs

    # Neither a closed scene nor a closed project leaves an empty plot that cannot be hidden.
    manager.setLayout(plain)
    click(button)
    slicer.mrmlScene.Clear(False)
    assert not button.checked
    click(button)
    assert button.checked
    widget.controller.close_project()
    assert manager.layout == plain and not button.checked and not button.enabled
    manager.setLayout(before)


@pytest.mark.parametrize(("seconds", "words"), [(4.6, "5 s"), (150, "2 min 30 s"), (3900, "1 h 05 min")])
def test_times_are_told_as_people_say_them(widget: Any, seconds: float, words: str) -> None:
    from SemiSAMPlusLib.panels.learn_panel import duration

    assert duration(seconds) == words
