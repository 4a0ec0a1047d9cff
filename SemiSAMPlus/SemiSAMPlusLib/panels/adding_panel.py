"""Adding cases: files, folders, DICOM series, volumes of the scene; progress, cancel, and one list of problems."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import qt
import slicer

from ..adding_cases import AddingResult, Candidate, CaseAdding
from ..buttons import allow
from ..file_drop import FileDrop
from ..i18n import _
from ..image_files import ENDINGS, images_in
from ..project_session import ProjectSession
from ..scene.volume_files import file_of_volume, grey_volumes, write_volume
from .panel import Panel
from .volumes_dialog import ask_for_volumes

_SHOWN_PROBLEMS = 12


class AddingPanel(Panel):
    """Wires the button "Add cases", its menu, the progress below it, and what is dropped on the table of cases."""

    def __init__(self, ui: Any) -> None:
        super().__init__(ui)
        self._adding = CaseAdding()
        self._adding.progress.connect(self._on_progress)
        self._adding.finished.connect(self._on_finished)
        self._menu = qt.QMenu(ui.addCasesButton)
        ui.addCasesButton.setMenu(self._menu)
        for text, action in (
            (_("Image files..."), self._on_files),
            (_("All images of a folder..."), self._on_folder),
            (_("DICOM series (folder)..."), self._on_series),
            (_("Volumes of the scene..."), self._on_volumes),
        ):
            self._menu.addAction(text).connect("triggered(bool)", _without_argument(action))
        ui.cancelAddingButton.connect("clicked(bool)", self._on_cancel)
        self._drop = FileDrop(ui.casesTable.viewport(), lambda: not self._why_not(writes=True), self.add_dropped)
        self.show()

    def set_session(self, session: ProjectSession | None) -> None:
        """Follow another project, or none; what was not added yet is forgotten."""
        self._adding.abandon()
        super().set_session(session)

    def show(self) -> None:
        """Bring the buttons up to date."""
        allow(self._ui.addCasesButton, self._why_not(writes=True))
        self._ui.addingFrame.visible = self._adding.busy

    def add_files(self, paths: Sequence[Path]) -> None:
        """Add image files and DICOM folders as cases, named like them."""
        self._add([Candidate.of_path(path) for path in paths])

    def add_dropped(self, paths: Sequence[Path]) -> None:
        """Add files as they are, and of folders all images."""
        self.add_files([image for path in paths for image in (_images_in(path) if path.is_dir() else [path])])

    def add_volumes(self, nodes: Sequence[Any]) -> None:
        """Add volumes of the scene: by their file, or, if there is none that holds them, copied into the project."""
        self._add([_candidate(node) for node in nodes])

    def _add(self, candidates: Sequence[Candidate]) -> None:
        session = self._opened
        if session is not None:
            self._adding.start(session, candidates)
            self.show()

    def _on_files(self) -> None:
        endings = " ".join("*" + ending for ending in ENDINGS)
        filters = _("Images ({endings})").format(endings=endings)
        names = qt.QFileDialog.getOpenFileNames(self._ui.addCasesButton, _("Images"), "", filters)
        self.add_files([Path(name) for name in names or ()])

    def _on_folder(self) -> None:
        folder = qt.QFileDialog.getExistingDirectory(self._ui.addCasesButton, _("A folder of images"))
        if folder:
            self.add_files(_images_in(Path(folder)))

    def _on_series(self) -> None:
        folder = qt.QFileDialog.getExistingDirectory(self._ui.addCasesButton, _("The folder of one DICOM series"))
        if folder:
            self.add_files([Path(folder)])

    def _on_volumes(self) -> None:
        session = self._opened
        if session is None:
            return
        images = {case.image for case in session.cases}
        nodes = [
            node
            for node in grey_volumes(slicer.mrmlScene)
            # What lies in the project is a case already, or was made of one (its uncertainty).
            if (path := file_of_volume(node)) not in images
            and (path is None or not path.is_relative_to(session.project))
        ]
        if not nodes:
            slicer.util.infoDisplay(_("The scene holds no volume that is not a case already."))
            return
        self.add_volumes(ask_for_volumes(nodes, self._ui.addCasesButton))

    def _on_cancel(self, checked: bool = False) -> None:
        self._adding.cancel()
        allow(self._ui.cancelAddingButton, _("It ends after the case that is being added"))

    def _on_progress(self, done: int, total: int, words: str) -> None:
        ui = self._ui
        ui.addingBar.maximum = total
        ui.addingBar.value = done
        ui.addingBar.toolTip = words
        allow(ui.cancelAddingButton, None)

    def _on_finished(self, result: AddingResult) -> None:
        self.show()
        text = result.text()
        if text:
            lines = text.splitlines()
            more = len(lines) - 1 - _SHOWN_PROBLEMS
            shown = lines[: 1 + _SHOWN_PROBLEMS]
            if more > 0:
                shown.append(_("... and {count} more").format(count=more))
            slicer.util.warningDisplay("\n".join(shown), detailedText=text)


def _images_in(folder: Path) -> list[Path]:
    """The images of a folder; the user is told when there are none."""
    try:
        found = images_in(folder)
    except OSError as error:
        text = _("{folder} cannot be read ({reason}).").format(folder=folder, reason=error.strerror or error)
        slicer.util.errorDisplay(text)
        return []
    if not found:
        text = _("{folder} holds no NIfTI, NRRD or MetaImage file and no DICOM series.").format(folder=folder)
        slicer.util.warningDisplay(text)
    return found


def _candidate(node: Any) -> Candidate:
    path = file_of_volume(node)
    if path is not None:
        return Candidate.of_path(path)
    # To compress it would hold up the window for seconds.
    return Candidate(str(node.GetName()), write=lambda file: write_volume(node, file, compressed=False))


def _without_argument(action: Callable[[], None]) -> Callable[..., None]:
    return lambda *arguments: action()
