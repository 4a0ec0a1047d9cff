"""The host's window: the module's panel at the left, slice views and 3D view at the right."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Property, Signal

from Testing.host.contract import contract
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

        self._modules = application.moduleManager()
        self._selector = ModuleSelector(self)

    def show_module(self, name: str) -> Any:
        """Leaves the module that is open and opens another; the result is the parent of its widget."""
        module = self._modules.module(name)
        if module is None:
            raise contract().lacks(f"The host has not loaded a module {name}")
        before = self._panel.takeWidget()
        representation = module.widgetRepresentation()
        if before is not None and before is not representation:
            before.exit()
        self._panel.setWidget(representation)
        representation.show()
        representation.enter()
        return representation

    def shown_module(self) -> str:
        """Name of the module that is open."""
        representation = self._panel.widget()
        return str(representation.module_name) if representation is not None else ""

    def moduleSelector(self) -> ModuleSelector:
        """What `slicer.util.selectModule` opens modules with."""
        return self._selector


class ModuleSelector(QtWidgets.QToolBar):
    """qSlicerModuleSelectorToolBar: opens modules by name; it is never seen."""

    moduleSelected = Signal(str)

    def __init__(self, window: MainWindow) -> None:
        super().__init__(window)
        self._window = window
        self.hide()

    def selectModule(self, name: str) -> None:
        """Opens a module."""
        self._window.show_module(name)
        self.moduleSelected.emit(name)

    selectedModule = Property(str, lambda self: self._window.shown_module())


CLASSES = {"slicer.qSlicerMainWindow": MainWindow, "slicer.qSlicerModuleSelectorToolBar": ModuleSelector}
