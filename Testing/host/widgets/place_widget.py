"""qSlicerMarkupsPlaceWidget: switches the placing of points of one markups node on and off."""

from __future__ import annotations

from typing import Any

from PySide6 import QtGui, QtWidgets
from PySide6.QtCore import Property, Signal

from Testing.host.widgets.common import SceneObserver, stored_property
from Testing.host.widgets.mrml_basic import SCENE_SIGNALS


class MarkupsPlaceWidget(QtWidgets.QWidget):
    """A button that starts placing points; its state is that of the scene's interaction node."""

    mrmlSceneChanged = Signal(object)
    activeMarkupsPlaceModeChanged = Signal(bool)
    activeMarkupsFiducialPlaceModeChanged = Signal(bool)
    SIGNALS = SCENE_SIGNALS
    ShowPlaceMultipleMarkupsOption, HidePlaceMultipleMarkupsOption = 0, 1
    ForcePlaceSingleMarkup, ForcePlaceMultipleMarkups = 2, 3
    placeMultipleMarkups = stored_property(int, "placeMultipleMarkups", 0)
    deleteAllControlPointsOptionVisible = stored_property(bool, "deleteAllControlPointsOptionVisible", True)
    deleteAllMarkupsOptionVisible = stored_property(bool, "deleteAllMarkupsOptionVisible", True)
    unsetAllControlPointsOptionVisible = stored_property(bool, "unsetAllControlPointsOptionVisible", True)
    unsetLastControlPointOptionVisible = stored_property(bool, "unsetLastControlPointOptionVisible", True)
    defaultNodeColor = stored_property(QtGui.QColor, "defaultNodeColor", QtGui.QColor(0, 0, 255))

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._scene: Any = None
        self._node: Any = None
        self._reported = False
        self._observer = SceneObserver(self)
        self._place, self._delete = QtWidgets.QToolButton(self), QtWidgets.QToolButton(self)
        self._place.setText("Place")
        self._place.setCheckable(True)
        self._delete.setText("Delete")
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._place)
        layout.addWidget(self._delete)
        self._place.clicked.connect(self.setPlaceModeEnabled)
        self._delete.clicked.connect(self.deleteLastPoint)
        self._update()

    def setMRMLScene(self, scene: Any) -> None:
        """Sets the scene whose interaction node is switched."""
        self._observer.clear()
        self._scene = scene
        if scene is not None:
            for node in (self.interactionNode(), self.selectionNode()):
                self._observer.observe("scene", node, ("ModifiedEvent",), self._update)
            self._observer.observe("scene", scene, (scene.NodeRemovedEvent,), self._forget_removed)
        self.mrmlSceneChanged.emit(scene)
        self._update()

    def _forget_removed(self) -> None:
        if self._node is not None and self._node.GetScene() is None:
            self.setCurrentNode(None)

    def interactionNode(self) -> Any:
        """The node that says whether the mouse places points or moves the view."""
        return self._scene.GetNodeByID("vtkMRMLInteractionNodeSingleton") if self._scene is not None else None

    def selectionNode(self) -> Any:
        """The node that says of which node points are placed."""
        return self._scene.GetNodeByID("vtkMRMLSelectionNodeSingleton") if self._scene is not None else None

    def currentNode(self) -> Any:
        """The markups node that the widget is for."""
        return self._node

    currentMarkupsNode = currentNode
    currentMarkupsFiducialNode = currentNode

    def setCurrentNode(self, node: Any) -> None:
        """Sets the markups node that the widget is for; placing in the previous one ends."""
        if node is self._node:
            return
        if self._enabled():
            self.setPlaceModeEnabled(False)
        self._node = node
        self._update()

    def _active(self) -> bool:
        selection = self.selectionNode()
        return (
            self._node is not None
            and selection is not None
            and self._node.GetID() is not None
            and selection.GetActivePlaceNodeID() == self._node.GetID()
        )

    def setCurrentNodeActive(self, active: bool) -> None:
        """Makes this node the one that points are placed in."""
        selection = self.selectionNode()
        if selection is None or self._node is None:
            return
        if active:
            selection.SetReferenceActivePlaceNodeClassName(self._node.GetClassName())
            selection.SetActivePlaceNodeID(self._node.GetID())
        elif self._active():
            selection.SetActivePlaceNodeID(None)

    def _enabled(self) -> bool:
        interaction = self.interactionNode()
        placing = interaction is not None and interaction.GetCurrentInteractionMode() == interaction.Place
        return bool(placing and self._active())

    def setPlaceModeEnabled(self, placing: bool) -> None:
        """Starts or ends the placing of points in the current node."""
        interaction = self.interactionNode()
        if interaction is None or self._node is None:
            return
        if placing:
            self.setCurrentNodeActive(True)
            persistent = self.property("placeMultipleMarkups") == self.ForcePlaceMultipleMarkups
            if persistent:
                interaction.SetPlaceModePersistence(1)
            interaction.SwitchToSinglePlaceMode() if not persistent else interaction.SwitchToPersistentPlaceMode()
        elif self._enabled():
            interaction.SwitchToViewTransformMode()
        self._update()

    def _persistent(self) -> bool:
        interaction = self.interactionNode()
        return bool(interaction is not None and interaction.GetPlaceModePersistence())

    def setPlaceModePersistency(self, persistent: bool) -> None:
        """Whether placing goes on after one point."""
        if self.interactionNode() is not None:
            self.interactionNode().SetPlaceModePersistence(int(persistent))

    def _update(self) -> None:
        enabled = self._enabled()
        self._place.setEnabled(self._node is not None)
        self._delete.setEnabled(self._node is not None)
        self._place.setChecked(enabled)
        if enabled != self._reported:
            self._reported = enabled
            self.activeMarkupsPlaceModeChanged.emit(enabled)
            self.activeMarkupsFiducialPlaceModeChanged.emit(enabled)

    def deleteLastPoint(self) -> None:
        """Removes the point that was placed last."""
        if self._node is not None and self._node.GetNumberOfControlPoints():
            self._node.RemoveNthControlPoint(self._node.GetNumberOfControlPoints() - 1)

    def deleteAllPoints(self) -> None:
        """Removes all points."""
        if self._node is not None:
            self._node.RemoveAllControlPoints()

    def placeButton(self) -> QtWidgets.QToolButton:
        """The button that starts placing."""
        return self._place

    def deleteButton(self) -> QtWidgets.QToolButton:
        """The button that deletes points."""
        return self._delete

    def setButtonsVisible(self, visible: bool) -> None:
        """Shows or hides the buttons."""
        self._place.setVisible(visible)
        self._delete.setVisible(visible)

    def _color(self) -> QtGui.QColor:
        display = self._node.GetDisplayNode() if self._node is not None else None
        return QtGui.QColor.fromRgbF(*display.GetSelectedColor()) if display is not None else QtGui.QColor()

    def setNodeColor(self, color: QtGui.QColor) -> None:
        """Sets the color of the points."""
        display = self._node.GetDisplayNode() if self._node is not None else None
        if display is not None:
            display.SetSelectedColor(color.redF(), color.greenF(), color.blueF())

    placeModeEnabled = Property(bool, _enabled, setPlaceModeEnabled)
    placeModePersistency = Property(bool, _persistent, setPlaceModePersistency)
    currentNodeActive = Property(bool, _active, setCurrentNodeActive)
    buttonsVisible = Property(bool, lambda self: not self._place.isHidden(), setButtonsVisible)
    nodeColor = Property(QtGui.QColor, _color, setNodeColor)


CLASSES = {"slicer.qSlicerMarkupsPlaceWidget": MarkupsPlaceWidget}
