"""Accepting all confident proposals at once, after a look at the list of them, and taking that back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..buttons import allow
from ..cases import CaseInfo
from ..confident_dialog import ask_for_cases
from ..i18n import _
from ..project_session import ProjectSession
from ..worker_messages import WorkerError
from .panel import Panel


@dataclass
class _Accepted:
    """A case before and after; ``after`` is None until the engine has answered."""

    before: CaseInfo
    after: CaseInfo | None = None


class ConfidentPanel(Panel):
    """Wires "Accept all confident" of the section "Review".

    parameters    the parameter node of the moment, or None
    current_case  name of the open case, or None; it is judged by itself, as its proposal may have been edited
    reload_case   opens a case anew, whose annotation has changed
    tell          shows an error to the user
    """

    def __init__(
        self,
        ui: Any,
        parameters: Callable[[], Any],
        current_case: Callable[[], str | None],
        reload_case: Callable[[str], None],
        tell: Callable[[str], None],
    ) -> None:
        super().__init__(ui)
        self._parameters, self._current_case = parameters, current_case
        self._reload_case, self._tell = reload_case, tell
        self._accepted: dict[str, _Accepted] = {}
        self._asked = 0
        ui.acceptConfidentButton.connect("clicked(bool)", self._on_accept)
        ui.undoConfidentButton.connect("clicked(bool)", self._on_undo)
        self.show()

    def set_session(self, session: ProjectSession | None) -> None:
        """Follow another project, or none."""
        self._accepted, self._asked = {}, 0
        super().set_session(session)

    def show(self) -> None:
        """Bring the buttons up to date."""
        ui, count = self._ui, len(self._confident())
        why_not = self._why_not(writes=True)
        if why_not is None and self._asked:
            why_not = _("The engine is still at it")
        ui.acceptConfidentButton.text = (
            _("Accept {count} confident...").format(count=count) if count else _("Accept all confident...")
        )
        none = _("No proposal that waits for review is that confident: lower the number, or press Learn")
        allow(ui.acceptConfidentButton, why_not or (None if count else none))
        allow(ui.undoConfidentButton, why_not or (None if self._accepted else _("Nothing was accepted together")))

    def _confident(self) -> list[CaseInfo]:
        parameters, session = self._parameters(), self._opened
        if session is None or parameters is None:
            return []
        current = self._current_case()
        sure = session.cases.confident_proposals(parameters.confidenceToAccept)
        return [case for case in sure if case.name != current]

    def _on_accept(self, checked: bool = False) -> None:
        session = self._opened
        names = set(ask_for_cases(self._confident(), self._ui.acceptConfidentButton))
        chosen = [case for case in self._confident() if case.name in names]
        if session is None or session is not self._session or not chosen:
            return  # in the meantime the project was closed
        self._accepted = {case.name: _Accepted(case) for case in chosen}
        self._asked = len(chosen)
        for case in chosen:
            revision = None if case.proposal is None else case.proposal.revision
            session.accept(case.name, revision=revision, on_done=self._on_accepted, on_error=self._on_error)
        self.show()

    def _on_accepted(self, case: CaseInfo) -> None:
        if case.name in self._accepted:
            self._accepted[case.name].after = case
        self._answered()

    def _on_undo(self, checked: bool = False) -> None:
        session, accepted = self._opened, self._accepted
        if session is None:
            return
        self._accepted = {}
        kept = []
        for name, item in accepted.items():
            now = session.cases.get(name)
            if now is None or item.after is None or now.annotation != item.after.annotation:
                kept.append(name)
                continue
            self._asked += 1
            session.take_back(item.before, on_done=self._on_taken_back, on_error=self._on_error)
        if kept:
            text = (
                _("{cases} was changed since and stays as it is.")
                if len(kept) == 1
                else _("These cases were changed since and stay as they are: {cases}.")
            )
            self._tell(text.format(cases=", ".join(kept)))
        self.show()

    def _on_taken_back(self, case: CaseInfo) -> None:
        if case.name == self._current_case():
            self._reload_case(case.name)
        self._answered()

    def _on_error(self, error: WorkerError) -> None:
        if not error.cancelled:
            self._tell(error.text)
        self._answered()

    def _answered(self) -> None:
        self._asked = max(0, self._asked - 1)
        self.show()
