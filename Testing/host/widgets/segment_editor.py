"""qMRMLSegmentEditorWidget: choice of segmentation, volume, segment and effect, and undo.

Painting itself is C++ code of Slicer that lives in its slice views; it is not emulated. An effect can be chosen and
keeps its parameters, but the mouse does nothing with it, which the widget says. Tests write into the segment's
labelmap instead, after `saveStateForUndo`, as an effect would do.
"""

from __future__ import annotations

from typing import Any

import slicer
from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Property, Signal

from Testing.host.widgets.common import SceneObserver, stored_property
from Testing.host.widgets.node_combo_box import NodeComboBox
from Testing.host.widgets.segments_table import SegmentsTableView

EFFECT_NAMES = (
    "Threshold",
    "Paint",
    "Draw",
    "Erase",
    "Level tracing",
    "Grow from seeds",
    "Fill between slices",
    "Margin",
    "Hollow",
    "Smoothing",
    "Scissors",
    "Islands",
    "Logical operators",
    "Mask volume",
)
NOT_EMULATED = "The host does not emulate painting: effects can be chosen, but do nothing."


class SegmentEditorEffect(QtCore.QObject):
    """An effect of the editor: a name, and parameters kept in the editor's node."""

    def __init__(self, name: str, editor: SegmentEditorWidget) -> None:
        super().__init__(editor)
        self._name = name
        self._editor = editor

    name = Property(str, lambda self: self._name)

    def setParameter(self, name: str, value: Any) -> None:
        """Keeps a parameter."""
        node = self._editor.mrmlSegmentEditorNode()
        if node is not None:
            node.SetAttribute(f"{self._name}.{name}", str(value))

    def parameter(self, name: str) -> str:
        """A parameter that was kept, as text."""
        node = self._editor.mrmlSegmentEditorNode()
        return (node.GetAttribute(f"{self._name}.{name}") or "") if node is not None else ""


