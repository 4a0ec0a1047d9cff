"""The mouse in the host's slice views: clicks at positions in the patient, as a user aims at what is seen there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class Mouse:
    """Moves to a position in a slice view and clicks there; the slice is turned to first.

    host   the running host
    view   name of the slice view
    """

    def __init__(self, host: Any, view: str = "Red") -> None:
        from Testing.host.conversion import to_qt

        host.application.window.show()
        host.process_events()
        self._host = host
        self._widget = host.application.layoutManager().sliceWidget(view)
        self._pressed = False
        self._view = to_qt(self._widget.sliceView())

    def click(self, ras: Sequence[float]) -> None:
        """Click at a position; RAS millimetres."""
        self.turn_to(ras)
        # Never by no way at all: a mouse that does not move tells nobody where it is.
        self.move([float(value) + 3 for value in ras])
        self.move(ras)
        self._do("MouseButtonPress", ras)
        self._do("MouseButtonRelease", ras)

    def turn_to(self, ras: Sequence[float]) -> None:
        """Show the slice through a position."""
        self._widget.mrmlSliceNode().JumpSliceByOffsetting(*(float(x) for x in ras))
        self._host.process_events()

    def move(self, ras: Sequence[float]) -> None:
        """Move to a position in the slice that is shown."""
        self._do("MouseMove", ras)

    def drag(self, start: Sequence[float], end: Sequence[float], rest: float = 0.0) -> None:
        """Press at one position, move to the other one and release, with two rests of some seconds on the way."""
        self.turn_to(start)
        self.move([float(value) + 3 for value in start])
        self.move(start)
        self._do("MouseButtonPress", start)
        for part in (1 / 3, 2 / 3, 1.0):
            self.move([a + part * (b - a) for a, b in zip(start, end, strict=True)])
            if part < 1:
                self._host.process_events(until=lambda: False, timeout=rest)
        self._do("MouseButtonRelease", end)

    def _do(self, what: str, ras: Sequence[float]) -> None:
        from PySide6 import QtCore, QtGui, QtWidgets

        x, y, _ = self._view.convertRASToXYZ([float(value) for value in ras])
        point = QtCore.QPointF(round(x), round(self._view.height() - 1 - y))
        left, none = QtCore.Qt.MouseButton.LeftButton, QtCore.Qt.MouseButton.NoButton
        button = none if what == "MouseMove" else left
        self._pressed = what == "MouseButtonPress" or (self._pressed and what == "MouseMove")
        # Not through the cursor of the display, which would tell its movements once more, and late.
        event = QtGui.QMouseEvent(
            getattr(QtCore.QEvent.Type, what),
            point,
            self._view.mapToGlobal(point),
            button,
            left if self._pressed else none,
            QtCore.Qt.KeyboardModifier.NoModifier,
        )
        QtWidgets.QApplication.sendEvent(self._view, event)
        self._host.process_events()
