"""Puts together `slicer`: what slicer-core has, what the host adds, and nothing that a real Slicer lacks."""

from __future__ import annotations

import sys
from typing import Any

import slicer
from PySide6 import QtWidgets

from Testing.host import (
    application,
    flat_modules,
    io_manager,
    layout_manager,
    modules,
    parameter_node,
    scripted_module,
    small_modules,
    widgets,
    window,
)
from Testing.host.contract import contract
from Testing.host.conversion import to_python
from Testing.host.dialogs import dialogs
from Testing.host.wrapping import asked_by_module_under_test, proxy_class, register_widget_class

# slicer-core is a package of Python, so these are there; in Slicer they are not seen.
PACKAGE_NAMES = ("util", "slicer_core")


def assemble(testing: bool) -> application.SlicerApplication:
    """Makes everything and returns the application."""
    contract()
    app = QtWidgets.QApplication.instance() or application.SlicerApplication(testing)
    if not isinstance(app, application.SlicerApplication):
        raise RuntimeError("Another Qt application is running in this process; the host must make its own")
    flat_modules.install()
    widgets.register()
    for part in (application, layout_manager, modules, io_manager, window):
        for full_name, native_class in part.CLASSES.items():
            register_widget_class(full_name, native_class)
    _remove_extra_names()
    _add_modules()
    scene = slicer.vtkMRMLScene()
    logic = slicer.vtkSlicerApplicationLogic()
    slicer.mrmlScene = scene
    slicer.modules = modules.Modules()
    slicer.selfTests = {}
    slicer.app = to_python(app)
    logic.SetMRMLScene(scene)
    # The wheel of slicer-core has neither terminologies nor color files, and their logics complain about it.
    slicer.vtkMRMLScene.GlobalWarningDisplayOff()
    modules.add_core_modules(slicer.modules, scene, logic)
    slicer.vtkMRMLScene.GlobalWarningDisplayOn()
    app.set_up(scene, logic)
    dialogs.watch()
    app.window = window.MainWindow(app)
    return app


def _remove_extra_names() -> None:
    """Takes away what slicer-core spreads into `slicer` and a real Slicer does not."""
    allowed = contract().names["slicer"]
    for name in list(vars(slicer)):
        if not name.startswith(("_", "vtk")) and name not in allowed and name not in PACKAGE_NAMES:
            delattr(slicer, name)
    slicer.__getattr__ = _missing


def _missing(name: str) -> Any:
    """Looks up what is not there yet: classes of widgets are made on first use."""
    if name.startswith("__"):
        raise AttributeError(name)
    if name in contract().names["slicer"] and name.startswith("q"):
        made = proxy_class(f"slicer.{name}")
        setattr(slicer, name, made)
        return made
    message = f"module 'slicer' has no attribute '{name}'"
    raise contract().refuse(message) if asked_by_module_under_test() else AttributeError(message)


def _add_modules() -> None:
    """The Python modules that slicer-core lacks."""
    additions = {
        "ScriptedLoadableModule": scripted_module,
        "parameterNodeWrapper": parameter_node,
        "i18n": _part("i18n", ("tr", "translate", "getContext")),
        "packaging": _part(
            "packaging", ("load_requirements", "pip_check", "pip_ensure", "pip_install", "pip_uninstall")
        ),
        "testing": _part("testing", ()),
    }
    for name, module in additions.items():
        sys.modules[f"slicer.{name}"] = module
        if name in contract().names["slicer"]:
            setattr(slicer, name, module)
    slicer.packaging = additions["packaging"]
    sample_data = small_modules.make_module("SampleData", "Sample data", SampleDataLogic=small_modules.SampleDataLogic)
    sys.modules["SampleData"] = sample_data


def _part(name: str, functions: tuple[str, ...]) -> Any:
    content = {function: getattr(small_modules, function) for function in functions}
    return small_modules.make_module(f"slicer.{name}", f"slicer.{name}", **content)
