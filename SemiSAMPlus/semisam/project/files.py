"""The mask files of a project: how a new file and its entry in project.json change together.

A transaction has to replace a file and the entry that describes it, and can be killed between the two. So the new file
is first given a *staged* name that holds the revision of its entry, then project.json is written (this is the moment
that counts), then the file gets its real name. Whoever finds a staged file later knows what to do: if project.json has
that revision, the rename is still to be done; if not, the change never happened and the file is removed.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

from semisam.files.atomic import copy_file, move, remove_orphans, rename
from semisam.project.schema import Case, Document, Record

ANNOTATIONS, PROPOSALS, PREVIOUS, IMAGES = "annotations", "proposals", "annotations/previous", "images"
EARLIER = f"{PREVIOUS}/earlier"  # a folder of its own: "a.1.seg.nrrd" may be that of a case "a.1", too
MODELS, CACHE, LOG = "models", "cache", "log"
FOLDERS = (ANNOTATIONS, PROPOSALS, PREVIOUS, IMAGES, MODELS, CACHE, LOG)
_ENDING = ".seg.nrrd"
_KEPT = 5  # earlier annotations of a case
_STAGED = re.compile(r"\.staged-(\d+)-(.+)", re.DOTALL)


def mask_path(folder: str, name: str) -> str:
    """Where the mask of case ``name`` lies, below the project folder."""
    return f"{folder}/{name}{_ENDING}"


def uncertainty_path(name: str) -> str:
    return f"{PROPOSALS}/{name}.uncertainty.nii.gz"


def staged_path(project: Path, path: str, revision: int) -> Path:
    """Where the file ``path`` of ``revision`` waits for its entry in project.json to be written."""
    pure = PurePosixPath(path)
    return project / pure.parent / f".staged-{revision}-{pure.name}"


def previous_path(project: Path, path: str) -> Path:
    """Where the annotation ``path`` is kept when a newer one replaces it."""
    return project / PREVIOUS / PurePosixPath(path).name


def settle(project: Path, document: Document) -> None:
    """Finish or undo what killed transactions left; the project lock must be held. Raises OSError."""
    records = list(_records(document.cases.values()))
    awaited = {(_composed(path), record.revision): path for record in records for path in paths(record)}
    for folder, staged in _staged_files(project):
        match = _STAGED.fullmatch(staged.name)
        revision, name = (int(match[1]), match[2]) if match else (0, "")
        # Some file systems tell another spelling of an accent than the one that a file was given.
        path = awaited.get((_composed(f"{folder}/{name}"), revision))
        if path is None:
            staged.unlink(missing_ok=True)
            continue
        present = project / path
        # The same mask once more must not push out the one before it.
        if folder == ANNOTATIONS and present.exists() and file_hash(present) != file_hash(staged):
            copy_file(present, previous_path(project, path))
            _keep_earlier(project, path, revision - 1)
        rename(staged, project / path)


def clean(project: Path) -> None:
    """Remove the temporaries of killed writers everywhere in the project; those of living ones stay."""
    for folder in (project, *(project / name for name in (*FOLDERS, EARLIER))):
        remove_orphans(folder)


def has_staged(project: Path) -> bool:
    return any(True for _ in _staged_files(project))


def paths(record: Record) -> list[str]:
    """The files of one record, below the project folder."""
    return [record.path] if record.uncertainty is None else [record.path, record.uncertainty]


def file_hash(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal digits. Raises OSError."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def discard(path: Path) -> None:
    """Remove a file or folder that is no longer wanted; what cannot be removed stays, and does no harm."""
    with suppress(OSError):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _records(cases: Iterable[Case]) -> Iterator[Record]:
    return (record for case in cases for record in (case.annotation, case.proposal) if record is not None)


def _composed(path: str) -> str:
    return unicodedata.normalize("NFC", path)


def _staged_files(project: Path) -> Iterator[tuple[str, Path]]:
    for folder in (ANNOTATIONS, PROPOSALS):
        with suppress(OSError):
            for path in list((project / folder).iterdir()):
                if _STAGED.fullmatch(path.name):
                    yield folder, path


def is_staged(project: Path, record: Record) -> bool:
    """Whether a killed program left a file of this record under its staged name."""
    return any(staged_path(project, path, record.revision).exists() for path in paths(record))


def retire(project: Path, annotation: Record) -> None:
    """Keep an annotation that goes out of use among the previous ones; one that is missing already is no error."""
    with suppress(FileNotFoundError):
        _keep_earlier(project, annotation.path, annotation.revision)
        move(project / annotation.path, previous_path(project, annotation.path))


def _keep_earlier(project: Path, path: str, revision: int) -> None:
    """Keep the present annotation ``path`` under its revision, and of all that were kept so the last few."""
    name, folder = PurePosixPath(path).name.removesuffix(_ENDING), project / EARLIER
    folder.mkdir(parents=True, exist_ok=True)
    copy_file(project / path, folder / f"{name}.{revision}{_ENDING}")
    ours = re.compile(rf"{re.escape(_composed(name))}\.\d+{re.escape(_ENDING)}")
    kept = [file for file in folder.iterdir() if ours.fullmatch(_composed(file.name))]
    # By date, because a case that was removed and came again counts its revisions anew.
    for file in sorted(kept, key=lambda file: file.stat().st_mtime_ns)[:-_KEPT]:
        discard(file)


def problems(project: Path, record: Record, subject: str) -> list[str]:
    """What is wrong with the files of one record, in sentences that begin with ``subject``."""
    try:
        missing = [path for path in paths(record) if not (project / path).exists()]
        if missing:
            return [f'{subject} lacks its file "{project / missing[0]}".']
        if file_hash(project / record.path) != record.sha256:
            return [f'{subject} was changed by something else than this program: "{project / record.path}".']
    except OSError as error:
        return [f'{subject} cannot be read ({error.strerror}): "{project / record.path}".']
    return []
