"""Where masks may be written that somebody asked for: never in the place of what a person has, or the project keeps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from semisam.errors import UsageError
from semisam.files.volume_files import case_name
from semisam.project import Project
from semisam.project.files import ANNOTATIONS, IMAGES, MODELS, PROPOSALS


def check_output(output: Path, inputs: Iterable[Path | None], project: Path | None = None) -> None:
    """Raise UsageError where a mask must not go: over one of its inputs, or into a folder of the project."""
    if project is not None:
        # Links and ".." would hide where it really lies.
        place, home = output.resolve(), project.resolve()
        if any(place.is_relative_to(home / folder) for folder in (ANNOTATIONS, PROPOSALS, MODELS, IMAGES)):
            raise UsageError(f'"{output.absolute()}" lies in a folder that the project manages: choose another place.')
    if any(source is not None and _same(output, source) for source in inputs):
        raise UsageError(f'"{output.absolute()}" is the input: write the mask to another file.')


def mask_files(project: Project, images: Sequence[Path], folder: Path) -> list[Path]:
    """The files in ``folder`` for the masks of some images: NIfTI images get NIfTI masks, all others .seg.nrrd.

    Raises UsageError when two images would be written to one mask, or one over an image of theirs or of the project.
    """
    names = [case_name(path) for path in images]
    doubled = {name for name in names if names.count(name) > 1}
    if doubled:
        raise UsageError(f'Several images are called "{doubled.pop()}": segment them into different folders.')
    masks = [folder / f"{name}{_suffix(path)}" for name, path in zip(names, images, strict=True)]
    for mask in masks:
        check_output(mask, images, project.path)
        for case in project.cases.values():
            if _same(mask, case.image):
                raise UsageError(f'"{mask}" is the image of the case "{case.name}": name another folder for the masks.')
    return masks


def _suffix(image: Path) -> str:
    return ".nii.gz" if image.name.casefold().endswith((".nii", ".nii.gz")) else ".seg.nrrd"


def _same(output: Path, source: Path) -> bool:
    return output.exists() and source.exists() and output.samefile(source)
