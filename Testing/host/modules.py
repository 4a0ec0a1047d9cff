"""`slicer.modules`, the module manager, and loading a scripted module from its file."""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import Any

import slicer
from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property, Signal

from Testing.host import failures
from Testing.host.contract import contract
from Testing.host.conversion import to_python
from Testing.host.widgets.common import stored_property
from Testing.host.widgets.mrml_basic import MRMLWidget


class ModuleManager(QtCore.QObject):
    """qSlicerModuleManager: tells when modules come and go."""

    moduleLoaded = Signal(str)
    moduleAboutToBeUnloaded = Signal(str)
    moduleUnloaded = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._modules: dict[str, ScriptedModule] = {}

    def add_module(self, module: ScriptedModule) -> None:
        """For the host only: a module was loaded."""
        self._modules[module.property("name")] = module
        self.moduleLoaded.emit(module.property("name"))

    def modulesNames(self) -> list[str]:
        """Names of the scripted modules that were loaded."""
        return list(self._modules)

    def module(self, name: str) -> Any:
        """A module by its name."""
        return self._modules.get(name)

    def isLoaded(self, name: str) -> bool:
        """Whether a module was loaded."""
        return name in self._modules


class ScriptedModuleWidget(MRMLWidget):
    """qSlicerScriptedLoadableModuleWidget: the parent of a scripted module's widget."""

    def __init__(self, module: ScriptedModule) -> None:
        super().__init__()
        self._module = module
        self.module_name = module.property("name")
        self._entered = False
        self.widget: Any = None
        QtWidgets.QVBoxLayout(self)

    isEntered = Property(bool, lambda self: self._entered)

    def set_up(self) -> None:
        """Makes the module's widget; what it raises is printed, as in Slicer."""
        name = self._module.property("name")
        self.setMRMLScene(slicer.mrmlScene)
        widget_class = getattr(sys.modules[name], f"{name}Widget")
        self.widget = failures.guarded(f"{name}Widget", widget_class, to_python(self))
        if self.widget is not None:
            setattr(slicer.modules, f"{name}Widget", self.widget)
            failures.guarded(f"{name}Widget.setup", self.widget.setup)

    def enter(self) -> None:
        """The user opened the module."""
        if not self._entered:
            self._entered = True
            self._call("enter")

    def exit(self) -> None:
        """The user left the module."""
        if self._entered:
            self._entered = False
            self._call("exit")

    def _call(self, name: str) -> None:
        method = getattr(self.widget, name, None)
        if method is not None:
            failures.guarded(f"{type(self.widget).__name__}.{name}", method)

    def reload(self) -> None:
        """Makes the module's widget anew; `slicer.util.reloadScriptedModule` did the rest."""
        entered = self._entered
        self._entered = False
        self.set_up()
        if entered:
            self.enter()


class ScriptedModule(QtCore.QObject):
    """qSlicerScriptedLoadableModule: title, categories and so on of one scripted module."""

    title = stored_property(str, "title", "")
    categories = stored_property("QStringList", "categories", [])
    dependencies = stored_property("QStringList", "dependencies", [])
    contributors = stored_property("QStringList", "contributors", [])
    associatedNodeTypes = stored_property("QStringList", "associatedNodeTypes", [])
    helpText = stored_property(str, "helpText", "")
    acknowledgementText = stored_property(str, "acknowledgementText", "")
    icon = stored_property(QtGui.QIcon, "icon", QtGui.QIcon())
    hidden = stored_property(bool, "hidden", False)
    index = stored_property(int, "index", -1)
    widgetRepresentationCreationEnabled = stored_property(bool, "widgetRepresentationCreationEnabled", True)

    def __init__(self, name: str, file_path: str) -> None:
        super().__init__()
        self._name, self._path = name, file_path
        self._widget: ScriptedModuleWidget | None = None
        self._logic: Any = None

    path = Property(str, lambda self: self._path)
    name = Property(str, lambda self: self._name)

    def widgetRepresentation(self) -> ScriptedModuleWidget:
        """The widget of the module; made on first use."""
        if self._widget is None:
            self._widget = ScriptedModuleWidget(self)
            self._widget.set_up()
        return self._widget

    def createNewWidgetRepresentation(self) -> ScriptedModuleWidget:
        """A second widget of the module."""
        made = ScriptedModuleWidget(self)
        made.set_up()
        return made

    def resourcePath(self, name: str) -> str:
        """Path of a file in the module's folder of resources."""
        return os.path.join(os.path.dirname(self._path), "Resources", name)


