"""The dialog for the segments of a new project: one row a structure, its name and its color."""

from __future__ import annotations

from typing import Any

import qt

from .cases import SegmentInfo
from .i18n import _

_COLORS = ((221, 132, 82), (85, 168, 104), (76, 114, 176), (196, 78, 82), (129, 114, 179), (147, 120, 96))


def ask_for_segments(parent: Any = None) -> tuple[SegmentInfo, ...]:
    """Let the user name the structures; () when the dialog is cancelled."""
    dialog = SegmentsDialog(parent)
    return dialog.segments() if dialog.run() else ()


class SegmentsDialog:
    """Names are kept apart from each other; an empty row is no segment."""

    def __init__(self, parent: Any = None) -> None:
        self.window = qt.QDialog(parent)
        self.window.setWindowTitle(_("Structures to segment"))
        layout = qt.QVBoxLayout(self.window)
        hint = qt.QLabel(_("One row for each structure. Names are kept with the project and cannot clash."))
        hint.setWordWrap(True)
        layout.addWidget(hint)
        self.table = qt.QTableWidget(0, 1)
        self.table.setHorizontalHeaderLabels([_("Name")])
        self.table.horizontalHeader().setStretchLastSection(True)
        layout.addWidget(self.table)
        self.problem = qt.QLabel("")
        layout.addWidget(self.problem)
        more = qt.QPushButton(_("Add a structure"))
        more.connect("clicked(bool)", self._on_more)
        layout.addWidget(more)
        buttons = qt.QDialogButtonBox(qt.QDialogButtonBox.Ok | qt.QDialogButtonBox.Cancel)
        buttons.connect("accepted()", self._on_accept)
        buttons.connect("rejected()", self.window.reject)
        layout.addWidget(buttons)
        for name in (_("Structure 1"), ""):
            self.add_row(name)

    def run(self) -> bool:
        """Show the dialog; whether the user accepted."""
        return bool(self.window.exec())

    def add_row(self, name: str = "") -> None:
        row = self.table.rowCount
        self.table.setRowCount(row + 1)
        item = qt.QTableWidgetItem(name)
        item.setForeground(qt.QBrush(qt.QColor(*_COLORS[row % len(_COLORS)])))
        self.table.setItem(row, 0, item)

    def segments(self) -> tuple[SegmentInfo, ...]:
        """The segments as they are in the table; values count from 1."""
        names = [name for row in range(self.table.rowCount) if (name := self._name(row))]
        return tuple(SegmentInfo(index + 1, name, _COLORS[index % len(_COLORS)]) for index, name in enumerate(names))

    def check(self) -> str:
        """What is wrong with the names, or ""."""
        names = [segment.name.casefold() for segment in self.segments()]
        if not names:
            return _("Name at least one structure.")
        doubled = next((name for name in names if names.count(name) > 1), None)
        return "" if doubled is None else _('"{name}" is there twice.').format(name=doubled)

    def _name(self, row: int) -> str:
        item = self.table.item(row, 0)
        return "" if item is None else str(item.text()).strip()

    def _on_more(self, checked: bool = False) -> None:
        self.add_row()

    def _on_accept(self) -> None:
        problem = self.check()
        self.problem.text = problem
        if not problem:
            self.window.accept()
