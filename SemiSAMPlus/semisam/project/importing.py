"""Making a project of folders: images by case name, the annotations that may be used, everything checked.

The project is built beside its final place and moved there when it is whole, so that a command that is killed or finds
a bad file leaves no half of a project behind.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from semisam.errors import ProjectError, SemiSAMError, UsageError, raise_all
from semisam.files.atomic import move, remove_orphans, temporary_beside
from semisam.project import Project
from semisam.project.files import FOLDERS, discard
from semisam.project.masks import read_given
from semisam.segments import Segment

_log = logging.getLogger(__name__)
_DOCUMENT = "project.json"


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
    _check_place(path)
    for folder, option in ((images, "--images"), (annotations, "--annotations")):
        if folder is not None and not folder.is_dir():
            raise UsageError(f'The folder "{folder}" given with {option} does not exist.')
    from semisam.files.volume_files import find_images, find_masks

    found = find_images(images)
    masks = {} if annotations is None else find_masks(annotations)
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


def _check_place(path: Path) -> None:
    if (path / _DOCUMENT).exists():
        raise ProjectError(f'"{path}" already is a project: choose another folder, or delete it to begin anew.')
    if path.exists() and not path.is_dir():
        raise ProjectError(f'"{path}" is a file: choose another name for the project folder.')
    taken = [name for name in FOLDERS if (path / name).is_dir() and any((path / name).iterdir())]
    if taken:
        raise ProjectError(
            f'"{path}" already holds a folder "{taken[0]}", which a project needs for itself: choose another folder.'
        )


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
            volumes = {}
            if name in chosen:
                mask, known = read_given(chosen[name], project.segments, image.geometry, unknown)
                source = str(chosen[name].absolute())
                project.set_annotation(name, mask, author=author, source=source, known=known)
                voxel_ml = image.geometry.voxel_volume / 1000
                volumes = {s.name: float((mask.voxels == s.value).sum()) * voxel_ml for s in project.segments}
        except SemiSAMError as error:
            problems.append(error)
            continue
        unused = name in with_mask and name not in chosen
        imported.append(ImportedCase(name, image.shape, image.spacing, volumes, unused))
    raise_all(problems, f"{len(problems)} of {total} cases cannot be used.")
    on_case(total, total, "done")
    return imported


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
