"""Cases: the table, and going from one case to another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer

from ..cases_table import CasesTable
from ..i18n import _
from .panel import Panel


class CasesPanel(Panel):
    """Wires the widgets of the section "Cases".

    open_case     opens a case by its name
    current_case  name of the case that is open, or None
    """

    def __init__(self, ui: Any, open_case: Callable[[str], None], current_case: Callable[[], str | None]) -> None:
        super().__init__(ui)
        self._open_case, self._current_case = open_case, current_case
        self.table = CasesTable(ui.casesTable, ui.caseSearchBox, ui.stateFilterBox, open_case)
        ui.previousButton.connect("clicked(bool)", lambda checked=False: self._step(-1))
        ui.nextButton.connect("clicked(bool)", lambda checked=False: self._step(1))
        ui.suggestedButton.connect("clicked(bool)", self._on_suggested)
        ui.removeCaseButton.connect("clicked(bool)", self._on_remove)
        self.show()

    def show(self) -> None:
        """Bring table and buttons up to date."""
        session, ui = self._opened, self._ui
        cases = [] if session is None else list(session.cases)
        self.table.show(cases, {} if session is None else session.cases.ranks())
        for button in (ui.previousButton, ui.nextButton, ui.suggestedButton, ui.removeCaseButton):
            button.enabled = bool(cases)
        current = self._current_case()
        if current is not None:
            self.table.select(current)

    def _step(self, step: int) -> None:
        name = self.table.neighbor(self._current_case(), step)
        if name is not None:
            self._open_case(name)
        else:
            slicer.util.showStatusMessage(_("This is the last case of the table."), 3000)

    def _on_suggested(self, checked: bool = False) -> None:
        if self._session is None:
            return
        current = self._current_case()
        case = self._session.cases.next_to_look_at([current] if current else [])
        if case is None:
            slicer.util.showStatusMessage(_("Every case is finished."), 3000)
        else:
            self._open_case(case.name)

    def _on_remove(self, checked: bool = False) -> None:
        names = self.table.selected()
        if self._session is None or not names:
            return
        text = _("Remove {names} from the project? The image files stay where they are.").format(names=", ".join(names))
        if slicer.util.confirmOkCancelDisplay(text):
            for name in names:
                self._session.remove_case(name)
