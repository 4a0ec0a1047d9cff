"""File and folder choosers of CTK."""

from __future__ import annotations

import os
from typing import Any

from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Property, Signal

from Testing.host.widgets.common import stored_property


class PathLineEdit(QtWidgets.QWidget):
    """ctkPathLineEdit: a path to type or to choose, with a history kept in the settings."""

    currentPathChanged = Signal(str)
    validInputChanged = Signal(bool)
    label = stored_property(str, "label", "")
    filters = stored_property(int, "filters", 0x6007)
    options = stored_property(int, "options", 0)
    nameFilters = stored_property("QStringList", "nameFilters", [])
    settingKey = stored_property(str, "settingKey", "")
    showHistoryButton = stored_property(bool, "showHistoryButton", True)
    minimumContentsLength = stored_property(int, "minimumContentsLength", 0)
    sizeAdjustPolicy = stored_property(int, "sizeAdjustPolicy", 1)
    LONGEST_HISTORY = 5

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._combo = QtWidgets.QComboBox(self)
        self._combo.setEditable(True)
        self._browse = QtWidgets.QToolButton(self)
        self._browse.setText("...")
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._combo, 1)
        layout.addWidget(self._browse)
        self._browse.clicked.connect(self.browse)
        self._valid = False
        self._combo.editTextChanged.connect(self._changed)

    def _changed(self, path: str) -> None:
        valid = os.path.exists(path)
        if valid != self._valid:
            self._valid = valid
            self.validInputChanged.emit(valid)
        self.currentPathChanged.emit(path)

    def comboBox(self) -> QtWidgets.QComboBox:
        """The combo box that holds the path and the history."""
        return self._combo

    def setCurrentPath(self, path: str) -> None:
        """Sets the path."""
        if path != self._combo.currentText():
            self._combo.setEditText(path)

    def browse(self) -> None:
        """Opens the file dialog."""
        path = QtWidgets.QFileDialog.getOpenFileName(self, "Select a file", self._combo.currentText())[0]
        if path:
            self.setCurrentPath(path)

    def addCurrentPathToHistory(self) -> None:
        """Puts the path first in the history."""
        path = self._combo.currentText()
        if not path:
            return
        kept = [p for p in self._history() if p != path]
        if self.property("settingKey"):
            QtCore.QSettings().setValue(self.property("settingKey"), [path, *kept][: self.LONGEST_HISTORY])
        self.retrieveHistory()

    def retrieveHistory(self) -> None:
        """Fills the list from the settings; the newest path becomes the current one, as in CTK."""
        history = self._history()
        self._combo.blockSignals(True)
        self._combo.clear()
        self._combo.addItems(history)
        self._combo.blockSignals(False)
        if history:
            self._changed(history[0])

    def _history(self) -> list[str]:
        value = QtCore.QSettings().value(self.property("settingKey")) if self.property("settingKey") else None
        return [value] if isinstance(value, str) else list(value or [])

    currentPath = Property(str, lambda self: self._combo.currentText(), setCurrentPath)
    showBrowseButton = Property(
        bool, lambda self: not self._browse.isHidden(), lambda self, shown: self._browse.setVisible(shown)
    )


class DirectoryButton(QtWidgets.QWidget):
    """ctkDirectoryButton: a button that shows a folder and lets the user choose another."""

    directoryChanged = Signal(str)
    directorySelected = Signal(str)
    caption = stored_property(str, "caption", "")
    acceptMode = stored_property(int, "acceptMode", 0)

    def __init__(self, *arguments: Any) -> None:
        parents = [argument for argument in arguments if isinstance(argument, QtWidgets.QWidget)]
        super().__init__(*parents)
        self._directory = next((argument for argument in arguments if isinstance(argument, str)), os.getcwd())
        self._button = QtWidgets.QPushButton(self._directory, self)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._button)
        self._button.clicked.connect(self.browse)

    def _set_directory(self, directory: str) -> None:
        if directory != self._directory:
            self._directory = directory
            self._button.setText(directory)
            self.directoryChanged.emit(directory)

    def browse(self) -> None:
        """Opens the folder dialog."""
        directory = QtWidgets.QFileDialog.getExistingDirectory(self, self.property("caption"), self._directory)
        if directory:
            self._set_directory(directory)
            self.directorySelected.emit(directory)

    directory = Property(str, lambda self: self._directory, _set_directory)
    text = Property(str, lambda self: self._button.text(), lambda self, text: self._button.setText(text))


CLASSES = {"ctk.ctkPathLineEdit": PathLineEdit, "ctk.ctkDirectoryButton": DirectoryButton}
