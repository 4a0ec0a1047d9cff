"""What a real Slicer offers, by name and kind, and a record of everything that was asked for beyond it.

The kinds are those of PythonQt: a *property* is an attribute that holds a value, a *method* is called, a *signal* is
connected, a *constant* is a value of an enumeration. `violations` collects every access that a real Slicer would have
refused, also those whose exception was swallowed on the way.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

API_FILE = Path(__file__).with_name("slicer_api.json")

# PythonQt answers to these names on every QObject though introspection does not list them: `name` is `objectName`, and
# a trailing underscore is accepted where the method's name is a Python word (slicer.util itself calls `exec_`).
ALIASES = {"name": "objectName", "exec_": "exec", "raise_": "raise", "print_": "print"}
WRAPPER_METHODS = ("className", "delete", "help", "inherits")


class NotInSlicer(AttributeError):
    """The module asked for a name that a real Slicer does not have."""


class NotInHost(AttributeError):
    """The module asked for something that a real Slicer has and this host does not emulate."""


class Contract:
    """The API of a real Slicer as read from `slicer_api.json`.

    Example:
        >>> Contract().kind("qt.QPushButton", "text")
        'property'
    """

    def __init__(self, content: dict[str, Any] | None = None) -> None:
        self._content = json.loads(API_FILE.read_text(encoding="utf-8")) if content is None else content
        self._members: dict[str, dict[str, str]] = {}
        self.names: dict[str, frozenset[str]] = {
            module: frozenset(names.split()) for module, names in self._content["names"].items()
        }
        self.qt_constants: frozenset[str] = frozenset(self._content["Qt"].split())
        self.python: dict[str, Any] = self._content["python"]
        self.violations: list[str] = []

    @property
    def class_names(self) -> list[str]:
        """Full names ("qt.QLabel") of the classes whose members are known."""
        return sorted(self._content["classes"])

    def knows(self, full_name: str) -> bool:
        """Whether the members of this class are known."""
        return full_name in self._content["classes"]

    def members(self, full_name: str) -> dict[str, str]:
        """Kind of each member of a class, those of its bases included; KeyError if the class is not known."""
        if full_name not in self._members:
            entry = self._content["classes"][full_name]
            kinds = dict(self.members(entry["base"])) if "base" in entry else {}
            kinds.update({name: "method" for name in WRAPPER_METHODS})
            kinds.update({name: "method" for name in entry.get("methods", "").split()})
            kinds.update({name: "signal" for name in entry.get("signals", "").split()})
            kinds.update({name: "constant" for name in entry.get("constants", "").split()})
            for type_name, names in entry.get("properties", {}).items():
                kind = "method" if type_name == "function" else "property"
                kinds.update({name: kind for name in names.split()})
            self._members[full_name] = kinds
        return self._members[full_name]

    def property_type(self, full_name: str, name: str) -> str | None:
        """The Python type that the real property held when it was read."""
        entry = self._content["classes"].get(full_name, {})
        for type_name, names in entry.get("properties", {}).items():
            if name in names.split():
                return str(type_name)
        return self.property_type(entry["base"], name) if "base" in entry else None

    def kind(self, full_name: str, name: str) -> str | None:
        """Kind of one member, None if the real class has no such member."""
        return self.members(full_name).get(name)

    def refuse(self, message: str) -> NotInSlicer:
        """Records a violation and returns the exception to raise."""
        self.violations.append(message)
        return NotInSlicer(message)

    def lacks(self, message: str) -> NotInHost:
        """Records that the host is at its end and returns the exception to raise."""
        self.violations.append(message)
        return NotInHost(message)


@functools.cache
def contract() -> Contract:
    """The contract that all of the host shares."""
    return Contract()
