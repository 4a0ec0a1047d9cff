"""Plain widgets of Slicer that carry a scene."""

from __future__ import annotations

from typing import Any

from PySide6 import QtGui, QtWidgets
from PySide6.QtCore import Property, Signal

from Testing.host.widgets.common import SceneObserver
from Testing.host.widgets.ctk_buttons import CollapsibleButton

SCENE_SIGNALS = {"mrmlSceneChanged(vtkMRMLScene*)": "mrmlSceneChanged(PyObject)"}


class MRMLWidget(QtWidgets.QWidget):
    """qMRMLWidget: a widget that hands its scene on to the widgets that listen to `mrmlSceneChanged`."""

    mrmlSceneChanged = Signal(object)
    SIGNALS = SCENE_SIGNALS

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._scene: Any = None

    def mrmlScene(self) -> Any:
        """The scene that was set."""
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        """Sets the scene and tells about it."""
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)


class SlicerWidget(MRMLWidget):
    """qSlicerWidget."""


class MRMLCollapsibleButton(CollapsibleButton):
    """qMRMLCollapsibleButton: a collapsible button that carries a scene."""

    mrmlSceneChanged = Signal(object)
    SIGNALS = SCENE_SIGNALS

    def setMRMLScene(self, scene: Any) -> None:
        """Tells about the scene."""
        self.mrmlSceneChanged.emit(scene)


class Show3DButton(QtWidgets.QPushButton):
    """qMRMLSegmentationShow3DButton: makes the closed surfaces of a segmentation and shows them in the 3D view."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__("Show 3D", *arguments)
        self.setCheckable(True)
        self._node: Any = None
        self._locked = False
        self._observer = SceneObserver(self)
        self.clicked.connect(self._apply)

    def segmentationNode(self) -> Any:
        """The segmentation that the button is for."""
        return self._node

    def setSegmentationNode(self, node: Any) -> None:
        """Sets the segmentation that the button is for."""
        self._observer.clear()
        self._node = node
        self.setEnabled(node is not None and not self._locked)
        self._observer.observe("node", node, ("ModifiedEvent",), self._update)
        self._update()

    def _update(self) -> None:
        shown = self._node is not None and self._node.GetSegmentation().ContainsRepresentation("Closed surface")
        self.setChecked(shown)

    def _apply(self, shown: bool) -> None:
        if self._node is None:
            return
        if shown:
            self._node.CreateClosedSurfaceRepresentation()
        else:
            self._node.RemoveClosedSurfaceRepresentation()

    def setLocked(self, locked: bool) -> None:
        """A locked button cannot be clicked."""
        self._locked = locked
        self.setEnabled(self._node is not None and not locked)

    locked = Property(bool, lambda self: self._locked, setLocked)


class ModulePanel(QtWidgets.QScrollArea):
    """qSlicerModulePanel: the column at the left that holds the widget of the current module."""

    mrmlSceneChanged = Signal(object)
    moduleAdded = Signal(str)
    moduleRemoved = Signal(str)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.setWidgetResizable(True)
        self.setFrameShape(QtWidgets.QFrame.Shape.NoFrame)

    def minimumSizeHint(self) -> Any:
        """Narrow columns are allowed: the user drags the border."""
        return QtGui.QGuiApplication.primaryScreen().availableSize() / 8


CLASSES = {
    "slicer.qMRMLWidget": MRMLWidget,
    "slicer.qSlicerWidget": SlicerWidget,
    "slicer.qMRMLCollapsibleButton": MRMLCollapsibleButton,
    "slicer.qMRMLSegmentationShow3DButton": Show3DButton,
    "slicer.qSlicerModulePanel": ModulePanel,
}
