"""The window and its views: rendering, scrolling, placing points."""

from __future__ import annotations

from typing import Any

import numpy
import pytest


@pytest.fixture
def window(host: Any) -> Any:
    """The window, shown with a volume in it."""
    voxels = numpy.zeros((30, 40, 50), dtype=numpy.int16)
    voxels[5:25, 10:30, 15:35] = 1000
    volume = host.slicer.util.addVolumeFromArray(voxels, name="box")
    volume.CreateDefaultDisplayNodes()
    host.application.window.show()
    host.process_events()
    host.slicer.util.setSliceViewerLayers(background=volume, fit=True)
    yield host.application.window
    host.application.window.hide()


def pixels(view: Any) -> numpy.ndarray:
    """The picture in a view, rows and columns of red, green and blue."""
    from PySide6.QtGui import QImage

    view.forceRender()
    image = view._image.convertToFormat(QImage.Format.Format_RGB888)
    rows = numpy.frombuffer(image.constBits(), numpy.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : 3 * image.width()].reshape(image.height(), image.width(), 3)


def native_view(host: Any, name: str = "Red") -> Any:
    """The slice view behind the proxy."""
    return host.application.layoutManager().sliceWidget(name).sliceView()


def test_slice_views_show_the_volume(host: Any, window: Any) -> None:
    for name in ("Red", "Green", "Yellow"):
        picture = pixels(native_view(host, name))
        assert picture.max() > 200 and picture.mean() > 5, name


def test_volume_is_gone_after_the_scene_was_closed(host: Any, window: Any) -> None:
    host.slicer.mrmlScene.Clear(0)
    host.process_events()
    assert pixels(native_view(host)).mean() < 5


def test_segmentation_is_drawn_over_the_volume(host: Any, window: Any) -> None:
    slicer = host.slicer
    volume = slicer.util.getNode("box")
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    segment_id = node.GetSegmentation().AddEmptySegment("red", "red", [1.0, 0.0, 0.0])
    mask = (slicer.util.arrayFromVolume(volume) > 0).astype(numpy.uint8)
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, segment_id, volume)
    host.process_events()
    picture = pixels(native_view(host)).astype(int)
    assert (picture[..., 0] - picture[..., 1]).max() > 50


def test_wheel_scrolls_the_slice(host: Any, window: Any) -> None:
    from PySide6 import QtCore, QtGui, QtWidgets

    view = native_view(host)
    before = view.mrmlSliceNode().GetSliceOffset()
    position = QtCore.QPointF(view.width() / 2, view.height() / 2)
    event = QtGui.QWheelEvent(
        position,
        QtCore.QPointF(view.mapToGlobal(position.toPoint())),
        QtCore.QPoint(0, 0),
        QtCore.QPoint(0, 120),
        QtCore.Qt.MouseButton.NoButton,
        QtCore.Qt.KeyboardModifier.NoModifier,
        QtCore.Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QtWidgets.QApplication.sendEvent(view, event)
    assert view.mrmlSliceNode().GetSliceOffset() != before


def test_mouse_places_a_point(host: Any, window: Any) -> None:
    from PySide6 import QtCore
    from PySide6.QtTest import QTest

    slicer = host.slicer
    points = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    points.CreateDefaultDisplayNodes()
    place = slicer.qSlicerMarkupsPlaceWidget()
    place.setMRMLScene(slicer.mrmlScene)
    place.setCurrentNode(points)
    place.setPlaceModeEnabled(True)
    view = native_view(host)
    position = QtCore.QPoint(view.width() // 2 + 20, view.height() // 2 - 10)
    QTest.mouseMove(view, position - QtCore.QPoint(5, 5))
    QTest.mouseMove(view, position)
    QTest.mouseClick(view, QtCore.Qt.MouseButton.LeftButton, QtCore.Qt.KeyboardModifier.NoModifier, position)
    host.process_events()
    assert points.GetNumberOfDefinedControlPoints() == 1
    wanted = view.convertXYZToRAS(view.convertDeviceToXYZ([position.x(), position.y()]))
    placed = [0.0] * 3
    points.GetNthControlPointPositionWorld(0, placed)
    assert numpy.allclose(placed, wanted, atol=1.0)


def test_surfaces_are_seen_in_3d(host: Any, window: Any) -> None:
    slicer = host.slicer
    view = host.application.layoutManager().threeDWidget(0).threeDView()
    before = pixels(view).copy()
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    node.CreateDefaultDisplayNodes()
    volume = slicer.util.getNode("box")
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    segment_id = node.GetSegmentation().AddEmptySegment("red", "red", [1.0, 0.0, 0.0])
    mask = (slicer.util.arrayFromVolume(volume) > 0).astype(numpy.uint8)
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, segment_id, volume)
    button = slicer.qMRMLSegmentationShow3DButton()
    button.setSegmentationNode(node)
    button.click()
    host.process_events()
    view.resetFocalPoint()
    assert (pixels(view) != before).any()


def test_paused_views_render_once_at_the_end(host: Any, window: Any) -> None:
    view = native_view(host)
    pixels(view)
    picture = view._image.copy()
    with host.slicer.util.RenderBlocker():
        view.mrmlSliceNode().SetSliceOffset(0.0)
        view.forceRender()
        assert view._image == picture
    assert host.process_events(until=lambda: view._image != picture)


def test_layout_is_told(host: Any, window: Any) -> None:
    manager, got = host.slicer.app.layoutManager(), []
    manager.connect("layoutChanged(int)", got.append)
    manager.setLayout(host.slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpPlotView)
    assert got == [manager.layout]
    assert not manager.plotWidget(0).isHidden()
    manager.setLayout(host.slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    assert manager.plotWidget(0).isHidden()


def test_window_is_found_as_main_window(host: Any, window: Any, screenshot: Any) -> None:
    found = host.slicer.util.mainWindow()
    assert found is not None and found.objectName == "qSlicerMainWindow"
    assert screenshot("window").stat().st_size > 10000
