"""Undo of changes that the program makes to segmentations."""

from __future__ import annotations

from typing import Any, Protocol

import slicer

_STATES = 10


class UndoHistory(Protocol):
    """Remembers states of a segmentation node."""

    def save(self, node: Any) -> None:
        """To be called before a change."""

    def undo(self, node: Any) -> bool:
        """Go back to the state of the last ``save``; False when there is none."""


class SegmentationUndo:
    """A history for each segmentation node, for use without the Segment Editor."""

    def __init__(self) -> None:
        self._histories: dict[str, Any] = {}

    def save(self, node: Any) -> None:
        """See ``UndoHistory.save``."""
        history = self._histories.get(node.GetID())
        if history is None or history.GetSegmentation() is not node.GetSegmentation():
            history = slicer.vtkSegmentationHistory()
            history.SetSegmentation(node.GetSegmentation())
            history.SetMaximumNumberOfStates(_STATES)
            self._histories[node.GetID()] = history
        history.SaveState()

    def undo(self, node: Any) -> bool:
        """See ``UndoHistory.undo``."""
        history = self._histories.get(node.GetID())
        if history is None or history.GetSegmentation() is not node.GetSegmentation():
            return False
        return bool(history.IsRestorePreviousStateAvailable() and history.RestorePreviousState())

    def forget(self, node: Any) -> None:
        """For a node that goes: its states take memory."""
        self._histories.pop(node.GetID(), None)


class EditorUndo:
    """The Segment Editor's own history, so that its Undo button takes back also what the program did.

    ``editor`` is the ``qMRMLSegmentEditorWidget``. Nodes that it does not show fall back on a history of their own.
    """

    def __init__(self, editor: Any) -> None:
        self._editor = editor
        self._other = SegmentationUndo()

    def save(self, node: Any) -> None:
        """See ``UndoHistory.save``."""
        if self._editor.segmentationNode() is node:
            self._editor.saveStateForUndo()
        else:
            self._other.save(node)

    def undo(self, node: Any) -> bool:
        """See ``UndoHistory.undo``."""
        if self._editor.segmentationNode() is not node:
            return self._other.undo(node)
        self._editor.undo()
        return True
