"""Making a project of folders, and adding to one: images by case name, the annotations that may be used, all checked.

The project is built beside its final place and moved there when it is whole, so that a command that is killed or finds
a bad file leaves no half of a project behind.
"""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from semisam.errors import ProjectError, SemiSAMError, UsageError, raise_all
from semisam.files.atomic import move, remove_orphans, temporary_beside
from semisam.project import Project
from semisam.project.files import FOLDERS, discard
from semisam.project.masks import read_given, volumes_ml, with_outside
from semisam.segments import Segment

if TYPE_CHECKING:
    import numpy as np

    from semisam.volumes import Geometry, Volume

    _Given = tuple[Volume, np.ndarray | None]

_log = logging.getLogger(__name__)
_DOCUMENT = "project.json"
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class ImportedCase:
    """What was understood of one image and its annotation.

    shape, spacing  (k, j, i), spacing in mm
    volumes_ml      volume of each segment of the annotation by name; empty for an unannotated case
    unused_mask     whether the folder of annotations holds a mask for it that must not be used
    """

    name: str
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    volumes_ml: dict[str, float] = field(default_factory=dict)
    unused_mask: bool = False


def import_project(
    path: Path,
    segments: Sequence[Segment],
    *,
    images: Path,
    annotations: Path | None = None,
    cases: Sequence[str] | None = None,
    unknown: str | None = None,
    copy: bool = False,
    author: str = "unknown",
    on_case: Callable[[int, int, str], None] | None = None,
) -> tuple[Project, list[ImportedCase]]:
    """Make the project ``path`` of the images in a folder and the annotations in another, matched by case name.

    unknown  for annotations of a part, what nobody has annotated: see ``masks.read_given``
    cases    names whose annotations may be used; None for all. The masks of other cases are not opened.
    on_case  called with (done, total, name) while the files are read

    Raises ProjectError when there is a project already, UsageError for unknown ``cases``, VolumeError for files that
    cannot be used; then nothing is left behind.
    """
    _check_place(path, images)
    for folder, option in ((images, "--images"), (annotations, "--annotations")):
        if folder is not None and not folder.is_dir():
            raise UsageError(f'The folder "{folder}" given with {option} does not exist.')
    from semisam.files.volume_files import find_images, find_masks

    found = find_images(images)
    masks = {} if annotations is None else _spelled_as(found, find_masks(annotations))
    cases = None if cases is None else list(_spelled_as(found, dict.fromkeys(cases)))
    chosen = _chosen_masks(found, masks, cases, images, annotations)
    staging = temporary_beside(path.absolute())
    try:
        path.absolute().parent.mkdir(parents=True, exist_ok=True)
        remove_orphans(path.absolute().parent)  # what an import that was killed left behind
        project = Project.create(staging, segments, images_copied=copy)
        project.add_cases(found)
        report = on_case or (lambda done, total, name: None)
        imported = _read_all(project, chosen, set(masks), unknown, author, report)
        _publish(staging, path.absolute())
    except OSError as error:
        raise ProjectError(f'Cannot make the project "{path}" ({error.strerror or error}).') from error
    finally:
        discard(staging)
    return Project.open(path), imported


def check_empty(path: Path) -> None:
    """Raise ProjectError where a new project would lie among other files; hidden ones do not count."""
    if path.exists() and (not path.is_dir() or any(not entry.name.startswith(".") for entry in path.iterdir())):
        raise ProjectError(f'"{path}" holds something already: choose an empty folder, or a name that is not taken.')


def _check_place(path: Path, images: Path) -> None:
    if (path / _DOCUMENT).exists():
        raise ProjectError(f'"{path}" already is a project: choose another folder, or delete it to begin anew.')
    if path.exists() and not path.is_dir():
        raise ProjectError(f'"{path}" is a file: choose another name for the project folder.')
    taken = [name for name in FOLDERS if (path / name).is_dir() and any((path / name).iterdir())]
    if taken:
        raise ProjectError(
            f'"{path}" already holds a folder "{taken[0]}", which a project needs for itself: choose another folder.'
        )
    home, source = path.resolve(), images.resolve()
    if path.exists() and home == source:
        raise ProjectError(f'"{path}" is the folder of the images: choose another one for the project.')
    if source.parent != home:  # a study that has its images in a folder of their own may itself become the project
        check_empty(path)


def _spelled_as(found: Mapping[str, Path], named: Mapping[str, _Value]) -> dict[str, _Value]:
    """``named`` with the names that ``found`` has: an accent may be spelled in two ways that look the same."""
    spelling = {unicodedata.normalize("NFC", name): name for name in found}
    return {spelling.get(unicodedata.normalize("NFC", name), name): value for name, value in named.items()}


