"""Cases: the table, and going from one case to another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer

from ..buttons import allow
from ..cases import CaseInfo
from ..cases_table import CasesTable
from ..i18n import _
from ..project_session import ProjectSession
from .panel import Panel

_SHOWN_NAMES = 10


class CasesPanel(Panel):
    """Wires the widgets of the section "Cases".

    open_case     opens a case by its name
    current_case  name of the case that is open, or None
    """

    def __init__(self, ui: Any, open_case: Callable[[str], None], current_case: Callable[[], str | None]) -> None:
        super().__init__(ui)
        self._open_case, self._current_case = open_case, current_case
        self._shown_case: str | None = None
        self._skipped: set[str] = set()
        self.table = CasesTable(ui.casesTable, ui.caseSearchBox, ui.stateFilterBox, open_case)
        self.table.on_selected(lambda *arguments: self._allow_remove())
        ui.previousButton.connect("clicked(bool)", lambda checked=False: self._step(-1))
        ui.nextButton.connect("clicked(bool)", lambda checked=False: self._step(1))
        ui.suggestedButton.connect("clicked(bool)", self._on_suggested)
        ui.skipButton.connect("clicked(bool)", self._on_skip)
        ui.removeCaseButton.connect("clicked(bool)", self._on_remove)
        self.show()

    def set_session(self, session: ProjectSession | None) -> None:
        """Follow another project, or none; what was searched for in the last one does not hide its cases."""
        self._skipped.clear()
        self.table.clear_filters()
        super().set_session(session)

    def show(self) -> None:
        """Bring table and buttons up to date."""
        session, ui, current = self._opened, self._ui, self._current_case()
        cases = [] if session is None else list(session.cases)
        self.table.show(cases, {} if session is None else session.cases.ranks())
        # Only then: what the user has selected meanwhile, to remove it, stays selected.
        if current is not None and current != self._shown_case:
            self.table.select(current)
        self._shown_case = current
        why_not = self._why_not() or (None if cases else _("Add cases first"))
        allow(ui.previousButton, why_not)
        allow(ui.nextButton, why_not)
        if why_not is None and session is not None and session.cases.next_to_look_at() is None:
            why_not = _("Every case is finished")
        allow(ui.suggestedButton, why_not)
        allow(ui.skipButton, why_not or (None if current is not None else _("Open a case first")))
        self._allow_remove()

    def _allow_remove(self) -> None:
        why_not = self._why_not(writes=True)
        allow(
            self._ui.removeCaseButton,
            why_not or (None if self.table.selected() else _("Select cases in the table first")),
        )

    def _step(self, step: int) -> None:
        name = self.table.neighbor(self._current_case(), step)
        if name is not None:
            self._open_case(name)
        else:
            last = _("This is the last case of the table.") if step > 0 else _("This is the first case of the table.")
            slicer.util.showStatusMessage(last, 3000)

    def _on_suggested(self, checked: bool = False) -> None:
        case = self._suggested()
        if case is None:
            slicer.util.showStatusMessage(_("Every other case is finished."), 3000)
        else:
            self._open_case(case.name)

    def _on_skip(self, checked: bool = False) -> None:
        current = self._current_case()
        if current is not None:
            self._skipped.add(current)
        self._on_suggested()

    def _suggested(self) -> CaseInfo | None:
        """The case to look at next; once all the others were skipped, they come up again."""
        session, current = self._opened, self._current_case()
        if session is None:
            return None
        here = set() if current is None else {current}
        case = session.cases.next_to_look_at(self._skipped | here)
        if case is None:
            self._skipped.clear()
            case = session.cases.next_to_look_at(here)
        return case

    def _on_remove(self, checked: bool = False) -> None:
        session, names = self._opened, self.table.selected()
        if session is None or not names:
            return
        shown = ", ".join(names[:_SHOWN_NAMES])
        if len(names) > _SHOWN_NAMES:
            shown = _("{names} and {count} more").format(names=shown, count=len(names) - _SHOWN_NAMES)
        text = (
            _("Remove {names} from the project? The image file stays where it is.")
            if len(names) == 1
            else _("Remove {names} from the project? The image files stay where they are.")
        )
        if slicer.util.confirmOkCancelDisplay(text.format(names=shown)):
            for name in names:
                session.remove_case(name)
