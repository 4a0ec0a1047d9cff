"""Learning curves in the scene: what the plot shows of the training's history."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest


@pytest.fixture
def training(widget: Any) -> Any:
    """A history of two rounds; what the generalists teach comes later than the rest."""
    from SemiSAMPlusLib.training import TrainingMonitor

    monitor = TrainingMonitor()
    for number in range(2):
        for step in (10, 20, 30):
            monitor.history.append({"round": number, "step": step, "seconds": step / 5, "loss": 1 / step})
    monitor.history[-1]["pseudo_label_agreement"] = 0.9
    return monitor


def column(table: Any, name: str) -> np.ndarray:
    from vtk.util.numpy_support import vtk_to_numpy

    return vtk_to_numpy(table.GetTable().GetColumnByName(name))


def test_rounds_follow_each_other_and_gaps_stay_gaps(training: Any) -> None:
    import slicer

    from SemiSAMPlusLib.curves import LearningCurves

    curves = LearningCurves()
    curves.update(training)
    (table,) = slicer.util.getNodesByClass("vtkMRMLTableNode")
    assert column(table, "step").tolist() == [10, 20, 30, 40, 50, 60]
    assert column(table, "loss").tolist() == [1 / 10, 1 / 20, 1 / 30] * 2
    agreement = column(table, "pseudo_label_agreement")
    assert np.isnan(agreement[:-1]).all() and agreement[-1] == 0.9
    (chart,) = slicer.util.getNodesByClass("vtkMRMLPlotChartNode")
    names = [chart.GetNthPlotSeriesNode(n).GetYColumnName() for n in range(chart.GetNumberOfPlotSeriesNodes())]
    assert names == ["loss", "pseudo_label_agreement"]
    assert chart.GetNthPlotSeriesNode(1).GetName() == "agreement of teacher and generalists"
    slicer.mrmlScene.RemoveNode(chart)
    curves.update(training)
    (chart,) = slicer.util.getNodesByClass("vtkMRMLPlotChartNode")
    assert chart.GetNumberOfPlotSeriesNodes() == 2
    curves.clear()
    for kind in ("vtkMRMLTableNode", "vtkMRMLPlotChartNode", "vtkMRMLPlotSeriesNode"):
        assert not slicer.util.getNodesByClass(kind)


def test_series_of_others_are_left_alone(training: Any) -> None:
    import slicer

    from SemiSAMPlusLib.curves import LearningCurves

    curves = LearningCurves()
    curves.update(training)
    slicer.mrmlScene.Clear(False)
    theirs = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode")  # gets the id that ours had
    series = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotSeriesNode")
    series.SetAndObserveTableNodeID(theirs.GetID())
    curves.clear()
    assert slicer.mrmlScene.IsNodePresent(series) and slicer.mrmlScene.IsNodePresent(theirs)


def test_a_long_history_does_not_hold_up_the_window(training: Any) -> None:
    from SemiSAMPlusLib.curves import LearningCurves

    line = {f"loss_{number}": 0.5 for number in range(5)}
    training.history[:] = [{"round": 0, "step": step, **line} for step in range(4000)]
    curves = LearningCurves()
    curves.update(training)
    before = time.process_time()
    for _number in range(5):
        curves.update(training)
    seconds = (time.process_time() - before) / 5
    print(f"curves of 4000 lines: {1000 * seconds:.1f} ms")
    assert seconds < 0.05


def shown() -> dict[str, tuple[float, ...]]:
    """The curves of the chart and their colors."""
    import slicer

    (chart,) = slicer.util.getNodesByClass("vtkMRMLPlotChartNode")
    series = [chart.GetNthPlotSeriesNode(number) for number in range(chart.GetNumberOfPlotSeriesNodes())]
    assert len(series) == len(slicer.util.getNodesByClass("vtkMRMLPlotSeriesNode"))
    return {item.GetYColumnName(): tuple(item.GetColor()) for item in series}


def test_curves_that_are_the_same_are_shown_once(widget: Any) -> None:
    from SemiSAMPlusLib.curves import LearningCurves
    from SemiSAMPlusLib.training import TrainingMonitor

    training, curves = TrainingMonitor(), LearningCurves()
    for step in (10, 20):
        agreement = {"pseudo_label_agreement": 0.8 + step / 200}
        training.history.append({"step": step, "loss_supervised": 1 / step, "loss": 1 / step, **agreement})
    curves.update(training)
    assert set(shown()) == {"loss", "pseudo_label_agreement"}
    training.history.append({"step": 30, "loss_supervised": 0.03, "loss": 0.04, "loss_of_mine": 0.01, "other": 0.5})
    curves.update(training)
    colors = shown()
    assert set(colors) == {"loss", "loss_supervised", "pseudo_label_agreement", "loss_of_mine", "other"}
    assert len(set(colors.values())) == len(colors)
    del training.history[-1]
    curves.update(training)
    assert set(shown()) == {"loss", "pseudo_label_agreement"}
    curves.clear()


def write_lines(path: Path, *lines: dict[str, Any]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_learning_anew_begins_with_empty_curves_and_going_on_does_not(widget: Any, tmp_path: Path) -> None:
    from SemiSAMPlusLib.training import TrainingMonitor, TrainingState

    path, training = tmp_path / "history.jsonl", TrainingMonitor()
    old = [{"round": 0, "step": step, "loss": 0.9, "trust": {"nano": {"head": 0.5}}} for step in (10, 20, 30)]
    write_lines(path, *old)
    training.load_history(path)
    more = {"round": 0, "step": 40, "loss": 0.7}
    write_lines(path, *old, more)
    training.go(TrainingState.STARTING)
    training.take({"event": "started", "id": "1", "pid": 1})
    training.take({"event": "metrics", "id": "1", **more})
    assert training.history == [*old, more] and training.trust
    training.finish({})

    # The engine may be a line ahead of what it has told.
    fresh = [{"round": 0, "step": step, "loss": 0.5} for step in (10, 20)]
    write_lines(path, *fresh)
    training.go(TrainingState.STARTING)
    for line in fresh:
        training.take({"event": "metrics", "id": "2", **line})
    assert training.history == fresh and not training.trust
    training.take({"event": "metrics", "id": "2", "round": 0, "step": 30, "loss": 0.4})
    assert training.curve("loss") == ([10, 20, 30], [0.5, 0.5, 0.4])
