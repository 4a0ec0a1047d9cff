"""The dialog that asks which volumes of the scene are meant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import qt

from ..i18n import _
from ..scene.volume_files import file_of_volume


def ask_for_volumes(nodes: Sequence[Any], parent: Any = None, hint: str = "") -> list[Any]:
    """Let the user choose among volume nodes; [] when the dialog is cancelled.

    ``hint`` says what happens to the chosen ones; without it they become cases.
    """
    dialog = VolumesDialog(nodes, parent, hint)
    return dialog.chosen() if dialog.window.exec() else []


class VolumesDialog:
    """A list with a check mark for each volume; all are chosen at first."""

    def __init__(self, nodes: Sequence[Any], parent: Any = None, hint: str = "") -> None:
        self._nodes = list(nodes)
        self.window = qt.QDialog(parent)
        self.window.setWindowTitle(_("Volumes of the scene"))
        layout = qt.QVBoxLayout(self.window)
        cases = _("Volumes that lie in one file are used where they are. The others are copied into the project.")
        label = qt.QLabel(hint or cases)
        label.setWordWrap(True)
        layout.addWidget(label)
        self.list = qt.QListWidget()
        for node in self._nodes:
            item = qt.QListWidgetItem(node.GetName())
            if not hint:
                item.setToolTip(str(file_of_volume(node) or _("Will be copied into the project")))
            item.setFlags(qt.Qt.ItemIsUserCheckable | qt.Qt.ItemIsEnabled)
            item.setCheckState(qt.Qt.Checked)
            self.list.addItem(item)
        layout.addWidget(self.list)
        buttons = qt.QDialogButtonBox(qt.QDialogButtonBox.Ok | qt.QDialogButtonBox.Cancel)
        buttons.connect("accepted()", self.window.accept)
        buttons.connect("rejected()", self.window.reject)
        layout.addWidget(buttons)

    def chosen(self) -> list[Any]:
        """The nodes with a check mark."""
        rows = range(len(self._nodes))
        return [self._nodes[row] for row in rows if self.list.item(row).checkState() == qt.Qt.Checked]
