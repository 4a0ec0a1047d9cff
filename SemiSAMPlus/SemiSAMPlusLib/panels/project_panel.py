"""Project: make, open, open again, close, and one to try with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import qt
import slicer

from ..buttons import allow
from ..cases import SegmentInfo
from ..i18n import _
from ..project_session import ProjectSession, SessionState
from ..recent_projects import RecentProjects
from ..sample_data import default_folder
from ..segments_dialog import ask_for_changes, ask_for_segments
from ..worker_messages import WorkerError
from .adding_panel import AddingPanel
from .panel import Panel
from .sample_dialog import ask_for_folder


class ProjectPanel(Panel):
    """Wires the widgets of the section "Project".

    open_project         opens a folder; with segments it makes the project first
    make_sample_project  makes a project to try with in a new folder, and opens it
    close_project        closes the open project; a training that runs saves what it has learned
    close_case           closes the open case and returns what opens it again
    """

    def __init__(
        self,
        ui: Any,
        recent: RecentProjects,
        open_project: Callable[[Path, Sequence[SegmentInfo] | None], None],
        make_sample_project: Callable[[Path], None],
        close_project: Callable[[], None],
        close_case: Callable[[], Callable[[], None]],
    ) -> None:
        super().__init__(ui)
        self._recent, self._open_project, self._make_sample_project = recent, open_project, make_sample_project
        self._close_project, self._close_case = close_project, close_case
        self._activity = ""
        self._adding = AddingPanel(ui)
        self._recent_menu = qt.QMenu(ui.recentButton)
        self._recent_menu.toolTipsVisible = True
        ui.recentButton.setMenu(self._recent_menu)
        self._recent_menu.connect("aboutToShow()", self._fill_recent)
        ui.newProjectButton.connect("clicked(bool)", self._on_new)
        ui.openProjectButton.connect("clicked(bool)", self._on_open)
        ui.closeProjectButton.connect("clicked(bool)", self._on_close)
        ui.tryButton.connect("clicked(bool)", self._on_try)
        ui.segmentsButton.connect("clicked(bool)", self._on_segments)
        self.show()

    def set_session(self, session: ProjectSession | None) -> None:
        """Follow another project, or none."""
        self._adding.set_session(session)
        super().set_session(session)

    def show(self) -> None:
        """Bring the texts up to date."""
        self._ui.projectLabel.text = self._ui.projectLabel.toolTip = self._activity or self._project_in_words()
        allow(self._ui.closeProjectButton, None if self._session is not None else _("No project is open"))
        allow(self._ui.segmentsButton, self._why_not(writes=True))
        allow(self._ui.tryButton, self._activity or None)
        self._ui.tryButton.visible = self._session is None

    def set_activity(self, text: str) -> None:
        """Say what is being made for a project that is not there yet; "" when it is done."""
        self._activity = text
        self.show()

    def add_files(self, paths: Sequence[Path]) -> None:
        """Add image files and DICOM folders as cases, named like them."""
        self._adding.add_files(paths)

    def make_sample_project(self, folder: Path) -> None:
        """Make a project to try with, and open it, unless the user wants to stay with the open one."""
        if self._may_leave():
            self._make_sample_project(folder)

    def _project_in_words(self) -> str:
        session = self._session
        if session is None:
            return _("No project is open.")
        if session.state is SessionState.OPENING:
            return _("Opening {folder}...").format(folder=session.project)
        if session.state is not SessionState.OPEN:
            return _("{folder} could not be opened.").format(folder=session.project)
        names, count = ", ".join(segment.name for segment in session.segments), len(session.cases)
        cases = _("1 case") if count == 1 else _("{count} cases")
        structures = _("structure: {names}") if len(session.segments) == 1 else _("structures: {names}")
        return _("{folder}: {cases}; {structures}").format(
            folder=session.project, cases=cases.format(count=count), structures=structures.format(names=names)
        )

    def _fill_recent(self) -> None:
        self._recent_menu.clear()
        there = set(self._recent.existing())
        for path in self._recent.all():
            action = self._recent_menu.addAction(str(path))
            action.enabled = path in there
            if not action.enabled:
                action.toolTip = _("This folder is not there, or no project any more.")
            action.connect("triggered(bool)", lambda checked=False, chosen=path: self._on_recent(chosen))
        if not self._recent.all():
            self._recent_menu.addAction(_("No project was open yet")).enabled = False

    def _on_recent(self, path: Path) -> None:
        if self._may_leave():
            self._open_project(path, None)

    def _on_new(self, checked: bool = False) -> None:
        if not self._may_leave():
            return
        folder = qt.QFileDialog.getExistingDirectory(self._ui.newProjectButton, _("An empty folder for the project"))
        if not folder:
            return
        if _is_project(Path(folder)):
            if slicer.util.confirmYesNoDisplay(_("{folder} is a project already. Open it?").format(folder=folder)):
                self._open_project(Path(folder), None)
            return
        if not _is_empty(Path(folder)):
            text = _("{folder} holds other files; the project would lie among them. Make it there?")
            if not slicer.util.confirmYesNoDisplay(text.format(folder=folder)):
                return
        segments = ask_for_segments(self._ui.newProjectButton)
        if segments:
            self._open_project(Path(folder), segments)

    def _on_open(self, checked: bool = False) -> None:
        if not self._may_leave():
            return
        folder = qt.QFileDialog.getExistingDirectory(self._ui.openProjectButton, _("The folder of the project"))
        if folder and not _is_project(Path(folder)):
            text = _("{folder} is not a project: choose a folder with a project.json, or press New.")
            slicer.util.errorDisplay(text.format(folder=folder))
        elif folder:
            self._open_project(Path(folder), None)

    def _on_close(self, checked: bool = False) -> None:
        if self._may_leave():
            self._close_project()

    def _may_leave(self) -> bool:
        """Whether the open project may be closed: the user is asked while it learns."""
        session = self._session
        if session is None or not session.jobs.training.active:
            return True
        question = _("Training runs: stop it and close the project? It goes on when you press Learn the next time.")
        return bool(slicer.util.confirmOkCancelDisplay(question))

    def _on_segments(self, checked: bool = False) -> None:
        session = self._opened
        if session is None:
            return
        masks = any(case.annotation is not None or case.proposal is not None for case in session.cases)
        used = masks or session.model is not None
        changed = ask_for_changes(session.segments, used=used, parent=self._ui.segmentsButton)
        if changed is not None:
            # The nodes of the open case show the old ones; what was painted is kept.
            reopen = self._close_case()
            session.change_segments(changed, on_done=reopen, on_error=lambda error: self._on_refused(error, reopen))

    def _on_refused(self, error: WorkerError, reopen: Callable[[], None]) -> None:
        slicer.util.errorDisplay(error.text)
        reopen()

    def _on_try(self, checked: bool = False) -> None:
        folder = ask_for_folder(default_folder(), self._ui.tryButton)
        if folder is not None:
            self.make_sample_project(folder)


def _is_project(folder: Path) -> bool:
    return (folder / "project.json").exists()


def _is_empty(folder: Path) -> bool:
    try:
        return not any(folder.iterdir())
    except OSError:  # told by the engine, with the reason
        return True