def _chosen_masks(
    found: dict[str, Path], masks: dict[str, Path], cases: Sequence[str] | None, images: Path, annotations: Path | None
) -> dict[str, Path]:
    for name in cases or ():
        if name not in found:
            raise UsageError(f'There is no image of the case "{name}" in "{images}": correct --cases.')
        if name not in masks:
            raise UsageError(f'There is no annotation of the case "{name}" in "{annotations}": correct --cases.')
    if masks and not set(masks) & set(found):
        raise UsageError(
            f'No mask in "{annotations}" has the name of an image in "{images}" (for example '
            f'"{next(iter(masks.values())).name}" and "{next(iter(found.values())).name}"): give them equal names.'
        )
    lonely = sorted(set(masks) - set(found))
    if lonely:
        _log.warning('%d masks in "%s" have no image, for example "%s".', len(lonely), annotations, lonely[0])
    return {name: path for name, path in masks.items() if name in found and (cases is None or name in cases)}


def _read_all(
    project: Project,
    chosen: dict[str, Path],
    with_mask: set[str],
    unknown: str | None,
    author: str,
    on_case: Callable[[int, int, str], None],
) -> list[ImportedCase]:
    imported: list[ImportedCase] = []
    problems: list[SemiSAMError] = []
    total = len(project.cases)
    for done, name in enumerate(project.cases):
        on_case(done, total, name)
        try:
            image = project.image(name)
            given = None
            if name in chosen:
                given = read_given(chosen[name], project.segments, image.geometry, unknown)
                _annotate(project, name, chosen[name], given, author)
        except SemiSAMError as error:
            problems.append(error)
            continue
        unused = name in with_mask and name not in chosen
        imported.append(_understood(project, name, image.geometry, given, unused))
    raise_all(problems, f"{len(problems)} of {total} cases cannot be used.")
    on_case(total, total, "done")
    return imported


def _annotate(project: Project, name: str, path: Path, given: _Given, author: str) -> None:
    mask, known = given
    project.set_annotation(name, mask, author=author, source=str(path.absolute()), known=known)


def _understood(
    project: Project, name: str, geometry: Geometry, given: _Given | None, unused: bool = False
) -> ImportedCase:
    volumes = {} if given is None else volumes_ml(given[0], project.segments)
    return ImportedCase(name, geometry.shape, geometry.spacing, volumes, unused)


def add_images(
    project: Project,
    images: Sequence[Path],
    *,
    annotations: Path | None = None,
    unknown: str | None = None,
    copy: bool | None = None,
    author: str = "unknown",
    on_case: Callable[[int, int, str], None] | None = None,
) -> list[ImportedCase]:
    """Add images (files or DICOM folders) to a project as cases, with the masks in ``annotations`` of the same names.

    All or none of them: everything is read before the project is changed. ``unknown``, ``copy`` and ``on_case`` are as
    in ``import_project``, ``copy`` None does as the project was made to. Raises UsageError, and VolumeError or
    ProjectError for files that cannot be used.
    """
    from semisam.files.volume_files import find_masks, named_images, read_image

    found = named_images(images)
    if annotations is not None and not annotations.is_dir():
        raise UsageError(f'The folder "{annotations}" given with --annotations does not exist.')
    masks = {} if annotations is None else _spelled_as(found, find_masks(annotations))
    masks = {name: path for name, path in masks.items() if name in found}
    if annotations is not None and not masks:
        raise UsageError(f'No mask in "{annotations}" has the name of one of the images: give them equal names.')
    report = on_case or (lambda done, total, name: None)
    grids: dict[str, Geometry] = {}
    given: dict[str, _Given] = {}
    problems: list[SemiSAMError] = []
    for done, (name, path) in enumerate(found.items()):
        report(done, len(found), name)
        try:
            grids[name] = read_image(path).geometry
            if name in masks:
                mask, known = given[name] = read_given(masks[name], project.segments, grids[name], unknown)
                if known is not None and not known.all():
                    with_outside(name, mask, known, project.segments)  # what storing it would complain of
        except SemiSAMError as error:
            problems.append(error)
    raise_all(problems, f"{len(problems)} of {len(found)} images cannot be added.")
    project.add_cases(found, copy=copy)
    for name in given:
        _annotate(project, name, masks[name], given[name], author)
    report(len(found), len(found), "done")
    return [_understood(project, name, grid, given.get(name)) for name, grid in grids.items()]


def _publish(staging: Path, path: Path) -> None:
    """Move the finished project to its place, at once where nothing is there, else with project.json as the last."""
    if path.is_dir() and not any(path.iterdir()):
        path.rmdir()
    if not path.exists():
        move(staging, path)
        return
    for name in FOLDERS:
        if (path / name).is_dir() and (staging / name).is_dir():
            (path / name).rmdir()
    for entry in sorted(staging.iterdir(), key=lambda entry: entry.name == _DOCUMENT):
        move(entry, path / entry.name)
