"""Slice and 3D views: Slicer's own displayable managers, rendered offscreen."""

from __future__ import annotations

from typing import Any

import slicer
import vtk
from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property, Signal

from Testing.host.widgets.common import SceneObserver
from Testing.host.widgets.mrml_basic import SCENE_SIGNALS
from Testing.host.widgets.render_view import RenderView

SLICE_MANAGERS = (
    "vtkMRMLVolumeGlyphSliceDisplayableManager",
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLCrosshairDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
)
THREE_D_MANAGERS = (
    "vtkMRMLCameraDisplayableManager",
    "vtkMRMLViewDisplayableManager",
    "vtkMRMLModelDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager3D",
    "vtkMRMLMarkupsDisplayableManager",
)


def manager_group(factory: Any, names: tuple[str, ...], renderer: Any, application_logic: Any) -> Any:
    """The displayable managers of one view, of those that this build of Slicer's core has."""
    factory.SetMRMLApplicationLogic(application_logic)
    for name in names:
        if not factory.IsDisplayableManagerRegistered(name) and hasattr(slicer, name):
            factory.RegisterDisplayableManager(name)
    group = slicer.vtkMRMLDisplayableManagerGroup()
    group.Initialize(factory, renderer)
    return group


class SliceView(RenderView):
    """qMRMLSliceView: one slice of the volumes, with segmentations and markups over it."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._node: Any = None
        self._group: Any = None
        self._observer = SceneObserver(self)
        self._style = slicer.vtkMRMLSliceViewInteractorStyle()
        self._mapper = vtk.vtkImageMapper()
        self._mapper.SetColorWindow(255)
        self._mapper.SetColorLevel(127.5)
        self._picture = vtk.vtkActor2D()
        self._picture.SetMapper(self._mapper)
        self._picture.GetProperty().SetDisplayLocationToBackground()

    def set_up(self, node: Any, logic: Any, application_logic: Any) -> None:
        """Shows a slice node with its logic."""
        self._node, self._logic = node, logic
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        self._renderer.AddViewProp(self._picture)
        self._renderer.GetActiveCamera().ParallelProjectionOn()
        self._style.SetSliceLogic(logic)
        self._style.SetInteractor(self._interactor)
        self._group = manager_group(factory, SLICE_MANAGERS, self._renderer, application_logic)
        self._group.SetMRMLDisplayableNode(node)
        self._style.SetDisplayableManagers(self._group)
        self._observer.observe("render", self._group, ("UpdateEvent",), self.scheduleRender)
        self._observer.observe("render", logic, ("ModifiedEvent",), self.scheduleRender)
        self._observer.observe("render", node, ("ModifiedEvent",), self.scheduleRender)

    def mrmlSliceNode(self) -> Any:
        """The slice node."""
        return self._node

    def interactorStyle(self) -> Any:
        """What turns mouse events into changes of the slice."""
        return self._style

    sliceViewInteractorStyle = interactorObserver = interactorStyle

    def getDisplayableManagers(self) -> Any:
        """The managers that draw."""
        found = vtk.vtkCollection()
        for index in range(self._group.GetDisplayableManagerCount()):
            found.AddItem(self._group.GetNthDisplayableManager(index))
        return found

    def displayableManagerByClassName(self, name: str) -> Any:
        """One manager."""
        return self._group.GetDisplayableManagerByClassName(name)

    def convertDeviceToXYZ(self, position: list[int]) -> list[float]:
        """Position in the slice of a pixel of the widget, as Slicer counts it (y from below)."""
        return [float(position[0]), float(self.height() - 1 - position[1]), 0.0]

    def convertXYZToRAS(self, xyz: list[float]) -> list[float]:
        """Patient coordinates of a position in the slice."""
        return list(self._node.GetXYToRAS().MultiplyPoint([*xyz, 1.0])[:3])

    def convertRASToXYZ(self, ras: list[float]) -> list[float]:
        """Position in the slice of patient coordinates."""
        inverse = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(self._node.GetXYToRAS(), inverse)
        return list(inverse.MultiplyPoint([*ras, 1.0])[:3])

    def resized_to(self, width: int, height: int) -> None:
        """The slice node knows the size of its view."""
        if self._node is not None:
            self._logic.ResizeSliceNode(width, height)

    def prepare(self) -> None:
        """Takes the newest image of the slice."""
        connection = self._logic.GetImageDataConnection() if self._node is not None else None
        self._picture.SetVisibility(connection is not None)
        if connection is not None:
            self._mapper.SetInputConnection(connection)


class ThreeDView(RenderView):
    """qMRMLThreeDView: surfaces and markups in space."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._node: Any = None
        self._observer = SceneObserver(self)
        self._style = slicer.vtkMRMLThreeDViewInteractorStyle()
        self._renderer.SetBackground(0.45, 0.45, 0.72)
        self._renderer.SetBackground2(0.75, 0.76, 0.91)
        self._renderer.GradientBackgroundOn()

    def set_up(self, node: Any, application_logic: Any) -> None:
        """Shows a view node."""
        self._node = node
        factory = slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance()
        self._style.SetInteractor(self._interactor)
        self._group = manager_group(factory, THREE_D_MANAGERS, self._renderer, application_logic)
        self._group.SetMRMLDisplayableNode(node)
        self._style.SetDisplayableManagers(self._group)
        self._observer.observe("render", self._group, ("UpdateEvent",), self.scheduleRender)

    def mrmlViewNode(self) -> Any:
        """The view node."""
        return self._node

    def interactorStyle(self) -> Any:
        """What turns mouse events into movements of the camera."""
        return self._style

    def resetFocalPoint(self) -> None:
        """Looks at the middle of everything visible."""
        self._renderer.ResetCamera()
        self.scheduleRender()

    resetCamera = resetFocalPoint


