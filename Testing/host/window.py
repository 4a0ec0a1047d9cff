"""The host's window: the module's panel at the left, slice views and 3D view at the right."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtWidgets

from Testing.host.widgets.mrml_basic import ModulePanel

PANEL_WIDTH = 390
WINDOW_SIZE = (1500, 950)


class MainWindow(QtWidgets.QMainWindow):
    """qSlicerMainWindow, as far as the host has one: no menus and no toolbars of Slicer."""

    def __init__(self, application: Any) -> None:
        super().__init__()
        self.setWindowTitle("Test host (not 3D Slicer)")
        self.setObjectName("qSlicerMainWindow")
        self.resize(*WINDOW_SIZE)
        splitter = QtWidgets.QSplitter(QtCore.Qt.Orientation.Horizontal)
        self._panel = ModulePanel()
        self._panel.setMinimumWidth(PANEL_WIDTH)
        splitter.addWidget(self._panel)
        splitter.addWidget(application.layoutManager().viewport())
        splitter.setSizes([PANEL_WIDTH, WINDOW_SIZE[0] - PANEL_WIDTH])
        splitter.setStretchFactor(1, 1)
        self.setCentralWidget(splitter)
        self.statusBar()

    def show_module(self, representation: QtWidgets.QWidget) -> None:
        """Puts a module's panel into the column at the left."""
        self._panel.setWidget(representation)

    def moduleSelector(self) -> None:
        """The host opens modules by `Host.open_module`, not by a selector."""
        return None


CLASSES = {"slicer.qSlicerMainWindow": MainWindow}
