"""The flat modules `qt` and `ctk`: every class by name in one module, as PythonQt has them."""

from __future__ import annotations

import enum
import sys
import types
from typing import Any

from PySide6 import QtCore

from Testing.host.contract import contract
from Testing.host.conversion import EnumInt
from Testing.host.wrapping import asked_by_module_under_test, proxy_class


class QtNamespace:
    """`qt.Qt`: the constants that belong to no class."""

    def __getattr__(self, name: str) -> Any:
        if name not in contract().qt_constants:
            raise contract().refuse(f"qt.Qt has no attribute '{name}'")
        value = getattr(QtCore.Qt, name, None)
        if isinstance(value, enum.Enum):
            constant = EnumInt(value)
            setattr(self, name, constant)
            return constant
        if value is None:
            raise contract().lacks(f"qt.Qt.{name} is gone in Qt 6, on which the host runs")
        return value


class FlatModule(types.ModuleType):
    """A module whose classes are made when they are first asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name not in contract().names[self.__name__]:
            message = f"module '{self.__name__}' has no attribute '{name}'"
            raise contract().refuse(message) if asked_by_module_under_test() else AttributeError(message)
        if name in ("Signal", "Slot", "Property"):
            raise contract().lacks(f"qt.{name} does not work in a Python class in Slicer, so the host has none")
        if name == "qVersion":
            return QtCore.qVersion
        made = QtNamespace() if (self.__name__, name) == ("qt", "Qt") else proxy_class(f"{self.__name__}.{name}")
        setattr(self, name, made)
        return made


def install() -> None:
    """Makes `import qt` and `import ctk` work."""
    for name, text in (("qt", "Qt as PythonQt offers it."), ("ctk", "The Common Toolkit's widgets.")):
        sys.modules.setdefault(name, FlatModule(name, text))
