"""One open case in the scene: its image, the annotation, the proposal beside it, and what shows their difference."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import slicer

from ..cases import CaseInfo, SegmentInfo
from ..i18n import _
from .grids import Grid, Patch, bounding_box
from .history import SegmentationUndo, UndoHistory
from .images import load_image, load_overlay
from .mask_files import read_into, write_segmentation
from .nodes import Logics, NodeHandle
from .segments import (
    ChangeCounter,
    SegmentStatus,
    add_missing_segments,
    add_segment,
    copy_segments,
    find_segment,
    make_segmentation,
    read_segment,
    segment_ids,
    set_status,
    status_of,
    write_segment,
)
from .view_state import ViewState, show_in_slice_views

Snapshot = dict[str, tuple[Patch, SegmentStatus]]


class CaseScene:
    """The nodes of the case that is open; one case at a time, so that never more than one image is in memory.

    undo         the history that changes by the program go to; ``EditorUndo`` in Slicer
    terminology  serialized terminology entries by the names of segments
    fit_views    called after another image is shown, to center the slice views on it

    Nodes may be deleted, and the scene closed, at any time: the properties then give None. Nothing here talks to the
    engine; see ``case_editor.py`` for that.
    """

    def __init__(
        self,
        scene: Any,
        *,
        undo: UndoHistory | None = None,
        terminology: Mapping[str, str] | None = None,
        fit_views: Callable[[], None] | None = None,
    ) -> None:
        self.scene = scene
        self.logics = Logics(scene)
        self.undo_history: UndoHistory = undo or SegmentationUndo()
        self.terminology = dict(terminology or {})
        self.case: CaseInfo | None = None
        self.segments: tuple[SegmentInfo, ...] = ()
        self.views = ViewState()
        self._fit_views = fit_views
        self._volume, self._annotation, self._proposal = NodeHandle(), NodeHandle(), NodeHandle()
        self._difference, self._uncertainty = NodeHandle(), NodeHandle()
        self._own_volume = True
        self._observer = 0
        self._counters: dict[str, ChangeCounter] = {}

    @property
    def volume(self) -> Any:
        """The image's volume node, or None."""
        return self._volume.get()

    @property
    def annotation(self) -> Any:
        """The segmentation node that a person works on, or None."""
        return self._annotation.get()

    @property
    def proposal(self) -> Any:
        """The segmentation node of the program's proposal, editable as well, or None."""
        return self._proposal.get()

    @property
    def grid(self) -> Grid | None:
        """The grid of the volume node, or None."""
        volume = self.volume
        return None if volume is None or volume.GetImageData() is None else Grid.of_volume(volume)

    # Opening and closing ----------------------------------------------------------------------------------------------

    def open(self, case: CaseInfo, segments: Sequence[SegmentInfo], volume: Any = None) -> None:
        """Show a case; the one before is closed. ``volume`` is for an image that is in the scene already.

        Raises ImageError for an image, MaskFileError for a mask that cannot be loaded; then no case is open.
        """
        self.close()
        self.segments = tuple(segments)
        try:
            self._own_volume = volume is None
            node = volume if volume is not None else load_image(self.logics, case.image, case.name)
            self._volume.set(node)
            self._observer = node.AddObserver(slicer.vtkMRMLTransformableNode.TransformModifiedEvent, self._on_moved)
            show_in_slice_views(self.scene, node)
            self._make_annotation(case)
            self._make_proposal(case)
        except Exception:
            self._remove_all()
            raise
        self.case = case
        self.views.restore(self.volume, self._segmentations())
        if self._fit_views is not None:
            self._fit_views()

    def close(self) -> None:
        """Take the nodes of the case out of the scene; unsaved changes are lost (see ``annotation_changed``)."""
        if self.case is None:
            return
        self.views.keep(self.volume, self._segmentations())
        self._remove_all()
        self.case = None

    def show_proposal(self, case: CaseInfo) -> None:
        """Another proposal of the open case has come, or it is gone. Edits of the old one are lost."""
        if self.case is None or case.name != self.case.name or self.volume is None:
            return
        self.views.keep(None, self._segmentations())
        self._remove(self._proposal, "proposal")
        self._difference.remove()
        self._uncertainty.remove()
        self._make_proposal(case)
        self.case = case
        self.views.restore(None, self._segmentations())

    def _make_annotation(self, case: CaseInfo) -> None:
        name, status = _("{case} annotation").format(case=case.name), SegmentStatus.IN_PROGRESS
        node = make_segmentation(self.logics, self.volume, name, self.segments, status, self.terminology)
        self._annotation.set(node)
        if case.annotation is not None:
            self._read(case.annotation.path, node)
        self.show_progress(case)
        self._counters["annotation"] = ChangeCounter(node)

    def _make_proposal(self, case: CaseInfo) -> None:
        if case.proposal is None:
            return
        name = _("{case} proposal").format(case=case.name)
        status = SegmentStatus.FLAGGED
        node = make_segmentation(self.logics, self.volume, name, self.segments, status, self.terminology)
        self._proposal.set(node)
        node.SetSaveWithScene(False)  # the project has it
        self._read(case.proposal.path, node)
        # Outlines tell a proposal from the filled annotation below it.
        node.GetDisplayNode().SetAllSegmentsVisibility2DFill(False)
        # What a person has finished or refused is not covered by what the program thinks.
        node.GetDisplayNode().SetVisibility(not case.finished and case.state != "rejected")
        self._counters["proposal"] = ChangeCounter(node)

    def _read(self, path: Path, node: Any) -> None:
        grid = self.grid
        if grid is not None:
            read_into(path, node, self.segments, grid)

    def _segmentations(self) -> dict[str, Any]:
        # A proposal is shown as far as it waits for a judgement, not as the last one was.
        return {"annotation": self.annotation}

    def _remove_all(self) -> None:
        for handle, role in ((self._annotation, "annotation"), (self._proposal, "proposal")):
            self._remove(handle, role)
        self._difference.remove()
        self._uncertainty.remove()
        if self.volume is not None:
            self.volume.RemoveObserver(self._observer)
        if self._own_volume:
            self._volume.remove()
        self._volume.set(None)

    def _on_moved(self, caller: Any, event: str) -> None:
        """The volume was put under a transform, or taken from it: what is drawn on it goes with it."""
        volume = self.volume
        handles = (self._annotation, self._proposal, self._difference, self._uncertainty)
        for node in (handle.get() for handle in handles):
            if volume is not None and node is not None and node.GetTransformNodeID() != volume.GetTransformNodeID():
                node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())

    def _remove(self, handle: NodeHandle, role: str) -> None:
        node = handle.get()
        if node is not None and isinstance(self.undo_history, SegmentationUndo):
            self.undo_history.forget(node)
        handle.remove()
        self._counters.pop(role, None)

    # Changes ----------------------------------------------------------------------------------------------------------

    @property
    def annotation_changed(self) -> bool:
        """Whether the annotation was edited since it was loaded or saved."""
        return self._changed("annotation", self.annotation)

    @property
    def proposal_changed(self) -> bool:
        """Whether the proposal was edited."""
        return self._changed("proposal", self.proposal)

    @property
    def edits(self) -> int:
        """A number that changes whenever annotation or proposal are edited."""
        return hash(tuple(counter.now for counter in self._counters.values()))

    def _changed(self, role: str, node: Any) -> bool:
        counter = self._counters.get(role)
        return node is not None and counter is not None and counter.changed

    def save_annotation(self, path: Path) -> bool:
        """Write the annotation as .seg.nrrd, atomically; False when it is gone. Raises MaskFileError."""
        node = self.annotation
        if node is None:
            return False
        write_segmentation(node, path, for_engine=True)
        self._settle("annotation")
        return True

    def load_annotation(self, path: Path | None) -> None:
        """Show the mask of a file, or with None an empty one, as the annotation. Raises MaskFileError."""
        node, grid = self.annotation, self.grid
        if node is None or grid is None:
            return
        if path is not None:
            self._read(path, node)
        else:
            for key in segment_ids(node).values():
                write_segment(node, key, Patch.empty(grid))
        self._settle("annotation")

    def show_progress(self, case: CaseInfo) -> None:
        """Mark the segments of the annotation that a person has finished."""
        node, annotation = self.annotation, case.annotation
        finished = {name.casefold() for name in (annotation.finished_segments if annotation is not None else ())}
        for name, key in segment_ids(node).items() if node is not None else ():
            done = case.finished or name.casefold() in finished
            set_status(node, key, SegmentStatus.COMPLETED if done else SegmentStatus.IN_PROGRESS)

    def bring_back_segments(self, finished: bool) -> None:
        """Give the annotation empty segments for those of the project that were removed from it.

        To remove one says that the case has no such structure. Without a segment nothing could be accepted into it.
        """
        if self.annotation is not None:
            status = SegmentStatus.COMPLETED if finished else SegmentStatus.IN_PROGRESS
            add_missing_segments(self.annotation, self.segments, status, self.terminology)

    def settle(self) -> None:
        """The annotation is now as the engine has it."""
        self._settle("annotation")

    def unsettle(self) -> None:
        """The engine could not take the annotation: it is still to be saved."""
        if "annotation" in self._counters:
            self._counters["annotation"].unsettle()

    def _settle(self, role: str) -> None:
        if role in self._counters:
            self._counters[role].settle()

    def finish_annotation(self) -> None:
        """Mark all segments of the annotation as completed."""
        node = self.annotation
        for key in segment_ids(node).values() if node is not None else ():
            set_status(node, key, SegmentStatus.COMPLETED)

    def accept(self, names: Sequence[str] | None = None, status: SegmentStatus = SegmentStatus.COMPLETED) -> bool:
        """Give the annotation the voxels of the proposal, of all segments or of those with ``names``.

        In the annotation they get ``status``.
        Voxels that the annotation gives to another segment stay with it. ``undo`` takes it back. False when the
        proposal or the annotation is gone.
        """
        annotation, proposal, grid = self.annotation, self.proposal, self.grid
        if annotation is None or proposal is None or grid is None:
            return False
        self.undo_history.save(annotation)
        chosen = [item.name for item in self.segments] if names is None else list(names)
        copy_segments(proposal, annotation, chosen, grid, status)
        for name in chosen:
            key = find_segment(proposal, name)
            if key is not None and status is SegmentStatus.COMPLETED:
                set_status(proposal, key, SegmentStatus.COMPLETED)
                proposal.GetDisplayNode().SetSegmentVisibility(key, False)
        return True

    def reject(self) -> None:
        """Hide the proposal; it stays in the scene, so that ``reconsider`` can show it again."""
        if self.proposal is not None:
            self.proposal.GetDisplayNode().SetVisibility(False)

    def reconsider(self) -> None:
        """Show the proposal as one that waits for a judgement."""
        proposal = self.proposal
        if proposal is None:
            return
        proposal.GetDisplayNode().SetVisibility(True)
        for key in segment_ids(proposal).values():
            set_status(proposal, key, SegmentStatus.FLAGGED)
            proposal.GetDisplayNode().SetSegmentVisibility(key, True)

    def snapshot(self) -> Snapshot | None:
        """The annotation as it is now, for ``restore``; None when it is gone."""
        node, grid = self.annotation, self.grid
        if node is None or grid is None:
            return None
        return {name: (read_segment(node, key, grid), status_of(node, key)) for name, key in segment_ids(node).items()}

    def restore(self, snapshot: Snapshot) -> bool:
        """Make the annotation what it was; later edits go, but the undo history has them. False when it is gone."""
        node = self.annotation
        if node is None:
            return False
        self.undo_history.save(node)
        for name, (patch, status) in snapshot.items():
            key = find_segment(node, name)
            if key is not None:
                write_segment(node, key, patch)
                set_status(node, key, status)
        return True

    def undo(self) -> bool:
        """Take back the last change that the program made to the annotation; False when there is none."""
        annotation = self.annotation
        return annotation is not None and self.undo_history.undo(annotation)

    # Overlays ---------------------------------------------------------------------------------------------------------

    def show_difference(self, shown: bool) -> Any:
        """Show, or hide, where proposal and annotation differ; the segmentation node, or None."""
        self._difference.remove()
        annotation, proposal, grid = self.annotation, self.proposal, self.grid
        if not shown or annotation is None or proposal is None or grid is None or self.case is None:
            return None
        names = [item.name for item in self.segments]
        start, only_proposed, only_annotated = _difference(proposal, annotation, grid, names)
        name = _("{case} difference").format(case=self.case.name)
        node = make_segmentation(self.logics, self.volume, name, (), SegmentStatus.NOT_STARTED)
        self._difference.set(node)
        node.SetSaveWithScene(False)
        for label, color, voxels in (
            (_("Only in the proposal"), (60, 200, 90), only_proposed & ~only_annotated),
            (_("Only in the annotation"), (230, 60, 60), only_annotated & ~only_proposed),
            (_("Another segment"), (240, 200, 60), only_proposed & only_annotated),
        ):
            key = add_segment(node, label, color, SegmentStatus.NOT_STARTED)
            write_segment(node, key, Patch(grid, start, voxels))
        return node

    def show_uncertainty(self, shown: bool) -> Any:
        """Show, or hide, the uncertainty of the proposal over the image; its node, or None. Raises ImageError."""
        node = self._uncertainty.get()
        path = self.case.proposal.uncertainty if self.case is not None and self.case.proposal is not None else None
        if not shown or path is None or self.volume is None or self.case is None:
            show_in_slice_views(self.scene)
            return None
        if node is None:
            node = load_overlay(self.logics, path, _("{case} uncertainty").format(case=self.case.name))
            node.SetAndObserveTransformNodeID(self.volume.GetTransformNodeID())
            self._uncertainty.set(node)
        show_in_slice_views(self.scene, foreground=node)
        return node


def _difference(
    proposal: Any, annotation: Any, grid: Grid, names: Sequence[str]
) -> tuple[tuple[int, int, int], Any, Any]:
    """A place on the grid (k, j, i), and from there (k, j, i) bool: what only the proposal has, only the annotation."""
    import numpy as np

    pairs = []
    for name in names:
        found = [(node, find_segment(node, name)) for node in (proposal, annotation)]
        pairs.append([read_segment(node, key, grid) if key else Patch.empty(grid) for node, key in found])
    # Only where there is anything at all: on a whole CT this would hold up the window.
    box = bounding_box(Patch.empty(grid), *(patch for pair in pairs for patch in pair))
    only_proposed = np.zeros([part.stop - part.start for part in box], bool)
    only_annotated = only_proposed.copy()
    for first, second in pairs:
        proposed, annotated = first.within(box), second.within(box)
        only_proposed |= proposed & ~annotated
        only_annotated |= annotated & ~proposed
    k, j, i = (part.start for part in box)
    return (k, j, i), only_proposed, only_annotated
