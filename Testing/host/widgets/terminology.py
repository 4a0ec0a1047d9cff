"""The terminology navigator: holds an entry; the lists to choose from need files that slicer-core does not carry."""

from __future__ import annotations

from typing import Any

import slicer
from PySide6 import QtGui, QtWidgets

from Testing.host.widgets.common import stored_property
from Testing.host.widgets.mrml_basic import MRMLWidget


class TerminologyNavigatorWidget(MRMLWidget):
    """qSlicerTerminologyNavigatorWidget: shows the type of the entry that was set."""

    overrideSectionVisible = stored_property(bool, "overrideSectionVisible", True)
    regionSectionVisible = stored_property(bool, "regionSectionVisible", True)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._entry: Any = None
        self._label = QtWidgets.QLabel("No terminologies in the host")
        QtWidgets.QVBoxLayout(self).addWidget(self._label)

    def setTerminologyEntry(self, entry: Any) -> bool:
        """Chooses an entry."""
        self._entry = slicer.vtkSlicerTerminologyEntry()
        self._entry.Copy(entry)
        self._label.setText(str(entry.GetTypeObject().GetCodeMeaning()))
        return True

    def terminologyEntry(self, entry: Any) -> bool:
        """Fills an entry with the one that is chosen; False when none is."""
        if self._entry is not None:
            entry.Copy(self._entry)
        return self._entry is not None

    def recommendedColorFromTerminology(self, entry: Any) -> QtGui.QColor:
        """The color that the type recommends."""
        red, green, blue = entry.GetTypeObject().GetRecommendedDisplayRGBValue()
        return QtGui.QColor(red, green, blue)


CLASSES = {"slicer.qSlicerTerminologyNavigatorWidget": TerminologyNavigatorWidget}
