"""The answer to a prompt as a preview in the slice views, before it becomes part of a segment."""

from __future__ import annotations

from typing import Any

from ..i18n import _
from .grids import Patch
from .history import UndoHistory
from .nodes import Logics, NodeHandle
from .segments import (
    SegmentStatus,
    add_segment,
    add_to_segment,
    make_segmentation,
    replace_segment,
    segment_ids,
    set_status,
    status_of,
    write_segment,
)

_COLOR = (255, 220, 40)
_FILL = 0.3  # the image below is to be seen


class PromptPreview:
    """A segmentation node of its own with one segment; the annotation is not touched before ``commit``."""

    def __init__(self, logics: Logics, undo: UndoHistory) -> None:
        self._logics = logics
        self._undo = undo
        self._node = NodeHandle()
        self._patch: Patch | None = None

    @property
    def node(self) -> Any:
        """The segmentation node of the preview, or None while there is none."""
        return self._node.get()

    @property
    def patch(self) -> Patch | None:
        """What is shown, or None; also after somebody has deleted the node."""
        return None if self.node is None else self._patch

    @property
    def visible(self) -> bool:
        """Whether it is seen, to be set for a look at what lies below; the next answer is seen again."""
        display = None if self.node is None else self.node.GetDisplayNode()
        return display is not None and bool(display.GetVisibility())

    @visible.setter
    def visible(self, shown: bool) -> None:
        display = None if self.node is None else self.node.GetDisplayNode()
        if display is not None:
            display.SetVisibility(shown)

    def show(self, patch: Patch, volume: Any) -> None:
        """Show an answer; it takes the place of the one before."""
        node = self.node
        if node is None:
            node = make_segmentation(self._logics, volume, _("Preview"), (), SegmentStatus.NOT_STARTED)
            node.SetHideFromEditors(True)  # not a segmentation that one would choose anywhere
            node.SetSaveWithScene(False)
            node.GetDisplayNode().SetOpacity2DFill(_FILL)
            add_segment(node, _("Preview"), _COLOR, SegmentStatus.NOT_STARTED)
            self._node.set(node)
        write_segment(node, next(iter(segment_ids(node).values())), patch)
        self._patch = patch
        self.visible = True

    def commit(
        self, annotation: Any, segment_id: str, *, replace: bool = False, overwrite_others: bool = False
    ) -> bool:
        """Make what is shown part of a segment, and show nothing any more; the undo history can take it back.

        replace            the segment becomes what is shown, instead of growing by it
        overwrite_others   take voxels away from other segments; otherwise they keep all they have

        False when there is nothing to commit, or the segment is gone.
        """
        patch = self.patch
        if patch is None or annotation is None or annotation.GetSegmentation().GetSegment(segment_id) is None:
            return False
        self._undo.save(annotation)
        change = replace_segment if replace else add_to_segment
        change(annotation, segment_id, patch, overwrite_others=overwrite_others)
        if status_of(annotation, segment_id) is SegmentStatus.NOT_STARTED:  # as the editor's effects do
            set_status(annotation, segment_id, SegmentStatus.IN_PROGRESS)
        self.clear()
        return True

    def clear(self) -> None:
        """Show nothing."""
        self._patch = None
        self._node.remove()
