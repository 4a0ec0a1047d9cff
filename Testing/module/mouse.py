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
        self._view = to_qt(self._widget.sliceView())

    def click(self, ras: Sequence[float]) -> None:
        """Click at a position; RAS millimetres."""
        self.turn_to(ras)
        # Never by no way at all: a mouse that does not move tells nobody where it is.
        self.move([float(value) + 3 for value in ras])
        self.move(ras)
        self._do("mousePress", ras)
        self._do("mouseRelease", ras)

    def turn_to(self, ras: Sequence[float]) -> None:
        """Show the slice through a position."""
        self._widget.mrmlSliceNode().JumpSliceByOffsetting(*(float(x) for x in ras))
        self._host.process_events()

    def move(self, ras: Sequence[float]) -> None:
        """Move to a position in the slice that is shown."""
        self._do("mouseMove", ras)

    def drag(self, start: Sequence[float], end: Sequence[float]) -> None:
        """Press at one position, move to the other one and release."""
        middle = [(a + b) / 2 for a, b in zip(start, end, strict=True)]
        self.move(start)
        self._do("mousePress", start)
        for position in (middle, end):
            self.move(position)
        self._do("mouseRelease", end)

    def _do(self, what: str, ras: Sequence[float]) -> None:
        from PySide6 import QtCore
        from PySide6.QtTest import QTest

        x, y, _ = self._view.convertRASToXYZ([float(value) for value in ras])
        point = QtCore.QPoint(round(x), round(self._view.height() - 1 - y))
        if what == "mouseMove":
            QTest.mouseMove(self._view, point)
        else:
            keys, button = QtCore.Qt.KeyboardModifier.NoModifier, QtCore.Qt.MouseButton.LeftButton
            getattr(QTest, what)(self._view, button, keys, point)
        self._host.process_events()
