"""Commands that judge: evaluate, report."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from semisam.commands.options import add_parser, add_project
from semisam.console import Console
from semisam.errors import UsageError
from semisam.segments import parse_segments
from semisam.worker import stop_signal

_COLUMNS = (
    ("dice", "Dice"),
    ("hd95_mm", "HD95 mm"),
    ("surface_distance_mm", "ASSD mm"),
    ("volume_error_percent", "volume error %"),
)


def add_parsers(subparsers: Any, common: argparse.ArgumentParser) -> None:
    evaluate = add_parser(subparsers, common, "evaluate", run_evaluate, "compare masks with reference masks")
    evaluate.add_argument(
        "predictions", metavar="PREDICTIONS", type=Path, help="a folder, a file, or a project (its proposals)"
    )
    evaluate.add_argument("reference", metavar="REFERENCE", type=Path, help="a folder or a file; cases go by name")
    evaluate.add_argument("--segments", metavar='"1=NAME,2=NAME"', help="value and name of each segment")

    report = add_parser(subparsers, common, "report", run_report, "make one HTML page with pictures of the project")
    add_project(report)
    report.add_argument("--reference", metavar="DIR", type=Path, help="true masks, to show how good proposals are")
    report.add_argument("-o", "--output", metavar="FILE", type=Path, help="the page (PROJECT/report.html)")


def run_evaluate(arguments: argparse.Namespace, console: Console) -> int:
    from semisam.evaluation import evaluate

    for path in (arguments.predictions, arguments.reference):
        if not path.exists():
            raise UsageError(f'"{path}" does not exist: name a folder or a file with masks.')
    segments = parse_segments(arguments.segments) if arguments.segments else None
    with console.progress("Comparing", events=False) as progress:
        evaluation = evaluate(arguments.predictions, arguments.reference, segments, on_case=progress.step)
    rows = []
    for name, measures in evaluation.cases.items():
        for segment, values in measures.items():
            rows.append([name, segment, *(values[key] for key, _ in _COLUMNS)])
    for segment, values in evaluation.mean.items():
        rows.append(["mean", segment, *(values[key] for key, _ in _COLUMNS)])
    console.table(["case", "segment", *(title for _, title in _COLUMNS)], rows)
    if evaluation.annotated:
        few = _few(evaluation.annotated)
        console.say(f"\nProposals of annotated cases are left out ({len(evaluation.annotated)}): {few}.")
    if len(evaluation.models) > 1:
        console.say(
            f"\nThe proposals, and so the means, are of {len(evaluation.models)} models ({_few(evaluation.models)}). "
            f'For one model: semisam propose "{arguments.predictions}".'
        )
    if evaluation.missing:
        console.say(f"\n{len(evaluation.missing)} cases have no prediction: {_few(evaluation.missing)}.")
    if evaluation.without_reference:
        console.say(f"\n{len(evaluation.without_reference)} predictions have no reference.")
    undefined = evaluation.undefined_distances
    if undefined:
        console.say(f"\n{undefined} distances are undefined (one of the two masks is empty) and not in the means.")
    console.result(evaluation.to_dict())
    return 0


def _few(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def run_report(arguments: argparse.Namespace, console: Console) -> int:
    stop_signal.exit_when_asked()
    from semisam.project import Project

    project = Project.open(arguments.project)
    if arguments.reference is not None and not arguments.reference.is_dir():
        raise UsageError(f'The folder "{arguments.reference}" with reference masks does not exist.')
    output = arguments.output or project.path / "report.html"
    with console.progress("Drawing", events=False) as progress:
        from semisam.report.report import make_report

        references = make_report(project, output, reference=arguments.reference, on_case=progress.step)
    console.say(f'The report is in "{output.absolute()}".')
    result: dict[str, Any] = {"report": str(output.absolute())}
    if arguments.reference is not None:
        result["references"] = asdict(references)
        console.say(f"References: {references.used} of {references.proposals} proposals could be compared with one.")
        if references.problem:
            console.say(f"The first that could not: {references.problem}")
    console.result(result)
    return 0
