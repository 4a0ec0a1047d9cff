"""Learning curves in a Slicer plot: everything of the training's history that changes with its steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import slicer
from slicer.i18n import tr as _

from .scene.nodes import NodeHandle
from .training import TrainingMonitor

_STEP = "step"
_COLORS = ((0.12, 0.47, 0.71), (0.85, 0.37, 0.01), (0.20, 0.63, 0.17), (0.42, 0.24, 0.60), (0.65, 0.34, 0.16))


def in_words(curve: str) -> str:
    """What the legend calls a curve of the engine's; a framework of somebody's own has names of its own."""
    words = {
        "loss": _("loss, all parts"),
        "loss_supervised": _("loss on the annotated cases"),
        "loss_own": _("loss of the framework's own"),
        "loss_consistency": _("disagreement with the teacher"),
        "loss_generalist": _("disagreement with the generalists"),
        "pseudo_label_agreement": _("agreement of teacher and generalists"),
    }
    return words.get(curve, curve.replace("_", " "))


class LearningCurves:
    """Owns one table, one chart and its series in the scene; they are made on first use and go with the scene."""

    def __init__(self) -> None:
        self._table, self._chart = NodeHandle(), NodeHandle()
        self._series: dict[str, NodeHandle] = {}

    def update(self, training: TrainingMonitor) -> None:
        """Show the curves of this run and the ones before."""
        curves = {name: dict(zip(*training.curve(name), strict=True)) for name in training.names_of_curves()}
        if not curves:
            return
        # Not every line of the history has every number; the columns of a table are equally long.
        steps = sorted(set().union(*curves.values()))
        table = self._table_node()
        table.RemoveAllColumns()
        self._column(table, _STEP, steps)
        for name, curve in curves.items():
            self._column(table, name, [curve.get(step, float("nan")) for step in steps])
        self._make_series(list(curves))
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
        for handle in (self._chart, *self._series.values(), self._table):
            handle.remove()
        self._series.clear()

    def _table_node(self) -> Any:
        if self._table.get() is None:
            self._table.set(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", "SemiSAM+ learning"))
        return self._table.get()

    def _chart_node(self) -> Any:
        if self._chart.get() is None:
            chart = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotChartNode", "SemiSAM+ learning curves")
            chart.SetTitle(_("Learning"))
            chart.SetXAxisTitle(_("step of training"))
            chart.SetYAxisTitle(_("loss, agreement"))
            self._chart.set(chart)
        return self._chart.get()

    def _make_series(self, names: Sequence[str]) -> None:
        chart, table = self._chart_node(), self._table_node()
        for position, name in enumerate(names):
            handle = self._series.setdefault(name, NodeHandle())
            series = handle.get()
            if series is None:
                series = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", in_words(name))
                handle.set(series)
                series.SetXColumnName(_STEP)
                series.SetYColumnName(name)
                series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
                series.SetMarkerStyle(slicer.vtkMRMLPlotSeriesNode.MarkerStyleNone)
                series.SetColor(*_COLORS[position % len(_COLORS)])
            if series.GetTableNodeID() != table.GetID():  # the table was deleted and made anew
                series.SetAndObserveTableNodeID(table.GetID())
            if not chart.HasPlotSeriesNodeID(series.GetID()):
                chart.AddAndObservePlotSeriesNodeID(series.GetID())

    @staticmethod
    def _column(table: Any, name: str, values: Sequence[float]) -> None:
        import numpy as np
        from vtk.util.numpy_support import numpy_to_vtk

        column = numpy_to_vtk(np.asarray(values, float), deep=True)
        column.SetName(name)
        table.AddColumn(column)
