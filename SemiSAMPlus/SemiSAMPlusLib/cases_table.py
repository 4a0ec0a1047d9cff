"""The table of cases: name, state, confidence, and which one to look at next; quick with hundreds of rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import qt

from .cases import CaseInfo, state_words
from .i18n import _

NAME, STATE, CONFIDENCE, RANK = range(4)
# Proposals below this confidence are shown in red, those above the other in green.
DOUBTFUL, CONFIDENT = 0.75, 0.9
_ROW_PIXELS = 22


STATES = ("new", "in work", "annotated", "proposed", "accepted", "rejected")


class CasesTable:
    """Shows cases in a QTableView; calls ``on_open`` with the name of a case that is double-clicked or activated.

    view, search, states  the QTableView, the search box above it and the combo box that filters by state
    """

    def __init__(self, view: Any, search: Any, states: Any, on_open: Callable[[str], None]) -> None:
        self._view, self._search, self._states, self._on_open = view, search, states, on_open
        self._model = _empty_model(0)
        self._by_name = qt.QSortFilterProxyModel()
        self._by_name.setSourceModel(self._model)
        self._by_name.setFilterKeyColumn(NAME)
        self._by_name.setFilterCaseSensitivity(qt.Qt.CaseInsensitive)
        self._by_state = qt.QSortFilterProxyModel()
        self._by_state.setSourceModel(self._by_name)
        self._by_state.setFilterKeyColumn(STATE)
        self._by_state.setFilterRole(qt.Qt.UserRole)
        self._by_state.setSortRole(qt.Qt.UserRole)
        view.setModel(self._by_state)
        view.setSortingEnabled(True)
        view.setSelectionBehavior(qt.QTableView.SelectRows)
        view.setEditTriggers(qt.QTableView.NoEditTriggers)
        view.verticalHeader().setVisible(False)
        view.verticalHeader().setDefaultSectionSize(_ROW_PIXELS)
        header = view.horizontalHeader()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(NAME, qt.QHeaderView.Stretch)
        for column, width in ((STATE, 75), (CONFIDENCE, 80), (RANK, 45)):
            view.setColumnWidth(column, width)
        view.sortByColumn(NAME, qt.Qt.AscendingOrder)
        states.addItem(_("All states"), "")
        for state in STATES:
            states.addItem(state_words(state), state)
        self._shown: list[tuple[CaseInfo, int]] = []
        # Kept, so that it is not looked for at each change of the table.
        self._selection = view.selectionModel()
        search.connect("textChanged(QString)", self._by_name.setFilterFixedString)
        states.connect("currentIndexChanged(int)", self._on_state)
        view.connect("doubleClicked(QModelIndex)", self._on_double_click)

    def show(self, cases: Sequence[CaseInfo], ranks: Mapping[str, int]) -> None:
        """Fill the table; ``ranks`` says which case to look at next, from 1."""
        wanted = [(case, ranks.get(case.name, len(cases))) for case in cases]
        if wanted == self._shown:
            return
        if [case.name for case, _rank in self._shown] == [case.name for case in cases]:
            self._view.setSortingEnabled(False)
            for row, (new, old) in enumerate(zip(wanted, self._shown, strict=True)):
                if new != old:
                    self._show_case(row, *new)
            self._view.setSortingEnabled(True)
        else:
            chosen = self.selected()
            # Filled before anything looks at it: hundreds of rows would be sorted and laid out one after the other.
            self._model = _empty_model(len(wanted))
            for row, new in enumerate(wanted):
                self._show_case(row, *new)
            self._by_name.setSourceModel(self._model)
            self._select(chosen)
        self._shown = wanted

    def clear_filters(self) -> None:
        """Show the cases of every name and state."""
        self._search.text = ""
        self._states.currentIndex = 0

    def on_selected(self, callback: Callable[..., None]) -> None:
        """Have ``callback`` called whenever another case is selected, or none."""
        self._selection.connect("selectionChanged(QItemSelection,QItemSelection)", callback)

    def selected(self) -> list[str]:
        """Names of the selected cases, in the order of the table."""
        rows = sorted({index.row() for index in self._view.selectedIndexes()})
        return [self._name(row) for row in rows]

    def select(self, name: str) -> None:
        """Select this case alone, if the filters show it, and bring it into sight."""
        for row in range(self._by_state.rowCount()):
            if self._name(row) == name:
                self._view.selectRow(row)
                self._view.scrollTo(self._by_state.index(row, NAME))
                return

    def _select(self, names: Sequence[str]) -> None:
        wanted = set(names)
        for row in range(self._by_state.rowCount() if wanted else 0):
            if self._name(row) in wanted:
                flags = qt.QItemSelectionModel.Select | qt.QItemSelectionModel.Rows
                self._selection.select(self._by_state.index(row, NAME), flags)

    def neighbor(self, name: str | None, step: int) -> str | None:
        """The case that stands ``step`` rows below ``name`` as the table is sorted and filtered; None at the ends."""
        names = [self._name(row) for row in range(self._by_state.rowCount())]
        if name not in names:
            return names[0] if names else None
        row = names.index(name) + step
        return names[row] if 0 <= row < len(names) else None

    def _show_case(self, row: int, case: CaseInfo, rank: int) -> None:
        text = "" if case.confidence is None else f"{case.confidence:.2f}"
        self._cell(row, NAME, case.name, case.name)
        self._cell(row, STATE, state_words("in part" if case.partial else case.state), case.state)
        self._cell(row, CONFIDENCE, text, -1.0 if case.confidence is None else case.confidence)
        self._cell(row, RANK, str(rank), rank)
        self._color(row, case.confidence)

    def _cell(self, row: int, column: int, text: str, key: Any) -> None:
        item = self._model.item(row, column)
        if item is None:
            item = qt.QStandardItem()
            self._model.setItem(row, column, item)
        elif item.data(qt.Qt.UserRole) == key:
            return
        item.setText(text)
        item.setData(key, qt.Qt.UserRole)

    def _color(self, row: int, confidence: float | None) -> None:
        item = self._model.item(row, CONFIDENCE)
        if confidence is None or DOUBTFUL <= confidence < CONFIDENT:
            item.setData(None, qt.Qt.ForegroundRole)
        else:
            item.setForeground(qt.QBrush(qt.QColor("#b3402b" if confidence < DOUBTFUL else "#2e7d4f")))

    def _name(self, row: int) -> str:
        return str(self._by_state.index(row, NAME).data())

    def _on_state(self, index: int) -> None:
        key = self._states.itemData(index)
        self._by_state.setFilterFixedString(key or "")

    def _on_double_click(self, index: Any) -> None:
        self._on_open(self._name(index.row()))


def _empty_model(rows: int) -> Any:
    model = qt.QStandardItemModel(rows, 4)
    model.setHorizontalHeaderLabels([_("Case"), _("State"), _("Confidence"), _("Rank")])
    return model
