"""A widget that shows what VTK rendered offscreen and hands mouse and keys to VTK's interactor.

Rendering into an image works with any OpenGL that VTK finds (EGL, OSMesa, X) and needs no OpenGL in Qt, so views work
under Xvfb and without any display.
"""

from __future__ import annotations

from typing import Any

import vtk
from PySide6 import QtCore, QtGui, QtWidgets
from vtk.util.numpy_support import vtk_to_numpy

RENDER_DELAY_MS = 15


class RenderPause:
    """Counts who asked for rendering to pause; shared by all views, as `slicer.app.pauseRender` is."""

    depth = 0


class RenderView(QtWidgets.QWidget):
    """Base of slice and 3D views."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._window = vtk.vtkRenderWindow()
        self._window.SetOffScreenRendering(1)
        self._window.SetMultiSamples(0)
        self._renderer = vtk.vtkRenderer()
        self._window.AddRenderer(self._renderer)
        self._interactor = vtk.vtkGenericRenderWindowInteractor()
        self._interactor.SetRenderWindow(self._window)
        self._interactor.SetEnableRender(False)
        # VTK's own style would take the events before Slicer's displayable managers see them.
        self._interactor.SetInteractorStyle(vtk.vtkInteractorStyleUser())
        self._image = QtGui.QImage()
        self._timer = QtCore.QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(RENDER_DELAY_MS)
        self._timer.timeout.connect(self.forceRender)
        self.setMouseTracking(True)
        self.setFocusPolicy(QtCore.Qt.FocusPolicy.StrongFocus)
        self.setMinimumSize(60, 60)

    def renderWindow(self) -> Any:
        """The render window."""
        return self._window

    def interactor(self) -> Any:
        """What turns mouse events into VTK's events."""
        return self._interactor

    def scheduleRender(self) -> None:
        """Renders soon; several requests become one."""
        if not self._timer.isActive():
            self._timer.start()

    def forceRender(self) -> None:
        """Renders now, unless rendering is paused or nobody can see it."""
        if RenderPause.depth or not self.isVisible():
            return
        self.prepare()
        self._window.Render()
        self._image = grab(self._window)
        self.update()

    def prepare(self) -> None:
        """Called before each rendering."""

    def resizeEvent(self, event: QtGui.QResizeEvent) -> None:
        """The render window follows the widget."""
        self._window.SetSize(max(self.width(), 1), max(self.height(), 1))
        self._interactor.UpdateSize(max(self.width(), 1), max(self.height(), 1))
        self.resized_to(self.width(), self.height())
        self.scheduleRender()

    def resized_to(self, width: int, height: int) -> None:
        """Called with the new size."""

    def showEvent(self, event: QtGui.QShowEvent) -> None:
        """A view that becomes visible shows something."""
        self.scheduleRender()

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        """Shows the last image."""
        painter = QtGui.QPainter(self)
        painter.fillRect(self.rect(), QtCore.Qt.GlobalColor.black)
        if not self._image.isNull():
            painter.drawImage(0, 0, self._image)

    # Mouse and keys
    def _tell(self, event: Any, key: str = "") -> None:
        modifiers = event.modifiers()
        position = event.position().toPoint() if hasattr(event, "position") else QtCore.QPoint(0, 0)
        self._interactor.SetEventInformationFlipY(
            position.x(),
            position.y(),
            int(bool(modifiers & QtCore.Qt.KeyboardModifier.ControlModifier)),
            int(bool(modifiers & QtCore.Qt.KeyboardModifier.ShiftModifier)),
            key[:1] or "\0",
            0,
            key or None,
        )

    def _button(self, event: QtGui.QMouseEvent, what: str) -> None:
        names = {
            QtCore.Qt.MouseButton.LeftButton: "Left",
            QtCore.Qt.MouseButton.MiddleButton: "Middle",
            QtCore.Qt.MouseButton.RightButton: "Right",
        }
        self._tell(event)
        name = names.get(event.button())
        if name is not None:
            self._interactor.InvokeEvent(f"{name}Button{what}Event")
        self.scheduleRender()

    def mousePressEvent(self, event: QtGui.QMouseEvent) -> None:
        """Hands the press on."""
        self._button(event, "Press")

    def mouseReleaseEvent(self, event: QtGui.QMouseEvent) -> None:
        """Hands the release on."""
        self._button(event, "Release")

    def mouseMoveEvent(self, event: QtGui.QMouseEvent) -> None:
        """Hands the movement on."""
        self._tell(event)
        self._interactor.InvokeEvent("MouseMoveEvent")
        self.scheduleRender()

    def wheelEvent(self, event: QtGui.QWheelEvent) -> None:
        """Hands the turn of the wheel on."""
        self._tell(event)
        forward = event.angleDelta().y() > 0
        self._interactor.InvokeEvent("MouseWheelForwardEvent" if forward else "MouseWheelBackwardEvent")
        self.scheduleRender()

    def enterEvent(self, event: QtGui.QEnterEvent) -> None:
        """Tells VTK that the mouse is here."""
        self._interactor.InvokeEvent("EnterEvent")

    def leaveEvent(self, event: QtCore.QEvent) -> None:
        """Tells VTK that the mouse is gone."""
        self._interactor.InvokeEvent("LeaveEvent")

    def keyPressEvent(self, event: QtGui.QKeyEvent) -> None:
        """Hands the key on."""
        self._tell(event, QtGui.QKeySequence(event.key()).toString())
        self._interactor.InvokeEvent("KeyPressEvent")
        self._interactor.InvokeEvent("CharEvent")


def grab(window: Any) -> QtGui.QImage:
    """The picture in a render window."""
    to_image = vtk.vtkWindowToImageFilter()
    to_image.SetInput(window)
    to_image.SetInputBufferTypeToRGB()
    to_image.ReadFrontBufferOff()
    to_image.ShouldRerenderOff()
    to_image.Update()
    output = to_image.GetOutput()
    width, height, _ = output.GetDimensions()
    pixels = vtk_to_numpy(output.GetPointData().GetScalars()).reshape(height, width, 3)[::-1].copy()
    return QtGui.QImage(pixels.data, width, height, 3 * width, QtGui.QImage.Format.Format_RGB888).copy()
