"""Advanced: which generalists there are and may teach, and the import of their weights; the rest is bound to the
parameter node."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer

from ..buttons import allow
from ..generalists import GeneralistInfo
from ..i18n import _
from ..jobs import LearnedWith
from ..parameter_node import NETWORKS
from ..project_session import ProjectSession
from ..signals import Signal
from ..worker_messages import Event, WorkerError
from .panel import Panel

ENDINGS = "*.pth *.pt *.safetensors"


class AdvancedPanel(Panel):
    """Wires the list of generalists, and the button that imports weights for the selected one.

    parameters  the parameter node of the moment, or None
    tell        shows an error to the user
    """

    def __init__(self, ui: Any, parameters: Callable[[], Any], tell: Callable[[str], None]) -> None:
        super().__init__(ui)
        self._parameters, self._tell = parameters, tell
        self._activity = self._news = ""
        self._filling = False
        self._listed: list[str] = []  # the choice of generalists that the list shows
        self._followed: LearnedWith | None = None
        ui.generalistsList.connect("itemChanged(QListWidgetItem*)", self._on_chosen)
        ui.generalistsList.connect("itemSelectionChanged()", self._on_selected)
        ui.addWeightsButton.connect("clicked(bool)", self._on_add)
        self.show()

    def set_session(self, session: ProjectSession | None) -> None:
        """Follow another project, or none."""
        self._activity = self._news = ""
        super().set_session(session)
        self._fill()

    def scene_changed(self) -> None:
        """The parameter node is not what it was: the scene was closed, or another one was loaded into it."""
        self._followed = None
        self.show()

    def show(self) -> None:
        """Bring the choices, the button and the words below the list up to date."""
        ui = self._ui
        self._follow_project()
        if self._chosen() != self._listed:
            self._fill()
        allow(ui.addWeightsButton, self._why_not() or self._why_no_weights())
        ui.weightsBar.visible = bool(self._activity)
        ui.weightsLabel.text = self._activity or self._news
        ui.weightsLabel.visible = bool(ui.weightsLabel.text)

    def _follow_project(self) -> None:
        """Network and spacing are those that the project has learned with, until somebody chooses others.

        Another choice makes learning start anew, so the one of a new scene or of the project before must not stand.
        """
        session, parameters = self._opened, self._parameters()
        if session is None or parameters is None or session.learned_with == self._followed:
            return
        self._followed = session.learned_with
        found = self._followed or LearnedWith(NETWORKS[0], 0.0)
        if found.network in NETWORKS:
            parameters.network, parameters.workingSpacing = found.network, found.spacing

    def _why_no_weights(self) -> str | None:
        if self._activity:
            return _("Weights are being imported: wait")
        info = self._selected()
        if info is None:
            return _("Select a generalist in the list first")
        return None if info.takes_weights else _("{name} needs no weights: select another one").format(name=info.name)

    def _signals(self, session: ProjectSession) -> tuple[Signal, ...]:
        return session.state_changed, session.generalists.changed

    def _on_changed(self, *arguments: Any) -> None:
        if self._opened is not None:
            self._fill()
        self.show()

    # The list ---------------------------------------------------------------------------------------------------------

    def _chosen(self) -> list[str]:
        parameters = self._parameters()
        return [] if parameters is None else list(parameters.generalists)

    def _fill(self) -> None:
        known = () if self._session is None else self._session.generalists.known
        widget, selected = self._ui.generalistsList, self._selected_name()
        chosen = self._listed = self._chosen()
        grey = qt.QBrush(widget.palette.color(qt.QPalette.Disabled, qt.QPalette.Text))
        self._filling = True
        widget.clear()
        for info in known:
            item = qt.QListWidgetItem(info.name if info.at_hand else _("{name} (not at hand)").format(name=info.name))
            item.setData(qt.Qt.UserRole, info.name)
            item.setToolTip(_describe(info))
            if info.at_hand:
                item.setFlags(item.flags() | qt.Qt.ItemIsUserCheckable)
                item.setCheckState(qt.Qt.Checked if not chosen or info.name in chosen else qt.Qt.Unchecked)
            else:  # not disabled: it can be selected, to add its weights
                item.setFlags(item.flags() & ~qt.Qt.ItemIsUserCheckable)
                item.setForeground(grey)
            widget.addItem(item)
            if info.name == selected:
                widget.setCurrentItem(item)
        self._filling = False
        self.show()

    def _on_chosen(self, item: Any) -> None:
        parameters = self._parameters()
        if self._filling or self._session is None or parameters is None:
            return
        widget, at_hand = self._ui.generalistsList, self._session.generalists.at_hand
        items = [widget.item(row) for row in range(widget.count)]
        ours = [item for item in items if _name(item) in at_hand]
        checked = [_name(item) for item in ours if item.checkState() == qt.Qt.Checked]
        # All of them is the same as no choice: what comes with an update teaches as well.
        self._listed = [] if len(checked) == len(ours) else checked or ["none"]
        parameters.generalists = self._listed

    def _on_selected(self) -> None:
        if not self._filling:
            self._news = ""
            self.show()

    def _selected_name(self) -> str | None:
        return next((_name(item) for item in self._ui.generalistsList.selectedItems()), None)

    def _selected(self) -> GeneralistInfo | None:
        known = () if self._session is None else self._session.generalists.known
        name = self._selected_name()
        return next((info for info in known if info.name == name), None)

    # Weights ----------------------------------------------------------------------------------------------------------

    def _on_add(self, checked: bool = False) -> None:
        session, info, button = self._opened, self._selected(), self._ui.addWeightsButton
        if session is None or info is None:
            return
        filters = ";;".join((_("Weights ({endings})").format(endings=ENDINGS), _("All files (*)")))
        title = _("The weights of {name}").format(name=info.name)
        file = qt.QFileDialog.getOpenFileName(button, title, "", filters)
        if not file or not slicer.util.confirmOkCancelDisplay(_terms(info, Path(file)), title):
            return
        self._news = ""
        self._activity = _("The weights of {name} are being checked and imported...").format(name=info.name)
        self.show()
        session.generalists.add(
            info.name, Path(file), accept_licence=True, on_done=self._on_added, on_error=self._on_error
        )

    def _on_added(self, card: Event) -> None:
        text = _("{name} is at hand now: {architecture}, {size} MB.")
        size = f"{float(card.get('bytes', 0)) / 1e6:.0f}"
        self._activity = ""
        told = text.format(name=card.get("generalist"), architecture=card.get("architecture"), size=size)
        self._news = str(card.get("remedy") or told)  # the weights may be here, and a package missing
        self.show()

    def _on_error(self, error: WorkerError) -> None:
        self._activity = ""
        self._news = "" if error.cancelled else _("Nothing was imported.")
        self.show()
        if not error.cancelled:
            self._tell(error.text)


def _name(item: Any) -> str:
    return str(item.data(qt.Qt.UserRole))


def _describe(info: GeneralistInfo) -> str:
    """What the engine tells about a generalist, and how to get it, in lines."""
    lines = [info.what, _licence(info), _note(info), info.remedy]
    if info.remedy and info.takes_weights:
        lines.append(_('To add weights, select it and press "Add weights..."; nothing is downloaded.'))
    return "\n".join(line for line in lines if line)


def _terms(info: GeneralistInfo, file: Path) -> str:
    """What the user accepts with an import."""
    lines = [_("{name}: {what}").format(name=info.name, what=info.what), _licence(info), _note(info)]
    lines.append(_("File: {file}").format(file=file))
    if info.weights_file:
        lines.append(_("It replaces what was imported from {file}.").format(file=info.weights_file))
    terms = "\n".join(line for line in lines if line)
    return "{}\n\n{}".format(terms, _("Import these weights, and accept their licence?"))


def _licence(info: GeneralistInfo) -> str:
    return _("Licence: {licence}").format(licence=info.licence) if info.licence else ""


def _note(info: GeneralistInfo) -> str:
    return _("Good to know: {note}").format(note=info.note) if info.note else ""
