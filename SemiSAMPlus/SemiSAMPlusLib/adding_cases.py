"""Adds many images to a project, one after the other; what goes wrong with one does not stop the others."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .cases import CaseInfo
from .i18n import _
from .image_files import case_name, clean_name, free_name
from .project_session import ProjectSession, SessionState
from .signals import Signal
from .worker_messages import WorkerError

# The table is filled anew for each change that is told.
_TOLD_TOGETHER = 25


@dataclass(frozen=True)
class Candidate:
    """One image that may become a case.

    words  what the user calls it, for the list of problems
    image  a file or DICOM folder
    write  for a volume that lies in no file: writes it into the file that it is given, or raises OSError
    """

    words: str
    image: Path | None = None
    write: Callable[[Path], None] | None = None

    @classmethod
    def of_path(cls, path: Path) -> Candidate:
        """An image file, or a folder with one DICOM series."""
        return cls(str(path), path)


@dataclass
class AddingResult:
    """What came of it: names of new cases, (image, sentence) of those that could not be used, and what was left out
    because the user cancelled."""

    added: list[str] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    left_out: int = 0

    def text(self) -> str:
        """The problems in words, one line for each; empty when there are none."""
        if not self.problems:
            return ""
        added = len(self.added)
        head = (
            _("1 image was added, {count} could not be used:")
            if added == 1
            else _("{added} images were added, {count} could not be used:")
        ).format(added=added, count=len(self.problems))
        # The sentence usually names the image.
        lines = [text if words in text else f"{words}: {text}" for words, text in self.problems]
        return "\n".join([head, *(f"- {line}" for line in lines)])


class CaseAdding:
    """One request at a time, so that it can be cancelled between two and the table keeps up.

    Signals: ``progress(done, total, words)`` before each image, ``finished(AddingResult)``.
    """

    def __init__(self) -> None:
        self.progress = Signal()
        self.finished = Signal()
        self._session: ProjectSession | None = None
        self._waiting: list[Candidate] = []
        self._total = 0
        self._result = AddingResult()

    @property
    def busy(self) -> bool:
        """Whether images are being added."""
        return self._session is not None

    def start(self, session: ProjectSession, candidates: Sequence[Candidate]) -> None:
        """Add these; when others are being added, they come after them."""
        self._waiting += candidates
        self._total += len(candidates)
        if not self.busy and self._waiting:
            self._session = session
            session.hold_changes()
            self._next()

    def cancel(self) -> None:
        """Add no more; the image that is being read now still becomes a case."""
        self._result.left_out += len(self._waiting)
        self._waiting.clear()

    def abandon(self) -> None:
        """The project is being closed: forget everything, nobody is told."""
        if self._session is not None:
            self._session.release_changes()
        self._session, self._waiting, self._total, self._result = None, [], 0, AddingResult()

    def _next(self) -> None:
        session = self._session
        if session is None:
            return
        if session.state is not SessionState.OPEN:
            text = _("it was not added, because the engine stopped")
            self._result.problems += [(candidate.words, text) for candidate in self._waiting]
            self._waiting.clear()
        if not self._waiting:
            result = self._result
            self.abandon()
            self.finished.emit(result)
            return
        candidate = self._waiting.pop(0)
        self.progress.emit(self._total - len(self._waiting) - 1, self._total, candidate.words)
        self._add(session, candidate)

    def _add(self, session: ProjectSession, candidate: Candidate) -> None:
        temporary: Path | None = None

        def ended() -> None:
            if temporary is not None:
                shutil.rmtree(temporary, ignore_errors=True)
            if self._session is session:
                self._next()

        def done(case: CaseInfo) -> None:
            self._result.added.append(case.name)
            if len(self._result.added) % _TOLD_TOGETHER == 0:
                session.release_changes()
                session.hold_changes()
            ended()

        def failed(error: WorkerError) -> None:
            self._result.problems.append((candidate.words, error.text))
            ended()

        taken = [case.name for case in session.cases]
        if candidate.image is not None:
            name = free_name(case_name(candidate.image), taken, candidate.image.parent.name)
            session.add_case(name, candidate.image, check=True, on_done=done, on_error=failed)
            return
        name = clean_name(candidate.words)
        if free_name(name, taken) != name:
            text = _('the project has a case "{name}" already: rename the volume if it is another one').format(
                name=name
            )
            failed(WorkerError("project", text))
            return
        temporary = Path(tempfile.mkdtemp(prefix="SemiSAMPlus-"))
        try:
            assert candidate.write is not None
            candidate.write(temporary / f"{name}.nrrd")
        except OSError as error:
            failed(WorkerError("volume", str(error)))
            return
        session.add_case(name, temporary / f"{name}.nrrd", copy=True, check=True, on_done=done, on_error=failed)
