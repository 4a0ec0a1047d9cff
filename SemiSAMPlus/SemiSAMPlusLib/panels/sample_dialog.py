"""The dialog that asks where the project to try with goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ctk
import qt

from ..i18n import _


def ask_for_folder(proposed: Path, parent: Any = None) -> Path | None:
    """Let the user choose a new or empty folder, or None when the dialog is cancelled."""
    dialog = SampleDialog(proposed, parent)
    return dialog.folder() if dialog.window.exec() else None


class SampleDialog:
    """Says what will be made, and takes a folder that is empty or does not exist."""

    def __init__(self, proposed: Path, parent: Any = None) -> None:
        self.window = qt.QDialog(parent)
        self.window.setWindowTitle(_("Try SemiSAM+"))
        self.window.minimumWidth = 480
        layout = qt.QVBoxLayout(self.window)
        hint = qt.QLabel(
            _(
                "A small project of eight made-up volumes, two of them annotated, is written into this folder "
                "(less than 1 MB). Nothing is downloaded."
            )
        )
        hint.setWordWrap(True)
        layout.addWidget(hint)
        self.path = ctk.ctkPathLineEdit()
        self.path.filters = qt.QDir.Dirs | qt.QDir.NoDotAndDotDot
        self.path.setCurrentPath(str(proposed))
        layout.addWidget(self.path)
        self.problem = qt.QLabel("")
        self.problem.setWordWrap(True)
        layout.addWidget(self.problem)
        self._buttons = qt.QDialogButtonBox(qt.QDialogButtonBox.Ok | qt.QDialogButtonBox.Cancel)
        self._buttons.connect("accepted()", self.window.accept)
        self._buttons.connect("rejected()", self.window.reject)
        layout.addWidget(self._buttons)
        self.path.connect("currentPathChanged(QString)", self._on_path)
        self._on_path()

    def folder(self) -> Path:
        """The folder as it is typed."""
        return Path(str(self.path.currentPath)).expanduser()

    def _on_path(self, path: str = "") -> None:
        problem = self._check()
        self.problem.text = problem
        self._buttons.button(qt.QDialogButtonBox.Ok).setEnabled(not problem)

    def _check(self) -> str:
        folder = self.folder()
        if not folder.is_absolute():
            return _("Name a folder with its full path.")
        try:
            taken = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
        except OSError as error:
            return _("{folder} cannot be read ({reason}).").format(folder=folder, reason=error.strerror or error)
        return _("{folder} is not empty: choose another one.").format(folder=folder) if taken else ""
