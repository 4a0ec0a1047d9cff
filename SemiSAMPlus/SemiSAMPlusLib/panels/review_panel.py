"""Review: the proposal of the open case, judged as a whole or segment by segment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer

from ..case_editor import CaseEditor
from ..cases import CaseInfo
from ..i18n import _
from ..scene.case_scene import CaseScene
from .panel import Panel

_SHOWN_NAMES = 15


class ReviewPanel(Panel):
    """Wires the widgets of the section "Review".

    case_scene  the open case in the scene
    editor      decides about the open case; None without a project
    parameters  the parameter node of the moment, or None
    """

    def __init__(
        self, ui: Any, case_scene: CaseScene, editor: Callable[[], CaseEditor | None], parameters: Callable[[], Any]
    ) -> None:
        super().__init__(ui)
        self._case_scene, self._editor, self._parameters = case_scene, editor, parameters
        ui.acceptButton.connect("clicked(bool)", self._on_accept)
        ui.editProposalButton.connect("clicked(bool)", self._on_edit)
        ui.rejectButton.connect("clicked(bool)", self._on_reject)
        ui.undoReviewButton.connect("clicked(bool)", self._on_undo)
        ui.acceptConfidentButton.connect("clicked(bool)", self._on_accept_confident)
        self.show()

    def show(self) -> None:
        """Bring texts, list and buttons up to date."""
        ui, case = self._ui, self._case()
        proposed = case is not None and self._case_scene.proposal is not None
        ui.proposalLabel.text = self._text(case, proposed)
        if not proposed:
            ui.proposalSegmentsList.clear()
        elif ui.proposalSegmentsList.count == 0:
            self._fill()
        for button in (ui.acceptButton, ui.editProposalButton, ui.rejectButton):
            button.enabled = proposed
        editor = self._editor()
        ui.undoReviewButton.enabled = editor is not None and editor.can_undo
        ui.acceptConfidentButton.enabled = self._opened is not None and bool(self._confident())
        self._overlays(proposed)

    def case_opened(self) -> None:
        """Another case is open, or none."""
        self._ui.proposalSegmentsList.clear()
        self.show()

    def _text(self, case: CaseInfo | None, proposed: bool) -> str:
        if case is None:
            return _("No case is open.")
        if not proposed:
            return _("{case} has no proposal yet.").format(case=case.name)
        if case.confidence is None:
            return _("Proposal for {case}.").format(case=case.name)
        return _("Proposal for {case}, confidence {confidence}.").format(
            case=case.name, confidence=f"{case.confidence:.2f}"
        )

    def _fill(self) -> None:
        for segment in self._case_scene.segments:
            item = qt.QListWidgetItem(segment.name)
            item.setFlags(item.flags() | qt.Qt.ItemIsUserCheckable)
            item.setCheckState(qt.Qt.Checked)
            item.setForeground(qt.QBrush(qt.QColor(*segment.color)))
            self._ui.proposalSegmentsList.addItem(item)

    def _checked(self) -> list[str]:
        widget = self._ui.proposalSegmentsList
        items = [widget.item(row) for row in range(widget.count)]
        return [str(item.text()) for item in items if item.checkState() == qt.Qt.Checked]

    def _overlays(self, proposed: bool) -> None:
        parameters = self._parameters()
        if parameters is None or self._case() is None:
            return
        self._case_scene.show_uncertainty(proposed and parameters.showUncertainty)
        self._case_scene.show_difference(proposed and parameters.showDifference)

    def _case(self) -> CaseInfo | None:
        if self._session is None or self._case_scene.case is None:
            return None
        return self._session.cases.get(self._case_scene.case.name)

    def _confident(self) -> list[CaseInfo]:
        parameters = self._parameters()
        if self._session is None or parameters is None:
            return []
        return self._session.cases.confident_proposals(parameters.confidenceToAccept)

    # Decisions --------------------------------------------------------------------------------------------------------

    def _on_accept(self, checked: bool = False) -> None:
        editor, names = self._editor(), self._checked()
        if editor is not None and names:
            every = len(names) == len(self._case_scene.segments)
            editor.accept(None if every else names, on_done=self._on_changed)

    def _on_edit(self, checked: bool = False) -> None:
        """A copy of the proposal is worked on; the proposal itself is hidden."""
        editor = self._editor()
        if editor is not None and self._case_scene.accept(None):
            self._case_scene.reject()
            editor.keep_changes()

    def _on_reject(self, checked: bool = False) -> None:
        editor = self._editor()
        if editor is not None:
            editor.reject(on_done=self._on_changed)

    def _on_undo(self, checked: bool = False) -> None:
        editor = self._editor()
        if editor is not None:
            editor.undo(on_done=self._on_changed)
        self.show()

    def _on_accept_confident(self, checked: bool = False) -> None:
        cases = self._confident()
        if self._session is None or not cases:
            return
        lines = [f"{case.name}  {case.confidence or 0.0:.2f}" for case in cases[:_SHOWN_NAMES]]
        if len(cases) > _SHOWN_NAMES:
            lines.append(_("and {count} more").format(count=len(cases) - _SHOWN_NAMES))
        text = _("Accept these {count} proposals without looking at each?").format(count=len(cases))
        if slicer.util.confirmOkCancelDisplay(text, detailedText="\n".join(lines)):
            for case in cases:
                self._session.accept(case.name)
