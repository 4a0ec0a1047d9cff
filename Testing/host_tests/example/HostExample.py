"""A small scripted module that uses what real modules use; it shows that the host can carry one."""

from __future__ import annotations

import enum
import sys
from pathlib import Path
from typing import Annotated

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin


class HostExample(ScriptedLoadableModule):
    """The module."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Host example")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Testing")]
        self.parent.contributors = ["SemiSAM+ team"]
        self.parent.helpText = _("Counts voxels.")


class Speed(enum.Enum):
    """A choice with words for the user."""

    QUICK = "quick"
    CAREFUL = "careful"

    def label(self):
        """The words."""
        return self.value.capitalize()


@parameterNodeWrapper
class HostExampleParameterNode:
    """What the user chose."""

    inputVolume: slicer.vtkMRMLScalarVolumeNode
    threshold: Annotated[float, WithinRange(0.0, 100.0)] = 50.0
    method: Annotated[str, Choice(["above", "below"])] = "above"
    speed: Speed = Speed.CAREFUL
    folder: Path
    remarks: list[str]


class CaseTableModel(qt.QAbstractTableModel):
    """The runs so far, one row each."""

    def __init__(self, parent=None):
        super().__init__(parent)
        self._rows = []

    def rowCount(self, parent=None):
        """How many runs there were."""
        return len(self._rows)

    def columnCount(self, parent=None):
        """Name and count."""
        return 2

    def data(self, index, role=qt.Qt.DisplayRole):
        """Text of a cell."""
        return str(self._rows[index.row()][index.column()]) if role == qt.Qt.DisplayRole else None

    def headerData(self, section, orientation, role=qt.Qt.DisplayRole):
        """Titles of the columns."""
        if role == qt.Qt.DisplayRole and orientation == qt.Qt.Horizontal:
            return ("Volume", "Voxels")[section]
        return None

    def add(self, name, count):
        """A run is over."""
        self.beginInsertRows(qt.QModelIndex(), len(self._rows), len(self._rows))
        self._rows.append((name, count))
        self.endInsertRows()


class HostExampleWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self._parameterNode = None
        self._parameterNodeGuiTag = None
        self.process = None

    def setup(self):
        """Makes the panel from the .ui file."""
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/HostExample.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = HostExampleLogic()
        self.model = CaseTableModel()
        self.ui.resultTable.setModel(self.model)
        self.ui.resultTable.horizontalHeader().setStretchLastSection(True)
        self.ui.resultTable.horizontalHeader().setSectionResizeMode(0, qt.QHeaderView.ResizeToContents)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.ui.applyButton.connect("clicked(bool)", self.onApplyButton)
        self.ui.processButton.clicked.connect(self.onProcessButton)
        self.initializeParameterNode()

    def cleanup(self):
        """The module goes."""
        self.removeObservers()

    def enter(self):
        """The module was opened."""
        self.initializeParameterNode()

    def exit(self):
        """The module was left."""
        self.setParameterNode(None)

    def onSceneStartClose(self, caller, event):
        """The scene goes."""
        self.setParameterNode(None)

    def onSceneEndClose(self, caller, event):
        """The scene is empty."""
        if self.parent.isEntered:
            self.initializeParameterNode()

    def initializeParameterNode(self):
        """Takes the parameter node and proposes a volume."""
        self.setParameterNode(self.logic.getParameterNode())
        if not self._parameterNode.inputVolume:
            first = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
            if first:
                self._parameterNode.inputVolume = first

    def setParameterNode(self, parameterNode):
        """Ties the panel to a parameter node."""
        if self._parameterNode:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self._checkCanApply)
        self._parameterNode = parameterNode
        if self._parameterNode:
            self._parameterNodeGuiTag = self._parameterNode.connectGui(self.ui)
            self.addObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self._checkCanApply)
            self._checkCanApply()

    def _checkCanApply(self, caller=None, event=None):
        ready = bool(self._parameterNode and self._parameterNode.inputVolume)
        self.ui.applyButton.enabled = ready
        self.ui.applyButton.toolTip = _("Count voxels") if ready else _("Choose a volume first")

    def onApplyButton(self, checked=False):
        """Counts."""
        with slicer.util.tryWithErrorDisplay(_("Failed to count."), waitCursor=True):
            parameters = self._parameterNode
            count = self.logic.count(parameters.inputVolume, parameters.threshold, parameters.method == "above")
            self.model.add(parameters.inputVolume.GetName(), count)
            self.ui.resultLabel.text = _("{count} voxels").format(count=count)

    def onProcessButton(self):
        """Asks another process."""
        self.process = qt.QProcess()
        self.received = b""
        self.process.connect("readyReadStandardOutput()", self.onOutput)
        self.process.connect("finished(int,QProcess::ExitStatus)", self.onFinished)
        self.process.start(sys.executable, ["-c", "print(input()[::-1])"])
        self.process.waitForStarted(5000)
        self.process.write(b"semisam\n")

    def onOutput(self):
        """Something came."""
        self.received += self.process.readAllStandardOutput().data()

    def onFinished(self, exitCode, exitStatus):
        """The process is over."""
        normal = exitStatus == qt.QProcess.NormalExit and exitCode == 0
        self.ui.resultLabel.text = self.received.decode().strip() if normal else _("failed")


class HostExampleLogic(ScriptedLoadableModuleLogic):
    """Counts voxels."""

    def getParameterNode(self):
        """The wrapped parameter node."""
        return HostExampleParameterNode(super().getParameterNode())

    def count(self, volumeNode, threshold, above=True):
        """How many voxels are above the threshold, or not."""
        voxels = slicer.util.arrayFromVolume(volumeNode)
        return int((voxels > threshold).sum() if above else (voxels <= threshold).sum())


class HostExampleTest(ScriptedLoadableModuleTest):
    """The test that runs inside Slicer."""

    def runTest(self):
        """All of it."""
        self.setUp()
        self.test_countsAboveThreshold()

    def setUp(self):
        """An empty scene."""
        slicer.mrmlScene.Clear()

    def test_countsAboveThreshold(self):
        """One voxel is above."""
        import numpy

        voxels = numpy.zeros((2, 3, 4))
        voxels[1, 1, 1] = 99
        volume = slicer.util.addVolumeFromArray(voxels, name="test")
        self.assertEqual(HostExampleLogic().count(volume, 50), 1)
        self.delayDisplay("Test passed")
