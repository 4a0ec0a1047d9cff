"""The dialog for the segments of a project: one row a structure, with its color, name and terminology."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ctk
import qt

from .cases import SegmentInfo
from .i18n import _
from .terminology import ask_for_terminology, terminology_in_words

_COLORS = (
    (221, 132, 82),
    (85, 168, 104),
    (76, 114, 176),
    (196, 78, 82),
    (129, 114, 179),
    (147, 120, 96),
    (218, 139, 195),
    (204, 185, 116),
    (100, 181, 205),
)
_MOST, _LONGEST = 255, 64


def ask_for_segments(parent: Any = None) -> tuple[SegmentInfo, ...]:
    """Let the user name the structures of a new project; () when the dialog is cancelled."""
    dialog = SegmentsDialog((), parent=parent)
    return dialog.segments() if dialog.window.exec() else ()


def ask_for_changes(
    segments: Sequence[SegmentInfo], *, used: bool, parent: Any = None
) -> tuple[SegmentInfo, ...] | None:
    """Let the user change the segments of a project; None when the dialog is cancelled or nothing is different."""
    dialog = SegmentsDialog(segments, used=used, parent=parent)
    if not dialog.window.exec() or dialog.segments() == tuple(segments):
        return None
    return dialog.segments()


class SegmentsDialog:
    """What is wrong is said while it is typed, and OK works only when nothing is.

    segments  those of the project; none for a new one
    used      whether there are masks or a model already: then no segment comes or goes
    """

    def __init__(self, segments: Sequence[SegmentInfo], *, used: bool = False, parent: Any = None) -> None:
        self._used = used
        self.window = qt.QDialog(parent)
        self.window.setWindowTitle(_("Structures to segment"))
        self.window.minimumWidth = 460
        layout = qt.QVBoxLayout(self.window)
        hint = qt.QLabel(
            _(
                "The project has masks or a model: structures can be renamed, recolored and described, but none can be "
                "added or removed."
            )
            if used
            else _("One row for each structure. Masks belong to it by its name, so each has a name of its own.")
        )
        hint.setWordWrap(True)
        layout.addWidget(hint)
        self._area = qt.QWidget()
        self._rows_layout = qt.QVBoxLayout(self._area)
        self._rows_layout.addStretch(1)
        scroll = qt.QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setWidget(self._area)
        layout.addWidget(scroll)
        self.rows: list[SegmentRow] = []
        self.more_button = qt.QPushButton(_("Add a structure"))
        self.more_button.enabled = not used
        self.more_button.connect("clicked(bool)", self._on_more)
        layout.addWidget(self.more_button)
        self.problem = qt.QLabel("")
        self.problem.setWordWrap(True)
        layout.addWidget(self.problem)
        self.buttons = qt.QDialogButtonBox(qt.QDialogButtonBox.Ok | qt.QDialogButtonBox.Cancel)
        self.buttons.connect("accepted()", self.window.accept)
        self.buttons.connect("rejected()", self.window.reject)
        layout.addWidget(self.buttons)
        for segment in segments:
            self.add_row(segment)
        if not segments:
            self.add_row(SegmentInfo(1, _("Structure 1"), _COLORS[0]))
        self._check()

    def add_row(self, segment: SegmentInfo | None = None) -> SegmentRow:
        """Add a row, for a new structure if none is given."""
        if segment is None:
            taken = {row.value for row in self.rows}
            value = next(value for value in range(1, _MOST + 2) if value not in taken)
            used = {row.color() for row in self.rows}
            color = next((color for color in _COLORS if color not in used), _COLORS[len(self.rows) % len(_COLORS)])
            segment = SegmentInfo(value, "", color)
        row = SegmentRow(segment, self, removable=not self._used)
        self.rows.append(row)
        self._rows_layout.insertWidget(len(self.rows) - 1, row.widget)
        return row

    def remove_row(self, row: SegmentRow) -> None:
        """Take a row away."""
        self.rows.remove(row)
        self._rows_layout.removeWidget(row.widget)
        row.widget.hide()
        row.widget.deleteLater()
        self._check()

    def segments(self) -> tuple[SegmentInfo, ...]:
        """The segments as they are typed; an empty row is none."""
        return tuple(row.segment() for row in self.rows if row.name())

    def check(self) -> str:
        """What is wrong, in words, or ""."""
        names = [row.name() for row in self.rows if row.name()]
        if not names:
            return _("Name at least one structure.")
        if self._used and len(names) < len(self.rows):
            return _("Every structure needs a name.")
        if len(names) > _MOST:
            return _("A project can have {most} structures.").format(most=_MOST)
        folded = [name.casefold() for name in names]
        doubled = next((name for name in names if folded.count(name.casefold()) > 1), None)
        if doubled is not None:
            return _('"{name}" is there twice: give each structure a name of its own.').format(name=doubled)
        long = next((name for name in names if len(name) > _LONGEST), None)
        return "" if long is None else _('"{name}..." is too long.').format(name=long[:20])

    def _check(self) -> None:
        problem = self.check()
        self.problem.text = problem
        self.buttons.button(qt.QDialogButtonBox.Ok).setEnabled(not problem)
        self.more_button.enabled = not self._used and len(self.rows) < _MOST

    def _on_more(self, checked: bool = False) -> None:
        self.add_row().name_edit.setFocus()
        self._check()


class SegmentRow:
    """Color, name, terminology, and a button that removes the row."""

    def __init__(self, segment: SegmentInfo, dialog: SegmentsDialog, *, removable: bool) -> None:
        self.value = segment.value
        self._dialog = dialog
        self._terminology = segment.terminology
        self.widget = qt.QWidget()
        layout = qt.QHBoxLayout(self.widget)
        layout.setContentsMargins(0, 0, 0, 0)
        self.color_button = ctk.ctkColorPickerButton()
        self.color_button.displayColorName = False
        self.color_button.color = qt.QColor(*segment.color)
        self.color_button.toolTip = _("The color of the structure")
        layout.addWidget(self.color_button)
        self.name_edit = qt.QLineEdit(segment.name)
        self.name_edit.setPlaceholderText(_("Name"))
        self.name_edit.setAccessibleName(_("Name of the structure"))
        self.name_edit.connect("textChanged(QString)", self._on_changed)
        layout.addWidget(self.name_edit, 1)
        self.terminology_button = qt.QPushButton("")
        self.terminology_button.connect("clicked(bool)", self._on_terminology)
        layout.addWidget(self.terminology_button)
        self.remove_button = qt.QPushButton(_("Remove"))
        self.remove_button.visible = removable
        self.remove_button.connect("clicked(bool)", self._on_remove)
        layout.addWidget(self.remove_button)
        self._show_terminology()

    def name(self) -> str:
        """The name without spaces around it."""
        return str(self.name_edit.text).strip()

    def color(self) -> tuple[int, int, int]:
        """Red, green, blue, 0 to 255."""
        color = self.color_button.color
        return int(color.red()), int(color.green()), int(color.blue())

    def segment(self) -> SegmentInfo:
        """The segment as it is typed."""
        return SegmentInfo(self.value, self.name(), self.color(), self._terminology)

    def describe(self, terminology: str, color: tuple[int, int, int] | None = None) -> None:
        """Say what it is in standard codes; a structure without a name gets that of the code."""
        self._terminology = terminology
        if not self.name():
            self.name_edit.text = terminology_in_words(terminology)
        if color is not None:
            self.color_button.color = qt.QColor(*color)
        self._show_terminology()

    def _show_terminology(self) -> None:
        words = terminology_in_words(self._terminology)
        self.terminology_button.text = words or _("Terminology...")
        self.terminology_button.toolTip = _(
            "What the structure is in standard codes (such as SNOMED CT), for the export as DICOM segmentation"
        )

    def _on_changed(self, text: str = "") -> None:
        self._dialog._check()

    def _on_terminology(self, checked: bool = False) -> None:
        chosen = ask_for_terminology(self._terminology, self.terminology_button)
        if chosen is not None:
            self.describe(*chosen)

    def _on_remove(self, checked: bool = False) -> None:
        self._dialog.remove_row(self)
