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
        self._edit(self._case_scene.annotation)
        self.show()

    def follow_case(self) -> None:
        """See to it that the editor has a mask of the open case in hand. Its node is that of the module Segment Editor,
        where another one can be chosen, and a scene that is loaded brings a choice of its own."""
        annotation, proposal = self._case_scene.annotation, self._case_scene.proposal
        shown = self._ui.segmentEditor.segmentationNode()
        if annotation is not None and (shown is None or shown not in (annotation, proposal)):
            self._edit(annotation)

    def _edit(self, node: Any) -> None:
        editor = self._ui.segmentEditor
        editor.setSegmentationNode(node)
        if node is not None:
            editor.setSourceVolumeNode(self._case_scene.volume)

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
        self.follow_case()
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
