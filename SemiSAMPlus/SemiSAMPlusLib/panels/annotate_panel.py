"""Annotate and correct: the Segment Editor on the open case, and the prompts of a generalist beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer

from ..buttons import allow
from ..case_editor import CaseEditor
from ..i18n import _
from ..process import Scheduler
from ..project_session import ProjectSession
from ..scene.case_scene import CaseScene
from .panel import Panel
from .prompts_panel import PromptsPanel


class AnnotatePanel(Panel):
    """Wires the widgets of the section "Annotate and correct".

    case_scene  the open case in the scene
    editor      decides about the open case; None without a project
    parameters  the parameter node of the moment, or None
    scheduler   calls later
    """

    def __init__(
        self,
        ui: Any,
        case_scene: CaseScene,
        editor: Callable[[], CaseEditor | None],
        parameters: Callable[[], Any],
        scheduler: Scheduler,
    ) -> None:
        super().__init__(ui)
        self._case_scene, self._editor = case_scene, editor
        self._prompts = PromptsPanel(ui, case_scene, parameters, scheduler)
        ui.saveWorkButton.connect("clicked(bool)", self._on_save)
        ui.finishAnnotationButton.connect("clicked(bool)", self._on_finish)
        ui.finishSlicesButton.connect("clicked(bool)", self._on_finish_slices)
        self.show()

    # Life -------------------------------------------------------------------------------------------------------------

    def set_session(self, session: ProjectSession | None) -> None:
        """Follow another project, or none."""
        self._prompts.set_session(session)
        super().set_session(session)

    def case_opened(self) -> None:
        """Another case is open, or none."""
        self._prompts.end()
        editor, annotation = self._ui.segmentEditor, self._case_scene.annotation
        editor.setSegmentationNode(annotation)
        if annotation is not None:
            editor.setSourceVolumeNode(self._case_scene.volume)
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
        self._prompts.stop()
        editor = self._ui.segmentEditor
        editor.setActiveEffect(None)
        editor.uninstallKeyboardShortcuts()
        editor.removeViewObservations()

    def close(self) -> None:
        """Before the widget goes away."""
        self._prompts.close()

    def show(self) -> None:
        """Bring texts and buttons up to date."""
        ui, case = self._ui, self._case_scene.case
        why_not = self._why_not() or (None if case is not None else _("Open a case first"))
        ui.openCaseLabel.text = _("No case is open.") if case is None else _("Case {case}").format(case=case.name)
        for button in (ui.saveWorkButton, ui.finishAnnotationButton, ui.finishSlicesButton):
            allow(button, self._why_not(writes=True) or why_not)
        ui.segmentEditor.enabled = case is not None
        self._prompts.show()

    # The annotation ---------------------------------------------------------------------------------------------------

    def _on_save(self, checked: bool = False) -> None:
        editor = self._editor()
        if editor is not None and not editor.keep_changes():
            slicer.util.showStatusMessage(_("Nothing has changed since it was saved."), 3000)

    def _on_finish(self, checked: bool = False) -> None:
        editor = self._editor()
        if editor is not None:
            editor.finish()

    def _on_finish_slices(self, checked: bool = False) -> None:
        editor = self._editor()
        if editor is not None:
            editor.finish_drawn_slices()
