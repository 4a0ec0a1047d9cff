"""Learning curves in a Slicer plot: loss, and the quality that the generalists' agreement and trust show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import slicer
from slicer.i18n import tr as _

# Entries of the engine's history -> axis of the plot. Times are seconds of training.
_LOSSES = ("loss", "loss_supervised", "loss_consistency", "loss_generalist")
_QUALITY = "pseudo_label_agreement"
_COLORS = ((0.12, 0.47, 0.71), (0.85, 0.37, 0.01), (0.20, 0.63, 0.17), (0.42, 0.24, 0.60), (0.65, 0.34, 0.16))


class LearningCurves:
    """Owns one table, one chart and its series in the scene; they are made on first use and go with the scene."""

    def __init__(self) -> None:
        self._table: Any = None
        self._chart: Any = None

    def update(self, history: Sequence[dict[str, Any]]) -> None:
        """Show the history of the engine, oldest first."""
        if not history:
            return
        table = self._table_node()
        names = [name for name in (*_LOSSES, _QUALITY) if any(name in line for line in history)]
        table.RemoveAllColumns()
        self._column(table, "seconds", [float(line.get("seconds", 0.0)) for line in history])
        for name in names:
            self._column(table, name, [float(line.get(name, float("nan"))) for line in history])
        self._series(names)
        table.Modified()

    def show(self) -> None:
        """Bring the plot into the layout, keeping everything else that is shown."""
        chart = self._chart_node()
        manager = slicer.app.layoutManager()
        if manager is None:
            return
        manager.setLayout(slicer.modules.plots.logic().GetLayoutWithPlot(manager.layout))
        slicer.modules.plots.logic().ShowChartInLayout(chart)

    def clear(self) -> None:
        """Remove the nodes; another project begins with an empty plot."""
        for node in (self._chart, self._table, *self._series_nodes()):
            if node is not None and slicer.mrmlScene.IsNodePresent(node):
                slicer.mrmlScene.RemoveNode(node)
        self._table = self._chart = None

    def _table_node(self) -> Any:
        if self._table is None or not slicer.mrmlScene.IsNodePresent(self._table):
            self._table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", "SemiSAM+ learning")
        return self._table

    def _chart_node(self) -> Any:
        if self._chart is None or not slicer.mrmlScene.IsNodePresent(self._chart):
            chart = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotChartNode", "SemiSAM+ learning curves")
            chart.SetTitle(_("Learning"))
            chart.SetXAxisTitle(_("seconds of training"))
            chart.SetYAxisTitle(_("loss, agreement"))
            self._chart = chart
        return self._chart

    def _series_nodes(self) -> list[Any]:
        table = self._table
        nodes = slicer.util.getNodesByClass("vtkMRMLPlotSeriesNode")
        return [node for node in nodes if table is not None and node.GetTableNodeID() == table.GetID()]

    def _series(self, names: Sequence[str]) -> None:
        chart = self._chart_node()
        shown = {node.GetYColumnName() for node in self._series_nodes()}
        for position, name in enumerate(names):
            if name in shown:
                continue
            series = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", name)
            series.SetAndObserveTableNodeID(self._table_node().GetID())
            series.SetXColumnName("seconds")
            series.SetYColumnName(name)
            series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
            series.SetMarkerStyle(slicer.vtkMRMLPlotSeriesNode.MarkerStyleNone)
            series.SetColor(*_COLORS[position % len(_COLORS)])
            chart.AddAndObservePlotSeriesNodeID(series.GetID())

    @staticmethod
    def _column(table: Any, name: str, values: Sequence[float]) -> None:
        import vtk

        column = vtk.vtkDoubleArray()
        column.SetName(name)
        for value in values:
            column.InsertNextValue(value)
        table.AddColumn(column)
