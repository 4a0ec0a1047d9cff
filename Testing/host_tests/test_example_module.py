"""The example module in the host: loaded, opened, driven, reloaded."""

from __future__ import annotations

from typing import Any

import numpy


def add_volume(slicer: Any, name: str = "ball") -> Any:
    """A small volume with one bright voxel."""
    voxels = numpy.zeros((4, 5, 6), dtype=numpy.int16)
    voxels[2, 2, 2] = 90
    return slicer.util.addVolumeFromArray(voxels, name=name)


def test_module_has_title_and_category(example_module: Any) -> None:
    assert example_module.title == "Host example"
    assert example_module.categories == ("Testing",)


def test_button_is_disabled_until_a_volume_is_chosen(example: Any, slicer: Any) -> None:
    assert not example.ui.applyButton.enabled
    assert example.ui.applyButton.toolTip == "Choose a volume first"
    example.ui.inputSelector.setCurrentNode(add_volume(slicer))
    assert example.ui.applyButton.enabled


def test_apply_counts_and_fills_the_table(example: Any, slicer: Any, click: Any) -> None:
    example.ui.inputSelector.setCurrentNode(add_volume(slicer))
    rows = example.model.rowCount()
    click(example.ui.applyButton)
    assert example.ui.resultLabel.text == "1 voxels"
    assert example.ui.resultTable.model() is example.model
    assert example.model.index(rows, 0).data() == "ball"


def test_widgets_and_parameter_node_follow_each_other(example: Any) -> None:
    example.ui.thresholdSlider.value = 12.5
    assert example._parameterNode.threshold == 12.5
    example._parameterNode.threshold = 70.0
    assert example.ui.thresholdSlider.value == 70.0
    example.ui.methodSelector.currentIndex = 1
    assert example._parameterNode.method == "below"
    assert [example.ui.speedSelector.itemText(i) for i in range(example.ui.speedSelector.count)] == ["Quick", "Careful"]
    example.ui.folderSelector.currentPath = "/somewhere"
    assert str(example._parameterNode.folder) == "/somewhere"


def test_node_combo_box_follows_the_scene(example: Any, slicer: Any) -> None:
    first, second = add_volume(slicer, "first"), add_volume(slicer, "second")
    example.ui.inputSelector.setCurrentNode(second)
    assert example._parameterNode.inputVolume is second
    slicer.mrmlScene.RemoveNode(second)
    assert example.ui.inputSelector.currentNode() is None
    assert example._parameterNode.inputVolume is None
    assert example.ui.inputSelector.nodeCount() == 1
    assert first.GetName() == "first"


def test_closing_the_scene_gives_a_new_parameter_node(example: Any, slicer: Any, process_events: Any) -> None:
    example.ui.inputSelector.setCurrentNode(add_volume(slicer))
    slicer.mrmlScene.Clear(0)
    process_events()
    assert example._parameterNode is not None
    assert not example.ui.applyButton.enabled


def test_another_process_answers(example: Any, click: Any, process_events: Any) -> None:
    click(example.ui.processButton)
    assert process_events(until=lambda: example.ui.resultLabel.text == "masimes", timeout=20)


def test_reloading_makes_a_new_widget(example: Any, host: Any, slicer: Any) -> None:
    example.onReload()
    host.process_events()
    assert slicer.modules.HostExampleWidget is not example
    assert slicer.modules.HostExampleWidget.parent.isEntered


def test_self_test_runs(example_module: Any, slicer: Any) -> None:
    slicer.selfTests["HostExample"](msec=0)


def test_panel_can_be_seen(example: Any, screenshot: Any) -> None:
    assert screenshot("example", example.parent).stat().st_size > 5000


def test_module_is_opened_by_its_name(example_module: Any, host: Any, slicer: Any) -> None:
    slicer.util.selectModule("HostExample")
    assert slicer.util.selectedModule() == "HostExample"
    assert slicer.modules.HostExampleWidget.parent.isEntered
    host.close_module("HostExample")
    assert not slicer.modules.HostExampleWidget.parent.isEntered
