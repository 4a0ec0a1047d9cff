"""Review: the proposal of the open case, judged as a whole or segment by segment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer

from ..cases import CaseInfo
from ..i18n import _
from ..project_session import ProjectSession, SessionState
from ..scene.case_scene import CaseScene

_SHOWN_NAMES = 15


class ReviewPanel:
    """Wires the widgets of the section "Review".

    case_scene  the open case
    parameters  the parameter node of the moment, or None
    changed     called after a decision, so that other panels follow
    """

    def __init__(
        self, ui: Any, case_scene: CaseScene, parameters: Callable[[], Any], changed: Callable[[], None]
    ) -> None:
        self._ui, self._case_scene, self._parameters, self._changed = ui, case_scene, parameters, changed
        self._session: ProjectSession | None = None
        self._before: list[CaseInfo] = []  # decisions that can be taken back, the last one at the end
        ui.acceptButton.connect("clicked(bool)", self._on_accept)
        ui.editProposalButton.connect("clicked(bool)", self._on_edit)
        ui.rejectButton.connect("clicked(bool)", self._on_reject)
        ui.undoReviewButton.connect("clicked(bool)", self._on_undo)
        ui.acceptConfidentButton.connect("clicked(bool)", self._on_accept_confident)
        self.show()

    def set_session(self, session: ProjectSession | None) -> None:
        """Follow another project, or none."""
        if self._session is not None:
            self._session.state_changed.disconnect(self._on_changed)
            self._session.cases_changed.disconnect(self._on_changed)
            self._session.proposal_ready.disconnect(self._on_proposal)
        self._session = session
        self._before.clear()
        if session is not None:
            session.state_changed.connect(self._on_changed)
            session.cases_changed.connect(self._on_changed)
            session.proposal_ready.connect(self._on_proposal)
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
        ui.undoReviewButton.enabled = bool(self._before)
        ready = self._session is not None and self._session.state is SessionState.OPEN
        ui.acceptConfidentButton.enabled = ready and bool(self._confident())
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
        case, names = self._case(), self._checked()
        if self._session is None or case is None or not names:
            return
        if self._case_scene.proposal_changed or self._case_scene.annotation_changed:
            # What is on the screen counts, not the file: it was edited here.
            if self._case_scene.accept(names) and self._save(finished=True):
                self._before.append(case)
        else:
            every = len(names) == len(self._case_scene.segments)
            self._session.accept(case.name, None if every else names, on_done=lambda now: self._after(case))
            self._case_scene.accept(names)
            self._case_scene.settle()

    def _on_edit(self, checked: bool = False) -> None:
        if self._case_scene.accept(None):
            self._case_scene.reject()  # hidden: the copy in the annotation is what is worked on
            self._save(finished=False)

    def _on_reject(self, checked: bool = False) -> None:
        case = self._case()
        if self._session is not None and case is not None:
            self._session.reject(case.name, on_done=lambda now: self._after(case))
            self._case_scene.reject()

    def _on_undo(self, checked: bool = False) -> None:
        if self._session is None or not self._before:
            return
        before = self._before.pop()
        self._session.take_back(before)
        if self._case_scene.case is not None and self._case_scene.case.name == before.name:
            self._case_scene.undo()
            self._case_scene.settle()
            self._case_scene.reconsider()
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
                self._session.accept(case.name, on_done=lambda now, before=case: self._after(before))

    def _after(self, before: CaseInfo) -> None:
        self._before.append(before)
        self._changed()
        self.show()

    def _save(self, finished: bool) -> bool:
        case = self._case_scene.case
        if self._session is None or case is None:
            return False
        saved = self._case_scene.save_annotation(self._session.pending.path(case.name, finished=finished))
        if saved:
            self._session.annotate(case.name, finished=finished, on_done=lambda now: self._changed())
        return saved

    def _on_proposal(self, name: str) -> None:
        case = self._case()
        if case is not None and case.name == name and not self._case_scene.proposal_changed:
            self._case_scene.show_proposal(case)
            self._ui.proposalSegmentsList.clear()
        self.show()

    def _on_changed(self, *arguments: Any) -> None:
        self.show()
