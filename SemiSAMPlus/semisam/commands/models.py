"""The command that passes models on: model export, model import, model show."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from semisam import logs
from semisam.commands.options import add_parser, add_project
from semisam.console import Console
from semisam.worker import stop_signal


def add_parsers(subparsers: Any, common: argparse.ArgumentParser) -> None:
    text = "pass a trained model on as one file, or take one in"
    model = subparsers.add_parser("model", help=text, description=text[0].upper() + text[1:] + ".")
    actions = model.add_subparsers(dest="action", metavar="ACTION", required=True)

    export = add_parser(actions, common, "export", run_export, "write the project's model to one file for a colleague")
    add_project(export)
    export.add_argument("file", metavar="FILE", type=Path, help="where to write it; ends in .semisam")
    export.add_argument("--title", default="", help="what it segments, in a few words (the names of its segments)")
    export.add_argument("--description", default="", help="for which images it is meant, and what it cannot do")
    export.add_argument("--licence", default="", help="on which terms others may use it")

    take = add_parser(actions, common, "import", run_import, "use the model of a file in a project, new or existing")
    add_project(take)
    take.add_argument("file", metavar="FILE", type=Path, help="a .semisam file")
    take.add_argument(
        "--replace", action="store_true", help="in place of the project's own model, which is kept in models/previous"
    )

    show = add_parser(actions, common, "show", run_show, "tell what a model file holds")
    show.add_argument("file", metavar="FILE", type=Path, help="a .semisam file")


def run_export(arguments: argparse.Namespace, console: Console) -> int:
    stop_signal.exit_when_asked()
    from semisam.model_exchange import export_model
    from semisam.project import Project

    project = Project.open(arguments.project)
    path = arguments.file.absolute()
    model = export_model(
        project, path, title=arguments.title, description=arguments.description, licence=arguments.licence
    )
    size = path.stat().st_size
    console.say(f'{model.card.in_words()}\n\nThe model is in "{path}" ({size / 1e6:.1f} MB).')
    console.result({"file": path, "bytes": size, "card": model.card.to_dict()})
    return 0


def run_import(arguments: argparse.Namespace, console: Console) -> int:
    # Until the specialist is written, last of all, the old model is in force: it can be ended at any moment.
    stop_signal.exit_when_asked()
    from semisam.model_exchange import import_model
    from semisam.project import Project

    imported = import_model(arguments.project, arguments.file.absolute(), replace_model=arguments.replace)
    logs.keep_in(imported.project / "log")
    made = "The new project" if imported.created else "The project"
    console.say(f'{made} "{imported.project}" has the model of "{arguments.file}" now.')
    if imported.kept is not None:
        console.say(f'The model that it had is kept as "{imported.kept}".')
    where = f'"{arguments.project}"'
    has_cases = bool(Project.open(imported.project).cases)
    more = "for its cases: semisam propose, semisam train" if has_cases else f"for cases: semisam add {where} IMAGE ..."
    console.say(f"Next: semisam segment {where} IMAGE -o masks; {more}")
    console.result(vars(imported))
    return 0


def run_show(arguments: argparse.Namespace, console: Console) -> int:
    from semisam.model_file import read_model

    model = read_model(arguments.file.absolute())
    console.say(model.card.in_words())
    console.say(f"Plan: {model.plan.in_words()}")
    console.result(
        {
            "file": arguments.file.absolute(),
            "card": model.card.to_dict(),
            "segments": [segment.to_dict() for segment in model.segments],
            "plan": model.plan.to_dict(),
        }
    )
    return 0
