"""Models for colleagues: the project's model as one file, and one from a file into a project."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer

from ..buttons import allow
from ..i18n import _
from ..project_session import ProjectSession
from ..worker_messages import Event, WorkerError
from .model_dialog import ask_for_card
from .panel import Panel

SUFFIX = ".semisam"


class ModelPanel(Panel):
    """Wires the lower part of the section "Segment".

    open_model  makes a project in a folder from a model file, and opens it
    tell        shows an error to the user
    """

    def __init__(self, ui: Any, open_model: Callable[[Path, Path], None], tell: Callable[[str], None]) -> None:
        super().__init__(ui)
        self._open_model, self._tell = open_model, tell
        self._activity = self._news = ""
        ui.exportModelButton.connect("clicked(bool)", self._on_export)
        ui.importModelButton.connect("clicked(bool)", self._on_import)
        self.show()

    def set_session(self, session: ProjectSession | None) -> None:
        """Follow another project, or none."""
        self._activity = self._news = ""
        super().set_session(session)

    def show(self) -> None:
        """Bring buttons and words up to date."""
        ui, session = self._ui, self._session
        busy = _("A model is on its way: wait") if self._activity else None
        has_model = self._opened is not None and self._opened.model is not None
        no_model = None if has_model else _("There is no model yet: learn, or import one")
        allow(ui.exportModelButton, self._why_not() or no_model or busy)
        # Without a project, a new one is made for the model.
        allow(ui.importModelButton, (None if session is None else self._why_not(writes=True)) or busy)
        ui.modelBar.visible = bool(self._activity)
        ui.modelLabel.text = self._activity or self._news or self._model_in_words()

    def _model_in_words(self) -> str:
        if self._opened is None:
            return ""
        return _("Model: {name}").format(name=self._opened.model) if self._opened.model else _("There is no model yet.")

    # Export -----------------------------------------------------------------------------------------------------------

    def _on_export(self, checked: bool = False) -> None:
        session = self._opened
        if session is None:
            return
        card = ask_for_card(self._ui.exportModelButton)
        if card is None:
            return
        filters = _("Models ({endings})").format(endings=f"*{SUFFIX}")
        proposed = f"{session.model}{SUFFIX}"
        name = qt.QFileDialog.getSaveFileName(self._ui.exportModelButton, _("Export the model"), proposed, filters)
        if name:
            path = Path(name if name.lower().endswith(SUFFIX) else f"{name}{SUFFIX}")
            self._begin(_("The model is being exported..."))
            session.jobs.export_model(path, card, on_done=self._on_exported, on_error=self._on_error)

    def _on_exported(self, answer: Event) -> None:
        text = _("The model is in {path} ({size} MB).")
        size = f"{float(answer.get('bytes', 0)) / 1e6:.1f}"
        self._end(text.format(path=answer.get("file"), size=size))

    # Import -----------------------------------------------------------------------------------------------------------

    def _on_import(self, checked: bool = False) -> None:
        button = self._ui.importModelButton
        filters = _("Models ({endings})").format(endings=f"*{SUFFIX}")
        name = qt.QFileDialog.getOpenFileName(button, _("Import a model"), "", filters)
        if not name:
            return
        session = self._opened
        if session is not None:
            self._begin(_("The file is being read..."))
            session.jobs.show_model(
                Path(name), on_done=lambda answer: self._on_shown(Path(name), answer), on_error=self._on_error
            )
            return
        folder = qt.QFileDialog.getExistingDirectory(button, _("An empty folder for a project with this model"))
        if folder and (Path(folder) / "project.json").exists():
            self._tell(_("{folder} is a project already: open it, then import the model.").format(folder=folder))
        elif folder:
            self._open_model(Path(folder), Path(name))

    def _on_shown(self, path: Path, answer: Event) -> None:
        session = self._opened
        if session is None:
            return
        problem = str(answer.get("problem") or "")
        if problem:
            self._end("")
            self._tell(_("The model {file} does not fit this project: {problem}").format(file=path, problem=problem))
            return
        replaces = bool(answer.get("replaces"))
        question = (
            _("Use this model instead of the project's own, which is kept as a file in its folder models/previous?")
            if replaces
            else _("Use this model in the project?")
        )
        if not slicer.util.confirmOkCancelDisplay(f"{question}\n\n{answer.get('text', '')}"):
            self._end("")
            return
        self._begin(_("The model is being imported..."))
        session.jobs.import_model(path, replace=replaces, on_done=self._on_imported, on_error=self._on_error)

    def _on_imported(self, answer: Event) -> None:
        kept = answer.get("kept")
        text = _("The imported model is in use.")
        if kept:
            text += " " + _("The one before is in {path}.").format(path=kept)
        self._end(text)
        if self._session is not None:
            self._session.jobs.training.reload_history()
            self._session.refresh()

    # Both -------------------------------------------------------------------------------------------------------------

    def _begin(self, activity: str) -> None:
        self._activity, self._news = activity, ""
        self.show()

    def _end(self, news: str) -> None:
        self._activity, self._news = "", news
        self.show()

    def _on_error(self, error: WorkerError) -> None:
        self._end("")
        if not error.cancelled:
            self._tell(error.text)
