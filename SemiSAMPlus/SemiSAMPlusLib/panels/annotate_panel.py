"""Annotate and correct: the Segment Editor on the open case, and the prompts of a generalist beside it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer

from ..buttons import allow
from ..case_editor import CaseEditor
from ..i18n import _
from ..project_session import ProjectSession
from ..prompt_session import PromptError, PromptSession
from ..scene.case_scene import CaseScene
from ..scene.grids import Patch
from ..scene.preview import PromptPreview
from ..scene.segments import read_segment
from ..worker_messages import WorkerError
from .panel import Panel


class AnnotatePanel(Panel):
    """Wires the widgets of the section "Annotate and correct".

    case_scene  the open case in the scene
    editor      decides about the open case; None without a project
    parameters  the parameter node of the moment, or None
    tell        shows an error to the user
    """

    def __init__(
        self,
        ui: Any,
        case_scene: CaseScene,
        editor: Callable[[], CaseEditor | None],
        parameters: Callable[[], Any],
        tell: Callable[[str], None],
    ) -> None:
        super().__init__(ui)
        self._case_scene, self._editor = case_scene, editor
        self._parameters, self._tell = parameters, tell
        self._prompts: PromptSession | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="semisam-prompts-")
        self._preview = PromptPreview(case_scene.logics, case_scene.undo_history)
        self._points: Any = None
        self._placing: bool | None = None  # positive, negative, or no points are being placed
        ui.positivePointButton.connect("toggled(bool)", lambda on: self._on_tool(on, True))
        ui.negativePointButton.connect("toggled(bool)", lambda on: self._on_tool(on, False))
        ui.improveButton.connect("clicked(bool)", self._on_improve)
        ui.acceptPreviewButton.connect("clicked(bool)", self._on_accept_preview)
        ui.discardPreviewButton.connect("clicked(bool)", self._on_discard)
        ui.saveWorkButton.connect("clicked(bool)", self._on_save)
        ui.finishAnnotationButton.connect("clicked(bool)", self._on_finish)
        self.show()

    # Life -------------------------------------------------------------------------------------------------------------

    def set_session(self, session: ProjectSession | None) -> None:
        """Follow another project, or none."""
        self._end_prompts()
        super().set_session(session)

    def case_opened(self) -> None:
        """Another case is open, or none."""
        self._end_prompts()
        editor, annotation = self._ui.segmentEditor, self._case_scene.annotation
        editor.setSegmentationNode(annotation)
        if annotation is not None:
            editor.setSourceVolumeNode(self._case_scene.volume)
        self._preview = PromptPreview(self._case_scene.logics, self._case_scene.undo_history)
        self.show()

    def connect_editor(self) -> None:
        """The embedded editor goes on with the selection of the module Segment Editor: they share one node."""
        node = slicer.mrmlScene.GetSingletonNode("SegmentEditor", "vtkMRMLSegmentEditorNode")
        if node is None:
            node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLSegmentEditorNode")
            node.UnRegister(None)
            node.SetSingletonTag("SegmentEditor")
            node = slicer.mrmlScene.AddNode(node)
        editor = self._ui.segmentEditor
        editor.setMRMLSegmentEditorNode(node)
        editor.setMRMLScene(slicer.mrmlScene)

    def enter(self) -> None:
        """The module is opened."""
        self._ui.segmentEditor.installKeyboardShortcuts()

    def exit(self) -> None:
        """Another module is opened."""
        self._end_tool()
        editor = self._ui.segmentEditor
        editor.setActiveEffect(None)
        editor.uninstallKeyboardShortcuts()
        editor.removeViewObservations()

    def close(self) -> None:
        """Before the widget goes away."""
        self._end_prompts()
        self._folder.cleanup()

    def show(self) -> None:
        """Bring texts and buttons up to date."""
        ui, case = self._ui, self._case_scene.case
        why_not = self._why_not() or (None if case is not None else _("Open a case first"))
        ui.openCaseLabel.text = _("No case is open.") if case is None else _("Case {case}").format(case=case.name)
        for button in (
            ui.positivePointButton,
            ui.negativePointButton,
            ui.improveButton,
        ):
            allow(button, why_not)
        for button in (ui.saveWorkButton, ui.finishAnnotationButton):
            allow(button, self._why_not(writes=True) or why_not)
        no_preview = None if self._preview.patch is not None else _("There is no preview: give a prompt first")
        allow(ui.acceptPreviewButton, no_preview)
        allow(ui.discardPreviewButton, no_preview if self._prompts is None else None)
        ui.segmentEditor.enabled = case is not None

    # The annotation ---------------------------------------------------------------------------------------------------

    def _on_save(self, checked: bool = False) -> None:
        editor = self._editor()
        if editor is not None and not editor.keep_changes():
            slicer.util.showStatusMessage(_("Nothing has changed since it was saved."), 3000)

    def _on_finish(self, checked: bool = False) -> None:
        editor = self._editor()
        if editor is not None:
            editor.finish()

    # Prompts ----------------------------------------------------------------------------------------------------------

    def _on_tool(self, on: bool, positive: bool) -> None:
        other = self._ui.negativePointButton if positive else self._ui.positivePointButton
        if on:
            other.checked = False
            self._placing = positive
            self._place()
        elif self._placing is positive:
            self._end_tool()

    def _place(self) -> None:
        if self._prompts_of_case() is None:
            return
        if self._points is None or not slicer.mrmlScene.IsNodePresent(self._points):
            self._points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "SemiSAM+ points")
            self._points.AddObserver(self._points.PointPositionDefinedEvent, self._on_point)
        selection = slicer.mrmlScene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
        interaction = slicer.mrmlScene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
        if selection is not None and interaction is not None:
            selection.SetReferenceActivePlaceNodeClassName("vtkMRMLMarkupsFiducialNode")
            selection.SetActivePlaceNodeID(self._points.GetID())
            interaction.SetPlaceModePersistence(True)
            interaction.SetCurrentInteractionMode(interaction.Place)

    def _end_tool(self) -> None:
        self._placing = None
        self._ui.positivePointButton.checked = False
        self._ui.negativePointButton.checked = False
        interaction = slicer.mrmlScene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
        if interaction is not None:
            interaction.SetCurrentInteractionMode(interaction.ViewTransform)

    def _on_point(self, caller: Any, event: Any) -> None:
        prompts, last = self._prompts, self._points.GetNumberOfControlPoints() - 1
        if prompts is None or last < 0 or self._placing is None:
            return
        position = [0.0, 0.0, 0.0]
        self._points.GetNthControlPointPositionWorld(last, position)
        self._points.SetNthControlPointLabel(last, "+" if self._placing else "-")
        try:
            prompts.add_point(position, positive=self._placing)
        except PromptError as error:
            self._tell(str(error))

    def _on_improve(self, checked: bool = False) -> None:
        prompts, grid = self._prompts_of_case(), self._case_scene.grid
        identity = self._ui.segmentEditor.currentSegmentID()
        if prompts is None or grid is None or not identity:
            self._tell(_("Select a segment in the editor first."))
            return
        try:
            prompts.improve(read_segment(self._case_scene.annotation, identity, grid))
        except PromptError as error:
            self._tell(str(error))

    def _prompts_of_case(self) -> PromptSession | None:
        case, grid = self._case_scene.case, self._case_scene.grid
        if self._prompts is None and case is not None and grid is not None and self._session is not None:
            chosen = self._ui.promptGeneralistBox.currentData
            self._prompts = PromptSession(
                self._session, {"case": case.name}, grid, Path(self._folder.name), generalist=chosen or None
            )
            self._prompts.answered.connect(self._on_answer)
            self._prompts.failed.connect(self._on_failed)
        return self._prompts

    def _on_answer(self, patch: Patch, answer: Any) -> None:
        if self._case_scene.volume is not None:
            self._preview.show(patch, self._case_scene.volume)
        self.show()

    def _on_failed(self, error: WorkerError) -> None:
        self._tell(error.text)

    def _on_accept_preview(self, checked: bool = False) -> None:
        identity = self._ui.segmentEditor.currentSegmentID()
        annotation, parameters = self._case_scene.annotation, self._parameters()
        if annotation is None or not identity or parameters is None:
            self._tell(_("Select the segment that the preview is for."))
            return
        self._preview.commit(annotation, identity, overwrite_others=parameters.overwriteOtherSegments)
        self._end_prompts()
        self.show()

    def _on_discard(self, checked: bool = False) -> None:
        self._end_prompts()
        self.show()

    def _end_prompts(self) -> None:
        self._preview.clear()
        if self._prompts is not None:
            self._prompts.close()
            self._prompts = None
        if self._points is not None and slicer.mrmlScene.IsNodePresent(self._points):
            slicer.mrmlScene.RemoveNode(self._points)
        self._points = None
        self._end_tool()
