"""`slicer.app.layoutManager()`: three slice views, a 3D view and a plot view, always in the four-up arrangement.

The layout's number is kept and told; of the arrangements only "with a plot" and "without" look different.
"""

from __future__ import annotations

from typing import Any

import slicer
import vtk
from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Property, Signal

from Testing.host.widgets.mrml_views import SliceWidget, ThreeDWidget
from Testing.host.widgets.plots import PlotWidget
from Testing.host.widgets.render_view import RenderPause, RenderView

SLICES = (
    ("Red", "R", "Axial", (0.95, 0.29, 0.2)),
    ("Green", "G", "Coronal", (0.43, 0.69, 0.29)),
    ("Yellow", "Y", "Sagittal", (0.93, 0.84, 0.3)),
)


class LayoutManager(QtCore.QObject):
    """qSlicerLayoutManager."""

    layoutChanged = Signal(int)
    nodeAboutToBeEdited = Signal(object)
    selectModule = Signal(str)

    def __init__(self, scene: Any, application_logic: Any) -> None:
        super().__init__()
        self._scene, self._application_logic = scene, application_logic
        self._slices: dict[str, SliceWidget] = {}
        self._logics = vtk.vtkCollection()
        self._layout_logic = slicer.vtkMRMLLayoutLogic()
        self._layout_logic.SetMRMLScene(scene)
        self.layout_node = scene.GetSingletonNode("vtkMRMLLayoutNode", "vtkMRMLLayoutNode") or scene.AddNode(
            slicer.vtkMRMLLayoutNode()
        )
        # The displayable managers ask for the logic of their slice when they are made.
        application_logic.SetSliceLogics(self._logics)
        for name, label, orientation, color in SLICES:
            self._add_slice(name, label, orientation, color)
        view_node = scene.GetSingletonNode("1", "vtkMRMLViewNode")
        if view_node is None:
            view_node = slicer.vtkMRMLViewNode()
            view_node.SetSingletonTag("1")
            view_node.SetLayoutName("1")
            view_node.SetName("View1")
            view_node = scene.AddNode(view_node)
        self._three_d = ThreeDWidget()
        self._three_d.set_up(scene, view_node, application_logic)
        self._plot_node = self._make_plot_node()
        self._plot = PlotWidget()
        self._plot.setMRMLScene(scene)
        self._plot.setMRMLPlotViewNode(self._plot_node)
        self._viewport = self._arrange()
        self.layout_node.AddObserver("ModifiedEvent", lambda *_: self._layout_modified())
        self._last_layout = self._layout()

    def _add_slice(self, name: str, label: str, orientation: str, color: tuple[float, float, float]) -> None:
        node = self._scene.GetSingletonNode(name, "vtkMRMLSliceNode")
        if node is None:
            node = slicer.vtkMRMLSliceNode()
            node.SetSingletonTag(name)
            node.SetLayoutName(name)
            node.SetName(name)
            node.SetLayoutLabel(label)
            node.SetLayoutColor(*color)
            slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(self._scene)
            node = self._scene.AddNode(node)
        node.SetOrientation(orientation)
        logic = slicer.vtkMRMLSliceLogic()
        logic.SetMRMLApplicationLogic(self._application_logic)
        logic.SetMRMLScene(self._scene)
        logic.SetSliceNode(node)
        composite = slicer.vtkMRMLSliceLogic.GetSliceCompositeNode(node)
        if composite is None:
            composite = slicer.vtkMRMLSliceCompositeNode()
            composite.SetLayoutName(name)
            composite = self._scene.AddNode(composite)
        logic.SetSliceCompositeNode(composite)
        self._logics.AddItem(logic)
        widget = SliceWidget()
        widget.set_up(self._scene, node, logic, self._application_logic)
        self._slices[name] = widget

    def _make_plot_node(self) -> Any:
        node = slicer.vtkMRMLPlotViewNode()
        node.SetLayoutName("PlotView1")
        node.SetSingletonTag("PlotView1")
        return self._scene.AddNode(node)

    def _arrange(self) -> QtWidgets.QWidget:
        viewport = QtWidgets.QWidget()
        grid = QtWidgets.QGridLayout(viewport)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(1)
        grid.addWidget(self._slices["Red"], 0, 0)
        grid.addWidget(self._three_d, 0, 1)
        grid.addWidget(self._slices["Green"], 1, 0)
        grid.addWidget(self._slices["Yellow"], 1, 1)
        grid.addWidget(self._plot, 0, 2, 2, 1)
        self._plot.hide()
        for index in (0, 1):
            grid.setColumnStretch(index, 1)
            grid.setRowStretch(index, 1)
        return viewport

    def shutdown(self) -> None:
        """Lets go of the render windows while VTK is still whole."""
        for view in self.views():
            view.hide()

    def viewport(self) -> QtWidgets.QWidget:
        """The widget that holds all views."""
        return self._viewport

    def views(self) -> list[RenderView]:
        """All rendered views."""
        return [*(widget.sliceView() for widget in self._slices.values()), self._three_d.threeDView()]

    def _layout(self) -> int:
        return int(self.layout_node.GetViewArrangement())

    def setLayout(self, layout: int) -> None:
        """Sets the arrangement of the views."""
        self.layout_node.SetViewArrangement(int(layout))

    def _layout_modified(self) -> None:
        layout = self._layout()
        if layout != self._last_layout:
            self._last_layout = layout
            node = slicer.vtkMRMLLayoutNode
            names = [name for name in dir(node) if name.endswith("View") and "Plot" in name]
            with_plot = {getattr(node, name) for name in names}
            self._plot.setVisible(layout in with_plot)
            self.layoutChanged.emit(layout)

    def mrmlScene(self) -> Any:
        """The scene."""
        return self._scene

    def layoutLogic(self) -> Any:
        """The logic that keeps the layout."""
        return self._layout_logic

    def mrmlSliceLogics(self) -> Any:
        """The logics of the slice views."""
        return self._logics

    def sliceViewNames(self) -> list[str]:
        """Names of the slice views."""
        return list(self._slices)

    def sliceWidget(self, name: str) -> Any:
        """A slice view with its bar; None if there is none of that name."""
        return self._slices.get(name)

    def threeDWidget(self, index: Any) -> Any:
        """The 3D view with its bar."""
        return self._three_d if index in (0, "ThreeDWidget1", "View1", "1") else None

    def plotWidget(self, index: Any) -> Any:
        """The plot view."""
        return self._plot if index in (0, "PlotView1") else None

    def resetSliceViews(self) -> None:
        """Shows all of every slice."""
        for widget in self._slices.values():
            widget.fitSliceToBackground()

    def resetThreeDViews(self) -> None:
        """Shows everything in the 3D view."""
        self._three_d.threeDView().resetFocalPoint()

    def pauseRender(self) -> None:
        """Stops rendering until `resumeRender`."""
        RenderPause.depth += 1

    def resumeRender(self) -> None:
        """Counterpart of `pauseRender`."""
        RenderPause.depth = max(0, RenderPause.depth - 1)
        if not RenderPause.depth:
            for view in self.views():
                view.scheduleRender()

    layout = Property(int, _layout, setLayout)
    threeDViewCount = Property(int, lambda self: 1)
    plotViewCount = Property(int, lambda self: 1)
    tableViewCount = Property(int, lambda self: 0)


CLASSES = {"slicer.qSlicerLayoutManager": LayoutManager}
