"""What is drawn on the open case reaches the project: saved, rescued where that fails, and followed when the project's
annotation changes from elsewhere.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

from .cases import CaseInfo, CaseList, SegmentInfo
from .i18n import _
from .pending import PendingAnnotations
from .scene.case_scene import CaseScene
from .scene.mask_files import MaskFileError
from .scene.segments import SegmentStatus, find_segment, status_of
from .signals import Signal, call_safely
from .worker_client import ErrorCallback, WorkerRequest
from .worker_messages import WorkerError

CaseCallback = Callable[[CaseInfo], None]


class Session(Protocol):
    """What is needed of ``ProjectSession``."""

    cases: CaseList
    segments: tuple[SegmentInfo, ...]
    pending: PendingAnnotations

    def annotate(
        self,
        name: str,
        state: str,
        *,
        seen: int | None = None,
        on_done: CaseCallback | None = None,
        on_error: ErrorCallback | None = None,
    ) -> WorkerRequest: ...


class AnnotationKeeper:
    """Keeps the annotation of the case that is open in ``scene``.

    Signal: ``failed(WorkerError)``.
    """

    def __init__(self, session: Session, scene: CaseScene) -> None:
        self._session = session
        self._scene = scene
        self.failed = Signal()
        self._under_way: Counter[str] = Counter()  # changes of ours that the engine has not answered, by case
        self._revision: int | None = None  # of the open case's annotation in the project
        self.seen = 0  # revision of the annotation that what is in the scene began with; 0 for none

    def show(self, case: CaseInfo) -> None:
        """The scene shows ``case`` now: what was drawn and the engine does not have yet is newer than the project's.

        Raises MaskFileError when that cannot be read.
        """
        self._revision = _revision(case)
        self.seen = self._revision or 0
        waiting = next((item.path for item in self._session.pending.waiting() if item.case == case.name), None)
        if waiting is not None:
            self._scene.load_annotation(waiting)

    def keep(self) -> bool:
        """Send edits to the engine; whether there were any. Raises MaskFileError when the project cannot take them."""
        case = None if self._scene.case is None else self._session.cases.get(self._scene.case.name)
        if case is None or not self._scene.annotation_changed:
            return False
        self._scene.bring_back_segments(case.finished)
        taken_back = case.finished and self.work() != "annotated"
        self._send(case, "in work" if taken_back else case.work)
        if taken_back:  # by the editor's own Undo, which knows nothing of projects, or finished from elsewhere
            text = _("{case} is in work again: here, its segments are not completed. Finish it when it is done.")
            self.failed.emit(WorkerError("project", text.format(case=case.name)))
        return True

    def keep_or_rescue(self) -> None:
        """As ``keep``, for when the nodes are about to go: what the project cannot take is put elsewhere."""
        try:
            self.keep()
        except MaskFileError as error:
            self._rescue(str(error))

    def save(self, case: CaseInfo, state: str, on_done: CaseCallback | None = None) -> None:
        """Send the annotation as it is; ``state`` as for ``ProjectSession.annotate``."""
        try:
            self._send(case, state, on_done)
        except MaskFileError as error:
            self.failed.emit(WorkerError("volume", str(error)))

    def write(self, case: CaseInfo, state: str) -> bool:
        """Write the annotation where it waits for the engine; False when it is gone. Raises MaskFileError."""
        try:
            path = self._session.pending.path(case.name, state)
        except OSError as error:
            text = _('Cannot write "{path}" ({reason}): put the project\'s folder back, or check its permissions.')
            raise MaskFileError(text.format(path=error.filename, reason=error.strerror)) from error
        return self._scene.save_annotation(path)

    def ask(
        self,
        name: str,
        request: Callable[..., WorkerRequest],
        on_done: CaseCallback | None,
        on_error: ErrorCallback | None = None,
    ) -> None:
        """Ask for a change of a case whose annotation in the scene is as it will be."""
        self._under_way[name] += 1

        def done(case: CaseInfo) -> None:
            self._under_way[name] -= 1
            call_safely(on_done, case)

        def refused(error: WorkerError) -> None:
            self._under_way[name] -= 1
            if self._scene.case is not None and self._scene.case.name == name and not error.cancelled:
                self._scene.unsettle()  # the project does not have it: Save has something to do
            if on_error is not None:
                on_error(error)
            elif not error.cancelled:
                self.failed.emit(error)

        request(on_done=done, on_error=refused)

    def work(self) -> str:
        """How far the annotation in the scene is: done once all segments are."""
        node = self._scene.annotation
        keys = [find_segment(node, item.name) for item in self._session.segments]
        done = all(key is not None and status_of(node, key) is SegmentStatus.COMPLETED for key in keys)
        return "annotated" if done else "in work"

    def follow(self, case: CaseInfo) -> None:
        """Show an annotation that was changed from elsewhere, such as by accepting many cases at once."""
        if _revision(case) == self._revision:
            return
        self._revision = _revision(case)
        if self._under_way[case.name] or self._scene.annotation_changed:
            return
        try:
            self._scene.load_annotation(None if case.annotation is None else case.annotation.path)
            self._scene.show_progress(case)
        except MaskFileError as error:
            self.failed.emit(WorkerError("volume", str(error)))
        else:
            self.seen = self._revision or 0

    def _send(self, case: CaseInfo, state: str, on_done: CaseCallback | None = None) -> None:
        if self.write(case, state):
            self.ask(case.name, partial(self._session.annotate, case.name, state, seen=self.seen), on_done)

    def _rescue(self, problem: str) -> None:
        name = None if self._scene.case is None else self._scene.case.name
        path = Path(tempfile.mkdtemp(prefix="semisam-rescued-")) / f"{name}.seg.nrrd"
        try:
            self._scene.save_annotation(path)
        except MaskFileError as error:
            text = _("The annotation of {case} is lost. {problem} {second}").format(
                case=name, problem=problem, second=error
            )
        else:
            text = _('The annotation of {case} could not be kept in its project, but is in "{path}". {problem}').format(
                case=name, path=path, problem=problem
            )
        self.failed.emit(WorkerError("system", text))


def _revision(case: CaseInfo) -> int | None:
    return None if case.annotation is None else case.annotation.revision
