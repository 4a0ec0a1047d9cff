"""The open case between scene and engine: opening, saving, accepting, rejecting, and taking it all back.

The scene changes at once, the project when the engine has answered; if it refuses, ``failed`` tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol

from . import annotation_keeper
from .annotation_keeper import AnnotationKeeper, CaseCallback
from .cases import CaseInfo
from .process import Scheduler, Timer
from .scene.case_scene import CaseScene, Snapshot
from .scene.mask_files import MaskFileError
from .scene.segments import SegmentStatus
from .signals import Signal, call_safely
from .worker_client import ErrorCallback, WorkerRequest
from .worker_messages import WorkerError


class Session(annotation_keeper.Session, Protocol):
    """What is needed of ``ProjectSession``."""

    cases_changed: Signal

    def accept(
        self,
        name: str,
        segments: Sequence[str] | None = None,
        *,
        revision: int | None = None,
        seen: int | None = None,
        on_done: CaseCallback | None = None,
        on_error: ErrorCallback | None = None,
    ) -> WorkerRequest: ...

    def reject(
        self, name: str, *, on_done: CaseCallback | None = None, on_error: ErrorCallback | None = None
    ) -> WorkerRequest: ...

    def take_back_reject(
        self, name: str, *, on_done: CaseCallback | None = None, on_error: ErrorCallback | None = None
    ) -> WorkerRequest: ...

    def take_back(
        self,
        before: CaseInfo,
        *,
        seen: int | None = None,
        on_done: CaseCallback | None = None,
        on_error: ErrorCallback | None = None,
    ) -> WorkerRequest: ...


class CaseEditor:
    """Works on one case of a project at a time.

    Usage::

        editor = CaseEditor(session, CaseScene(slicer.mrmlScene, undo=EditorUndo(editorWidget)))
        editor.open("case 1")
        editor.accept(["liver"])
        editor.undo()
        editor.close()                 # keeps half-done work

    Signals: ``opened(name or None)``; ``proposal_shown(name)``, a newer proposal of the open case is in the scene;
    ``proposal_waiting(name)``, it is there, but the shown one was edited (``show_newest_proposal`` loads it);
    ``failed(WorkerError)``.

    scheduler  gives a new proposal a turn of the event loop to itself, so that the window stays fluid; without one, it
               is shown at once
    """

    def __init__(self, session: Session, scene: CaseScene, scheduler: Scheduler | None = None) -> None:
        self._session = session
        self._scheduler = scheduler
        self._proposal_turn: Timer | None = None
        self.scene = scene
        self.opened = Signal()
        self.proposal_shown = Signal()
        self.proposal_waiting = Signal()
        self.failed = Signal()
        # The case as it was before an accept or reject, and before an accept the annotation in the scene.
        self._undo: list[tuple[CaseInfo, Snapshot | None]] = []
        self._keeper = AnnotationKeeper(session, scene)
        self._keeper.failed.connect(self.failed.emit)
        session.cases_changed.connect(self._on_cases_changed)

    @property
    def name(self) -> str | None:
        """The name of the open case."""
        return None if self.scene.case is None else self.scene.case.name

    def open(self, name: str, volume: Any = None) -> None:
        """Open a case; half-done work on the one before is kept.

        Raises KeyError for a case that is not there, ImageError and MaskFileError for one that cannot be shown, and
        MaskFileError as well when the work cannot be kept: then the case before stays open.
        """
        case = self._session.cases.get(name)
        if case is None:
            raise KeyError(name)
        self._keeper.keep()  # where that fails, the case before stays open
        self.close()
        self.scene.open(case, self._session.segments, volume)
        self._keeper.show(case)
        self.opened.emit(name)

    def close(self) -> None:
        """Close the case. Edits of the annotation are kept: as half-done work, unless the case was finished, or some
        of its slices were."""
        if self.scene.case is None:
            return
        self.keep_or_rescue()
        self.scene.close()
        self._undo.clear()
        self.opened.emit(None)

    def keep_changes(self) -> bool:
        """Send edits of the annotation to the engine, now and then; False when there are none."""
        try:
            return self._keeper.keep()
        except MaskFileError as error:
            self._tell(error)
            return True

    def keep_or_rescue(self) -> None:
        """As ``keep_changes``, for when the nodes are about to go: what the project cannot take is put elsewhere."""
        self._keeper.keep_or_rescue()

    def on_scene_start_close(self) -> None:
        """To be called while the scene's nodes are still there."""
        self.close()

    def finish(self, on_done: CaseCallback | None = None) -> None:
        """The annotation is done: it is learned from now on."""
        case = self._current()
        if case is not None:
            self.scene.bring_back_segments(finished=True)
            self.scene.finish_annotation()
            self._keeper.save(case, "annotated", on_done)

    def finish_drawn_slices(self, on_done: CaseCallback | None = None) -> None:
        """The slices on which something is drawn are done: they are learned from, and the rest is proposed."""
        case = self._current()
        if case is not None:
            self._keeper.save(case, "in part", on_done)

    def accept(self, names: Sequence[str] | None = None, on_done: CaseCallback | None = None) -> bool:
        """Accept the proposal as it is shown, edits included; all segments or those with ``names``. False without one.

        The case is finished once all its segments are.
        """
        case = self._current()
        if case is None:
            return False
        self.scene.bring_back_segments(case.finished)
        as_proposed = (
            not self.scene.proposal_changed and not self.scene.annotation_changed and self._newest_is_shown(case)
        )
        before = self.scene.snapshot()
        if not self.scene.accept(names):
            return False
        self._undo.append((case, before))
        if as_proposed and case.proposal is not None:
            # The engine does the same with its files, and notes from which proposal the annotation comes.
            self._accept_in_project(case, names, on_done)
        else:
            self._keeper.save(case, self._keeper.work(), on_done)
        return True

    def edit_proposal(self, names: Sequence[str] | None = None, on_done: CaseCallback | None = None) -> bool:
        """Copy the proposal, or its segments ``names``, into the annotation to be corrected there. False without one.

        The case is in work until the annotation is finished.
        """
        case = self._current()
        if case is None:
            return False
        self.scene.bring_back_segments(finished=False)
        before = self.scene.snapshot()
        if not self.scene.accept(names, SegmentStatus.IN_PROGRESS):
            return False
        self._undo.append((case, before))
        self.scene.reject()
        self._keeper.save(case, "in work", on_done)
        return True

    def reject(self, on_done: CaseCallback | None = None) -> bool:
        """Refuse the proposal; False without one."""
        case = self._current()
        if case is None or self.scene.proposal is None:
            return False
        decision = (case, None)
        self._undo.append(decision)
        self.scene.reject()

        def refused(error: WorkerError) -> None:
            if decision in self._undo:
                self._undo.remove(decision)
                self.scene.reconsider()
            self._on_error(error)

        self._session.reject(case.name, on_done=on_done, on_error=refused)
        return True

    @property
    def can_undo(self) -> bool:
        """Whether a decision about the open case can be taken back."""
        return bool(self._undo)

    def undo(self, on_done: CaseCallback | None = None) -> bool:
        """Take back the last accept, edit or reject of the open case, in the scene and in the project."""
        if not self._undo or self._current() is None:
            return False
        decision = before, annotation = self._undo.pop()
        self.scene.reconsider()
        restored = annotation is not None and self.scene.restore(annotation)
        if restored and before.annotation is not None:
            # What the project keeps as the annotation before may be a later one: the case may have been saved since.
            self._keeper.save(before, before.work, on_done)
            return True
        if restored and not any(patch.count for patch, _status in (annotation or {}).values()):
            self.scene.settle()  # else what was drawn before the decision is still to be kept

        def refused(error: WorkerError) -> None:
            if self.name == before.name:  # to be tried again
                self._undo.append(decision)
            self._on_error(error)

        if annotation is None:  # a reject: an accept before it may not have been answered when it was made
            self._keeper.ask(before.name, partial(self._session.take_back_reject, before.name), on_done, refused)
            return True
        self._session.pending.forget(before.name)
        take_back = partial(self._session.take_back, before, seen=self._keeper.seen)
        self._keeper.ask(before.name, take_back, on_done, refused)
        return True

    def show_newest_proposal(self) -> None:
        """Load the proposal that is in the project now. Raises MaskFileError."""
        case = self._current()
        if case is not None:
            self.scene.show_proposal(case)

    def dispose(self) -> None:
        """Close, and listen no more."""
        self.close()
        self._session.cases_changed.disconnect(self._on_cases_changed)
        if self._proposal_turn is not None:
            self._proposal_turn.cancel()
        for signal in (self.opened, self.proposal_shown, self.proposal_waiting, self.failed):
            signal.disconnect_all()

    # Parts of the above -----------------------------------------------------------------------------------------------

    def _current(self) -> CaseInfo | None:
        """The open case as the project knows it now."""
        return None if self.name is None else self._session.cases.get(self.name)

    def _accept_in_project(self, case: CaseInfo, names: Sequence[str] | None, on_done: CaseCallback | None) -> None:
        # Should the engine die before it has accepted, the mask that the person saw is sent when it is back.
        state = self._keeper.work()
        try:
            self._keeper.write(case, state)
        except MaskFileError as error:
            self._tell(error)
            return
        waiting = self._session.pending.put(case.name, state)

        def accepted(answer: CaseInfo) -> None:
            self._session.pending.taken(waiting)
            call_safely(on_done, answer)

        revision = None if case.proposal is None else case.proposal.revision
        accept = partial(self._session.accept, case.name, names, revision=revision, seen=self._keeper.seen)
        self._keeper.ask(case.name, accept, accepted)

    def _newest_is_shown(self, case: CaseInfo) -> bool:
        """Whether the proposal in the scene is the one in the project: a newer one may wait to be looked at."""
        shown = None if self.scene.case is None else self.scene.case.proposal
        return shown is not None and case.proposal is not None and shown.revision == case.proposal.revision

    def _on_cases_changed(self, names: Sequence[str]) -> None:
        shown, case = self.scene.case, self._current()
        if shown is None or shown.name not in names:
            return
        if case is None:  # it was taken out of the project
            self.scene.close()
            self._undo.clear()
            self.opened.emit(None)
            return
        self._keeper.follow(case)
        if self._scheduler is None:
            self._follow_proposal()
        elif self._proposal_turn is None:
            self._proposal_turn = self._scheduler.call_later(0, self._follow_proposal)

    def _follow_proposal(self) -> None:
        """Show a newer proposal of the open case, unless a person has worked on the one before."""
        self._proposal_turn = None
        shown, case = self.scene.case, self._current()
        if shown is None or case is None or case.proposal is None:
            return
        if shown.proposal is not None and case.proposal.revision == shown.proposal.revision:
            return
        if self.scene.proposal_changed or self._undo:
            self.proposal_waiting.emit(case.name)
            return
        try:
            self.scene.show_proposal(case)
        except MaskFileError as error:
            self._tell(error)
        else:
            self.proposal_shown.emit(case.name)

    def _tell(self, error: MaskFileError) -> None:
        self.failed.emit(WorkerError("volume", str(error)))

    def _on_error(self, error: WorkerError) -> None:
        if not error.cancelled:
            self.failed.emit(error)
