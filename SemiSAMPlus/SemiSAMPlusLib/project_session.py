"""An open project as the user interface sees it: cases, training, and requests to the engine.

Everything is told through callbacks and ``Signal``s; nothing waits and nothing is read but what the engine tells.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Any

from .cases import CaseInfo, CaseList, SegmentInfo
from .generalists import Generalists
from .i18n import _
from .jobs import Client, LearnedWith, ProjectJobs
from .pending import PendingAnnotation, PendingAnnotations
from .signals import Signal, call_safely
from .worker_client import ErrorCallback, EventCallback, WorkerRequest, WorkerState
from .worker_messages import Event, WorkerError

_log = logging.getLogger(__name__)

# With fewer cases, none is more typical than another.
_FEWEST_COMPARED = 3


class SessionState(Enum):
    """OPENING: the engine starts or reads the project. FAILED: ``problem`` says why; ``restart`` may help."""

    CLOSED = "closed"
    OPENING = "opening"
    OPEN = "open"
    FAILED = "failed"


class ProjectSession:
    """One project, served by one worker.

    Usage::

        session = ProjectSession(folder, WorkerClient(engine_launch(...), QtProcess, QtScheduler()), author="mk")
        session.cases_changed.connect(table.update)
        session.open()

    Signals:

    * ``state_changed(SessionState)``
    * ``cases_changed(list of names)``: new, changed or removed cases; none when something else became known
    * ``proposal_ready(name)``: a proposal is in the project, after ``cases_changed``
    * ``failed(WorkerError)``: a request that nobody else listens to went wrong

    ``jobs`` holds training and the other long jobs, ``generalists`` the promptable models.
    """

    def __init__(self, project: Path, client: Client, *, author: str | None = None) -> None:
        self.project = project
        self.client = client
        self.author = author
        self.state = SessionState.CLOSED
        self.problem: WorkerError | None = None
        self.revision = -1
        self.writable = True
        self.segments: tuple[SegmentInfo, ...] = ()
        self.cases = CaseList()
        self.model: str | None = None  # the name of the trained model
        self.learned_with: LearnedWith | None = None
        self.devices: dict[str, str] = {}  # device -> words, the best one first; empty until the engine has told them
        self.jobs = ProjectJobs(client, on_proposal=self._on_proposal, on_trained=self.refresh)
        self.jobs.failed.connect(lambda error: self.failed.emit(error))
        self.generalists = Generalists(client)
        self.pending = PendingAnnotations(project)
        self.state_changed = Signal()
        self.cases_changed = Signal()
        self.proposal_ready = Signal()
        self.failed = Signal()
        self._held: list[str] | None = None
        self._compared: frozenset[str] = frozenset()
        self._refreshing = False
        self._refresh_again = False
        client.state_changed.connect(self._on_client_state)

    # Life -------------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Start the engine if need be, and read the project."""
        self._set_state(SessionState.OPENING)
        self.jobs.training.load_history(self.project / "log" / "history.jsonl")
        self.client.start()
        self._describe()

    def create(self, segments: Sequence[SegmentInfo], *, copy_images: bool = False) -> None:
        """Make an empty project in the folder, and open it."""
        self._set_state(SessionState.OPENING)
        self.client.start()
        fields = {"segments": [item.to_dict() for item in segments], "copy": copy_images}
        self.client.request("create", fields, on_done=self._on_described, on_error=self._on_open_failed)

    def change_segments(
        self,
        segments: Sequence[SegmentInfo],
        *,
        on_done: Callable[[], None] | None = None,
        on_error: ErrorCallback | None = None,
    ) -> WorkerRequest:
        """Rename, recolor or describe the segments (recognized by their values); unused, they may come and go."""

        def done(answer: Event) -> None:
            self._on_described(answer)
            self.cases_changed.emit([])
            call_safely(on_done)

        fields = {"segments": [item.to_dict() for item in segments]}
        return self._ask("change-segments", fields, on_done=done, on_error=on_error)

    def create_from_model(self, file: Path) -> None:
        """Make a project without cases in the folder from a model file, with its segments, and open it."""
        self._set_state(SessionState.OPENING)
        self.client.start()
        self.client.request(
            "import-model", {"file": file}, on_done=lambda answer: self._describe(), on_error=self._on_open_failed
        )

    def restart(self) -> None:
        """After a failure: a new worker, and the project as it is on the disk. Training does not go on by itself."""
        self._set_state(SessionState.OPENING)
        self.client.restart()
        self._describe()

    def close(self) -> None:
        """Stop the worker; its jobs save what they have. Returns at once; no signal comes after this."""
        for signal in (self.state_changed, self.cases_changed, self.proposal_ready, self.failed):
            signal.disconnect_all()
        self.jobs.close()
        self.generalists.changed.disconnect_all()
        self.client.state_changed.disconnect(self._on_client_state)
        self.state = SessionState.CLOSED
        self.client.stop()

    def close_at_exit(self) -> None:
        """As ``close``, for when the application ends and no event loop will run any more."""
        self.close()
        self.client.kill(jobs_may_save=True)

    def refresh(self) -> None:
        """Look at the project again. Many calls in a row end in one or two requests."""
        if self._refreshing:
            self._refresh_again = True
        else:
            self._describe()

    def _describe(self) -> None:
        self._refreshing, self._refresh_again = True, False
        self.client.request("open", on_done=self._on_described, on_error=self._on_open_failed)

    def _on_described(self, answer: Event) -> None:
        self._refreshing = False
        if self.state is SessionState.CLOSED:
            return
        try:
            segments = tuple(SegmentInfo.from_dict(item) for item in answer["segments"])
            cases = [CaseInfo.from_dict(item) for item in answer["cases"]]
            learned_with = LearnedWith.from_dict(answer.get("plan"))
        except (KeyError, TypeError, ValueError) as error:
            _log.exception("The description of the project cannot be read.")
            text = _("The engine's description of the project cannot be understood ({reason}).").format(reason=error)
            self._on_open_failed(WorkerError("internal", text))
            return
        before = self.segments, self.model, self.learned_with
        self.segments, self.model, self.learned_with = segments, answer.get("model"), learned_with
        self.revision = int(answer.get("revision", -1))
        changed = self.cases.replace_all(cases)
        reordered = self.cases.suggest(str(name) for name in answer.get("suggested") or ())
        opened = self.state is not SessionState.OPEN
        if opened:
            self.writable = os.access(self.project, os.W_OK)
        self._set_state(SessionState.OPEN)
        if changed or opened or reordered or before != (self.segments, self.model, learned_with):
            self.cases_changed.emit(changed)
        if opened:
            self.client.request("status", on_done=self._on_status)
            self.generalists.refresh()
            self._send_waiting()
        self._ask_for_order()
        if self._refresh_again:
            self._describe()

    def _on_status(self, answer: Event) -> None:
        devices = answer.get("devices")
        if isinstance(devices, dict) and self.state is not SessionState.CLOSED:
            self.devices = {str(device): str(words) for device, words in devices.items()}
            self.cases_changed.emit([])

    def _on_open_failed(self, error: WorkerError) -> None:
        self._refreshing = False
        if self.state is SessionState.CLOSED or error.cancelled:
            return
        self.problem = error
        self._set_state(SessionState.FAILED)

    def _on_client_state(self, state: WorkerState) -> None:
        if state is WorkerState.FAILED:
            self._refreshing = False
            self.problem = self.client.problem
            self._set_state(SessionState.FAILED)

    def _set_state(self, state: SessionState) -> None:
        if state is not SessionState.FAILED:
            self.problem = None
        if state is not self.state:
            self.state = state
            self.state_changed.emit(state)

    # Cases ------------------------------------------------------------------------------------------------------------

    def add_case(
        self,
        name: str,
        image: Path,
        *,
        copy: bool | None = None,
        check: bool = False,
        on_done: Callable[[CaseInfo], None] | None = None,
        on_error: ErrorCallback | None = None,
    ) -> WorkerRequest:
        """Add an image file or DICOM folder as a case; ``copy`` says whether into the project.

        With ``check`` the image is read first, so that one that cannot be used does not become a case.
        """
        fields = {"case": name, "image": image, "copy": copy, "check": check}
        return self._change("add-case", fields, on_done, on_error)

    def hold_changes(self) -> None:
        """For many new or changed cases in a row: tell of them when ``release_changes`` is called, all at once."""
        if self._held is None:
            self._held = []

    def release_changes(self) -> None:
        """Tell of what was held back, and of changes at once again."""
        held, self._held = self._held, None
        if held and self.state is not SessionState.CLOSED:
            self.cases_changed.emit(held)
            self._ask_for_order()

    def _ask_for_order(self) -> None:
        """Have the cases compared, once for each set of them, so that the ones to annotate first are known."""
        names = frozenset(case.name for case in self.cases)
        if not self.writable or names == self._compared or len(names) < _FEWEST_COMPARED or not self.cases.unsuggested:
            return
        self._compared = names

        def done(answer: Event) -> None:
            if self.state is not SessionState.CLOSED and self.cases.suggest(answer.get("order") or ()):
                self.cases_changed.emit([])

        # It is a service that nobody asked for: when it fails, the cases keep the order of their names.
        self.client.request("suggest", on_done=done, on_error=lambda error: _log.info("No order: %s", error.text))

    def remove_case(
        self, name: str, *, on_done: Callable[[], None] | None = None, on_error: ErrorCallback | None = None
    ) -> WorkerRequest:
        """Take a case out of the project; its image stays, its annotation is kept in ``annotations/previous``."""

        def removed(answer: Event) -> None:
            self.cases.remove(name)
            self._note_revision(answer)
            self.cases_changed.emit([name])
            call_safely(on_done)

        return self._ask("remove-case", {"case": name}, on_done=removed, on_error=on_error)

    def annotate(
        self,
        name: str,
        state: str,
        *,
        seen: int | None = None,
        on_done: Callable[[CaseInfo], None] | None = None,
        on_error: ErrorCallback | None = None,
    ) -> WorkerRequest:
        """Send the mask that was written to ``pending.path(name, state)``; it is kept until it is taken.

        state  "annotated"; "in work" for half-done work, which is not learned from; or "in part" for work of which the
               slices with something drawn on them are done, and learned from
        seen   revision of the annotation that the mask began with, 0 for none: if somebody else has written another one
               since, the user is told

        Raises OSError when there is no such file.
        """
        return self._send_pending(self.pending.put(name, state), on_done, on_error, seen)

    def _send_pending(
        self,
        pending: PendingAnnotation,
        on_done: Callable[[CaseInfo], None] | None = None,
        on_error: ErrorCallback | None = None,
        seen: int | None = None,
    ) -> WorkerRequest:
        def taken(answer: Event) -> None:
            self.pending.taken(pending)  # also when the project was closed meanwhile
            case = self._take_case(answer)
            if case is None:
                return
            self._tell_of_others(answer, case)
            call_safely(on_done, case)
            if pending.state == "in part" and not case.teaches:
                text = _("Nothing can be learned from {case} yet: draw the structures on a slice, in full.")
                self.failed.emit(WorkerError("project", text.format(case=case.name)))

        def refused(error: WorkerError) -> None:
            # A mask that was drawn anew, or taken back, while this request waited its turn is missed by nobody.
            missed = self.pending.is_current(pending)
            (on_error or self.failed.emit)(error if missed else WorkerError("cancelled", error.text))

        fields: dict[str, Any] = {"case": pending.case, "path": pending.path, "author": self.author, "seen": seen}
        if pending.state == "in part":
            fields["unknown"] = "slices"
        else:
            fields["state"] = pending.state
        return self._ask("annotation-changed", fields, on_done=taken, on_error=refused)

    def _send_waiting(self) -> None:
        with suppress(OSError):
            for pending in self.pending.waiting():
                if pending.case in self.cases:
                    self._send_pending(pending)

    def accept(
        self,
        name: str,
        segments: Sequence[str] | None = None,
        *,
        revision: int | None = None,
        seen: int | None = None,
        on_done: Callable[[CaseInfo], None] | None = None,
        on_error: ErrorCallback | None = None,
    ) -> WorkerRequest:
        """Make the proposal the annotation; with ``segments`` (names) only those. Another proposal than the one of
        ``revision``, which the user saw, is refused. ``seen`` as for ``annotate``."""
        chosen = None if segments is None else list(segments)
        fields = {"case": name, "author": self.author, "segments": chosen, "revision": revision, "seen": seen}
        return self._change("accept", fields, on_done, on_error)

    def reject(
        self,
        name: str,
        *,
        on_done: Callable[[CaseInfo], None] | None = None,
        on_error: ErrorCallback | None = None,
    ) -> WorkerRequest:
        """Note that a person refused the proposal."""
        return self._change("reject", {"case": name, "author": self.author}, on_done, on_error)

    def take_back_reject(
        self,
        name: str,
        *,
        on_done: Callable[[CaseInfo], None] | None = None,
        on_error: ErrorCallback | None = None,
    ) -> WorkerRequest:
        """Undo the reject of a proposal; whatever annotation the case has stays."""
        return self._change("take-back-reject", {"case": name}, on_done, on_error)

    def take_back(
        self,
        before: CaseInfo,
        *,
        seen: int | None = None,
        on_done: Callable[[CaseInfo], None] | None = None,
        on_error: ErrorCallback | None = None,
    ) -> WorkerRequest:
        """Undo the last accept of a case, which was as in ``before``; the engine need not have answered that yet.
        ``seen`` as for ``annotate``."""
        name = before.name
        if before.annotation is None:
            return self._change("remove-annotation", {"case": name, "seen": seen}, on_done, on_error)
        # Not "restore-annotation": that makes half-done work a finished annotation.
        path = before.annotation.path.parent / "previous" / before.annotation.path.name
        state = "in work" if before.state == "in work" else "annotated"
        fields = {"case": name, "path": path, "author": self.author, "state": state, "seen": seen}
        return self._change("annotation-changed", fields, on_done, on_error)

    def remove_annotation(
        self,
        name: str,
        *,
        on_done: Callable[[CaseInfo], None] | None = None,
        on_error: ErrorCallback | None = None,
    ) -> WorkerRequest:
        """Take the annotation away; ``restore_annotation`` brings it back."""
        return self._change("remove-annotation", {"case": name}, on_done, on_error)

    def restore_annotation(
        self,
        name: str,
        *,
        on_done: Callable[[CaseInfo], None] | None = None,
        on_error: ErrorCallback | None = None,
    ) -> WorkerRequest:
        """Bring back the annotation that was replaced or removed last."""
        return self._change("restore-annotation", {"case": name, "author": self.author}, on_done, on_error)

    def _on_proposal(self, name: str) -> None:
        def described(answer: Event) -> None:
            self._take_case(answer)
            self.proposal_ready.emit(name)

        self._ask("case", {"case": name}, on_done=described)
        if self.model is None:  # the first proposals come with the first model
            self.refresh()

    # Interactive ------------------------------------------------------------------------------------------------------

    def encode(
        self,
        subject: dict[str, Any],
        *,
        on_done: EventCallback | None = None,
        on_error: ErrorCallback | None = None,
    ) -> WorkerRequest:
        """Have an image ready for prompts. ``subject`` has "case" or "image", and maybe "generalist"."""
        return self.client.request("encode", subject, on_done=on_done, on_error=on_error)

    def prompt(
        self,
        fields: dict[str, Any],
        *,
        on_done: EventCallback | None = None,
        on_error: ErrorCallback | None = None,
    ) -> WorkerRequest:
        """Send prompts, as ``PromptSession`` makes them."""
        return self.client.request("prompt", fields, on_done=on_done, on_error=on_error)

    # Parts of the above -----------------------------------------------------------------------------------------------

    def _change(
        self,
        name: str,
        fields: dict[str, Any],
        on_done: Callable[[CaseInfo], None] | None,
        on_error: ErrorCallback | None,
    ) -> WorkerRequest:
        """A request whose answer describes the changed case."""

        def done(answer: Event) -> None:
            case = self._take_case(answer)
            if case is not None:
                self._tell_of_others(answer, case)
                call_safely(on_done, case)

        return self._ask(name, fields, on_done=done, on_error=on_error)

    def _ask(
        self,
        name: str,
        fields: dict[str, Any],
        *,
        on_done: EventCallback | None = None,
        on_error: ErrorCallback | None = None,
    ) -> WorkerRequest:
        return self.client.request(name, fields, on_done=on_done, on_error=on_error or self.failed.emit)

    def _tell_of_others(self, answer: Event, case: CaseInfo) -> None:
        if answer.get("replaced_unseen"):
            text = _(
                "{case} was annotated from elsewhere, too, while it was open here. What was done here counts; the "
                "other annotation is kept in the folder annotations/previous of the project."
            )
            self.failed.emit(WorkerError("project", text.format(case=case.name)))

    def _take_case(self, answer: Event) -> CaseInfo | None:
        if self.state is SessionState.CLOSED:
            return None
        try:
            case = CaseInfo.from_dict(answer["case"])
        except (KeyError, TypeError, ValueError):
            _log.exception("The description of a case cannot be read.")
            return None
        self.cases.put(case)
        self._note_revision(answer)
        if self._held is None:
            self.cases_changed.emit([case.name])
        else:
            self._held.append(case.name)
        return case

    def _note_revision(self, answer: Event) -> None:
        self.revision = int(answer.get("revision", self.revision))