class SegmentEditorWidget(QtWidgets.QWidget):
    """The editor's panel; its state is in a vtkMRMLSegmentEditorNode, as in Slicer."""

    mrmlSceneChanged = Signal(object)
    segmentationNodeChanged = Signal(object)
    sourceVolumeNodeChanged = Signal(object)
    masterVolumeNodeChanged = Signal(object)
    currentSegmentIDChanged = Signal(str)
    SIGNALS = {
        "mrmlSceneChanged(vtkMRMLScene*)": "mrmlSceneChanged(PyObject)",
        "segmentationNodeChanged(vtkMRMLSegmentationNode*)": "segmentationNodeChanged(PyObject)",
        "sourceVolumeNodeChanged(vtkMRMLVolumeNode*)": "sourceVolumeNodeChanged(PyObject)",
        "masterVolumeNodeChanged(vtkMRMLVolumeNode*)": "masterVolumeNodeChanged(PyObject)",
    }
    autoShowSourceVolumeNode = stored_property(bool, "autoShowSourceVolumeNode", True)
    jumpToSelectedSegmentEnabled = stored_property(bool, "jumpToSelectedSegmentEnabled", False)
    undoEnabled = stored_property(bool, "undoEnabled", True)
    readOnly = stored_property(bool, "readOnly", False)
    maskingSectionVisible = stored_property(bool, "maskingSectionVisible", True)
    unorderedEffectsVisible = stored_property(bool, "unorderedEffectsVisible", True)
    effectColumnCount = stored_property(int, "effectColumnCount", 2)
    defaultTerminologyEntrySettingsKey = stored_property(str, "defaultTerminologyEntrySettingsKey", "")

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._scene: Any = None
        self._node: Any = None
        self._updating = False
        self._seen: tuple[Any, Any, str] = (None, None, "")
        self._observer = SceneObserver(self)
        self._history = slicer.vtkSegmentationHistory()
        self._effects = {name: SegmentEditorEffect(name, self) for name in EFFECT_NAMES}
        self._order: list[str] = list(EFFECT_NAMES)
        self._build()

    def _build(self) -> None:
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._form = form = QtWidgets.QFormLayout()
        self._segmentations, self._volumes = NodeComboBox(), NodeComboBox()
        self._segmentations.setProperty("nodeTypes", ["vtkMRMLSegmentationNode"])
        self._volumes.setProperty("nodeTypes", ["vtkMRMLScalarVolumeNode"])
        for box in (self._segmentations, self._volumes):
            box.setProperty("noneEnabled", True)
        form.addRow("Segmentation:", self._segmentations)
        form.addRow("Source volume:", self._volumes)
        layout.addLayout(form)
        self._table = SegmentsTableView()
        layout.addWidget(self._table)
        effects = QtWidgets.QGridLayout()
        self._buttons: dict[str, QtWidgets.QPushButton] = {}
        for index, name in enumerate(EFFECT_NAMES):
            button = QtWidgets.QPushButton(name)
            button.setCheckable(True)
            # Slicer has small icons here: names must not make the panel wider than it is there.
            button.setSizePolicy(QtWidgets.QSizePolicy.Policy.Ignored, QtWidgets.QSizePolicy.Policy.Fixed)
            font = button.font()
            font.setPointSizeF(0.8 * font.pointSizeF())
            button.setFont(font)
            button.clicked.connect(lambda chosen, name=name: self.setActiveEffectByName(name if chosen else ""))
            effects.addWidget(button, index // 3, index % 3)
            self._buttons[name] = button
        layout.addLayout(effects)
        note = QtWidgets.QLabel(NOT_EMULATED)
        note.setWordWrap(True)
        layout.addWidget(note)
        self._segmentations.currentNodeChanged[object].connect(self.setSegmentationNode)
        self._volumes.currentNodeChanged[object].connect(self.setSourceVolumeNode)
        self._table.selectionChanged.connect(self._selection_changed)

    # Nodes
    def mrmlScene(self) -> Any:
        """The scene that was set."""
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        """Sets the scene."""
        self._scene = scene
        for widget in (self._segmentations, self._volumes, self._table):
            widget.setMRMLScene(scene)
        self.mrmlSceneChanged.emit(scene)
        self.updateWidgetFromMRML()

    def mrmlSegmentEditorNode(self) -> Any:
        """The node that keeps the editor's state."""
        return self._node

    def setMRMLSegmentEditorNode(self, node: Any) -> None:
        """Sets the node that keeps the editor's state."""
        self._observer.clear("node")
        self._node = node
        self._observer.observe("node", node, ("ModifiedEvent",), self.updateWidgetFromMRML)
        self.updateWidgetFromMRML()

    def segmentationNode(self) -> Any:
        """The segmentation that is edited."""
        return self._node.GetSegmentationNode() if self._node is not None else None

    def setSegmentationNode(self, node: Any) -> None:
        """Edits a segmentation; without an editor node nothing happens, as in Slicer."""
        if self._node is not None and node is not self.segmentationNode():
            self._node.SetAndObserveSegmentationNode(node)

    def segmentationNodeID(self) -> str:
        """Id of the segmentation that is edited."""
        node = self.segmentationNode()
        return node.GetID() if node is not None else ""

    def sourceVolumeNode(self) -> Any:
        """The volume that is segmented."""
        return self._node.GetSourceVolumeNode() if self._node is not None else None

    def setSourceVolumeNode(self, node: Any) -> None:
        """Sets the volume that is segmented."""
        if self._node is not None and node is not self.sourceVolumeNode():
            self._node.SetAndObserveSourceVolumeNode(node)

    masterVolumeNode, setMasterVolumeNode = sourceVolumeNode, setSourceVolumeNode

    def sourceVolumeNodeID(self) -> str:
        """Id of the volume that is segmented."""
        node = self.sourceVolumeNode()
        return node.GetID() if node is not None else ""

    def updateWidgetFromMRML(self) -> None:
        """Shows what the editor node says."""
        if self._updating:
            return
        self._updating = True
        try:
            self._choose_first_segment(self.segmentationNode())
            changes = self._show()
        finally:
            self._updating = False
        for signal, value in changes:
            signal.emit(value)

    def _show(self) -> list[tuple[Any, Any]]:
        """Shows the state; the result is the signals to emit, with their values."""
        segmentation, volume = self.segmentationNode(), self.sourceVolumeNode()
        before = self._seen
        if segmentation is not before[0]:
            self._history.SetSegmentation(segmentation.GetSegmentation() if segmentation is not None else None)
            self._segmentations.setCurrentNode(segmentation)
            self._table.setSegmentationNode(segmentation)
        segment = self.currentSegmentID()
        self._seen = (segmentation, volume, segment)
        if volume is not before[1]:
            self._volumes.setCurrentNode(volume)
        self._table.setSelectedSegmentIDs([segment] if segment else [])
        active = self._node.GetActiveEffectName() if self._node is not None else None
        for name, button in self._buttons.items():
            button.setChecked(name == active)
            button.setEnabled(segmentation is not None)
        changes: list[tuple[Any, Any]] = []
        if segmentation is not before[0]:
            changes.append((self.segmentationNodeChanged, segmentation))
        if volume is not before[1]:
            changes += [(self.sourceVolumeNodeChanged, volume), (self.masterVolumeNodeChanged, volume)]
        if segment != before[2]:
            changes.append((self.currentSegmentIDChanged, segment))
        return changes

    def _choose_first_segment(self, segmentation: Any) -> None:
        """A segmentation with segments always has a current one."""
        if segmentation is None:
            return
        known = segmentation.GetSegmentation()
        if known.GetSegment(self._node.GetSelectedSegmentID() or "") is None and known.GetNumberOfSegments():
            self._node.SetSelectedSegmentID(known.GetNthSegmentID(0))

    # Segments
    def currentSegmentID(self) -> str:
        """Id of the segment that is edited."""
        return (self._node.GetSelectedSegmentID() or "") if self._node is not None else ""

    def setCurrentSegmentID(self, segment_id: str) -> None:
        """Edits a segment."""
        if self._node is not None:
            self._node.SetSelectedSegmentID(segment_id)

    def _selection_changed(self, *_: Any) -> None:
        selected = self._table.selectedSegmentIDs()
        if selected and selected[0] != self.currentSegmentID():
            self.setCurrentSegmentID(selected[0])

    def selectNextSegment(self) -> None:
        """Goes to the next segment."""
        self.selectSegmentAtOffset(1)

    def selectPreviousSegment(self) -> None:
        """Goes to the previous segment."""
        self.selectSegmentAtOffset(-1)

    def selectSegmentAtOffset(self, offset: int) -> None:
        """Goes some segments further."""
        ids = self._table.displayedSegmentIDs()
        if ids:
            place = ids.index(self.currentSegmentID()) if self.currentSegmentID() in ids else 0
            self.setCurrentSegmentID(ids[max(0, min(len(ids) - 1, place + offset))])

    # Effects
    def availableEffectNames(self) -> list[str]:
        """Names of the effects."""
        return list(EFFECT_NAMES)

    def effectCount(self) -> int:
        """How many effects there are."""
        return len(EFFECT_NAMES)

    def effectByName(self, name: str) -> Any:
        """An effect, None if there is none of this name."""
        return self._effects.get(name)

    def effectByIndex(self, index: int) -> Any:
        """The effect at a place in the list."""
        return self._effects[EFFECT_NAMES[index]]

    def effectNameOrder(self) -> list[str]:
        """The order in which effects are shown."""
        return self._order

    def setEffectNameOrder(self, names: list[str]) -> None:
        """Sets the order in which effects are shown; those not named are left out of view."""
        self._order = list(names)
        for name, button in self._buttons.items():
            button.setVisible(name in names)

    def activeEffect(self) -> Any:
        """The effect that was chosen, None if there is none."""
        name = self._node.GetActiveEffectName() if self._node is not None else None
        return self._effects.get(name or "")

    def setActiveEffect(self, effect: Any) -> None:
        """Chooses an effect; None ends it."""
        self.setActiveEffectByName(effect.property("name") if effect is not None else "")

    def setActiveEffectByName(self, name: str) -> None:
        """Chooses an effect by its name; the empty name ends it."""
        if self._node is not None:
            self._node.SetActiveEffectName(name)

    # Undo
    def setMaximumNumberOfUndoStates(self, count: int) -> None:
        """How many steps can be undone."""
        self._history.SetMaximumNumberOfStates(count)

    maximumNumberOfUndoStates = Property(
        int, lambda self: self._history.GetMaximumNumberOfStates(), setMaximumNumberOfUndoStates
    )

    def saveStateForUndo(self) -> None:
        """Keeps the state that the next undo goes back to."""
        if self.property("undoEnabled") and self.segmentationNode() is not None:
            self._history.SaveState()

    def undo(self) -> None:
        """Goes back one step."""
        self._history.RestorePreviousState()

    def redo(self) -> None:
        """Goes forward one step again."""
        self._history.RestoreNextState()

    def _accept(self, *_: Any) -> None:
        """Settings of looks and views that mean nothing without Slicer's painting."""

    installKeyboardShortcuts = uninstallKeyboardShortcuts = _accept
    setupViewObservations = removeViewObservations = _accept
    rotateSliceViewsToSegmentation = showSourceVolumeInSliceViewers = updateVolume = _accept

    def _show_row(self, box: QtWidgets.QWidget, shown: bool) -> None:
        self._form.setRowVisible(box, shown)

    setSegmentationNodeSelectorVisible = lambda self, shown: self._show_row(self._segmentations, shown)  # noqa: E731
    setSourceVolumeNodeSelectorVisible = lambda self, shown: self._show_row(self._volumes, shown)  # noqa: E731
    setMasterVolumeNodeSelectorVisible = setSourceVolumeNodeSelectorVisible
    setSwitchToSegmentationsButtonVisible = setAddRemoveSegmentButtonsVisible = _accept
    setShow3DButtonVisible = setSpecifyGeometryButtonVisible = setMaskingSectionVisible = _accept
    setEffectColumnCount = setEffectButtonStyle = setUndoEnabled = setReadOnly = _accept
    setAutoShowSourceVolumeNode = setJumpToSelectedSegmentEnabled = _accept
    segmentationNodeSelectorVisible = Property(
        bool, lambda self: not self._segmentations.isHidden(), setSegmentationNodeSelectorVisible
    )
    sourceVolumeNodeSelectorVisible = Property(
        bool, lambda self: not self._volumes.isHidden(), setSourceVolumeNodeSelectorVisible
    )
    switchToSegmentationsButtonVisible = stored_property(bool, "switchToSegmentationsButtonVisible", True)
    addRemoveSegmentButtonsVisible = stored_property(bool, "addRemoveSegmentButtonsVisible", True)
    show3DButtonVisible = stored_property(bool, "show3DButtonVisible", True)
    specifyGeometryButtonVisible = stored_property(bool, "specifyGeometryButtonVisible", True)


CLASSES = {
    "slicer.qMRMLSegmentEditorWidget": SegmentEditorWidget,
    "slicer.qSlicerSegmentEditorAbstractEffect": SegmentEditorEffect,
}
