"""The stories of ``SemiSAMPlusTest``: what a user does, clicked in the running Slicer, with made-up volumes.

Where no Python has the engine's packages, the parts without the engine are tested, and that is said.
"""

from __future__ import annotations

import shutil
import tempfile
import time
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer

_STORY_MINUTES = 0.5


class Stories:
    """For a ``ScriptedLoadableModuleTest``; each test stands alone, in an empty scene and a folder of its own.

    No TestCase itself: test runners would take it for one more test of the module that imports it.
    """

    # Of the class that this is mixed into.
    delayDisplay: Callable[..., Any]
    assertTrue: Callable[..., Any]
    assertFalse: Callable[..., Any]
    assertEqual: Callable[..., Any]
    assertNotEqual: Callable[..., Any]
    assertAlmostEqual: Callable[..., Any]
    assertGreater: Callable[..., Any]
    assertLess: Callable[..., Any]
    assertIn: Callable[..., Any]
    assertIsNone: Callable[..., Any]
    assertIsNotNone: Callable[..., Any]

    def setUp(self) -> None:
        """A fresh scene, and the module's widget without a project."""
        slicer.mrmlScene.Clear()
        self.folder = Path(tempfile.mkdtemp(prefix="SemiSAMPlusTest-"))
        if slicer.util.mainWindow() is not None:
            slicer.util.selectModule("SemiSAMPlus")
        else:
            slicer.modules.semisamplus.widgetRepresentation()  # makes the widget, if it is not there yet
            slicer.modules.SemiSAMPlusWidget.enter()
        self.widget = slicer.modules.SemiSAMPlusWidget
        self.ui, self.controller = self.widget.ui, self.widget.controller
        self.controller.close_project()

    def tearDown(self) -> None:
        """No project and no file stays behind."""
        self.controller.close_project()
        self.wait(lambda: True, 1, "")
        shutil.rmtree(self.folder, ignore_errors=True)
        slicer.mrmlScene.Clear()

    def runTest(self) -> None:
        """All of them, for "Reload and Test"."""
        for name in unittest.defaultTestLoader.getTestCaseNames(type(self)):
            self.say(name)
            self.setUp()
            try:
                getattr(self, name)()
            finally:
                self.tearDown()

    def say(self, text: str) -> None:
        """Tell the user and the log what is being tested."""
        self.delayDisplay(text)

    def wait(self, condition: Callable[[], Any], seconds: float, what: str) -> None:
        """Let Slicer work until ``condition`` holds; fails after ``seconds``."""
        end = time.monotonic() + seconds
        slicer.app.processEvents()
        while not condition():
            self.assertLess(time.monotonic(), end, f"{what}: not within {seconds:.0f} seconds")
            time.sleep(0.01)
            slicer.app.processEvents()

    def click(self, button: Any) -> None:
        """Press a button, which must be enabled."""
        self.assertTrue(button.enabled, f"{button.text}: {button.toolTip}")
        button.click()
        slicer.app.processEvents()

    def engine_found(self) -> bool:
        """Whether a Python with the engine's packages is there; said if not."""
        panel = self.controller.setup_panel
        if not panel.ready:
            panel.look()
            self.wait(lambda: not panel.looking, 120, "Looking for the Python of the engine")
        if not panel.ready:
            self.say(f"Without the engine: {self.ui.setupLabel.text}")
        return bool(panel.ready)

    # Without the engine -----------------------------------------------------------------------------------------------

    def test_panel_without_a_project(self) -> None:
        """Buttons say what comes first."""
        ui = self.ui
        for button in (ui.closeProjectButton, ui.learnButton, ui.addCasesButton, ui.segmentsButton, ui.acceptButton):
            self.assertFalse(button.enabled, button.text)
        self.assertIn("project", ui.addCasesButton.toolTip)
        for button in (ui.newProjectButton, ui.openProjectButton, ui.recentButton, ui.tryButton):
            self.assertTrue(button.enabled, button.text)
        self.assertEqual(ui.casesTable.model().rowCount(), 0)

    def test_sample_data_is_registered(self) -> None:
        """The module Sample Data shows our category."""
        names = [source.sampleName for source in slicer.modules.sampleDataSources["SemiSAM+"]]
        self.assertEqual(names[:2], ["SemiSAMPlusProject", "SemiSAMPlusVolume"])

    def test_structures_are_checked_while_they_are_typed(self) -> None:
        """Names, and Slicer's terminology entries."""
        from .cases import SegmentInfo
        from .segments_dialog import SegmentsDialog
        from .terminology import TerminologyDialog, terminology_in_words

        dialog = SegmentsDialog([SegmentInfo(1, "liver", (200, 100, 50))])
        self.assertEqual(dialog.check(), "")
        row = dialog.add_row()
        row.name_edit.text = "Liver"
        self.assertNotEqual(dialog.problem.text, "")
        row.name_edit.text = "spleen"
        self.assertEqual([item.name for item in dialog.segments()], ["liver", "spleen"])
        entry = (
            "Segmentation category and type - 3D Slicer General Anatomy list~SCT^85756007^Tissue~SCT^10200004^Liver~"
            "^^~Anatomic codes - DICOM master list~^^~^^"
        )
        self.assertEqual(terminology_in_words(entry), "Liver")
        chosen = TerminologyDialog(entry).chosen()
        self.assertIsNotNone(chosen)
        self.assertIn("10200004", chosen[0] if chosen else "")

    def test_volumes_are_written_in_their_own_geometry(self) -> None:
        """Also oblique ones, as they come from the DICOM database."""
        import numpy as np
        import vtk

        from .scene.volume_files import write_volume

        voxels = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
        node = slicer.util.addVolumeFromArray(voxels, name="oblique")
        matrix = vtk.vtkMatrix4x4()
        for row, values in enumerate(((0.8, -0.6, 0, 5), (0.6, 0.8, 0, -4), (0, 0, 2, 3))):
            for column, value in enumerate(values):
                matrix.SetElement(row, column, value)
        node.SetIJKToRASMatrix(matrix)
        write_volume(node, self.folder / "oblique.nrrd")
        self.assertIsNone(node.GetStorageNode())
        again = slicer.util.loadVolume(str(self.folder / "oblique.nrrd"))
        read = vtk.vtkMatrix4x4()
        again.GetIJKToRASMatrix(read)
        for row in range(3):
            for column in range(4):
                self.assertAlmostEqual(read.GetElement(row, column), matrix.GetElement(row, column), 5)
        self.assertTrue((slicer.util.arrayFromVolume(again) == voxels).all())

    def test_a_foreign_scene_and_a_cleared_one_do_no_harm(self) -> None:
        """As the generic tests of modules want it."""
        representation = slicer.modules.semisamplus.widgetRepresentation()
        foreign = slicer.vtkMRMLScene()
        representation.setMRMLScene(foreign)
        slicer.app.processEvents()
        foreign.Clear(False)
        representation.setMRMLScene(slicer.mrmlScene)
        slicer.mrmlScene.Clear(False)
        slicer.app.processEvents()
        self.controller.show()
        parameters = self.widget.logic.getParameterNode()
        self.assertEqual(parameters.projectPath, "")

    # With the engine --------------------------------------------------------------------------------------------------

    def test_whole_story(self) -> None:
        """Made-up volumes, a new project, annotate, learn, review, segment, export."""
        if not self.engine_found():
            return
        sample = self._sample_project()
        session = self._new_project(sample)
        for number, name in enumerate(("case01", "case02"), 1):
            self._annotate(name, sample)
            self.wait(lambda number=number: session.cases.annotated == number, 60, f"Annotating {name}")
        self._learn(session)
        self._review(session)
        self._segment(sample)

    def _sample_project(self) -> Path:
        """The project that "Try it" makes; its folder."""
        self.say("Try it")
        folder = self.folder / "sample"
        self.controller.make_sample_project(folder)
        self.wait(lambda: self._open_project_at(folder), 120, "Making the sample project")
        self.assertEqual((len(self.controller.session.cases), self.controller.session.cases.annotated), (8, 2))
        self.assertTrue(self.ui.learnButton.enabled, self.ui.learnButton.toolTip)
        return folder

    def _open_project_at(self, folder: Path) -> bool:
        session = self.controller.session
        return session is not None and session.project == folder and session.state.value == "open"

    def _new_project(self, sample: Path) -> Any:
        """A new project of five of these images, none of them annotated."""
        from .cases import SegmentInfo

        self.say("New project, add cases")
        folder = self.folder / "project"
        self.controller.open_project(
            folder, [SegmentInfo(1, "head", (111, 184, 210)), SegmentInfo(2, "tail", (241, 214, 145))]
        )
        self.wait(lambda: self._open_project_at(folder), 60, "Making a project")
        session = self.controller.session
        self.controller.project_panel.add_files([sample / "images" / f"case{n:02d}.nii.gz" for n in range(1, 6)])
        self.wait(lambda: len(session.cases) == 5 and self.ui.addingFrame.isHidden(), 60, "Adding cases")
        return session

    def _annotate(self, name: str, sample: Path) -> None:
        """Put the true mask into the segments, as painting would, and finish."""
        from .scene.mask_files import read_into

        self.say(f"Annotate {name}")
        self.controller.open_case(name)
        self.assertEqual(self.controller.current_case(), name)
        scene = self.controller.case_scene
        read_into(sample / "annotations" / f"{name}.seg.nrrd", scene.annotation, scene.segments, scene.grid)
        self.click(self.ui.finishAnnotationButton)

    def _learn(self, session: Any) -> None:
        self.say("Learn")
        self.widget._parameterNode.minutes = _STORY_MINUTES
        training = session.jobs.training
        self.click(self.ui.learnButton)
        self.wait(lambda: len(training.history) > 1, 300, "The first steps of learning")
        self.wait(lambda: not training.active, 600, "Learning")
        self.assertIsNone(training.problem)
        self.wait(lambda: session.cases.counts().get("proposed") == 3, 60, "Proposals")

    def _review(self, session: Any) -> None:
        from .scene.segments import segment_ids

        self.say("Review")
        self.controller.open_case("case04")
        proposal = self.controller.case_scene.proposal
        self.assertEqual(list(segment_ids(proposal)), ["head", "tail"])
        self.click(self.ui.acceptButton)
        self.wait(lambda: session.cases.get("case04").state == "accepted", 60, "Accepting")
        self.click(self.ui.undoReviewButton)
        self.wait(lambda: session.cases.get("case04").state == "proposed", 60, "Undo of accepting")
        self.controller.open_case("case04")
        self.click(self.ui.rejectButton)
        self.wait(lambda: session.cases.get("case04").state == "rejected", 60, "Rejecting")

    def _segment(self, sample: Path) -> None:
        from .scene.mask_files import export_mask
        from .scene.segments import segment_ids

        self.say("Segment a volume, export")
        volume = slicer.util.loadVolume(str(sample / "new" / "case09.nii.gz"))
        self.widget._parameterNode.inputVolume = volume
        before = {node.GetID() for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode")}
        self.click(self.ui.segmentButton)
        self.wait(lambda: self.ui.exportMaskButton.enabled, 300, "Segmenting a volume")
        nodes = [node for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode") if node.GetID() not in before]
        self.assertEqual(len(nodes), 1)
        self.assertEqual(list(segment_ids(nodes[0])), ["head", "tail"])
        path = self.folder / "mask.nii.gz"
        export_mask(nodes[0], volume, self.controller.session.segments, path)
        mask = slicer.util.loadLabelVolume(str(path))
        self.assertEqual(mask.GetImageData().GetDimensions(), volume.GetImageData().GetDimensions())
        self.assertGreater(int((slicer.util.arrayFromVolume(mask) > 0).sum()), 50)

    def test_half_done_work_is_kept_when_the_scene_is_closed(self) -> None:
        """What was painted is there again when the case is opened."""
        if not self.engine_found():
            return
        from .scene.grids import Patch
        from .scene.segments import find_segment, write_segment

        self._sample_project()
        session, scene = self.controller.session, self.controller.case_scene
        self.controller.open_case("case03")
        self.assertEqual(scene.case.state, "new")
        voxels = slicer.util.arrayFromVolume(scene.volume)
        bright = Patch(scene.grid, (0, 0, 0), voxels > voxels.mean())
        write_segment(scene.annotation, find_segment(scene.annotation, "head"), bright)
        slicer.mrmlScene.Clear(False)
        self.assertIsNone(self.controller.current_case())
        self.wait(lambda: session.cases.get("case03").state == "in work", 60, "Keeping half-done work")
        self.controller.open_case("case03")
        self.assertEqual(scene.case.state, "in work")
