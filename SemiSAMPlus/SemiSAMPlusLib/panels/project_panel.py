"""Project: make, open, open again; add cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import qt
import slicer

from ..cases import SegmentInfo
from ..i18n import _
from ..project_session import SessionState
from ..recent_projects import RecentProjects
from ..segments_dialog import ask_for_segments
from .panel import Panel

_IMAGE_ENDINGS = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")


class ProjectPanel(Panel):
    """Wires the widgets of the section "Project".

    open_project    opens a folder; with segments it makes the project first
    """

    def __init__(
        self,
        ui: Any,
        recent: RecentProjects,
        open_project: Callable[[Path, Sequence[SegmentInfo] | None], None],
    ) -> None:
        super().__init__(ui)
        self._recent, self._open_project = recent, open_project
        self._recent_menu = qt.QMenu(ui.recentButton)
        ui.recentButton.setMenu(self._recent_menu)
        self._recent_menu.connect("aboutToShow()", self._fill_recent)
        self._add_menu = qt.QMenu(ui.addCasesButton)
        ui.addCasesButton.setMenu(self._add_menu)
        for text, action in (
            (_("Image files..."), self._on_add_files),
            (_("All images of a folder..."), self._on_add_folder),
            (_("DICOM series (folder)..."), self._on_add_series),
            (_("Volumes of the scene"), self._on_add_loaded),
        ):
            self._add_menu.addAction(text).connect("triggered(bool)", _without_argument(action))
        ui.newProjectButton.connect("clicked(bool)", self._on_new)
        ui.openProjectButton.connect("clicked(bool)", self._on_open)
        self.show()

    def show(self) -> None:
        """Bring the texts up to date."""
        ui, session = self._ui, self._session
        ready = self._opened is not None
        ui.addCasesButton.enabled = ready
        ui.addCasesButton.toolTip = (
            _("Add image files, a folder, DICOM series or volumes of the scene as cases")
            if ready
            else _("Open a project first")
        )
        if session is None:
            ui.projectLabel.text = _("No project is open.")
        elif session.state is SessionState.OPENING:
            ui.projectLabel.text = _("Opening {folder}...").format(folder=session.project)
        elif session.state is SessionState.OPEN:
            names = ", ".join(segment.name for segment in session.segments)
            ui.projectLabel.text = _("{folder}: {count} cases; segments: {names}").format(
                folder=session.project, count=len(session.cases), names=names
            )
        else:
            ui.projectLabel.text = _("{folder} could not be opened.").format(folder=session.project)

    def add_files(self, paths: Sequence[Path]) -> None:
        """Add images as cases, named like their files."""
        if self._session is not None:
            for path in paths:
                self._session.add_case(case_name(path), path)

    def _fill_recent(self) -> None:
        self._recent_menu.clear()
        for path in self._recent.existing():
            action = self._recent_menu.addAction(str(path))
            action.connect("triggered(bool)", lambda checked=False, chosen=path: self._open_project(chosen, None))

    def _on_new(self, checked: bool = False) -> None:
        folder = qt.QFileDialog.getExistingDirectory(self._ui.newProjectButton, _("An empty folder for the project"))
        if not folder:
            return
        if (Path(folder) / "project.json").exists():
            text = _("{folder} is a project already. Open it?").format(folder=folder)
            if slicer.util.confirmYesNoDisplay(text):
                self._open_project(Path(folder), None)
            return
        segments = ask_for_segments(self._ui.newProjectButton)
        if segments:
            self._open_project(Path(folder), segments)

    def _on_open(self, checked: bool = False) -> None:
        folder = qt.QFileDialog.getExistingDirectory(self._ui.openProjectButton, _("The folder of the project"))
        if folder and not (Path(folder) / "project.json").exists():
            slicer.util.errorDisplay(
                _("{folder} is not a project: choose a folder with a project.json, or press New.").format(folder=folder)
            )
        elif folder:
            self._open_project(Path(folder), None)

    def _on_add_files(self) -> None:
        endings = " ".join("*" + ending for ending in _IMAGE_ENDINGS)
        names = qt.QFileDialog.getOpenFileNames(self._ui.addCasesButton, _("Images"), "", _("Images") + f" ({endings})")
        self.add_files([Path(name) for name in names or ()])

    def _on_add_folder(self) -> None:
        folder = qt.QFileDialog.getExistingDirectory(self._ui.addCasesButton, _("A folder of images"))
        if not folder:
            return
        found = sorted(path for path in Path(folder).iterdir() if path.name.lower().endswith(_IMAGE_ENDINGS))
        if not found:
            slicer.util.warningDisplay(_("{folder} holds no NIfTI, NRRD or MetaImage file.").format(folder=folder))
        self.add_files(found)

    def _on_add_series(self) -> None:
        folder = qt.QFileDialog.getExistingDirectory(self._ui.addCasesButton, _("The folder of one DICOM series"))
        if folder:
            self.add_files([Path(folder)])

    def _on_add_loaded(self) -> None:
        """Volumes of the scene that lie in a file, as they are there."""
        paths, without = [], []
        for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
            storage = node.GetStorageNode()
            name = storage.GetFileName() if storage is not None else None
            (paths if name and Path(name).exists() else without).append(Path(name) if name else node.GetName())
        if without:
            names = ", ".join(str(name) for name in without)
            slicer.util.warningDisplay(_("These volumes are not saved in a file yet: {names}").format(names=names))
        self.add_files([path for path in paths if isinstance(path, Path)])


def case_name(path: Path) -> str:
    """The name of an image file without its ending; of a folder, its own name."""
    name = path.name
    for ending in sorted(_IMAGE_ENDINGS, key=len, reverse=True):
        if name.lower().endswith(ending) and len(name) > len(ending):
            return name[: -len(ending)]
    return name


def _without_argument(action: Callable[[], None]) -> Callable[..., None]:
    return lambda *arguments: action()
