"""What all panels that follow the open project have in common."""

from __future__ import annotations

from typing import Any

from ..i18n import _
from ..project_session import ProjectSession, SessionState
from ..signals import Signal


class Panel:
    """A section of the module's panel; ``show`` is called whenever the project or its cases have changed.

    ui  the widgets of the .ui file by their names
    """

    def __init__(self, ui: Any) -> None:
        self._ui = ui
        self._session: ProjectSession | None = None

    def set_session(self, session: ProjectSession | None) -> None:
        """Follow another project, or none."""
        if self._session is not None:
            for signal in self._signals(self._session):
                signal.disconnect(self._on_changed)
        self._session = session
        if session is not None:
            for signal in self._signals(session):
                signal.connect(self._on_changed)
        self.show()

    def show(self) -> None:
        """Bring the section up to date."""
        raise NotImplementedError

    @property
    def _opened(self) -> ProjectSession | None:
        """The project, if it is open and its engine answers."""
        session = self._session
        return session if session is not None and session.state is SessionState.OPEN else None

    def _why_not(self, *, writes: bool = False) -> str | None:
        """Why the project cannot be worked with now, or with ``writes`` not be changed, in words; None if it can."""
        session = self._session
        if session is None:
            return _("Open a project first")
        if session.state is SessionState.OPENING:
            return _("The project is still being opened")
        if session.state is not SessionState.OPEN:
            return _("The engine does not run: press Restart")
        if writes and not session.writable:
            return _("The folder of the project is read-only")
        return None

    def _signals(self, session: ProjectSession) -> tuple[Signal, ...]:
        """What calls ``_on_changed``."""
        return session.state_changed, session.cases_changed

    def _on_changed(self, *arguments: Any) -> None:
        self.show()
