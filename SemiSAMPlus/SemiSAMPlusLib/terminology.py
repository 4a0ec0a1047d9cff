"""What a segment is in standard codes: Slicer's own widget for choosing, Slicer's own text form for keeping."""

from __future__ import annotations

from typing import Any

import qt
import slicer

from .i18n import _


def terminology_in_words(serialized: str) -> str:
    """The meaning of the type of a terminology entry, such as "Liver"; "" for none and for one that cannot be read."""
    entry = _entry(serialized)
    type_object = None if entry is None else entry.GetTypeObject()
    return "" if type_object is None else str(type_object.GetCodeMeaning() or "")


def ask_for_terminology(serialized: str, parent: Any = None) -> tuple[str, tuple[int, int, int] | None] | None:
    """Let the user choose with Slicer's terminology navigator: (serialized entry, recommended color or None).

    None when the dialog is cancelled.
    """
    dialog = TerminologyDialog(serialized, parent)
    return dialog.chosen() if dialog.window.exec() else None


class TerminologyDialog:
    """Slicer's navigator with OK and Cancel."""

    def __init__(self, serialized: str, parent: Any = None) -> None:
        self.window = qt.QDialog(parent)
        self.window.setWindowTitle(_("Terminology of the structure"))
        layout = qt.QVBoxLayout(self.window)
        self.navigator = slicer.qSlicerTerminologyNavigatorWidget()
        self.navigator.setMRMLScene(slicer.mrmlScene)
        self.navigator.overrideSectionVisible = False
        entry = _entry(serialized)
        if entry is not None:
            self.navigator.setTerminologyEntry(entry)
        layout.addWidget(self.navigator)
        buttons = qt.QDialogButtonBox(qt.QDialogButtonBox.Ok | qt.QDialogButtonBox.Cancel)
        buttons.connect("accepted()", self.window.accept)
        buttons.connect("rejected()", self.window.reject)
        layout.addWidget(buttons)

    def chosen(self) -> tuple[str, tuple[int, int, int] | None] | None:
        """(serialized entry, recommended color or None), or None where nothing is chosen."""
        entry = slicer.vtkSlicerTerminologyEntry()
        if not self.navigator.terminologyEntry(entry):
            return None
        color = self.navigator.recommendedColorFromTerminology(entry)
        channels = None
        if color is not None and color.isValid():
            channels = (int(color.red()), int(color.green()), int(color.blue()))
        return str(slicer.modules.terminologies.logic().SerializeTerminologyEntry(entry)), channels


def _entry(serialized: str) -> Any:
    if not serialized:
        return None
    entry = slicer.vtkSlicerTerminologyEntry()
    read = slicer.modules.terminologies.logic().DeserializeTerminologyEntry(serialized, entry)
    return entry if read else None
