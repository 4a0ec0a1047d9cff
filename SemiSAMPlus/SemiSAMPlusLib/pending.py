"""Annotations on their way to the engine: files that stay until the engine has taken them into the project.

A mask is written to ``PROJECT/pending/<state>/<case>.seg.nrrd`` first and removed when the engine has answered. If the
engine or Slicer dies in between, the file is there when the project is opened next, and is sent again. So nothing that
a person has drawn is lost, whatever dies.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

# "in part": in work, and learned from as far as the slices with something drawn on them go.
_STATES = ("annotated", "in part", "in work")
_ENDING = ".seg.nrrd"


@dataclass(frozen=True)
class PendingAnnotation:
    """A mask file that waits for the engine; ``version`` tells two writings of the same file apart."""

    case: str
    state: str
    path: Path
    version: tuple[int, ...]


class PendingAnnotations:
    """The waiting files of one project."""

    def __init__(self, project: Path) -> None:
        self._folder = project / "pending"

    def path(self, case: str, state: str) -> Path:
        """Where the mask of ``case`` is to be written; the folder is made, but never that of the project.

        state  "annotated", "in part" or "in work"

        Raises OSError, also when the project's folder is not there any more.
        """
        path = self._path(case, state)
        for folder in (self._folder, path.parent):
            folder.mkdir(exist_ok=True)
        return path

    def put(self, case: str, state: str) -> PendingAnnotation:
        """Take note of the file that was written to ``path``. An older one of the same case is out of date."""
        for other in _STATES:
            if other != state:
                with suppress(OSError):
                    self._path(case, other).unlink(missing_ok=True)
        path = self._path(case, state)
        return PendingAnnotation(case, state, path, _version(path))

    def _path(self, case: str, state: str) -> Path:
        return self._folder / state / f"{case}{_ENDING}"

    def taken(self, pending: PendingAnnotation) -> None:
        """The engine has it: remove the file, unless it has been written anew since."""
        with suppress(OSError):
            if self.is_current(pending):
                pending.path.unlink()
                for folder in (*(self._folder / state for state in _STATES), self._folder):
                    with suppress(OSError):
                        folder.rmdir()  # only when it is empty

    def is_current(self, pending: PendingAnnotation) -> bool:
        """Whether its file is there and is the one that was put; not after another one took its place."""
        with suppress(OSError):
            return _version(pending.path) == pending.version
        return False

    def forget(self, case: str) -> None:
        """The person has taken back what waits of this case."""
        for state in _STATES:
            with suppress(OSError):
                self._path(case, state).unlink(missing_ok=True)

    def waiting(self) -> Iterator[PendingAnnotation]:
        """What is still to be sent, the oldest first."""
        found = []
        for state in _STATES:
            with suppress(OSError):
                for path in (self._folder / state).iterdir():
                    if path.name.endswith(_ENDING) and not path.name.startswith("."):
                        # As the project writes names; some file systems list accents apart from their letters.
                        case = unicodedata.normalize("NFC", path.name[: -len(_ENDING)])
                        found.append(PendingAnnotation(case, state, path, _version(path)))
        yield from sorted(found, key=lambda pending: pending.version)


def _version(path: Path) -> tuple[int, ...]:
    status = path.stat()
    # Some file systems count time in seconds; each writing makes a file of its own, though.
    return status.st_mtime_ns, status.st_size, status.st_ino
