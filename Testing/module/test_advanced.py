"""What is chosen under "Advanced" is what the engine is asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from small_study import make_images, make_project, open_project


def test_every_choice_reaches_the_engine(widget: Any) -> None:
    ui = widget.ui
    ui.minutesBox.value = 2.5
    ui.frameworkBox.setCurrentText("ua-mt")
    ui.networkBox.setCurrentText("vnet")
    ui.spacingBox.value = 1.25
    ui.deviceBox.setCurrentText("cpu")
    options = widget.controller.training_options()
    assert (options.minutes, options.framework, options.network, options.spacing, options.device) == (
        2.5,
        "ua-mt",
        "vnet",
        1.25,
        "cpu",
    )


def test_unless_chosen_the_working_spacing_comes_from_the_data(widget: Any) -> None:
    assert widget.ui.spacingBox.text == "chosen from the data"
    assert widget.controller.training_options().spacing == 0.0


def test_a_spacing_that_makes_no_sense_is_told_with_the_remedy(
    widget: Any, host: Any, click: Callable[[Any], None], tmp_path: Path
) -> None:
    project = make_project(tmp_path / "project", make_images(tmp_path / "images", 3), annotated=1)
    session = open_project(widget, host, project.path)
    widget.ui.deviceBox.setCurrentText("cpu")
    widget.ui.spacingBox.value = 20.0
    click(widget.ui.learnButton)
    assert host.process_events(until=lambda: not session.jobs.training.active, timeout=120)
    text = widget.ui.learnStatusLabel.text
    assert text.startswith("At a working spacing of 20 mm") and "choose at most" in text
