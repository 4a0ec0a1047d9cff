"""Widgets of Slicer in the host: node selection, segments, editor, placing of points, plots."""

from __future__ import annotations

from typing import Any

import numpy
import pytest


@pytest.fixture
def volume(slicer: Any) -> Any:
    """A small volume."""
    return slicer.util.addVolumeFromArray(numpy.arange(60.0).reshape(3, 4, 5), name="volume")


@pytest.fixture
def segmentation(slicer: Any, volume: Any) -> Any:
    """A segmentation of the volume with two segments."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "segmentation")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    for name in ("liver", "spleen"):
        node.GetSegmentation().AddEmptySegment(name, name)
    return node


@pytest.fixture
def selector(slicer: Any) -> Any:
    """A choice of volumes."""
    box = slicer.qMRMLNodeComboBox()
    box.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    return box


def test_node_combo_box_takes_the_first_node_if_there_must_be_one(selector: Any, slicer: Any, volume: Any) -> None:
    got = []
    selector.connect("currentNodeChanged(vtkMRMLNode*)", got.append)
    selector.connect("currentNodeChanged(bool)", got.append)
    selector.setMRMLScene(slicer.mrmlScene)
    assert selector.currentNode() is volume and selector.currentNodeID == volume.GetID()
    assert got == [volume, True]


def test_node_combo_box_leaves_out_child_classes_and_hidden_nodes(selector: Any, slicer: Any, volume: Any) -> None:
    labels = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    selector.setMRMLScene(slicer.mrmlScene)
    assert selector.nodeCount() == 2
    selector.showChildNodeTypes = False
    assert selector.nodeCount() == 1
    selector.showChildNodeTypes = True
    labels.SetHideFromEditors(True)
    selector.showHidden = False
    assert selector.nodeCount() == 1


def test_node_combo_box_filters_by_attribute(selector: Any, slicer: Any, volume: Any) -> None:
    selector.addAttribute("vtkMRMLScalarVolumeNode", "Kind", "case")
    selector.noneEnabled = True
    selector.setMRMLScene(slicer.mrmlScene)
    assert selector.nodeCount() == 0 and selector.currentNode() is None
    made = selector.addNode()
    assert made.GetAttribute("Kind") == "case" and selector.currentNode() is made


def test_node_combo_box_shows_new_names_and_drops_removed_nodes(selector: Any, slicer: Any, volume: Any) -> None:
    selector.setMRMLScene(slicer.mrmlScene)
    volume.SetName("renamed")
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "other")
    selector.setCurrentNode(other)
    slicer.mrmlScene.RemoveNode(other)
    assert selector.currentNode() is volume
    slicer.mrmlScene.Clear(0)
    assert selector.currentNode() is None


def test_segments_table_lists_and_selects(slicer: Any, segmentation: Any) -> None:
    table = slicer.qMRMLSegmentsTableView()
    got = []
    table.connect("selectionChanged(QItemSelection,QItemSelection)", lambda *_: got.append(table.selectedSegmentIDs()))
    table.setMRMLScene(slicer.mrmlScene)
    table.setSegmentationNode(segmentation)
    assert table.segmentCount == 2 and table.displayedSegmentIDs() == ("liver", "spleen")
    table.setSelectedSegmentIDs(["spleen"])
    assert got[-1] == ("spleen",)
    segmentation.GetSegmentation().RemoveSegment("liver")
    assert table.displayedSegmentIDs() == ("spleen",)
    table.statusColumnVisible = True
    table.setSelectedSegmentIDs(["spleen"])
    table.setSelectedSegmentsStatus(3)
    assert (
        slicer.vtkSlicerSegmentationsModuleLogic.GetSegmentStatus(segmentation.GetSegmentation().GetSegment("spleen"))
        == 3
    )


def test_segment_editor_keeps_its_state_in_its_node(slicer: Any, segmentation: Any, volume: Any) -> None:
    editor, node = slicer.qMRMLSegmentEditorWidget(), slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
    segments, segmentations = [], []
    editor.connect("currentSegmentIDChanged(QString)", segments.append)
    editor.connect("segmentationNodeChanged(vtkMRMLSegmentationNode*)", segmentations.append)
    editor.setMRMLSegmentEditorNode(node)
    editor.setMRMLScene(slicer.mrmlScene)
    editor.setSegmentationNode(segmentation)
    editor.setSourceVolumeNode(volume)
    assert node.GetSegmentationNode() is segmentation and editor.sourceVolumeNode() is volume
    assert editor.currentSegmentID() == "liver" and segmentations == [segmentation]
    editor.setCurrentSegmentID("spleen")
    assert node.GetSelectedSegmentID() == "spleen" and segments == ["liver", "spleen"]
    assert len(editor.availableEffectNames()) == 14
    editor.setActiveEffectByName("Paint")
    assert editor.activeEffect().name == "Paint"
    editor.setActiveEffect(None)
    assert editor.activeEffect() is None
    slicer.mrmlScene.Clear(0)
    assert editor.segmentationNode() is None


def test_segment_editor_undoes_what_was_written(slicer: Any, segmentation: Any, volume: Any) -> None:
    editor, node = slicer.qMRMLSegmentEditorWidget(), slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
    editor.setMRMLScene(slicer.mrmlScene)
    editor.setMRMLSegmentEditorNode(node)
    editor.setMaximumNumberOfUndoStates(10)
    editor.setSegmentationNode(segmentation)
    mask = numpy.zeros((3, 4, 5), dtype=numpy.uint8)
    mask[1, 1:3, 1:3] = 1
    editor.saveStateForUndo()
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, "liver", volume)
    assert slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, "liver", volume).sum() == 4
    editor.undo()
    assert slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, "liver", volume).sum() == 0
    editor.redo()
    assert slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, "liver", volume).sum() == 4


def test_place_widget_switches_the_interaction_node(slicer: Any) -> None:
    points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    widget, states = slicer.qSlicerMarkupsPlaceWidget(), []
    widget.connect("activeMarkupsPlaceModeChanged(bool)", states.append)
    widget.setMRMLScene(slicer.mrmlScene)
    widget.placeMultipleMarkups = slicer.qSlicerMarkupsPlaceWidget.ForcePlaceMultipleMarkups
    widget.setCurrentNode(points)
    widget.setPlaceModeEnabled(True)
    interaction = slicer.app.applicationLogic().GetInteractionNode()
    assert widget.placeModeEnabled and interaction.GetCurrentInteractionMode() == interaction.Place
    interaction.SwitchToViewTransformMode()
    assert not widget.placeModeEnabled and states == [True, False]
    points.AddControlPoint(0, 0, 0)
    widget.deleteLastPoint()
    assert points.GetNumberOfControlPoints() == 0


def test_plot_shows_curves(slicer: Any, screenshot: Any) -> None:
    layout_manager = slicer.app.layoutManager()
    chart = slicer.util.plot(numpy.array([[0, 1.0], [1, 0.5], [2, 0.2]]), 0, columnNames=["step", "loss"], show=False)
    widget = layout_manager.plotWidget(0)
    widget.mrmlPlotViewNode().SetPlotChartNodeID(chart.GetID())
    picture = screenshot("plot", widget)
    assert picture.stat().st_size > 1500


def test_dialogs_are_recorded_and_answered(host: Any, slicer: Any) -> None:
    slicer.util.errorDisplay("Something is wrong")
    assert host.dialogs.texts("errorDisplay") == ["Something is wrong"]
    host.dialogs.answers = [True, False]
    assert slicer.util.confirmOkCancelDisplay("Really?") is True
    assert slicer.util.confirmYesNoDisplay("Sure?") is False


def test_packages_are_never_installed(host: Any, slicer: Any) -> None:
    from Testing.host.small_modules import packaging_record

    packaging_record.installed.clear()
    packaging_record.requests.clear()
    assert not slicer.packaging.pip_check("no-such-package>=1")
    slicer.packaging.pip_ensure(["no-such-package>=1"])
    assert packaging_record.requests == [], "testing mode: nothing happens"
    slicer.packaging.pip_ensure(["no-such-package>=1"], skip_in_testing=False)
    assert slicer.packaging.pip_check("no-such-package>=1")
    packaging_record.declined = True
    with pytest.raises(RuntimeError):
        slicer.packaging.pip_ensure(["another-package"], skip_in_testing=False)
    packaging_record.declined = False


def test_volumes_and_segmentations_are_written_and_read(
    slicer: Any, segmentation: Any, volume: Any, tmp_path: Any
) -> None:
    assert slicer.util.saveNode(volume, str(tmp_path / "volume.nrrd"))
    assert slicer.util.saveNode(segmentation, str(tmp_path / "s.seg.nrrd"))
    again = slicer.util.loadVolume(str(tmp_path / "volume.nrrd"))
    assert (slicer.util.arrayFromVolume(again) == slicer.util.arrayFromVolume(volume)).all()
    segments = slicer.util.loadSegmentation(str(tmp_path / "s.seg.nrrd")).GetSegmentation()
    assert segments.GetNumberOfSegments() in (0, 2)
    with pytest.raises(RuntimeError):
        slicer.util.loadVolume(str(tmp_path / "missing.nrrd"))
