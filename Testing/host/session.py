"""Starts the host: one Qt application, one scene, and the modules `qt`, `ctk` and `slicer` as Slicer has them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from Testing.host import failures
from Testing.host.contract import contract
from Testing.host.immortal import protect_constants

_host: Host | None = None


class Host:
    """The running host; there is one in a process, see `start`."""

    def __init__(self, testing: bool) -> None:
        if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
            os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
            os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
        protect_constants()
        import slicer

        from Testing.host import assembly
        from Testing.host.dialogs import dialogs

        self.application = assembly.assemble(testing)
        self.slicer: Any = slicer
        self.dialogs = dialogs
        self.loaded: list[Any] = []
        failures.watch()

    # Modules
    def load_module(self, file_path: str | Path) -> Any:
        """Loads a scripted module; the result is its object as Slicer's `slicer.modules.<name>`."""
        from Testing.host.conversion import to_python
        from Testing.host.modules import load_module

        module = load_module(str(file_path))
        self.loaded.append(module)
        # Slicer tells this once, when all modules are there; here each module hears it after it was loaded.
        self.application.startupCompleted.emit()
        return to_python(module)

    def open_module(self, name: str) -> Any:
        """Opens a module as the user does: its panel is made and entered. The result is its widget in Python."""
        representation = self.application.window.show_module(name)
        self.process_events()
        return representation.widget

    def close_module(self, name: str) -> None:
        """Leaves a module."""
        self.application.moduleManager().module(name).widgetRepresentation().exit()

    def unload_modules(self) -> None:
        """What happens to the modules when Slicer ends."""
        from Testing.host.modules import unload_module

        for module in self.loaded:
            failures.guarded("unloading", unload_module, module)
        self.loaded.clear()

    # Time
    def process_events(self, until: Callable[[], bool] | None = None, timeout: float = 5.0) -> bool:
        """Lets Qt work until a condition holds; False if it still does not after `timeout` seconds."""
        end = time.monotonic() + timeout
        self.application.processEvents()
        while until is not None and not until():
            if time.monotonic() > end:
                return False
            self.application.processEvents()
            time.sleep(0.005)
        return True

    # State
    def fresh_scene(self) -> None:
        """Closes the scene and forgets messages, failures and violations."""
        self.slicer.mrmlScene.Clear(0)
        self.process_events()
        self.dialogs.clear()
        failures.swallowed.clear()
        contract().violations.clear()

    def screenshot(self, target: str | Path, widget: Any = None) -> Path:
        """Writes a picture of a widget, or of the host's window, after everything was rendered.

        The window is shown for a picture of it: views that nobody sees do not render.
        """
        from Testing.host.conversion import to_qt

        if widget is None and not self.application.window.isVisible():
            self.application.window.show()
            self.process_events()
        for view in self.application.layoutManager().views():
            view.forceRender()
        self.process_events()
        native = to_qt(widget) if widget is not None else self.application.window
        native.grab().save(str(target))
        return Path(target)


def start(testing: bool = True) -> Host:
    """The host of this process, started if it is not running yet."""
    global _host
    if _host is None:
        _host = Host(testing)
    return _host
