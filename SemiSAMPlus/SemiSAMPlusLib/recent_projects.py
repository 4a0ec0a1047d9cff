"""The projects that were open last, kept in the application's settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

_KEY = "SemiSAMPlus/RecentProjects"
_MOST = 10


class Settings(Protocol):
    """The two calls of ``QSettings`` that are needed."""

    def value(self, key: str) -> Any:
        """The value, or None. Lists come back as tuples, and a list of one text may come back as that text."""

    def setValue(self, key: str, value: Any) -> None:
        """Keep a value."""


class RecentProjects:
    """The folders of the last projects, the latest first."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def all(self) -> list[Path]:
        """All of them, also those that are not there any more."""
        kept = self._settings.value(_KEY)
        texts = [kept] if isinstance(kept, str) else list(kept or ())
        return [Path(text) for text in texts if isinstance(text, str) and text]

    def existing(self) -> list[Path]:
        """Those that are still projects."""
        return [path for path in self.all() if (path / "project.json").is_file()]

    def add(self, project: Path) -> None:
        """Put a project in the first place."""
        self._keep([project, *(path for path in self.all() if path != project)])

    def remove(self, project: Path) -> None:
        """Forget a project; its folder stays."""
        self._keep([path for path in self.all() if path != project])

    def _keep(self, projects: list[Path]) -> None:
        self._settings.setValue(_KEY, [str(path) for path in projects[:_MOST]])
