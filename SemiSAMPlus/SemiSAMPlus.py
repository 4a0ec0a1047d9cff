"""The module SemiSAM+: annotate a few cases, let the others be proposed, correct, accept."""

import os
from pathlib import Path

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

from SemiSAMPlusLib.parameter_node import SemiSAMPlusParameterNode
from SemiSAMPlusLib.self_test import Stories
from SemiSAMPlusLib.shortcuts import shortcuts_help

DOCUMENTATION = "https://github.com/SemiSAMPlus/SlicerSemiSAMPlus/blob/main/Documentation"


class SemiSAMPlus(ScriptedLoadableModule):
    """What Slicer shows of the module before it is opened."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "SemiSAM+"
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = ["SegmentEditor", "Segmentations", "Volumes"]
        parent.contributors = ["The SemiSAM+ for 3D Slicer developers"]
        parent.helpText = _(
            "Annotate a few cases of a study; a network learns from them and from the others, and proposes an editable "
            "segmentation for every case. Everything runs on this computer."
        )
        parent.helpText += "<p>" + _(
            'See the <a href="{pages}/tutorial.md">tutorial</a>, <a href="{pages}/user-interface.md">every button</a>, '
            'and <a href="{pages}/troubleshooting.md">what to do when something goes wrong</a>.'
        ).format(pages=DOCUMENTATION)
        parent.helpText += "<p>" + shortcuts_help() + "</p>"
        parent.acknowledgementText = _(
            "The method is SemiSAM+ (Zhang et al., Medical Image Analysis 2025, arXiv:2502.20749)."
        )
        slicer.app.connect("startupCompleted()", self.registerSampleData)

    def registerSampleData(self):
        """Made-up volumes for tutorials, in the module Sample Data."""
        from SemiSAMPlusLib import sample_data

        sample_data.register(self.resourcePath)


class SemiSAMPlusWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The module panel; all work is done by the controller."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.controller = None
        self._parameterNode = None
        self._parameterNodeGuiTag = None

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        from SemiSAMPlusLib.module_controller import ModuleController
        from SemiSAMPlusLib.python_finder import PythonFinder, python_slicer_path, slicer_environments
        from SemiSAMPlusLib.qprocess import QtProcess, QtScheduler
        from SemiSAMPlusLib.recent_projects import RecentProjects

        uiWidget = slicer.util.loadUI(self.resourcePath("UI/SemiSAMPlus.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = SemiSAMPlusLogic()
        scheduler = QtScheduler()
        self.controller = ModuleController(
            self.ui,
            lambda: self._parameterNode,
            PythonFinder(QtProcess, scheduler, *slicer_environments(), python_slicer=python_slicer_path()),
            Path(self.resourcePath("requirements.txt")),
            QtProcess,
            scheduler,
            RecentProjects(qt.QSettings()),
            slicer.mrmlScene,
        )
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneChanged)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneChanged)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.NodeAboutToBeRemovedEvent, self.onNodeAboutToBeRemoved)
        self.initializeParameterNode()
        self.controller.annotate_panel.connect_editor()

    def cleanup(self):
        """The application ends or the module is reloaded."""
        from SemiSAMPlusLib.qprocess import end_all

        if self.controller is not None:
            self.controller.close()
        end_all()
        self.setParameterNode(None)
        self.removeObservers()

    def enter(self):
        self.initializeParameterNode()
        self.controller.enter()

    def exit(self):
        self.controller.exit()
        self.setParameterNode(None)

    def onSceneStartClose(self, caller, event):
        if self.controller is not None:
            self.controller.on_scene_start_close()
        self.setParameterNode(None)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onNodeAboutToBeRemoved(self, caller, event, node):
        if self.controller is not None:
            self.controller.keep_what_is_removed(node)

    def onSceneChanged(self, caller, event):
        if self.parent.isEntered:
            self.initializeParameterNode()
        self.controller.on_scene_changed()

    def initializeParameterNode(self):
        self.setParameterNode(self.logic.getParameterNode())

    def setParameterNode(self, parameterNode):
        """Follow another parameter node, or none."""
        if self._parameterNode is not None:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersChanged)
        self._parameterNode = parameterNode
        if parameterNode is not None:
            self._parameterNodeGuiTag = parameterNode.connectGui(self.ui)
            self.addObserver(parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersChanged)
            self.onParametersChanged()

    def onParametersChanged(self, caller=None, event=None):
        if self.controller is not None:
            self.controller.show()


class SemiSAMPlusLogic(ScriptedLoadableModuleLogic):
    """For scripts: the parameter node, and where the engine is."""

    def getParameterNode(self):
        return SemiSAMPlusParameterNode(super().getParameterNode())

    @staticmethod
    def engineFolder():
        """The folder that holds the engine's package ``semisam``."""
        return Path(os.path.dirname(os.path.abspath(__file__)))


class SemiSAMPlusTest(Stories, ScriptedLoadableModuleTest):
    """What a user does, inside Slicer; see ``Stories``."""

    def test_parameters_have_defaults_and_are_kept_in_the_scene(self):
        parameters = SemiSAMPlusLogic().getParameterNode()
        self.assertEqual(parameters.framework, "auto")
        self.assertEqual(parameters.minutes, 10.0)
        parameters.minutes = 3.0
        self.assertEqual(SemiSAMPlusLogic().getParameterNode().minutes, 3.0)
        with self.assertRaises(ValueError):
            parameters.framework = "no such framework"
