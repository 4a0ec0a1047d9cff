"""Every button of the panel in every situation: whether it can be pressed, and that a disabled one says why."""

from __future__ import annotations

import os
import signal
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from small_study import make_images, make_project, open_project

# x: can be pressed, -: disabled, .: hidden, ?: depends on how fast the computer is
TABLE = """
                       looking no-engine no-project empty cases annotated training stopping proposals open preview decided crashed read-only
setupButton            .       .         .          .     .     .         .        .        .         .    .       .       .       .
setupCheckButton       -       x         .          .     .     .         .        .        .         .    .       .       .       .
restartButton          .       .         .          .     .     .         .        .        .         .    .       .       x       .
newProjectButton       x       x         x          x     x     x         x        x        x         x    x       x       x       x
openProjectButton      x       x         x          x     x     x         x        x        x         x    x       x       x       x
recentButton           x       x         x          x     x     x         x        x        x         x    x       x       x       x
closeProjectButton     -       -         -          x     x     x         x        x        x         x    x       x       x       x
tryButton              x       x         x          .     .     .         .        .        .         .    .       .       .       .
addCasesButton         -       -         -          x     x     x         x        x        x         x    x       x       -       -
segmentsButton         -       -         -          x     x     x         x        x        x         x    x       x       -       -
cancelAddingButton     .       .         .          .     .     .         .        .        .         .    .       .       .       .
previousButton         -       -         -          -     x     x         x        x        x         x    x       x       -       x
nextButton             -       -         -          -     x     x         x        x        x         x    x       x       -       x
suggestedButton        -       -         -          -     x     x         x        x        x         x    x       x       -       x
skipButton             -       -         -          -     -     -         -        -        -         x    x       x       -       x
removeCaseButton       -       -         -          -     -     -         -        -        -         x    x       x       -       -
positivePointButton    -       -         -          -     -     -         -        -        -         x    x       x       -       x
negativePointButton    -       -         -          -     -     -         -        -        -         x    x       x       -       x
boxButton              -       -         -          -     -     -         -        -        -         x    x       x       -       x
improveButton          -       -         -          -     -     -         -        -        -         x    x       x       -       x
acceptPreviewButton    -       -         -          -     -     -         -        -        -         -    x       -       -       -
undoPromptButton       -       -         -          -     -     -         -        -        -         -    x       -       -       -
clearPromptsButton     -       -         -          -     -     -         -        -        -         -    x       -       -       -
showPreviewCheckBox    -       -         -          -     -     -         -        -        -         -    x       -       -       -
saveWorkButton         -       -         -          -     -     -         -        -        -         x    x       x       -       -
finishAnnotationButton -       -         -          -     -     -         -        -        -         x    x       x       -       -
finishSlicesButton     -       -         -          -     -     -         -        -        -         x    x       x       -       -
learnButton            -       -         -          -     -     x         x        -        x         x    x       x       -       -
showCurvesButton       -       -         -          -     -     -         ?        ?        -         -    -       -       -       -
showLogButton          -       -         -          -     -     -         x        x        -         -    -       -       -       -
newerProposalButton    .       .         .          .     .     .         .        .        .         .    .       .       .       .
acceptButton           -       -         -          -     -     -         -        -        -         x    x       x       -       -
editProposalButton     -       -         -          -     -     -         -        -        -         x    x       x       -       -
rejectButton           -       -         -          -     -     -         -        -        -         x    x       -       -       -
undoReviewButton       -       -         -          -     -     -         -        -        -         -    -       x       -       -
acceptConfidentButton  -       -         -          -     -     -         -        -        x         x    x       x       -       -
undoConfidentButton    -       -         -          -     -     -         -        -        -         -    -       -       -       -
showProposalCheckBox   -       -         -          -     -     -         -        -        -         x    x       x       x       x
differenceCheckBox     -       -         -          -     -     -         -        -        -         x    x       x       x       x
uncertaintyCheckBox    -       -         -          -     -     -         -        -        -         x    x       x       x       x
segmentButton          -       -         -          -     -     -         -        -        -         -    -       -       -       -
segmentAllButton       -       -         -          -     -     -         -        -        -         -    -       -       -       -
cancelSegmentButton    .       .         .          .     .     .         .        .        .         .    .       .       .       .
exportMaskButton       -       -         -          -     -     -         -        -        -         -    -       -       -       -
exportModelButton      -       -         -          -     -     -         -        -        -         -    -       -       -       -
importModelButton      x       x         x          x     x     x         x        x        x         x    x       x       -       -
addWeightsButton       -       -         -          -     -     -         -        -        -         -    -       -       -       -
"""  # noqa: E501
SITUATIONS, *ROWS = [line.split() for line in TABLE.strip().splitlines()]
UI = Path(__file__).resolve().parents[2] / "SemiSAMPlus" / "Resources" / "UI" / "SemiSAMPlus.ui"


