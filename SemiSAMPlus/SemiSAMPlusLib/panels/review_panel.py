"""Review: the proposal of the open case, judged as a whole or segment by segment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt

from ..buttons import allow
from ..case_editor import CaseEditor
from ..cases import CaseInfo
from ..i18n import _
from ..scene.case_scene import CaseScene
from ..scene.images import ImageError
from ..scene.mask_files import MaskFileError
from ..scene.segments import SegmentStatus, find_segment, read_segment, status_of
from .panel import Panel

# While the difference is shown, edits of the annotation show in it after this time.
_LOOK_MILLISECONDS = 500


class ReviewPanel(Panel):
    """Wires the widgets of the section "Review".

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
        self._case_scene, self._editor, self._parameters, self._tell = case_scene, editor, parameters, tell
        self._newer_waits = False
        self._listed: Any = None
        # Segments that a person works on in the annotation, copied from the proposal or drawn before.
        self._edited: frozenset[str] = frozenset()
        # The proposal's node, whether uncertainty and difference are shown, and for which edits.
        self._overlaid: tuple[str | None, bool, bool, int] = (None, False, False, 0)
        self._timer = qt.QTimer()
        self._timer.setInterval(_LOOK_MILLISECONDS)
        self._timer.connect("timeout()", self._overlay)
        ui.acceptButton.connect("clicked(bool)", self._on_accept)
        ui.editProposalButton.connect("clicked(bool)", self._on_edit)
        ui.rejectButton.connect("clicked(bool)", self._on_reject)
        ui.undoReviewButton.connect("clicked(bool)", self._on_undo)
        ui.newerProposalButton.connect("clicked(bool)", self._on_newer)
        ui.showProposalCheckBox.connect("clicked(bool)", self._on_visible)
        ui.proposalSegmentsList.connect("itemChanged(QListWidgetItem*)", lambda item: self._allow())
        self.show()

    def close(self) -> None:
        """Before the widget goes away."""
        self._timer.stop()

    def show(self) -> None:
        """Bring texts, list and buttons up to date."""
        ui, case, proposal = self._ui, self._case(), self._case_scene.proposal
        ui.proposalLabel.text = self._text(case)
        ui.newerProposalButton.visible = self._newer_waits
        ui.showProposalCheckBox.checked = proposal is not None and bool(proposal.GetDisplayNode().GetVisibility())
        self._list_segments()
        self._allow()
        self._overlay()

    def case_opened(self) -> None:
        """Another case is open, or none."""
        self._newer_waits = False
        self._listed = None
        self._edited = self._begun()
        self._overlaid = (None, *self._overlaid[1:])
        self.show()

    def newer_proposal_waits(self, name: str) -> None:
        """The engine has made another proposal of the open case, but the shown one was edited."""
        self._newer_waits = True
        self.show()

    def _text(self, case: CaseInfo | None) -> str:
        if case is None:
            return _("No case is open.")
        if self._case_scene.proposal is None:
            return _("{case} has no proposal yet.").format(case=case.name)
        if case.state == "accepted":
            return _("The proposal for {case} was accepted.").format(case=case.name)
        if case.state == "rejected":
            return _("The proposal for {case} was rejected.").format(case=case.name)
        if self._edited and not case.finished:
            text = _('{case} is in work: correct it under "Annotate and correct", then press "Annotation is complete".')
            return text.format(case=case.name)
        if case.confidence is None:
            return _("Proposal for {case}.").format(case=case.name)
        return _("Proposal for {case}, confidence {confidence}.").format(
            case=case.name, confidence=f"{case.confidence:.2f}"
        )

    def _list_segments(self) -> None:
        """List the segments; the user's choice among them stays.

        What was accepted, or is being worked on in the annotation, is not offered: it would take the place of the work.
        """
        proposal, case, widget = self._case_scene.proposal, self._case_scene.case, self._ui.proposalSegmentsList
        segments = () if proposal is None or case is None else self._case_scene.segments
        keys = [find_segment(proposal, item.name) for item in segments]
        accepted = [key is not None and status_of(proposal, key) is SegmentStatus.COMPLETED for key in keys]
        listed = (None if proposal is None else proposal.GetID(), segments, accepted, self._edited)
        if listed == self._listed:
            return
        self._listed = listed
        widget.clear()
        for segment, done in zip(segments, accepted, strict=True):
            copied = segment.name in self._edited
            text = _("{segment} (accepted)") if done else _("{segment} (in the annotation)") if copied else "{segment}"
            item = qt.QListWidgetItem(text.format(segment=segment.name))
            item.setData(qt.Qt.UserRole, segment.name)
            item.setFlags(item.flags() | qt.Qt.ItemIsUserCheckable)
            item.setCheckState(qt.Qt.Unchecked if done or copied else qt.Qt.Checked)
            item.setData(qt.Qt.DecorationRole, qt.QColor(*segment.color))
            widget.addItem(item)

    def _begun(self) -> frozenset[str]:
        """Segments that a half-done annotation has voxels of."""
        case, scene = self._case(), self._case_scene
        annotation, grid = scene.annotation, scene.grid
        if case is None or case.state != "in work" or annotation is None or scene.proposal is None or grid is None:
            return frozenset()
        keys = {item.name: find_segment(annotation, item.name) for item in scene.segments}
        return frozenset(name for name, key in keys.items() if key and read_segment(annotation, key, grid).count)

    def _allow(self) -> None:
        ui, case, editor = self._ui, self._case(), self._editor()
        why_not = self._why_not(writes=True)
        if why_not is None and case is None:
            why_not = _("Open a case first")
        undecided = None if editor is not None and editor.can_undo else _("There is no decision to take back")
        allow(ui.undoReviewButton, why_not or undecided)
        if why_not is None and self._case_scene.proposal is None:
            why_not = _("This case has no proposal: press Learn to get one")
        unchecked = None if self._checked() else _("Check a segment in the list first")
        allow(ui.acceptButton, why_not or unchecked)
        allow(ui.editProposalButton, why_not or unchecked)
        rejected = case is not None and case.state == "rejected"
        allow(ui.rejectButton, why_not or (_("It was rejected already") if rejected else None))
        allow(ui.showProposalCheckBox, self._no_overlay(case))
        allow(ui.differenceCheckBox, self._no_overlay(case))
        allow(ui.uncertaintyCheckBox, self._no_overlay(case))

    def _no_overlay(self, case: CaseInfo | None) -> str | None:
        if case is None:
            return _("Open a case first")
        return None if self._case_scene.proposal is not None else _("This case has no proposal")

    def _checked(self) -> list[str]:
        widget = self._ui.proposalSegmentsList
        items = [widget.item(row) for row in range(widget.count)]
        return [str(item.data(qt.Qt.UserRole)) for item in items if item.checkState() == qt.Qt.Checked]

    def _case(self) -> CaseInfo | None:
        if self._session is None or self._case_scene.case is None:
            return None
        return self._session.cases.get(self._case_scene.case.name)

    # Overlays ---------------------------------------------------------------------------------------------------------

    def _overlay(self) -> None:
        """Show what the user wants to see over the image; nothing is done again that is there already."""
        parameters, scene = self._parameters(), self._case_scene
        proposal = scene.proposal
        shown = parameters is not None and scene.case is not None and proposal is not None
        uncertainty = shown and bool(parameters.showUncertainty)
        difference = shown and bool(parameters.showDifference)
        if difference and not self._timer.active:
            self._timer.start()
        elif not difference:
            self._timer.stop()
        node = proposal.GetID() if proposal is not None else None
        wanted = (node, uncertainty, difference, scene.edits if difference else 0)
        before, self._overlaid = self._overlaid, wanted
        if wanted == before:
            return
        try:
            if wanted[:2] != before[:2] and (uncertainty or before[1]):
                scene.show_uncertainty(uncertainty)
            if difference or before[2]:
                scene.show_difference(difference)
        except ImageError as error:
            self._tell(str(error))

    def _on_visible(self, shown: bool) -> None:
        proposal = self._case_scene.proposal
        if proposal is not None:
            proposal.GetDisplayNode().SetVisibility(shown)

    # Decisions --------------------------------------------------------------------------------------------------------

    def _chosen(self) -> list[str] | None:
        """Names of the checked segments, None for all."""
        names = self._checked()
        return None if len(names) == len(self._case_scene.segments) else names

    def _on_accept(self, checked: bool = False) -> None:
        self._decide(lambda editor: editor.accept(self._chosen(), on_done=self._on_changed))

    def _on_edit(self, checked: bool = False) -> None:
        names = self._checked()
        self._decide(lambda editor: editor.edit_proposal(self._chosen(), on_done=self._on_changed))
        self._edited |= frozenset(names)
        self._ui.annotateSection.collapsed = False  # where it is corrected
        self.show()

    def _on_reject(self, checked: bool = False) -> None:
        self._decide(lambda editor: editor.reject(on_done=self._on_changed))

    def _on_undo(self, checked: bool = False) -> None:
        self._edited = frozenset()
        self._decide(lambda editor: editor.undo(on_done=self._on_changed))

    def _on_newer(self, checked: bool = False) -> None:
        self._newer_waits = False
        self._edited = frozenset()
        self._decide(lambda editor: editor.show_newest_proposal())

    def _decide(self, decision: Callable[[CaseEditor], Any]) -> None:
        editor = self._editor()
        if editor is not None:
            try:
                decision(editor)
            except MaskFileError as error:
                self._tell(str(error))
        self.show()
