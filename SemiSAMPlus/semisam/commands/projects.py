"""Commands on a project and its cases: init, add, link, status, suggest, annotate, accept, reject, restore, remove."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semisam.commands.options import add_parser, add_project, author, ending, names
from semisam.console import Console
from semisam.errors import ProjectError, UsageError
from semisam.ranking import kept_order, ranked_cases, shown_confidence, volumes
from semisam.segments import Segment, parse_segments
from semisam.worker import stop_signal

if TYPE_CHECKING:
    from semisam.project import Case, Project
    from semisam.project.importing import ImportedCase

_SHOWN_NEXT = 8
_SHOWN_FIRST = 4
# Up to so many segments, each has a column of its own.
_MOST_COLUMNS = 8


def add_parsers(subparsers: Any, common: argparse.ArgumentParser) -> None:
    init = add_parser(subparsers, common, "init", run_init, "make a project of a folder of images and annotations")
    add_project(init)
    init.add_argument("--images", metavar="DIR", type=Path, required=True, help="NIfTI, NRRD, MHA files, DICOM folders")
    init.add_argument(
        "--annotations", metavar="DIR", type=Path, help="masks (.seg.nrrd or label maps) named like their images"
    )
    init.add_argument(
        "--cases",
        metavar="A,B",
        type=names,
        help="the cases whose annotations may be used; all others count as unannotated, whatever lies in the folder",
    )
    _add_unknown(init)
    init.add_argument("--segments", metavar='"1=NAME,2=NAME"', required=True, help="value and name of each segment")
    init.add_argument("--copy", action="store_true", help="copy the images into the project")

    add = add_parser(subparsers, common, "add", run_add, "add cases to a project, each called as its image")
    add_project(add)
    add.add_argument("images", metavar="IMAGE", nargs="+", type=Path, help="an image file or a DICOM folder")
    add.add_argument("--annotations", metavar="DIR", type=Path, help="masks named like the images")
    _add_unknown(add)
    add.add_argument("--copy", action="store_true", help="copy the images into the project")

    link = add_parser(subparsers, common, "link", run_link, "tell where the image of a case lies now")
    add_project(link)
    link.add_argument("case", metavar="CASE")
    link.add_argument("image", metavar="IMAGE", type=Path, help="an image file or a DICOM folder")

    status = add_parser(subparsers, common, "status", run_status, "tell how far a project is and what to look at next")
    add_project(status)
    status.add_argument("--all", action="store_true", help="list every case")

    suggest = add_parser(subparsers, common, "suggest", run_suggest, "tell which cases to annotate first")
    add_project(suggest)

    annotate = add_parser(subparsers, common, "annotate", run_annotate, "store a mask as the annotation of a case")
    add_project(annotate)
    annotate.add_argument("case", metavar="CASE")
    annotate.add_argument("mask", metavar="MASK", type=Path, help="a .seg.nrrd file or a label map")
    _add_unknown(annotate)

    for name, run, text in (
        ("accept", run_accept, "make the proposal of a case its annotation"),
        ("reject", run_reject, "note that the proposal of a case is no good"),
        ("restore", run_restore, "bring back the annotation that was replaced or removed last"),
        ("remove", run_remove, "take a case out of the project; its image stays where it is"),
    ):
        parser = add_parser(subparsers, common, name, run, text)
        add_project(parser)
        parser.add_argument("case", metavar="CASE")
        if name == "accept":
            parser.add_argument(
                "--replace", action="store_true", help="in place of a finished annotation, which restore brings back"
            )
        if name == "remove":
            parser.add_argument("--annotation-only", action="store_true", help="keep the case, remove its annotation")


def _add_unknown(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--unknown",
        metavar="WHAT",
        help='for cases annotated in part: "slices" (those with nothing drawn on them are unknown), or the value of '
        "unknown voxels, as in scribbles",
    )


def run_init(arguments: argparse.Namespace, console: Console) -> int:
    from semisam.project.importing import import_project

    segments = parse_segments(arguments.segments)
    for option, given in (("--cases", arguments.cases), ("--unknown", arguments.unknown)):
        if given and arguments.annotations is None:
            raise UsageError(f"{option} is about annotations: give their folder with --annotations.")
    with console.progress("Reading", events=False) as progress:
        project, imported = import_project(
            arguments.project,
            segments,
            images=arguments.images,
            annotations=arguments.annotations,
            cases=arguments.cases,
            unknown=arguments.unknown,
            copy=arguments.copy,
            author=author(),
            on_case=progress.step,
        )
    _say_annotated(console, segments, imported)
    annotated = [case.name for case in imported if case.volumes_ml]
    unused = [case.name for case in imported if case.unused_mask]
    sizes = Counter(case.shape for case in imported)
    console.say(
        f"{len(imported)} cases, {len(annotated)} annotated, {len(imported) - len(annotated)} unannotated; "
        f"{_range(imported)}{'' if len(sizes) == 1 else f', {len(sizes)} different sizes'}."
    )
    if unused:
        console.say(f"Annotations of {len(unused)} more cases lie in the folder and are not used.")
    console.say(f'The project is in "{project.path}". {next_step(project)}')
    console.result(
        {
            "project": str(project.path),
            "segments": [segment.to_dict() for segment in project.segments],
            "cases": _described(imported),
            "annotated": annotated,
            "annotations_not_used": unused,
        }
    )
    return 0


def run_add(arguments: argparse.Namespace, console: Console) -> int:
    from semisam.project import Project
    from semisam.project.importing import add_images

    if arguments.unknown and arguments.annotations is None:
        raise UsageError("--unknown is about annotations: give their folder with --annotations.")
    project = Project.open(arguments.project)
    with console.progress("Reading", events=False) as progress:
        added = add_images(
            project,
            arguments.images,
            annotations=arguments.annotations,
            unknown=arguments.unknown,
            copy=arguments.copy or None,
            author=author(),
            on_case=progress.step,
        )
    _say_annotated(console, project.segments, added)
    annotated = [case.name for case in added if case.volumes_ml]
    console.say(
        f"{len(added)} more cases, {len(annotated)} of them annotated: {', '.join(case.name for case in added)}."
    )
    console.say(next_step(project))
    console.result({"project": str(project.path), "cases": _described(added), "annotated": annotated})
    return 0


def run_link(arguments: argparse.Namespace, console: Console) -> int:
    from semisam.project import Project

    project = Project.open(arguments.project)
    project.relink_image(arguments.case, arguments.image)
    image = project.case(arguments.case).image
    return _told(arguments, console, project, f'The image of the case "{arguments.case}" is "{image}" now.')


def _say_annotated(console: Console, segments: Sequence[Segment], imported: Sequence[ImportedCase]) -> None:
    """A table of the annotated cases, by which a person sees whether all was understood."""
    rows = [
        [
            case.name,
            " x ".join(str(size) for size in case.shape),
            " x ".join(f"{size:.3g}" for size in case.spacing),
            *_volume_cells(segments, case.volumes_ml),
        ]
        for case in imported
        if case.volumes_ml
    ]
    if rows:
        console.table(["annotated case", "voxels k,j,i", "mm k,j,i", *_volume_header(segments)], rows)
        console.say()


def _described(imported: Sequence[ImportedCase]) -> dict[str, dict[str, Any]]:
    return {
        case.name: {"shape": case.shape, "spacing": case.spacing, "volumes_ml": case.volumes_ml or None}
        for case in imported
    }


def _volume_header(segments: Sequence[Segment]) -> list[str]:
    """A column for each segment, or two for all of them where they would not fit on a line."""
    if len(segments) <= _MOST_COLUMNS:
        return [f"{segment.name} ml" for segment in segments]
    return [f"of {len(segments)} segments", "all ml"]


def _volume_cells(segments: Sequence[Segment], volumes_ml: Mapping[str, float]) -> list[float | None]:
    if len(segments) <= _MOST_COLUMNS:
        return [volumes_ml.get(segment.name) for segment in segments]
    if not volumes_ml:
        return [None, None]
    return [sum(value > 0 for value in volumes_ml.values()), round(sum(volumes_ml.values()), 3)]


def _range(imported: Any) -> str:
    """The spacings of the images in words."""
    ends = []
    for axis in range(3):
        values = sorted(case.spacing[axis] for case in imported)
        low, high = f"{values[0]:.3g}", f"{values[-1]:.3g}"
        ends.append(low if low == high else f"{low} to {high}")
    return f"spacing {' x '.join(ends)} mm (k, j, i)"


def run_status(arguments: argparse.Namespace, console: Console) -> int:
    from semisam.project import Project
    from semisam.worker.store import describe_case

    project = Project.open(arguments.project)
    cases = list(project.cases.values())
    ranked = ranked_cases(project)
    counts = Counter(case.state.value for case in cases)
    owner = project.training_owner()
    segments = ", ".join(f"{segment.value} {segment.name}" for segment in project.segments)
    console.say(f'Project "{project.path}": {len(cases)} cases; segments: {segments}')
    in_words = Counter(_words(case) for case in cases)
    console.say("Cases: " + (", ".join(f"{count} {state}" for state, count in in_words.items()) or "none yet"))
    if owner is not None:
        console.say(f"Training now: {owner}")
    shown = ranked if arguments.all else [case for case in ranked if case.state.value == "proposed"][:_SHOWN_NEXT]
    if shown:
        console.say("\nAll cases:" if arguments.all else "\nLook at these next (the least sure first):")
        header = ["case", "state", "confidence", *_volume_header(project.segments)]
        rows = [
            [case.name, _words(case), shown_confidence(case), *_volume_cells(project.segments, volumes(case))]
            for case in shown
        ]
        console.table(header, rows)
    console.say(f"\n{next_step(project)}")
    console.result(
        {
            "project": str(project.path),
            "revision": project.revision,
            "segments": [segment.to_dict() for segment in project.segments],
            "states": dict(counts),
            "training": None if owner is None else str(owner),
            "cases": [describe_case(project, case) for case in ranked],
        }
    )
    return 0


def _words(case: Case) -> str:
    """The state of a case for a person: of work that goes on, some is learned from already."""
    return "annotated in part" if case.partial else case.state.value


def run_suggest(arguments: argparse.Namespace, console: Console) -> int:
    stop = stop_signal.install(notice=stop_signal.ENDING)
    from semisam.project import Project
    from semisam.typical import choose

    project = Project.open(arguments.project)
    with console.progress("Comparing", events=False) as progress:
        order = choose(project, progress.step, stop)
    if stop():
        console.say(stop.reason)
        return ending(stop)
    if order:
        console.say("Annotate these first, one to four of them; they are most like the others:")
        for name in order[:_SHOWN_FIRST]:
            console.say(f"  {name}")
    else:
        console.say("Every case is annotated." if project.cases else f"There are no cases. {next_step(project)}")
    console.result({"order": order})
    return 0


def next_step(project: Project) -> str:
    """What a person would do with the project next."""
    where = f'"{project.path}"'
    if not project.cases:
        return f"Next: semisam add {where} IMAGE ..., or add images in 3D Slicer."
    if not project.training_cases():
        first = next(iter(kept_order(project.cache_dir)), None)
        case = f'annotate a case ("semisam suggest {where}" tells which)' if first is None else f'annotate "{first}"'
        return f"Next: {case}: semisam annotate {where} {first or 'CASE'} MASK, or in 3D Slicer."
    if any(case.state.value == "proposed" for case in project.cases.values()):
        return f'Next: correct or accept proposals, train on; "semisam report {where}" shows all of it in pictures.'
    return f"Next: semisam train {where}"


def run_annotate(arguments: argparse.Namespace, console: Console) -> int:
    from semisam.project import Project

    project = Project.open(arguments.project)
    project.case(arguments.case)
    if not arguments.mask.is_file():
        raise ProjectError(f'The mask "{arguments.mask}" does not exist: name a .seg.nrrd file or a label map.')
    from semisam.project.masks import read_given, volumes_ml

    geometry = project.image_geometry(arguments.case)
    mask, known = read_given(arguments.mask, project.segments, geometry, arguments.unknown)
    source = str(arguments.mask.absolute())
    project.set_annotation(arguments.case, mask, author=author(), source=source, known=known)
    extent = "in part; it is completed by the next training" if project.cases[arguments.case].partial else "in full"
    volumes = volumes_ml(mask, project.segments)
    text = f'The case "{arguments.case}" is annotated {extent}. {_volumes_in_words(project.segments, volumes)}'
    return _told(arguments, console, project, text, volumes)


def _volumes_in_words(segments: Sequence[Segment], volumes_ml: Mapping[str, float]) -> str:
    if not any(volumes_ml.values()):
        # Right for a patient who lacks the organ, and a wrong file for all others.
        return "The mask is empty: it teaches that this image shows no segment. If it does, annotate the case again."
    if len(segments) > _MOST_COLUMNS:
        count, total = _volume_cells(segments, volumes_ml)
        return f"It shows {count} of {len(segments)} segments, {total:.3f} ml in all."
    return f"It shows {', '.join(f'{name} {volume:.3f} ml' for name, volume in volumes_ml.items())}."


def run_accept(arguments: argparse.Namespace, console: Console) -> int:
    from semisam.project import Project
    from semisam.project.states import FINISHED

    project = Project.open(arguments.project)
    case = project.case(arguments.case)
    # ``restore`` brings back the last one only: after a second slip that is not what a person has drawn any more.
    if case.state in FINISHED and not arguments.replace:
        raise ProjectError(
            f'The case "{case.name}" is {case.state.value} already: accept with --replace to put the proposal in the '
            "place of its annotation."
        )
    project.accept(case.name, author=author())
    text = f'The proposal of "{case.name}" is accepted as its annotation.'
    if case.annotation is not None:
        text += f" {_brought_back(arguments)} the annotation that it had."
    return _told(arguments, console, project, text)


def run_reject(arguments: argparse.Namespace, console: Console) -> int:
    from semisam.project import Project

    project = Project.open(arguments.project)
    project.reject(arguments.case, author=author())
    return _told(arguments, console, project, f'The proposal of "{arguments.case}" is rejected.')


def run_restore(arguments: argparse.Namespace, console: Console) -> int:
    from semisam.project import Project

    project = Project.open(arguments.project)
    project.restore_annotation(arguments.case, author=author())
    extent = "in part" if project.cases[arguments.case].partial else "in full"
    text = f'The earlier annotation of "{arguments.case}" is back; the case is annotated {extent}.'
    return _told(arguments, console, project, text)


def run_remove(arguments: argparse.Namespace, console: Console) -> int:
    from semisam.project import Project

    project = Project.open(arguments.project)
    if arguments.annotation_only:
        project.remove_annotation(arguments.case)
        text = f'The annotation of "{arguments.case}" is removed. {_brought_back(arguments)} it.'
    else:
        project.remove_case(arguments.case)
        text = f'The case "{arguments.case}" is removed from the project; its image is where it was.'
    return _told(arguments, console, project, text)


def _brought_back(arguments: argparse.Namespace) -> str:
    return f'"semisam restore {arguments.project} {arguments.case}" brings back'


def _told(
    arguments: argparse.Namespace,
    console: Console,
    project: Project,
    text: str,
    volumes_ml: Mapping[str, float] | None = None,
) -> int:
    console.say(text)
    case = project.cases.get(arguments.case)
    measured = {} if volumes_ml is None else {"volumes_ml": dict(volumes_ml)}
    console.result({"case": arguments.case, "state": None if case is None else case.state.value, **measured})
    return 0