class CoreModule:
    """A module of Slicer itself, of which the host has the logic only."""

    def __init__(self, name: str, logic: Any) -> None:
        self._name, self._logic = name, logic

    def logic(self) -> Any:
        """The logic of the module."""
        return self._logic

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise contract().lacks(f"The host has no {name} of the module {self._name}, only its logic")


LOGIC_CLASSES = {
    "segmentations": "vtkSlicerSegmentationsModuleLogic",
    "volumes": "vtkSlicerVolumesLogic",
    "markups": "vtkSlicerMarkupsLogic",
    "plots": "vtkSlicerPlotsLogic",
    "tables": "vtkSlicerTablesLogic",
    "terminologies": "vtkSlicerTerminologiesModuleLogic",
    "models": "vtkSlicerModelsLogic",
    "colors": "vtkSlicerColorLogic",
    "subjecthierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "transforms": "vtkSlicerTransformLogic",
    "sequences": "vtkSlicerSequencesLogic",
    "texts": "vtkSlicerTextsLogic",
    "units": "vtkSlicerUnitsLogic",
}


class Modules:
    """`slicer.modules`: every module in small letters, and the objects that modules put there."""


def add_core_modules(modules: Modules, scene: Any, application_logic: Any) -> None:
    """Makes the logics of Slicer's own modules and ties them to the scene."""
    for name, class_name in LOGIC_CLASSES.items():
        logic = getattr(slicer, class_name)()
        logic.SetMRMLApplicationLogic(application_logic)
        logic.SetMRMLScene(scene)
        application_logic.SetModuleLogic(name.capitalize(), logic)
        setattr(modules, name, CoreModule(name, logic))


def load_module(file_path: str) -> ScriptedModule:
    """Loads a scripted module from its .py file, as Slicer does when it starts."""
    file_path = os.path.abspath(file_path)
    name = os.path.splitext(os.path.basename(file_path))[0]
    folder = os.path.dirname(file_path)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    specification = importlib.util.spec_from_file_location(name, file_path)
    if specification is None or specification.loader is None:
        raise FileNotFoundError(file_path)
    python_module = importlib.util.module_from_spec(specification)
    sys.modules[name] = python_module
    specification.loader.exec_module(python_module)
    module = ScriptedModule(name, file_path)
    setattr(slicer.modules, name.lower(), to_python(module))
    instance = getattr(python_module, name)(to_python(module))
    setattr(slicer.modules, f"{name}Instance", instance)
    application = QtWidgets.QApplication.instance()
    application.moduleManager().add_module(module)  # type: ignore[union-attr]
    return module


def unload_module(module: ScriptedModule) -> None:
    """What happens to a module when Slicer ends."""
    manager = QtWidgets.QApplication.instance().moduleManager()  # type: ignore[union-attr]
    if module._widget is not None:
        module._widget.exit()
    manager.moduleAboutToBeUnloaded.emit(module.property("name"))
    manager.moduleUnloaded.emit(module.property("name"))


CLASSES = {
    "slicer.qSlicerModuleManager": ModuleManager,
    "slicer.qSlicerScriptedLoadableModule": ScriptedModule,
    "slicer.qSlicerScriptedLoadableModuleWidget": ScriptedModuleWidget,
}
