"""project.json and the transactions on it: lock, read again, change, write atomically.

Knows nothing of what a case means; ``project.py`` does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from semisam.errors import LockError, ProjectError
from semisam.files.atomic import patiently, rename, temporary_beside, write_bytes, write_json
from semisam.project import files
from semisam.project.lock import FileLock, ProjectLock
from semisam.project.schema import SCHEMA, Case, Document, parse, render, schema_of
from semisam.segments import Segment

_NAME, _BACKUP = "project.json", "project.previous.json"
_PLACE = "project.place.json"  # not in project.json, which earlier versions must be able to read


@dataclass
class Draft:
    """Cases and segments as they will be after a transaction, and what to do with files once project.json says so."""

    cases: dict[str, Case]
    segments: tuple[Segment, ...]
    afterwards: list[Callable[[], None]] = field(default_factory=list)


class Store:
    """The document of one project folder: a snapshot, and the way to change it."""

    def __init__(self, folder: Path, document: Document) -> None:
        self.folder = folder
        # One attribute for both, so that two threads cannot leave the document of one with the signature of the other.
        self._read: tuple[Document, tuple[int, ...]] = (document, ())

    @property
    def document(self) -> Document:
        return self._read[0]

    @classmethod
    def create(cls, folder: Path, document: Document) -> Store:
        """Make the folders and project.json. Raises ProjectError where a project is already."""
        try:
            for name in ("", *files.FOLDERS):
                (folder / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ProjectError(f'Cannot make the project folder "{folder}" ({reason(error)}).') from error
        store = cls(folder, document)
        with ProjectLock(folder) as lock:
            if (folder / _NAME).exists():
                raise ProjectError(f'"{folder}" already is a project: open it, or choose another folder.')
            store._write(document, lock)
        return store

    @classmethod
    def open(cls, folder: Path) -> Store:
        """Read project.json and clear away what killed programs left. Never waits for another program."""
        signature = _signature(folder)
        store = cls(folder, _read_document(folder))
        store._read = (store.document, signature)
        files.clean(folder)
        if files.has_staged(folder):
            with suppress(LockError):  # a program at work there, or a read-only folder
                store.settle(timeout=0.0)
        return store

    def reload(self) -> bool:
        """Read project.json again; True when the document has changed. Raises ProjectError."""
        signature = _signature(self.folder)
        before, known = self._read
        if signature and signature == known:
            return False
        self._read_again()
        return self.document != before

    def _read_again(self) -> None:
        """Read project.json whatever its date: on a network drive that may be told as it was seconds ago, and what is
        written under the lock must build on what is there."""
        signature = _signature(self.folder)
        self._read = (_read_document(self.folder), signature)

    def settle(self, timeout: float = 30.0) -> None:
        """Finish or undo what killed transactions left. Raises LockError, ProjectError."""
        lock = ProjectLock(self.folder)
        lock.acquire(timeout)
        try:
            self._read_again()
            files.settle(self.folder, self.document)
        except OSError as error:
            raise self._unwritable(error) from error
        finally:
            lock.release()

    @contextmanager
    def transaction(self) -> Iterator[Draft]:
        """Change cases or segments of the draft in the block; they are written when it ends without an error."""
        with ProjectLock(self.folder) as lock:
            self._read_again()
            try:
                files.settle(self.folder, self.document)
                draft = Draft(dict(self.document.cases), self.document.segments)
                yield draft
                document = replace(
                    self.document, cases=draft.cases, segments=draft.segments, revision=self.document.revision + 1
                )
                self._write(document, lock)
                files.settle(self.folder, document)
                for action in draft.afterwards:
                    action()
            except OSError as error:
                raise self._unwritable(error) from error

    def _write(self, document: Document, lock: FileLock) -> None:
        """Write project.json, and keep the one before for a person who has to repair a damaged one by hand."""
        path = self.folder / _NAME
        with suppress(FileNotFoundError):
            before = path.read_bytes()
            version = schema_of(before)
            if version is not None and version < SCHEMA:
                write_bytes(self.folder / f"project.schema-{version}.json", before)
            temporary = temporary_beside(self.folder / _BACKUP)
            temporary.write_bytes(before)  # not flushed to the disk: a convenience, and every change would pay for it
            rename(temporary, self.folder / _BACKUP)
        if not lock.held():
            raise LockError(
                f'The lock "{lock.path}" was removed while this program was changing the project: nothing was changed, '
                "try again."
            )
        write_json(path, render(document, self.folder))
        self._read = (document, _signature(self.folder))
        self._note_place(document)

    def _note_place(self, document: Document) -> None:
        """Note where the images beside the project are, for the day on which it is moved without them."""
        place = self.folder.parent
        if _noted_place(self.folder) != place and all(case.image.exists() for case in document.cases.values()):
            with suppress(OSError):
                write_json(self.folder / _PLACE, {"beside": str(place)})

    def _unwritable(self, error: OSError) -> ProjectError:
        return ProjectError(
            f'Cannot write in the project "{self.folder}" ({reason(error)}): check the free space and the permissions, '
            "then try again."
        )


def reason(error: OSError) -> str:
    """What the operating system complained about, with the file where it is known."""
    text = error.strerror or str(error)
    return f'{text}: "{error.filename}"' if error.filename else text


def _signature(folder: Path) -> tuple[int, ...]:
    """Changes whenever project.json is replaced or edited; empty when it is not there."""
    try:
        status = (folder / _NAME).stat()
    except OSError:
        return ()
    return (status.st_mtime_ns, status.st_size, status.st_ino)


def _noted_place(folder: Path) -> Path | None:
    """The folder that the project lay in when it was last written; None when that is not known."""
    try:
        return Path(json.loads((folder / _PLACE).read_bytes())["beside"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _read_document(folder: Path) -> Document:
    path = folder / _NAME
    try:
        text = patiently(path.read_bytes).decode("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        if path.with_name(_BACKUP).exists():
            raise ProjectError(
                f'"{folder}" has lost its {_NAME}: rename "{_BACKUP}" in it, the state before the last change, to '
                f'"{_NAME}".'
            ) from None
        hint = "" if folder.is_dir() else ", the folder does not exist"
        raise ProjectError(
            f'"{folder}" is no project (it has no {_NAME}{hint}): check the path, or make one with "semisam init".'
        ) from None
    except UnicodeDecodeError as error:
        raise _damaged(path, "it is no UTF-8 text") from error
    except OSError as error:
        raise ProjectError(f'Cannot read "{path}" ({reason(error)}): check its permissions.') from error
    try:
        return parse(text, folder, _noted_place(folder))
    except ProjectError as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, why: str) -> ProjectError:
    remedy = "correct the file"
    if path.with_name(_BACKUP).exists():
        remedy += f', or put "{_BACKUP}", which holds the state before the last change, in its place'
    return ProjectError(f'Cannot use "{path}": {why.rstrip(".")}. To repair it, {remedy}.')
