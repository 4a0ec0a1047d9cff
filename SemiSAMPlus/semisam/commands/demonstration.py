"""The commands ``demo`` and ``sample``."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from semisam.commands.options import INTERRUPTED, add_parser, add_project, count, natural, positive
from semisam.commands.projects import next_step
from semisam.console import Console
from semisam.errors import UsageError
from semisam.progress import duration
from semisam.segments import parse_segments


def add_parsers(subparsers: Any, common: argparse.ArgumentParser) -> None:
    demo = add_parser(
        subparsers, common, "demo", run_demo, "do the whole job on volumes made on the spot, with a report at the end"
    )
    demo.add_argument("data", metavar="DIR", nargs="?", type=Path, help="your own data: DIR/images and DIR/labels")
    demo.add_argument("-o", "--output", metavar="DIR", type=Path, help="where to work (./semisam-demo)")
    demo.add_argument("--minutes", type=positive, default=3.0, help="how long to train (3)")
    demo.add_argument("--annotated", type=count, default=2, help="how many annotations the program may see (2)")
    demo.add_argument("--segments", metavar='"1=NAME,2=NAME"', help="with DIR: value and name of each segment")
    demo.add_argument("--seed", type=natural, default=0)

    sample = add_parser(
        subparsers, common, "sample", run_sample, "make a project of made-up volumes, some annotated, to try with"
    )
    add_project(sample)
    sample.add_argument("--cases", type=count, default=8, help="how many cases (8)")
    sample.add_argument("--annotated", type=natural, default=2, help="how many of them are annotated (2)")
    sample.add_argument("--seed", type=natural, default=0)


class _Steps(Console):
    """The console of the single commands: their results are kept for the one answer at the end."""

    def __init__(self, as_json: bool) -> None:
        super().__init__(as_json)
        self.latest: dict[str, Any] = {}

    def result(self, values: Mapping[str, Any]) -> None:
        self.latest = dict(values)


def run_demo(arguments: argparse.Namespace, console: Console) -> int:
    from semisam.demo import demo

    if arguments.data is not None and not arguments.data.is_dir():
        raise UsageError(f'The folder "{arguments.data}" does not exist: name a folder with images/ and labels/.')
    segments = parse_segments(arguments.segments) if arguments.segments else None
    started = time.monotonic()
    folder = arguments.output or demo.free_name(Path.cwd(), "semisam-demo")
    if arguments.data is not None:
        data = demo.given_data(arguments.data, arguments.annotated, segments)
        console.say(f'The job on the images in "{data.images}", {arguments.annotated} of them annotated.')
    else:
        console.say(f'Making up volumes in "{folder}" ...')
        data = demo.made_up_data(folder, arguments.annotated, arguments.seed)
    folder.mkdir(parents=True, exist_ok=True)
    steps = _Steps(console.as_json)

    def run(command: Sequence[str]) -> dict[str, Any] | None:
        console.say(f"\n$ {demo.command_line(command)}")
        chosen = arguments.parser.parse_args(command)
        return None if chosen.run(chosen, steps) else steps.latest

    results = demo.run_demo(data, folder, arguments.minutes, run, ["--seed", str(arguments.seed)])
    if results is None:
        return INTERRUPTED
    dice = results["evaluate"]["mean"]["all"]["dice"]
    seconds = time.monotonic() - started
    console.say(
        f"\nDone in {duration(seconds)}: with {len(data.annotated)} annotated cases the proposals reach a mean Dice of "
        f'{dice:.3f}.\nThe project is in "{results["project"]}".\nLook at "{results["report"]["report"]}".'
    )
    console.result({**results, "dice": dice, "seconds": round(seconds, 1)})
    return 0


def run_sample(arguments: argparse.Namespace, console: Console) -> int:
    from semisam.demo.demo import sample_project
    from semisam.project import Project

    new_image = sample_project(arguments.project, arguments.cases, arguments.annotated, arguments.seed)
    console.say(
        f'"{arguments.project}" holds {arguments.cases} made-up cases, {arguments.annotated} of them annotated. '
        f"{next_step(Project.open(arguments.project))}"
    )
    console.result({"project": arguments.project.absolute(), "new_image": new_image})
    return 0
