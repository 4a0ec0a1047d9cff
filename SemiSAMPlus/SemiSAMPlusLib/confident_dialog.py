"""The list of proposals that would be accepted at once; each can be left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import qt

from .cases import CaseInfo
from .i18n import _


def ask_for_cases(cases: Sequence[CaseInfo], parent: Any = None) -> list[str]:
    """Let the user look at the cases and leave some out; the names of the others, [] when the dialog is cancelled."""
    dialog = ConfidentDialog(cases, parent)
    return dialog.names() if dialog.run() else []


class ConfidentDialog:
    """One row a case, its name and confidence; checked ones are accepted."""

    def __init__(self, cases: Sequence[CaseInfo], parent: Any = None) -> None:
        self.window = qt.QDialog(parent)
        self.window.setWindowTitle(_("Accept confident proposals"))
        layout = qt.QVBoxLayout(self.window)
        hint = qt.QLabel(
            _(
                "These proposals become annotations without a look at each, and training learns from them. Uncheck "
                "what you want to see first. It can be undone."
            )
        )
        hint.setWordWrap(True)
        layout.addWidget(hint)
        self.list = qt.QListWidget()
        self.list.setProperty("accessibleName", _("Cases with confident proposals"))
        for case in cases:
            text = _("{case}, confidence {confidence}").format(
                case=case.name, confidence=f"{case.confidence or 0.0:.2f}"
            )
            item = qt.QListWidgetItem(text)
            item.setData(qt.Qt.UserRole, case.name)
            item.setFlags(item.flags() | qt.Qt.ItemIsUserCheckable)
            item.setCheckState(qt.Qt.Checked)
            self.list.addItem(item)
        layout.addWidget(self.list)
        buttons = qt.QDialogButtonBox(qt.QDialogButtonBox.Ok | qt.QDialogButtonBox.Cancel)
        buttons.connect("accepted()", self.window.accept)
        buttons.connect("rejected()", self.window.reject)
        layout.addWidget(buttons)
        self._ok = buttons.button(qt.QDialogButtonBox.Ok)
        self.list.connect("itemChanged(QListWidgetItem*)", lambda item: self._count())
        self._count()

    def run(self) -> bool:
        """Show the dialog; whether the user accepted."""
        return bool(self.window.exec())

    def names(self) -> list[str]:
        """The checked cases."""
        items = [self.list.item(row) for row in range(self.list.count)]
        return [str(item.data(qt.Qt.UserRole)) for item in items if item.checkState() == qt.Qt.Checked]

    def _count(self) -> None:
        count = len(self.names())
        self._ok.text = _("Accept {count}").format(count=count)
        self._ok.enabled = count > 0
