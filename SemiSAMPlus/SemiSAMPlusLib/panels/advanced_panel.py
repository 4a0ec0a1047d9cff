"""Advanced: which generalists may teach; the rest is bound to the parameter node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt

from ..project_session import ProjectSession
from ..signals import Signal
from .panel import Panel


class AdvancedPanel(Panel):
    """Wires the lists of generalists.

    parameters  the parameter node of the moment, or None
    """

    def __init__(self, ui: Any, parameters: Callable[[], Any]) -> None:
        super().__init__(ui)
        self._parameters = parameters
        self._filling = False
        ui.generalistsList.connect("itemChanged(QListWidgetItem*)", self._on_chosen)

    def set_session(self, session: ProjectSession | None) -> None:
        """Follow another project, or none."""
        super().set_session(session)
        self._fill()

    def show(self) -> None:
        """Nothing to bring up to date: the lists change with the project only."""

    def _signals(self, session: ProjectSession) -> tuple[Signal, ...]:
        return (session.state_changed,)

    def _on_changed(self, *arguments: Any) -> None:
        if self._opened is not None:
            self._fill()

    def _fill(self) -> None:
        hello = None if self._session is None else self._session.client.hello
        names = [] if hello is None else list(hello.generalists)
        parameters = self._parameters()
        chosen = list(parameters.generalists) if parameters is not None else []
        self._filling = True
        self._ui.generalistsList.clear()
        for name in names:
            item = qt.QListWidgetItem(name)
            item.setFlags(item.flags() | qt.Qt.ItemIsUserCheckable)
            item.setCheckState(qt.Qt.Checked if not chosen or name in chosen else qt.Qt.Unchecked)
            self._ui.generalistsList.addItem(item)
        self._filling = False

    def _on_chosen(self, item: Any) -> None:
        parameters = self._parameters()
        if self._filling or parameters is None:
            return
        widget = self._ui.generalistsList
        items = [widget.item(row) for row in range(widget.count)]
        checked = [str(entry.text()) for entry in items if entry.checkState() == qt.Qt.Checked]
        # All of them is the same as no choice: what comes with an update teaches as well.
        parameters.generalists = [] if len(checked) == len(items) else checked or ["none"]