class SliceWidget(QtWidgets.QWidget):
    """qMRMLSliceWidget: a colored bar with a slider, and the slice view below it."""

    mrmlSceneChanged = Signal(object)
    SIGNALS = SCENE_SIGNALS

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._view = SliceView(self)
        self._bar = QtWidgets.QLabel(self)
        self._slider = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal, self)
        self._observer = SceneObserver(self)
        bar = QtWidgets.QWidget(self)
        bar.setFixedHeight(26)
        row = QtWidgets.QHBoxLayout(bar)
        row.setContentsMargins(6, 0, 6, 0)
        row.addWidget(self._bar)
        row.addWidget(self._slider, 1)
        self._row = bar
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(bar)
        layout.addWidget(self._view, 1)
        self._slider.valueChanged.connect(self._moved)

    def set_up(self, scene: Any, node: Any, logic: Any, application_logic: Any) -> None:
        """Shows a slice node with its logic."""
        self._scene, self._node, self._logic = scene, node, logic
        self._view.set_up(node, logic, application_logic)
        color = ", ".join(str(round(255 * part)) for part in node.GetLayoutColor())
        self._row.setStyleSheet(f"background: rgb({color})")
        self._observer.observe("node", node, ("ModifiedEvent",), self._show_offset)
        self._show_offset()

    def _bounds(self) -> tuple[float, float]:
        bounds = [0.0] * 6
        self._logic.GetLowestVolumeSliceBounds(bounds)
        return bounds[4], bounds[5]

    def _moved(self, position: int) -> None:
        low, high = self._bounds()
        self._logic.SetSliceOffset(low + position / 1000 * (high - low))

    def _show_offset(self) -> None:
        low, high = self._bounds()
        offset = self._logic.GetSliceOffset()
        self._slider.blockSignals(True)
        self._slider.setRange(0, 1000)
        self._slider.setValue(round((offset - low) / (high - low) * 1000) if high > low else 0)
        self._slider.blockSignals(False)
        self._bar.setText(f"{self._node.GetLayoutLabel()}  {offset:.1f} mm")

    def mrmlScene(self) -> Any:
        """The scene."""
        return self._scene

    def sliceView(self) -> SliceView:
        """The view itself."""
        return self._view

    viewWidget = sliceView

    def sliceLogic(self) -> Any:
        """The logic that makes the image of the slice."""
        return self._logic

    logic = sliceLogic

    def mrmlSliceNode(self) -> Any:
        """The slice node."""
        return self._node

    mrmlAbstractViewNode = mrmlSliceNode

    def mrmlSliceCompositeNode(self) -> Any:
        """The node that names the volumes to show."""
        return self._logic.GetSliceCompositeNode()

    def fitSliceToBackground(self) -> None:
        """Shows all of the slice."""
        self._logic.FitSliceToBackground()

    sliceViewName = Property(str, lambda self: self._node.GetLayoutName())
    sliceViewLabel = Property(str, lambda self: self._node.GetLayoutLabel())
    sliceOrientation = Property(
        str, lambda self: self._node.GetOrientation(), lambda self, name: self._node.SetOrientation(name)
    )
    sliceViewColor = Property(QtGui.QColor, lambda self: QtGui.QColor.fromRgbF(*self._node.GetLayoutColor()))


class ThreeDWidget(QtWidgets.QWidget):
    """qMRMLThreeDWidget: the 3D view with its bar."""

    mrmlSceneChanged = Signal(object)
    SIGNALS = SCENE_SIGNALS

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._view = ThreeDView(self)
        bar = QtWidgets.QLabel("  1", self)
        bar.setFixedHeight(26)
        bar.setStyleSheet("background: rgb(126, 137, 214)")
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(bar)
        layout.addWidget(self._view, 1)

    def set_up(self, scene: Any, node: Any, application_logic: Any) -> None:
        """Shows a view node."""
        self._scene, self._node = scene, node
        self._view.set_up(node, application_logic)

    def mrmlScene(self) -> Any:
        """The scene."""
        return self._scene

    def mrmlViewNode(self) -> Any:
        """The view node."""
        return self._node

    mrmlAbstractViewNode = mrmlViewNode

    def threeDView(self) -> ThreeDView:
        """The view itself."""
        return self._view

    viewWidget = threeDView


CLASSES = {
    "slicer.qMRMLSliceView": SliceView,
    "slicer.qMRMLThreeDView": ThreeDView,
    "slicer.qMRMLSliceWidget": SliceWidget,
    "slicer.qMRMLThreeDWidget": ThreeDWidget,
}
