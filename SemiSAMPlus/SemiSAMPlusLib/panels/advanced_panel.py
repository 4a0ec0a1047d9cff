"""Advanced: which generalists may teach, and which one answers prompts; the rest is bound to the parameter node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt

from ..i18n import _
from ..project_session import ProjectSession, SessionState


class AdvancedPanel:
    """Wires the lists of generalists.

    parameters  the parameter node of the moment, or None
    """

    def __init__(self, ui: Any, parameters: Callable[[], Any]) -> None:
        self._ui, self._parameters = ui, parameters
        self._session: ProjectSession | None = None
        self._filling = False
        ui.generalistsList.connect("itemChanged(QListWidgetItem*)", self._on_changed)

    def set_session(self, session: ProjectSession | None) -> None:
        """Follow another project, or none."""
        if self._session is not None:
            self._session.state_changed.disconnect(self._on_state)
        self._session = session
        if session is not None:
            session.state_changed.connect(self._on_state)
        self._fill()

    def show(self) -> None:
        """Nothing to bring up to date: the lists change with the project only."""

    def _on_state(self, state: SessionState) -> None:
        if state is SessionState.OPEN:
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
        box = self._ui.promptGeneralistBox
        box.clear()
        for name in names:
            box.addItem(_("Prompts: {generalist}").format(generalist=name), name)

    def _on_changed(self, item: Any) -> None:
        parameters = self._parameters()
        if self._filling or parameters is None:
            return
        widget = self._ui.generalistsList
        items = [widget.item(row) for row in range(widget.count)]
        checked = [str(entry.text()) for entry in items if entry.checkState() == qt.Qt.Checked]
        # All of them is the same as no choice: what comes with an update teaches as well.
        parameters.generalists = [] if len(checked) == len(items) else checked or ["none"]
