"""`slicer.app`: the application object with the part of its interface that modules use."""

from __future__ import annotations

import os as operating_system
import tempfile
from platform import system as platform_name
from typing import Any

import slicer
from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Property, Signal

from Testing.host.io_manager import IOManager
from Testing.host.layout_manager import LayoutManager
from Testing.host.modules import ModuleManager
from Testing.host.widgets.common import stored_property


class SlicerApplication(QtWidgets.QApplication):
    """qSlicerApplication; made once, while scene and views come with `set_up`."""

    startupCompleted = Signal()
    mrmlSceneChanged = Signal(object)
    renderPaused = Signal(bool)
    urlReceived = Signal(str)
    SIGNALS = {"mrmlSceneChanged(vtkMRMLScene*)": "mrmlSceneChanged(PyObject)"}

    def __init__(self, testing: bool) -> None:
        super().__init__(["Slicer"])
        self.setApplicationName("Slicer")
        self.setOrganizationName("slicer.org")
        self.setApplicationVersion("5.13.0")
        self._testing = testing
        self._folder = tempfile.mkdtemp(prefix="slicer-host-")
        settings = QtCore.QSettings
        settings.setDefaultFormat(settings.Format.IniFormat)
        for scope in (settings.Scope.UserScope, settings.Scope.SystemScope):
            settings.setPath(settings.Format.IniFormat, scope, operating_system.path.join(self._folder, "settings"))
        self._temporary = operating_system.path.join(self._folder, "temporary")
        operating_system.makedirs(self._temporary)
        self._modules = ModuleManager()
        self._files = IOManager()
        self.window: Any = None
        self._views: LayoutManager | None = None

    def set_up(self, scene: Any, logic: Any) -> None:
        """Takes the scene and makes the views."""
        self._scene, self._logic = scene, logic
        self._views = LayoutManager(scene, logic)

    def testingEnabled(self) -> bool:
        """Whether dialogs answer themselves."""
        return self._testing

    def set_testing(self, testing: bool) -> None:
        """For the host only: switches testing mode."""
        self._testing = testing

    def mrmlScene(self) -> Any:
        """The scene."""
        return self._scene

    def applicationLogic(self) -> Any:
        """The application logic."""
        return self._logic

    def layoutManager(self) -> Any:
        """The views."""
        return self._views

    def moduleManager(self) -> ModuleManager:
        """The modules."""
        return self._modules

    def coreIOManager(self) -> IOManager:
        """What reads and writes files."""
        return self._files

    ioManager = coreIOManager

    def moduleLogic(self, name: str) -> Any:
        """The logic of a module."""
        return getattr(slicer.modules, name.lower()).logic()

    def pauseRender(self) -> None:
        """Stops rendering until `resumeRender`."""
        if self._views is not None:
            self._views.pauseRender()

    def resumeRender(self) -> None:
        """Counterpart of `pauseRender`."""
        if self._views is not None:
            self._views.resumeRender()

    def setRenderPaused(self, paused: bool) -> None:
        """`pauseRender` or `resumeRender`."""
        self.pauseRender() if paused else self.resumeRender()

    def settings(self) -> QtCore.QSettings:
        """The settings of the user."""
        return self.userSettings()

    def userSettings(self) -> QtCore.QSettings:
        """The settings of the user."""
        if not hasattr(self, "_settings"):
            self._settings = QtCore.QSettings()
        return self._settings

    revisionUserSettings = userSettings

    def startupEnvironment(self) -> QtCore.QProcessEnvironment:
        """The environment that the program was started with."""
        return QtCore.QProcessEnvironment.systemEnvironment()

    environment = startupEnvironment

    def moduleDocumentationUrl(self, name: str) -> str:
        """Where a module is documented."""
        return f"https://slicer.readthedocs.io/en/latest/user_guide/modules/{name.lower()}.html"

    def openNodeModule(self, node: Any, *_: Any) -> bool:
        """No module of the host edits nodes."""
        return False

    def restart(self) -> None:
        """Ends the event loop: the host cannot start again."""
        self.quit()

    temporaryPath = Property(str, lambda self: self._temporary, lambda self, path: setattr(self, "_temporary", path))
    cachePath = Property(str, lambda self: operating_system.path.join(self._folder, "cache"))
    defaultScenePath = stored_property(str, "defaultScenePath", "")
    slicerHome = Property(str, lambda self: self._folder)
    slicerUserSettingsFilePath = Property(str, lambda self: self.userSettings().fileName())
    extensionsInstallPath = Property(str, lambda self: operating_system.path.join(self._folder, "extensions"))
    revision = Property(str, lambda self: "host")
    repositoryRevision = Property(str, lambda self: "host")
    majorVersion = Property(int, lambda self: 5)
    minorVersion = Property(int, lambda self: 13)
    releaseType = Property(str, lambda self: "Experimental")
    mainApplicationName = Property(str, lambda self: "Slicer")
    documentationBaseUrl = Property(str, lambda self: "https://slicer.readthedocs.io/en/latest/")
    isInstalled = Property(bool, lambda self: False)
    os = Property(str, lambda self: {"Darwin": "macosx", "Windows": "win"}.get(platform_name(), "linux"))
    arch = Property(str, lambda self: "amd64")
    platform = Property(str, lambda self: "linux-amd64")
    applicationLocaleName = Property(str, lambda self: "en_US")


CLASSES = {"slicer.qSlicerApplication": SlicerApplication}
