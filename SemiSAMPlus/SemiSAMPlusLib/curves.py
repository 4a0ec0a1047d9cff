"""Learning curves in a Slicer plot: everything of the training's history that changes with its steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import slicer
from slicer.i18n import tr as _

from .scene.nodes import NodeHandle
from .training import TrainingMonitor

_STEP = "step"
_COLORS = {
    "loss": (0.12, 0.47, 0.71),
    "loss_supervised": (0.85, 0.37, 0.01),
    "pseudo_label_agreement": (0.20, 0.63, 0.17),
    "loss_generalist": (0.42, 0.24, 0.60),
    "loss_consistency": (0.65, 0.34, 0.16),
    "loss_own": (0.84, 0.15, 0.16),
}
_OTHER_COLORS = ((0.50, 0.50, 0.50), (0.09, 0.75, 0.81), (0.89, 0.47, 0.76))


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
        self._layout_before: int | None = None
        self._chart_before = NodeHandle()

    def update(self, training: TrainingMonitor) -> None:
        """Show the curves of this run and the ones before."""
        curves = _different_curves(training)
        if not curves:
            self.clear()
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

    @property
    def visible(self) -> bool:
        """Whether the layout has a plot, and that shows the curves."""
        chart = self._chart.get()
        return chart is not None and _layout_has_plot() and _chart_in_view() is chart

    def show(self) -> None:
        """Bring the plot into the layout, keeping everything else that is shown."""
        chart, manager = self._chart_node(), slicer.app.layoutManager()
        if manager is None or self.visible:
            return
        # An empty plot is what a closed scene leaves of ours.
        if not _layout_has_plot() or _chart_in_view() is not None:
            self._layout_before = manager.layout
            self._chart_before.set(_chart_in_view())
        slicer.modules.plots.logic().ShowChartInLayout(chart)

    def hide(self) -> None:
        """Bring back the layout that was there before, and the chart that its plot showed if it had one."""
        if not self.visible:
            return
        if self._layout_before is not None:
            slicer.app.layoutManager().setLayout(self._layout_before)
        if _layout_has_plot():
            slicer.modules.plots.logic().ShowChartInLayout(self._chart_before.get())

    def clear(self) -> None:
        """Hide the plot and remove the nodes: another project or model has curves of its own."""
        self.hide()
        for handle in (self._chart, *self._series.values(), self._table):
            handle.remove()
        self._series.clear()

    def _table_node(self) -> Any:
        if self._table.get() is None:
            self._table.set(_node("vtkMRMLTableNode", "SemiSAM+ learning"))
        return self._table.get()

    def _chart_node(self) -> Any:
        if self._chart.get() is None:
            chart = _node("vtkMRMLPlotChartNode", "SemiSAM+ learning curves")
            chart.SetTitle(_("Learning"))
            chart.SetXAxisTitle(_("step of training"))
            chart.SetYAxisTitle(_("loss, agreement"))
            self._chart.set(chart)
        return self._chart.get()

    def _make_series(self, names: Sequence[str]) -> None:
        chart, table = self._chart_node(), self._table_node()
        for name in set(self._series) - set(names):
            self._series.pop(name).remove()
        for name in names:
            handle = self._series.setdefault(name, NodeHandle())
            series = handle.get()
            if series is None:
                series = _node("vtkMRMLPlotSeriesNode", in_words(name))
                handle.set(series)
                series.SetXColumnName(_STEP)
                series.SetYColumnName(name)
                series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
                series.SetMarkerStyle(slicer.vtkMRMLPlotSeriesNode.MarkerStyleNone)
                series.SetColor(*self._color(name))
            if series.GetTableNodeID() != table.GetID():  # the table was deleted and made anew
                series.SetAndObserveTableNodeID(table.GetID())
            if not chart.HasPlotSeriesNodeID(series.GetID()):
                chart.AddAndObservePlotSeriesNodeID(series.GetID())

    def _color(self, name: str) -> tuple[float, float, float]:
        others = [other for other in self._series if other not in _COLORS]
        return _COLORS[name] if name in _COLORS else _OTHER_COLORS[others.index(name) % len(_OTHER_COLORS)]

    @staticmethod
    def _column(table: Any, name: str, values: Sequence[float]) -> None:
        import numpy as np
        from vtk.util.numpy_support import numpy_to_vtk

        column = numpy_to_vtk(np.asarray(values, float), deep=True)
        column.SetName(name)
        table.AddColumn(column)


def _node(class_name: str, name: str) -> Any:
    """A new node that is not saved with the scene: the project has the curves."""
    node = slicer.mrmlScene.AddNewNodeByClass(class_name, name)
    node.SetSaveWithScene(False)
    return node


def _different_curves(training: TrainingMonitor) -> dict[str, dict[float, float]]:
    """Step -> value of each curve; of curves that are the same the first, as the parts of a loss that has one part."""
    curves: dict[str, dict[float, float]] = {}
    # The whole before its parts.
    for name in sorted(training.names_of_curves(), key=lambda name: name != "loss"):
        curve = dict(zip(*training.curve(name), strict=True))
        if curve not in curves.values():
            curves[name] = curve
    return curves


def _layout_has_plot() -> bool:
    manager = slicer.app.layoutManager()
    return manager is not None and slicer.modules.plots.logic().GetLayoutWithPlot(manager.layout) == manager.layout


def _chart_in_view() -> Any:
    """The chart that the plot views show, or would show if the layout had one; None if there is none."""
    charts = (node.GetPlotChartNode() for node in slicer.util.getNodesByClass("vtkMRMLPlotViewNode"))
    return next((chart for chart in charts if chart is not None), None)