class Panel:
    """Brings the panel into a situation."""

    def __init__(self, widget: Any, host: Any, click: Callable[[Any], None], images: list[Path], folder: Path) -> None:
        self.widget, self.host, self.click, self.images, self.folder = widget, host, click, images, folder
        self.ui, self.controller = widget.ui, widget.controller

    def open(self, **what: int) -> Any:
        """A project: with ``cases``, some ``annotated``, some ``proposed``."""
        images = self.images[: what.pop("cases", 4)]
        return open_project(self.widget, self.host, make_project(self.folder / "project", images, **what).path)

    def wait(self, until: Callable[[], bool]) -> None:
        assert self.host.process_events(until=until, timeout=60)
        self.host.process_events()

    def no_engine(self) -> None:
        setup = self.controller.setup_panel
        setup._probe = None
        setup._on_nothing("No Python has what the engine needs.", [])

    def looking(self) -> None:
        self.no_engine()
        self.click(self.ui.setupCheckButton)

    def no_project(self) -> None:
        self.controller.close_project()

    def empty(self) -> None:
        self.open(cases=0)

    def cases(self) -> None:
        self.open()

    def annotated(self) -> None:
        self.open(annotated=1)

    def training(self) -> None:
        session = self.open(annotated=1)
        self.widget._parameterNode.minutes = 5
        self.click(self.ui.learnButton)
        self.wait(lambda: session.jobs.training.state.value == "training" and self.ui.showLogButton.enabled)

    def stopping(self) -> None:
        self.training()
        self.ui.learnButton.click()

    def proposals(self) -> None:
        self.widget._parameterNode.confidenceToAccept = 0.8
        self.open(annotated=1, proposed=3)

    def opened(self) -> None:
        self.proposals()
        self.controller.open_case("case1")

    def preview(self) -> None:
        self.opened()
        self.click(self.ui.positivePointButton)
        import slicer

        grid = self.controller.case_scene.grid
        points = slicer.util.getNodesByClass("vtkMRMLMarkupsFiducialNode")[0]
        points.AddControlPointWorld(*grid.to_ras([size // 2 for size in grid.shape])[0])
        self.wait(lambda: self.ui.acceptPreviewButton.enabled)

    def decided(self) -> None:
        self.opened()
        self.click(self.ui.rejectButton)
        self.wait(lambda: self.controller.session.cases.get("case1").state == "rejected")

    def crashed(self) -> None:
        self.opened()
        os.kill(self.controller.session.client._process.pid, signal.SIGKILL)
        self.wait(lambda: self.controller.session.state.value == "failed")

    def read_only(self) -> None:
        self.opened()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make_images(tmp_path_factory.mktemp("images") / "images", 4)


@pytest.fixture
def panel(widget: Any, host: Any, click: Callable[[Any], None], images: list[Path], tmp_path: Path) -> Iterator[Panel]:
    """The panel with all its sections unfolded."""
    sections = [name for name in vars(widget.ui) if name.endswith("Section")]
    folded = [name for name in sections if getattr(widget.ui, name).collapsed]
    for name in sections:
        getattr(widget.ui, name).collapsed = False
    probe = widget.controller.setup_panel._probe
    yield Panel(widget, host, click, images, tmp_path)
    widget.controller._waiting = None
    widget.controller.setup_panel._on_found(probe)
    for name in folded:
        getattr(widget.ui, name).collapsed = True


def test_the_table_has_every_button() -> None:
    kinds = {"QPushButton", "QToolButton", "ctkMenuButton"}
    there = {item.get("name") for item in ElementTree.parse(UI).iter("widget") if item.get("class") in kinds}
    assert there <= {row[0] for row in ROWS}
    assert all(len(row) == len(SITUATIONS) + 1 for row in ROWS)


@pytest.mark.parametrize("situation", SITUATIONS)
def test_buttons(panel: Panel, situation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if situation == "read-only":  # permissions do not bind the root user, who runs the tests in a container
        monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
    getattr(panel, {"open": "opened"}.get(situation, situation.replace("-", "_")))()
    column = 1 + SITUATIONS.index(situation)
    root, found, silent = panel.ui.newProjectButton.window(), {}, []
    for name, *_states in ROWS:
        button = getattr(panel.ui, name)
        shown = button.isVisibleTo(root)
        found[name] = ("x" if button.isEnabled() else "-") if shown else "."
        if found[name] == "-" and not button.toolTip.partition("\n")[2]:
            silent.append(name)
    expected = {row[0]: row[column] for row in ROWS}
    assert found == {name: found[name] if state == "?" else state for name, state in expected.items()}
    assert not silent
