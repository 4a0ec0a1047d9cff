"""Files and folders that are dropped on a widget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import qt


class FileDrop(qt.QObject):
    """Takes what is dropped on a widget while that is wanted; everything else is left to the widget and Slicer.

    target   the widget; of a list or table its viewport
    wanted   whether files are taken now
    on_drop  called with the paths, after the program they come from has been answered
    """

    def __init__(self, target: Any, wanted: Callable[[], bool], on_drop: Callable[[Sequence[Path]], None]) -> None:
        super().__init__()
        self._wanted, self._on_drop = wanted, on_drop
        target.setAcceptDrops(True)
        target.installEventFilter(self)

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Qt's: whether the event was dealt with."""
        kind = event.type()
        if kind not in (qt.QEvent.DragEnter, qt.QEvent.DragMove, qt.QEvent.Drop):
            return False
        paths = _local_paths(event.mimeData())
        if not paths or not self._wanted():
            return False
        # Never the action that is proposed: after a "move" the other program would remove the files.
        event.setDropAction(qt.Qt.CopyAction)
        event.accept()
        if kind == qt.QEvent.Drop:
            qt.QTimer.singleShot(0, lambda: self._on_drop(paths))
        return True


def _local_paths(data: Any) -> list[Path]:
    return [Path(url.toLocalFile()) for url in data.urls() if url.isLocalFile()]
