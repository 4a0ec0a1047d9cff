"""What the emulated widgets share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import shiboken6
from PySide6 import QtCore
from PySide6.QtCore import Property


def stored_property(kind: Any, name: str, default: Any, changed: Callable[[Any], None] | None = None) -> Any:
    """A Qt property that only keeps its value, and calls `changed(widget)` after it was set."""
    key = f"_stored_{name}"

    def read(widget: Any) -> Any:
        return widget.__dict__.get(key, default)

    def write(widget: Any, value: Any) -> None:
        widget.__dict__[key] = value
        if changed is not None:
            changed(widget)

    return Property(kind, read, write)


class SceneObserver:
    """Observes objects of a scene for one widget, and stops when the widget is gone.

    VTK would otherwise call methods of a widget that C++ has already deleted.
    """

    def __init__(self, owner: QtCore.QObject) -> None:
        self._owner = owner
        self._tags: dict[str, list[tuple[Any, int]]] = {}

    def observe(self, group: str, observed: Any, events: tuple[Any, ...], function: Callable[[], None]) -> None:
        """Calls the function on each of the events of the object; `group` names the observations to be removed."""
        if observed is None:
            return

        def call_if_alive(*_: Any) -> None:
            if shiboken6.isValid(self._owner):
                function()
            else:
                self.clear()

        tags = [(observed, observed.AddObserver(event, call_if_alive)) for event in events]
        self._tags.setdefault(group, []).extend(tags)

    def clear(self, group: str | None = None) -> None:
        """Removes the observations of one group, or all."""
        for name in [group] if group is not None else list(self._tags):
            for observed, tag in self._tags.pop(name, []):
                observed.RemoveObserver(tag)
