"""A person who does things in no sensible order; and what must be true all the same.

``Monkey.act`` does one random action as a user would: what is disabled is not clicked. Meanwhile it remembers what was
drawn in each case, and compares with that whenever a case is opened again. ``check_project`` does so at the end, with
the files of the project.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from semisam.project import Project
from small_study import SEGMENTS, open_project

Counts = tuple[int, ...]  # voxels of each segment; every stroke of the monkey has other ones
NOTHING: Counts = (0,) * len(SEGMENTS)

BUTTONS = (
    *("previousButton", "nextButton", "suggestedButton", "skipButton") * 2,
    *("saveWorkButton", "finishAnnotationButton", "finishSlicesButton", "improveButton", "acceptPreviewButton"),
    *("boxButton", "undoPromptButton", "clearPromptsButton"),
    *("acceptButton", "editProposalButton", "rejectButton", "undoReviewButton", "newerProposalButton") * 2,
    *("acceptConfidentButton", "undoConfidentButton", "showCurvesButton", "restartButton"),
)


class Monkey:
    """One sequence of actions on one project.

    widget, host  the module and where it runs
    images        what can be added as cases
    """

    def __init__(self, widget: Any, host: Any, project: Path, images: list[Path], seed: int) -> None:
        self.widget, self.host, self.images = widget, host, images
        self.ui, self.controller = widget.ui, widget.controller
        self.random = random.Random(seed)
        self.session = open_project(widget, host, project)
        self.log: list[str] = []
        self.drawn: dict[str, set[Counts]] = {}  # what the annotation of a case may be; absent: nobody knows
        for name, case in Project.open(project).cases.items():
            self.drawn[name] = {counts_in(Project.open(project), name) if case.annotation else NOTHING}
        self.undecided: set[str] = set()  # accepted together, or that taken back, and not answered yet
        self.removed: set[str] = set()
        self.killed = False
        actions: list[tuple[int, Callable[[], None]]] = [
            (8, self.open_case),
            (10, self.draw),
            (24, self.press),
            (3, self.undo_in_editor),
            (2, self.uncheck_segment),
            (2, self.place_point),
            (2, self.edit_proposal_node),
            (2, self.add_case),
            (1, self.remove_cases),
            (1, self.learn_or_stop),
            (3, self.filter_and_sort),
            (2, self.toggle_overlay),
            (2, self.close_scene),
            (2, self.delete_node),
            (1, self.leave_and_enter),
            (2, self.reopen),
            (1, self.kill),
        ]
        self._actions = [action for weight, action in actions for _ in range(weight)]

    def act(self) -> None:
        """Do one thing, and wait for a moment, or until the engine has answered everything."""
        before = self.open_name
        action = self.random.choice(self._actions)
        self.log.append(action.__name__)
        action()
        patience = self.random.random()
        if patience < 0.15:
            self.settle()
        else:
            self.host.process_events(until=lambda: False, timeout=0.0 if patience < 0.7 else 0.05)
        self.look(before)

    # What is true -----------------------------------------------------------------------------------------------------

    @property
    def open_name(self) -> str | None:
        return str(self.controller.current_case()) if self.controller.current_case() else None

    def look(self, before: str | None) -> None:
        """Whatever happened: the open case shows what was drawn in it."""
        name = self.open_name
        if name is not None and name != before:
            self.log.append(f"  {name} is open")
            self.compare(name, self.counts())
        if name is not None:
            self.remember()
        assert "Traceback" not in self.ui.messageLabel.text, self.ui.messageLabel.text

    def compare(self, name: str, there: Counts | None) -> None:
        expected = self.drawn.get(name)
        assert expected is None or there in expected, f"{name}: {there} is there, {expected} was drawn"

    def remember(self) -> None:
        """The annotation of the open case as it is now is what the project has to have in the end."""
        counts = self.counts()
        if self.open_name is not None and counts is not None and self.open_name not in self.undecided:
            self.drawn[self.open_name] = {counts}

    def counts(self) -> Counts | None:
        """Voxels of each segment in the annotation of the open case."""
        from SemiSAMPlusLib.scene.segments import find_segment, read_segment

        scene = self.controller.case_scene
        if scene.annotation is None or scene.grid is None:
            return None
        keys = [find_segment(scene.annotation, name) for name in SEGMENTS]
        return tuple(int(read_segment(scene.annotation, key, scene.grid).count) if key else 0 for key in keys)

    def settle(self) -> bool:
        """Wait until the engine has answered what it was asked, but for training."""
        client = self.session.client

        def idle() -> bool:
            names = {request.name for request in client._pending.values()}
            return not names - {"train", "encode"} or self.session.state.value != "open"

        settled = bool(self.host.process_events(until=idle, timeout=20))
        if settled and self.session.state.value == "open":
            self.undecided.clear()
        return settled

    # What it does -----------------------------------------------------------------------------------------------------

    def open_case(self) -> None:
        table = self.ui.casesTable.model()
        if table.rowCount() and self.session.state.value == "open":
            row = self.random.randrange(table.rowCount())
            self.controller.open_case(str(table.index(row, 0).data()))

    def draw(self) -> None:
        self._stroke(self.controller.case_scene.annotation)

    def edit_proposal_node(self) -> None:
        self._stroke(self.controller.case_scene.proposal)

    def _stroke(self, node: Any) -> None:
        """A box in one half of the image for each segment, so that they never overlap."""
        from SemiSAMPlusLib.scene.grids import Patch
        from SemiSAMPlusLib.scene.segments import find_segment, write_segment

        grid = self.controller.case_scene.grid
        if node is None or grid is None:
            return
        if self.ui.segmentEditor.segmentationNode() is node:
            self.ui.segmentEditor.saveStateForUndo()
        half = grid.shape[0] // 2
        for place, name in enumerate(SEGMENTS):
            key = find_segment(node, name)
            if key is not None:
                size = [self.random.randint(1, length) for length in (half, *grid.shape[1:])]
                write_segment(node, key, Patch(grid, (place * half, 0, 0), np.ones(size, bool)))

    def press(self) -> None:
        enabled = [name for name in BUTTONS if getattr(self.ui, name).enabled and not getattr(self.ui, name).isHidden()]
        if not enabled:
            return
        name = self.random.choice(enabled)
        button = getattr(self.ui, name)
        self.log[-1] += f" {name}"
        if name == "acceptConfidentButton" or name == "undoConfidentButton":
            for case in self.session.cases:
                if case.name != self.open_name:
                    self.drawn.pop(case.name, None)
                    self.undecided.add(case.name)
        button.click()

    def undo_in_editor(self) -> None:
        if self.open_name is not None:
            self.ui.segmentEditor.undo()

    def uncheck_segment(self) -> None:
        import qt

        if self.ui.proposalSegmentsList.count:
            self.ui.proposalSegmentsList.item(0).setCheckState(qt.Qt.Unchecked)

    def place_point(self) -> None:
        button = self.random.choice((self.ui.positivePointButton, self.ui.negativePointButton))
        scene = self.controller.case_scene
        if not button.enabled or scene.grid is None:
            return
        button.click()
        selection = slicer.mrmlScene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
        points = slicer.mrmlScene.GetNodeByID(selection.GetActivePlaceNodeID() or "")
        if points is not None and button.checked:
            index = [self.random.uniform(-1, size) for size in scene.grid.shape]
            points.AddControlPoint(*(float(value) for value in scene.grid.to_ras([index])[0]))

    def add_case(self) -> None:
        if self.ui.addCasesButton.enabled:
            path = self.random.choice(self.images)
            name = path.name.removesuffix(".nii.gz")
            if name not in self.session.cases:
                self.drawn.pop(name, None)
            self.controller.project_panel.add_files([path])

    def remove_cases(self) -> None:
        button, table = self.ui.removeCaseButton, self.ui.casesTable
        if table.model().rowCount() < 3:
            return
        row = self.random.randrange(table.model().rowCount())
        name = str(table.model().index(row, 0).data())
        table.selectRow(row)
        if button.enabled:
            self.log[-1] += f" {name}"
            self.removed.add(name)
            self.host.dialogs.answers.append(True)
            button.click()

    def learn_or_stop(self) -> None:
        self.widget._parameterNode.generalists = ["registration"]
        if self.ui.learnButton.enabled:
            self.ui.learnButton.click()

    def filter_and_sort(self) -> None:
        self.ui.caseSearchBox.text = self.random.choice(("", "", "case", "case1", "no such case"))
        self.ui.stateFilterBox.currentIndex = self.random.choice((0, 0, 1, 3, 4))
        self.ui.casesTable.sortByColumn(self.random.randrange(4), self.random.randrange(2))

    def toggle_overlay(self) -> None:
        parameters = self.widget._parameterNode
        if self.random.random() < 0.5:
            parameters.showDifference = not parameters.showDifference
        else:
            parameters.showUncertainty = not parameters.showUncertainty

    def close_scene(self) -> None:
        slicer.mrmlScene.Clear(False)

    def delete_node(self) -> None:
        from SemiSAMPlusLib.scene.nodes import NodeHandle

        scene = self.controller.case_scene
        nodes = [scene.volume, scene.annotation, scene.proposal]
        nodes += [*slicer.util.getNodesByClass("vtkMRMLMarkupsNode"), *slicer.util.getNodesByClass("vtkMRMLTableNode")]
        for kind in ("vtkMRMLPlotSeriesNode", "vtkMRMLSegmentationNode"):
            nodes += slicer.util.getNodesByClass(kind)
        there = [node for node in nodes if node is not None]
        if there:
            node = self.random.choice(there)
            self.log[-1] += f" {node.GetName()}"
            NodeHandle(node).remove()  # with its display and storage nodes

    def leave_and_enter(self) -> None:
        self.host.close_module("SemiSAMPlus")
        self.host.open_module("SemiSAMPlus")

    def reopen(self) -> None:
        """Open the same project again, as from the list of recent ones, or after closing it."""
        if self.random.random() < 0.5:
            self.log[-1] += " after closing"
            self.host.dialogs.answers[:] = [True]  # if training runs
            self.ui.closeProjectButton.click()
            self.host.dialogs.answers.clear()
            assert self.controller.session is None
        self.session = open_project(self.widget, self.host, self.session.project)

    def kill(self) -> None:
        hello = self.session.client.hello
        if self.session.state.value != "open" or hello is None:
            return
        self.killed = True
        with suppress(ProcessLookupError):
            os.kill(hello.pid, signal.SIGKILL)
        if self.random.random() < 0.7:
            assert self.host.process_events(until=lambda: self.session.state.value == "failed", timeout=10)
            self.log[-1] += " and restart"
            assert self.ui.messageLabel.text and not self.ui.restartButton.isHidden()
            self.ui.restartButton.click()

    # The end ----------------------------------------------------------------------------------------------------------

    def end(self) -> None:
        """Close everything, and give the engine what it has not taken yet."""
        self.settle()
        self.look(self.open_name)
        self.controller.close_project()
        self.session = open_project(self.widget, self.host, self.session.project)
        self.host.process_events(until=lambda: not list(self.session.pending.waiting()), timeout=5)
        self.settle()
        client = self.session.client
        self.controller.close_project()
        assert self.host.process_events(until=lambda: client.state.value == "stopped", timeout=20)

    def check_project(self) -> None:
        """The engine can read it, and every annotation is there."""
        folder = self.session.project
        status = [sys.executable, "-m", "semisam", "status", str(folder), "--json"]
        answer = subprocess.run(status, capture_output=True, text=True)
        assert answer.returncode == 0, answer.stdout + answer.stderr
        assert json.loads(answer.stdout.splitlines()[-1])["event"] == "done"
        project = Project.open(folder)
        for name, case in project.cases.items():
            self.compare(name, counts_in(project, name) if case.annotation is not None else NOTHING)
        missing = set(self.drawn) - set(project.cases) - self.removed
        assert not missing, f"{missing} should be in the project"


def counts_in(project: Project, name: str) -> Counts:
    """Voxels of each segment of a case's annotation in the project's files."""
    voxels = project.annotation(name).voxels
    return tuple(int((voxels == segment.value).sum()) for segment in project.segments)


def nodes_in_scene() -> Counter[str]:
    """How many nodes of each class there are, but for those that Slicer keeps for itself."""
    scene = slicer.mrmlScene
    nodes = [scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes())]
    return Counter(node.GetClassName() for node in nodes if not node.GetSingletonTag())
