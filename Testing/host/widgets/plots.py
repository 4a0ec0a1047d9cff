"""qMRMLPlotWidget and qMRMLPlotView: the series of a plot chart node, drawn with Qt."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property, Signal

from Testing.host.widgets.common import SceneObserver
from Testing.host.widgets.mrml_basic import SCENE_SIGNALS

MARGIN = 34
Points = list[tuple[float, float]]


class PlotView(QtWidgets.QWidget):
    """qMRMLPlotView: draws the chart of its view node; zoom and selection are not emulated."""

    mrmlSceneChanged = Signal(object)
    SIGNALS = SCENE_SIGNALS

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._scene: Any = None
        self._node: Any = None
        self._observer = SceneObserver(self)
        self.setMinimumSize(120, 90)

    def setMRMLScene(self, scene: Any) -> None:
        """Sets the scene."""
        self._scene = scene
        self.mrmlSceneChanged.emit(scene)

    def setMRMLPlotViewNode(self, node: Any) -> None:
        """Shows the chart of a view node."""
        self._node = node
        self._observer.clear("node")
        self._observer.observe("node", node, ("ModifiedEvent",), self._changed)
        self._observe_chart()

    def _chart(self) -> Any:
        return self._node.GetPlotChartNode() if self._node is not None else None

    def _observe_chart(self) -> None:
        self._observer.clear("chart")
        chart = self._chart()
        if chart is None:
            return
        self._observer.observe("chart", chart, ("ModifiedEvent",), self.update)
        for series in self._series(chart):
            self._observer.observe("chart", series.GetTableNode(), ("ModifiedEvent",), self.update)

    def _changed(self) -> None:
        self._observe_chart()
        self.update()

    @staticmethod
    def _series(chart: Any) -> list[Any]:
        found = [chart.GetNthPlotSeriesNode(i) for i in range(chart.GetNumberOfPlotSeriesNodes())]
        return [series for series in found if series is not None and series.GetTableNode() is not None]

    @staticmethod
    def _points(series: Any) -> Points:
        table = series.GetTableNode().GetTable()
        y_column = table.GetColumnByName(series.GetYColumnName() or "")
        x_column = table.GetColumnByName(series.GetXColumnName() or "")
        if y_column is None:
            return []
        ys = [y_column.GetVariantValue(i).ToDouble() for i in range(y_column.GetNumberOfTuples())]
        if x_column is None:
            return list(enumerate(ys))
        return [(x_column.GetVariantValue(i).ToDouble(), y) for i, y in enumerate(ys)]

    def fitToContent(self) -> None:
        """Shows all of the chart, which the host always does."""
        self.update()

    def sizeHint(self) -> QtCore.QSize:
        """A chart needs some room."""
        return QtCore.QSize(320, 220)

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        """Draws title, axes, series and legend."""
        painter = QtGui.QPainter(self)
        painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        painter.fillRect(self.rect(), QtCore.Qt.GlobalColor.white)
        frame = self.rect().adjusted(MARGIN + 10, MARGIN, -12, -MARGIN)
        painter.drawRect(frame)
        chart = self._chart()
        if chart is None:
            return
        curves = [(series, self._points(series)) for series in self._series(chart)]
        everything = [point for _, points in curves for point in points]
        center = QtCore.Qt.AlignmentFlag.AlignCenter
        painter.drawText(QtCore.QRect(0, 4, self.width(), 20), center, chart.GetTitle() or "")
        painter.drawText(QtCore.QRect(0, self.height() - 18, self.width(), 16), center, chart.GetXAxisTitle() or "")
        if not everything:
            return
        left, right = min(x for x, _ in everything), max(x for x, _ in everything)
        low, high = min(y for _, y in everything), max(y for _, y in everything)
        painter.drawText(2, frame.top() + 10, f"{high:.3g}")
        painter.drawText(2, frame.bottom(), f"{low:.3g}")
        painter.drawText(frame.left(), frame.bottom() + 14, f"{left:g}")
        painter.drawText(frame.right() - 24, frame.bottom() + 14, f"{right:g}")
        for row, (series, points) in enumerate(curves):
            painter.setPen(QtGui.QPen(QtGui.QColor.fromRgbF(*series.GetColor()), 2))
            line = QtGui.QPolygonF()
            for x, y in points:
                horizontal = (x - left) / (right - left or 1.0)
                vertical = (y - low) / (high - low or 1.0)
                position = QtCore.QPointF(
                    frame.left() + horizontal * frame.width(), frame.bottom() - vertical * frame.height()
                )
                line.append(position)
            painter.drawPolyline(line)
            painter.drawText(frame.left() + 8, frame.top() + 16 + 15 * row, series.GetName() or "")


class PlotWidget(QtWidgets.QWidget):
    """qMRMLPlotWidget: a plot view in a frame."""

    mrmlSceneChanged = Signal(object)
    SIGNALS = SCENE_SIGNALS

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._scene: Any = None
        self._node: Any = None
        self._view = PlotView(self)
        self._label = ""
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._view)

    def mrmlScene(self) -> Any:
        """The scene that was set."""
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        """Sets the scene."""
        self._scene = scene
        self._view.setMRMLScene(scene)
        self.mrmlSceneChanged.emit(scene)

    def mrmlPlotViewNode(self) -> Any:
        """The node that says which chart is shown."""
        return self._node

    def setMRMLPlotViewNode(self, node: Any) -> None:
        """Sets the node that says which chart is shown."""
        self._node = node
        self._view.setMRMLPlotViewNode(node)

    def plotView(self) -> PlotView:
        """The view."""
        return self._view

    def setViewLabel(self, label: str) -> None:
        """Keeps the label."""
        self._label = label

    viewLabel = Property(str, lambda self: self._label, setViewLabel)


CLASSES = {"slicer.qMRMLPlotWidget": PlotWidget, "slicer.qMRMLPlotView": PlotView}
