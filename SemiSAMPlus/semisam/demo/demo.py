"""The demonstration: the whole job from images to a report, by the same commands that a user would type; and a sample
project of made-up cases, for whoever wants to try the program by hand."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semisam.errors import ProjectError, UsageError
from semisam.evaluation import occurring_segments
from semisam.segments import Segment

# Runs one command of ``semisam``; its result, or None when it did not come to its end.
Run = Callable[[Sequence[str]], dict[str, Any] | None]

_CASES, _LABEL_FOLDERS = 12, ("labels", "annotations")


@dataclass(frozen=True)
class DemoData:
    """Images, their true masks, which of them are shown to the program, and one image that no project has seen."""

    images: Path
    labels: Path
    segments: tuple[Segment, ...]
    annotated: tuple[str, ...]
    new_image: Path | None


def made_up_data(folder: Path, annotated: int, seed: int) -> DemoData:
    """Twelve made-up cases and a thirteenth as the new one, written below ``folder``."""
    from semisam.demo.volumes import SEGMENTS, make_cases, write_cases

    if not 1 <= annotated < _CASES:
        raise UsageError(f"The demonstration has {_CASES} cases: choose 1 to {_CASES - 1} annotated ones.")
    cases = make_cases(_CASES, seed)
    write_cases(cases, folder / "images", folder / "labels")
    write_cases(make_cases(1, seed, first=_CASES + 1), folder / "new", folder / "new_labels")
    chosen = tuple(case.name for case in cases[:annotated])
    new_image = folder / "new" / f"case{_CASES + 1:02d}.nii.gz"
    return DemoData(folder / "images", folder / "labels", SEGMENTS, chosen, new_image)


def sample_project(path: Path, count: int, annotated: int, seed: int) -> Path:
    """Make the project ``path`` of ``count`` made-up cases, the first ``annotated`` of them with their true masks.

    The project is built beside its place and moved there when it is whole. The path of one more image, which is no
    case: something new to segment. Raises UsageError, and ProjectError for a folder that holds something already.
    """
    from semisam.demo.volumes import SEGMENTS, make_cases
    from semisam.files.atomic import move, temporary_beside
    from semisam.files.volume_files import write_image
    from semisam.project import Project
    from semisam.project.files import IMAGES, discard

    if not 0 <= annotated <= count:
        raise UsageError(f"Of {count} cases {annotated} cannot be annotated: choose 0 to {count}.")
    path = path.absolute()
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ProjectError(f'"{path}" holds something already: choose an empty folder, or a name that is not taken.')
    staging = temporary_beside(path)
    new = Path("new") / f"case{count + 1:02d}.nii.gz"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        project = Project.create(staging, SEGMENTS)
        cases = make_cases(count + 1, seed)
        (staging / new).parent.mkdir()
        write_image(staging / new, cases.pop().image)
        images = {case.name: staging / IMAGES / f"{case.name}.nii.gz" for case in cases}
        (staging / IMAGES).mkdir(exist_ok=True)
        for case in cases:
            write_image(images[case.name], case.image)
        project.add_cases(images)
        for case in cases[:annotated]:
            project.set_annotation(case.name, case.truth, author="SemiSAM+", source="made up with its image")
        if path.exists():
            path.rmdir()
        move(staging, path)
    except OSError as error:
        raise ProjectError(f'Cannot make the project "{path}" ({error.strerror or error}).') from error
    finally:
        discard(staging)
    return path / new


def given_data(folder: Path, annotated: int, segments: Sequence[Segment] | None) -> DemoData:
    """A folder with images/ and labels/ (or annotations/); the first cases in the order of names are shown."""
    from semisam.files.volume_files import find_images, find_masks

    labels = next((folder / name for name in _LABEL_FOLDERS if (folder / name).is_dir()), None)
    if labels is None or not (folder / "images").is_dir():
        raise UsageError(f'"{folder}" needs the folders "images" and "labels" for the demonstration.')
    masks = find_masks(labels)
    names = [name for name in find_images(folder / "images") if name in masks]
    if len(names) < annotated:
        raise UsageError(f'"{folder}" has {len(names)} images with a mask of the same name; {annotated} are needed.')
    found = tuple(segments or occurring_segments([masks[name] for name in names[:annotated]]))
    return DemoData(folder / "images", labels, found, tuple(names[:annotated]), None)


def run_demo(
    data: DemoData, folder: Path, minutes: float, run: Run, extra: Sequence[str] = ()
) -> dict[str, Any] | None:
    """Run the job in ``folder``; ``extra`` are options of train. What came of it, or None if it was interrupted."""
    project, masks = str(free_name(folder, "project")), str(folder / "masks")
    segments = ",".join(f"{segment.value}={segment.name}" for segment in data.segments)
    images = ["--images", str(data.images), "--annotations", str(data.labels), "--cases", ",".join(data.annotated)]
    jobs: list[tuple[str, list[str]]] = [
        ("init", ["init", project, *images, "--segments", segments]),
        ("train", ["train", project, "--minutes", f"{minutes:g}", *extra]),
        ("evaluate", ["evaluate", project, str(data.labels)]),
    ]
    if data.new_image is not None:
        jobs.append(("segment", ["segment", project, str(data.new_image), "-o", masks]))
        labels = data.new_image.parent.with_name("new_labels")
        jobs.append(("new", ["evaluate", masks, str(labels), "--segments", segments]))
    jobs.append(("report", ["report", project, "--reference", str(data.labels)]))
    results = {}
    for name, command in jobs:
        results[name] = run(command)
        if results[name] is None:
            return None
    return {"project": project, **results}


def free_name(folder: Path, name: str) -> Path:
    """A path in ``folder`` that does not exist: ``name``, or with a number behind it."""
    path, number = folder / name, 2
    while path.exists():
        path, number = folder / f"{name}-{number}", number + 1
    return path


def command_line(command: Sequence[str]) -> str:
    """What a user would type."""
    return shlex.join(["semisam", *command])
