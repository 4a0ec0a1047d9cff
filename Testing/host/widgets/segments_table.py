"""qMRMLSegmentsTableView: the segments of a segmentation with color, name, visibility and status."""

from __future__ import annotations

from typing import Any

import slicer
from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property, Signal

from Testing.host.widgets.common import SceneObserver, stored_property
from Testing.host.widgets.mrml_basic import SCENE_SIGNALS

SEGMENTATION_EVENTS = ("SegmentAdded", "SegmentRemoved", "SegmentModified", "SegmentsOrderModified")
STATUS_WORDS = ("Not started", "In progress", "Completed", "Flagged")
NAME, STATUS = 0, 1


def segmentation_events() -> tuple[int, ...]:
    """The events of a segmentation that change its list of segments."""
    return tuple(getattr(slicer.vtkSegmentation, name) for name in SEGMENTATION_EVENTS)


class SegmentsTableView(QtWidgets.QWidget):
    """A table with one row for each segment."""

    mrmlSceneChanged = Signal(object)
    selectionChanged = Signal(QtCore.QItemSelection, QtCore.QItemSelection)
    segmentAboutToBeModified = Signal(str)
    SIGNALS = SCENE_SIGNALS

    def _rebuild(self) -> None:
        self._fill()

    headerVisible = stored_property(bool, "headerVisible", True, _rebuild)
    visibilityColumnVisible = stored_property(bool, "visibilityColumnVisible", True)
    colorColumnVisible = stored_property(bool, "colorColumnVisible", True)
    opacityColumnVisible = stored_property(bool, "opacityColumnVisible", True)
    statusColumnVisible = stored_property(bool, "statusColumnVisible", False, _rebuild)
    layerColumnVisible = stored_property(bool, "layerColumnVisible", False)
    filterBarVisible = stored_property(bool, "filterBarVisible", False)
    readOnly = stored_property(bool, "readOnly", False, _rebuild)
    textFilter = stored_property(str, "textFilter", "", _rebuild)
    jumpToSelectedSegmentEnabled = stored_property(bool, "jumpToSelectedSegmentEnabled", False)
    useTerminologySelector = stored_property(bool, "useTerminologySelector", True)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._scene: Any = None
        self._node: Any = None
        self._hidden: list[str] = []
        self._observer = SceneObserver(self)
        self._table = QtWidgets.QTableWidget(0, 2, self)
        self._table.setHorizontalHeaderLabels(["Name", "Status"])
        self._table.setSelectionBehavior(QtWidgets.QAbstractItemView.SelectionBehavior.SelectRows)
        self._table.verticalHeader().hide()
        self._table.horizontalHeader().setStretchLastSection(False)
        self._table.horizontalHeader().setSectionResizeMode(NAME, QtWidgets.QHeaderView.ResizeMode.Stretch)
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._table)
        self._table.itemSelectionChanged.connect(
            lambda: self.selectionChanged.emit(QtCore.QItemSelection(), QtCore.QItemSelection())
        )
        self._table.itemChanged.connect(self._edited)

    def mrmlScene(self) -> Any:
        """The scene that was set."""
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        """Sets the scene; a segmentation of another scene is left."""
        self._scene = scene
        self.mrmlSceneChanged.emit(scene)

    def segmentationNode(self) -> Any:
        """The segmentation that is shown."""
        return self._node

    def setSegmentationNode(self, node: Any) -> None:
        """Shows the segments of a segmentation."""
        self._observer.clear()
        self._node = node
        if node is not None:
            self._observer.observe("node", node.GetSegmentation(), segmentation_events(), self._fill)
            self._observer.observe("node", node, ("ModifiedEvent",), self._check_still_there)
        self._fill()

    def _check_still_there(self) -> None:
        if self._node is not None and self._node.GetScene() is None:
            self.setSegmentationNode(None)

    def _fill(self) -> None:
        selected = self.selectedSegmentIDs()
        segmentation = self._node.GetSegmentation() if self._node is not None else None
        self._table.blockSignals(True)
        self._table.horizontalHeader().setVisible(self.property("headerVisible"))
        self._table.setColumnHidden(STATUS, not self.property("statusColumnVisible"))
        ids = self.displayedSegmentIDs()
        self._table.setRowCount(len(ids))
        for row, segment_id in enumerate(ids):
            segment = segmentation.GetSegment(segment_id)
            item = QtWidgets.QTableWidgetItem(segment.GetName())
            item.setData(QtCore.Qt.ItemDataRole.UserRole, segment_id)
            item.setData(QtCore.Qt.ItemDataRole.DecorationRole, QtGui.QColor.fromRgbF(*segment.GetColor()))
            if self.property("readOnly"):
                item.setFlags(item.flags() & ~QtCore.Qt.ItemFlag.ItemIsEditable)
            self._table.setItem(row, NAME, item)
            status = slicer.vtkSlicerSegmentationsModuleLogic.GetSegmentStatus(segment)
            self._table.setItem(row, STATUS, QtWidgets.QTableWidgetItem(STATUS_WORDS[status]))
        self._table.blockSignals(False)
        self.setSelectedSegmentIDs([segment_id for segment_id in selected if segment_id in ids])

    def _edited(self, item: QtWidgets.QTableWidgetItem) -> None:
        segment_id = item.data(QtCore.Qt.ItemDataRole.UserRole)
        if item.column() == NAME and self._node is not None and segment_id:
            self.segmentAboutToBeModified.emit(segment_id)
            self._node.GetSegmentation().GetSegment(segment_id).SetName(item.text())

    def displayedSegmentIDs(self) -> list[str]:
        """Ids of the segments in the order of the rows."""
        if self._node is None:
            return []
        segmentation, text = self._node.GetSegmentation(), self.property("textFilter").lower()
        ids = [segmentation.GetNthSegmentID(index) for index in range(segmentation.GetNumberOfSegments())]
        return [i for i in ids if i not in self._hidden and text in segmentation.GetSegment(i).GetName().lower()]

    def hideSegments(self) -> list[str]:
        """Ids of the segments that are left out."""
        return self._hidden

    def setHideSegments(self, segment_ids: list[str]) -> None:
        """Leaves out some segments."""
        self._hidden = list(segment_ids)
        self._fill()

    def selectedSegmentIDs(self) -> list[str]:
        """Ids of the selected segments."""
        rows = sorted({index.row() for index in self._table.selectionModel().selectedRows()})
        items = [self._table.item(row, NAME) for row in rows]
        return [item.data(QtCore.Qt.ItemDataRole.UserRole) for item in items if item is not None]

    def setSelectedSegmentIDs(self, segment_ids: list[str]) -> None:
        """Selects segments."""
        if sorted(segment_ids) == sorted(self.selectedSegmentIDs()):
            return
        self._table.clearSelection()
        model = self._table.selectionModel()
        flags = QtCore.QItemSelectionModel.SelectionFlag
        for row, segment_id in enumerate(self.displayedSegmentIDs()):
            if segment_id in segment_ids:
                model.select(self._table.model().index(row, NAME), flags.Select | flags.Rows)

    def clearSelection(self) -> None:
        """Selects nothing."""
        self._table.clearSelection()

    def rowForSegmentID(self, segment_id: str) -> int:
        """Row of a segment, -1 if it is not shown."""
        ids = self.displayedSegmentIDs()
        return ids.index(segment_id) if segment_id in ids else -1

    def segmentIDForRow(self, row: int) -> str:
        """Segment of a row."""
        ids = self.displayedSegmentIDs()
        return ids[row] if 0 <= row < len(ids) else ""

    def tableWidget(self) -> QtWidgets.QTableWidget:
        """The table."""
        return self._table

    def setSelectionMode(self, mode: int) -> None:
        """Whether one or several segments can be selected."""
        self._table.setSelectionMode(QtWidgets.QAbstractItemView.SelectionMode(int(mode)))

    def setSelectedSegmentsStatus(self, status: int) -> None:
        """Sets the status of the selected segments."""
        for segment_id in self.selectedSegmentIDs():
            segment = self._node.GetSegmentation().GetSegment(segment_id)
            slicer.vtkSlicerSegmentationsModuleLogic.SetSegmentStatus(segment, int(status))

    def setReadOnly(self, read_only: bool) -> None:
        """Makes the table one to look at only."""
        self.setProperty("readOnly", read_only)

    def setStatusColumnVisible(self, visible: bool) -> None:
        """Shows or hides the column of the status."""
        self.setProperty("statusColumnVisible", visible)

    def setVisibilityColumnVisible(self, visible: bool) -> None:
        """Kept only: the host's table has no such column."""
        self.setProperty("visibilityColumnVisible", visible)

    def setColorColumnVisible(self, visible: bool) -> None:
        """Kept only: the color stands beside the name."""
        self.setProperty("colorColumnVisible", visible)

    def setOpacityColumnVisible(self, visible: bool) -> None:
        """Kept only: the host's table has no such column."""
        self.setProperty("opacityColumnVisible", visible)

    def setHeaderVisible(self, visible: bool) -> None:
        """Shows or hides the header."""
        self.setProperty("headerVisible", visible)

    def setTextFilter(self, text: str) -> None:
        """Shows only segments whose name contains the text."""
        self.setProperty("textFilter", text)

    selectionMode = Property(int, lambda self: self._table.selectionMode().value, setSelectionMode)
    segmentCount = Property(int, lambda self: len(self.displayedSegmentIDs()))


CLASSES = {"slicer.qMRMLSegmentsTableView": SegmentsTableView}
