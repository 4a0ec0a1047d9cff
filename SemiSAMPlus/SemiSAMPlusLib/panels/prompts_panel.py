"""The prompts of a generalist for the segment that is selected in the Segment Editor, and the preview of its answer."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..buttons import allow
from ..i18n import _
from ..process import Scheduler
from ..project_session import ProjectSession
from ..prompt_session import PromptError, PromptPoint, Prompts, PromptSession
from ..scene.case_scene import CaseScene
from ..scene.grids import Patch
from ..scene.preview import PromptPreview
from ..scene.prompt_nodes import PromptNodes, Tool
from ..scene.segments import read_segment
from ..shortcuts import Keys
from ..signals import Signal
from ..worker_messages import WorkerError
from .panel import Panel


class PromptsPanel(Panel):
    """Wires points, box, 'improve', the preview's buttons and the line that tells what is going on.

    case_scene  the open case in the scene
    parameters  the parameter node of the moment, or None
    scheduler   calls later
    """

    def __init__(self, ui: Any, case_scene: CaseScene, parameters: Callable[[], Any], scheduler: Scheduler) -> None:
        super().__init__(ui)
        self._case_scene, self._parameters = case_scene, parameters
        self._folder = tempfile.TemporaryDirectory(prefix="semisam-prompts-")
        self._preview = PromptPreview(case_scene.logics, case_scene.undo_history)
        self._nodes = PromptNodes(case_scene.scene, scheduler)
        self._nodes.changed.connect(self._on_nodes)
        self._nodes.stopped.connect(self._on_stopped)
        # The editor's own shortcuts rest while the mouse places something: Esc would be ambiguous.
        self._keys = Keys({"Esc": self._nodes.stop, "Ctrl+Z": self._on_undo_key})
        self._prompts: PromptSession | None = None
        self._filling = False
        self._problem = ""
        self._tools = {
            Tool.INSIDE: ui.positivePointButton,
            Tool.OUTSIDE: ui.negativePointButton,
            Tool.BOX: ui.boxButton,
        }
        for tool, button in self._tools.items():
            button.connect("clicked(bool)", lambda on, tool=tool: self._on_tool(tool, on))
        ui.improveButton.connect("clicked(bool)", self._on_improve)
        ui.promptGeneralistBox.connect("currentIndexChanged(int)", self._on_generalist)
        ui.acceptPreviewButton.connect("clicked(bool)", self._on_accept)
        ui.showPreviewCheckBox.connect("clicked(bool)", self._on_visible)
        ui.undoPromptButton.connect("clicked(bool)", self._on_undo)
        ui.clearPromptsButton.connect("clicked(bool)", self._on_clear)
        ui.segmentEditor.connect("currentSegmentIDChanged(QString)", self._on_segment)
        self.show()

    # Life -------------------------------------------------------------------------------------------------------------

    def set_session(self, session: ProjectSession | None) -> None:
        """Follow another project, or none."""
        self.end()
        super().set_session(session)

    def end(self) -> None:
        """Drop prompts and preview: another case is open, or none."""
        self._nodes.remove()
        self._preview.clear()
        if self._prompts is not None:
            self._prompts.close()
            self._prompts = None
        self._problem = ""
        self.show()

    def stop(self) -> None:
        """Another module is opened: the mouse is free; points, box and preview stay."""
        self._nodes.stop()

    def close(self) -> None:
        """Before the widget goes away."""
        self.end()
        self._folder.cleanup()

    def show(self) -> None:
        """Bring the buttons and the line about the state up to date."""
        ui, prompts, patch = self._ui, self._prompts, self._preview.patch
        why_not = self._why_not() or (None if self._case_scene.volume is not None else _("Open a case first"))
        if why_not:
            self._nodes.stop()
        for tool, button in self._tools.items():
            allow(button, why_not)
            button.checked = self._nodes.tool is tool
        allow(ui.improveButton, why_not)
        ui.promptGeneralistBox.enabled = not why_not
        no_prompt = _("There is no prompt yet: place a point or draw a box")
        found = patch is not None and patch.count
        no_preview = None if found else _("There is no preview: give a prompt first")
        allow(ui.acceptPreviewButton, no_preview)
        allow(ui.showPreviewCheckBox, no_preview)
        ui.showPreviewCheckBox.checked = self._preview.visible
        allow(ui.undoPromptButton, None if prompts is not None and prompts.can_undo else no_prompt)
        allow(ui.clearPromptsButton, None if prompts is not None and prompts.can_undo else no_prompt)
        ui.promptStateLabel.text = self._state()
        ui.promptStateLabel.visible = bool(ui.promptStateLabel.text)

    def _on_visible(self, shown: bool) -> None:
        self._preview.visible = shown

    def _signals(self, session: ProjectSession) -> tuple[Signal, ...]:
        return session.state_changed, session.generalists.changed

    def _on_changed(self, *arguments: Any) -> None:
        self._fill()
        self.show()

    def _fill(self) -> None:
        if self._opened is None:
            return
        box, self._filling = self._ui.promptGeneralistBox, True
        chosen = box.currentData
        box.clear()
        for name in self._opened.generalists.at_hand:
            box.addItem(name, name)
        box.currentIndex = max(0, box.findData(chosen))
        self._filling = False

    def _state(self) -> str:
        prompts, tool, name = self._prompts, self._nodes.tool, self._segment()[1]
        if self._problem:
            return self._problem
        if prompts is None or (tool is None and prompts.is_empty):
            return ""
        if not prompts.ready:
            return _("Encoding the image ...")
        if prompts.waiting:
            return _("Waiting for the answer ...")
        if not name:
            return _("Select a segment in the editor.")
        patch = self._preview.patch
        if patch is not None and not prompts.is_empty:
            if not patch.count:
                return _("Nothing was found: add a point, or draw a box around the object.")
            return _("Preview for {segment}. Accept it, or go on where it is wrong.").format(segment=name)
        texts = {
            Tool.INSIDE: _("Click into {segment} in a slice view. Esc ends it."),
            Tool.OUTSIDE: _("Click beside {segment}, where its mask is too large. Esc ends it."),
            Tool.BOX: _("Click two opposite corners of a box around {segment} in a slice view. Esc ends it."),
        }
        return texts[tool].format(segment=name) if tool is not None else ""

    # Prompts ----------------------------------------------------------------------------------------------------------

    def _on_tool(self, tool: Tool, on: bool) -> None:
        self._problem = ""
        if not on or self._asker() is None:
            self._nodes.stop()
        else:
            self._ui.segmentEditor.setActiveEffect(None)
            if self._nodes.start(tool, self._case_scene.volume):
                self._ui.segmentEditor.uninstallKeyboardShortcuts()
                self._keys.install()
        self.show()

    def _on_stopped(self) -> None:
        self._keys.remove()
        self._ui.segmentEditor.installKeyboardShortcuts()
        self.show()

    def _on_nodes(self, continued: bool) -> None:
        """The user has placed, moved or deleted something, or ``continued`` to drag it."""
        volume, prompts = self._case_scene.volume, self._prompts
        if volume is None or prompts is None:
            self.end()
            return
        points = tuple(
            PromptPoint((float(ras[0]), float(ras[1]), float(ras[2])), inside)
            for ras, inside in self._nodes.points(volume)
        )
        self._give(replace(prompts.given, points=points, box=self._nodes.box(volume)), same_step=continued)

    def _on_improve(self, checked: bool = False) -> None:
        prompts = self._asker()
        if prompts is not None:
            self._give(replace(prompts.given, mask=self._mask()))

    def _give(self, given: Prompts, *, same_step: bool = False) -> None:
        prompts = self._prompts
        if prompts is None:
            return
        prompts.segment = self._known_segment()
        self._problem = ""
        try:
            if given.box is None and given.mask is None and given.points and not any(p.positive for p in given.points):
                # To say only what is not part of the object makes sense where there is a mask.
                given = replace(given, mask=self._mask())
            prompts.give(given, same_step=same_step)
        except PromptError as error:
            self._problem = str(error)
            self._show_nodes()
        if prompts.is_empty:
            self._preview.clear()
        self.show()

    def _mask(self) -> Patch:
        """The selected segment on the volume's grid. Raises nothing: a segment that is gone is empty."""
        (node, identity), grid = self._target(), self._case_scene.grid
        assert grid is not None  # there is a volume
        return Patch.empty(grid) if node is None else read_segment(node, identity, grid)

    def _on_undo(self, checked: bool = False) -> None:
        if self._prompts is not None and self._prompts.undo():
            self._problem = ""
            self._show_nodes()
            if self._prompts.is_empty:
                self._preview.clear()
        self.show()

    def _on_undo_key(self) -> None:
        if self._prompts is not None and self._prompts.can_undo:
            self._on_undo()
        else:
            self._ui.segmentEditor.undo()

    def _on_clear(self, checked: bool = False) -> None:
        if self._prompts is not None:
            self._prompts.clear()
            self._show_nodes()
        self._preview.clear()
        self._problem = ""
        self.show()

    def _on_generalist(self, index: int) -> None:
        if self._filling or self._prompts is None:
            return
        given = self._prompts.given
        self._prompts.close()
        self._prompts = None
        self._preview.clear()
        if self._asker() is not None and not given.is_empty:
            self._give(given)
        self.show()

    def _on_segment(self, identity: str) -> None:
        """Another segment is selected: prompts that were given are for it now."""
        prompts = self._prompts
        if prompts is not None and prompts.segment != self._known_segment():
            prompts.segment = self._known_segment()
            prompts.ask()
        self.show()

    def _asker(self) -> PromptSession | None:
        """What asks the engine about the open case; made when it is needed first, which has the image encoded."""
        case, grid = self._case_scene.case, self._case_scene.grid
        if self._prompts is None and case is not None and grid is not None and self._opened is not None:
            chosen = self._ui.promptGeneralistBox.currentData
            self._prompts = PromptSession(
                self._opened,
                {"case": case.name},
                grid,
                Path(self._folder.name),
                generalist=chosen or None,
                segment=self._known_segment(),
            )
            self._prompts.answered.connect(self._on_answer)
            self._prompts.failed.connect(self._on_failed)
            self._prompts.ready_changed.connect(lambda ready: self.show())
        return self._prompts

    def _show_nodes(self) -> None:
        prompts, volume = self._prompts, self._case_scene.volume
        if prompts is not None and volume is not None:
            points = [(point.ras, point.positive) for point in prompts.given.points]
            self._nodes.show(points, prompts.given.box, volume)

    # The answer -------------------------------------------------------------------------------------------------------

    def _on_answer(self, patch: Patch, answer: Any) -> None:
        if self._case_scene.volume is None:
            self.end()
            return
        self._problem = ""
        self._preview.show(patch, self._case_scene.volume)
        self.show()

    def _on_failed(self, error: WorkerError) -> None:
        self._problem = error.text
        self.show()

    def _on_accept(self, checked: bool = False) -> None:
        (node, identity), parameters, prompts = self._target(), self._parameters(), self._prompts
        if node is None or parameters is None or prompts is None:
            self._problem = _("Select the segment in the editor that the preview is for.")
            self.show()
            return
        # An improved mask takes the place of the one that it was made from.
        improved = prompts.given.mask is not None
        self._preview.commit(node, identity, replace=improved, overwrite_others=parameters.overwriteOtherSegments)
        self._on_clear()

    # The segment ------------------------------------------------------------------------------------------------------

    def _target(self) -> tuple[Any, str]:
        """The segmentation node of the case that is edited, and the id of the selected segment; None, "" without."""
        node, identity = self._ui.segmentEditor.segmentationNode(), self._ui.segmentEditor.currentSegmentID()
        ours = node is not None and node in (self._case_scene.annotation, self._case_scene.proposal)
        if not ours or not identity or node.GetSegmentation().GetSegment(identity) is None:
            return None, ""
        return node, identity

    def _segment(self) -> tuple[str, str]:
        """Id and name of the selected segment."""
        node, identity = self._target()
        return identity, "" if node is None else node.GetSegmentation().GetSegment(identity).GetName()

    def _known_segment(self) -> str | None:
        """The name of the selected segment if the project has it; the editor can make segments of its own."""
        name = self._segment()[1].casefold()
        known = () if self._opened is None else self._opened.segments
        return next((item.name for item in known if item.name.casefold() == name), None)
