"""The command ``generalists``: which ones are at hand, import of published weights, and whether these are whole."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from semisam.commands.options import add_parser
from semisam.console import Console
from semisam.errors import GeneralistError, UsageError
from semisam.worker import stop_signal


def add_parsers(subparsers: Any, common: argparse.ArgumentParser) -> None:
    parser = subparsers.add_parser(
        "generalists",
        help="which generalists are at hand; import of published weights",
        description="Which generalists are at hand; import of published weights. Nothing is ever downloaded.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=type(parser))
    add_parser(actions, common, "list", run_list, "tell which generalists are at hand, and how to get the others")
    add = add_parser(actions, common, "add", run_add, "import the weights of a generalist from a file of its publisher")
    add.add_argument("name", metavar="NAME", help="of the generalist: see semisam generalists list")
    add.add_argument(
        "file", metavar="FILE", type=Path, help="the checkpoint (.pth, .pt or .safetensors), or the folder of the model"
    )
    add.add_argument(
        "--accept-licence", action="store_true", help="say that you accept the licence of the weights; some demand it"
    )
    add_parser(actions, common, "verify", run_verify, "check that imported weights are what they were when imported")


def run_list(arguments: argparse.Namespace, console: Console) -> int:
    from semisam.generalists import weights
    from semisam.generalists.registry import describe_all

    found = describe_all()
    rows = [(name, "yes" if one["at_hand"] else "no", one["licence"], one["what"]) for name, one in found.items()]
    console.table(("generalist", "here", "licence", "what it is"), rows)
    for title, key in (("Good to know", "note"), ("What is missing", "remedy")):
        told = {name: one[key] for name, one in found.items() if one[key]}
        if told:
            console.say(f"\n{title}:")
            for name, text in told.items():
                console.say(f"  {name}: {text}")
    console.say(f'\nImported weights are in "{weights.folder()}" ({weights.VARIABLE} chooses another folder).')
    console.result({"generalists": found, "folder": str(weights.folder())})
    return 0


def run_add(arguments: argparse.Namespace, console: Console) -> int:
    stop_signal.exit_when_asked()
    from semisam.generalists.catalogue import ENTRIES

    name, source = arguments.name.lower(), arguments.file
    known = [other for other, entry in ENTRIES.items() if entry.needs_weights]
    if name not in known:
        raise UsageError(f'"{arguments.name}" takes no weights: choose from {", ".join(known)}.')
    if not source.is_file() and not (source.is_dir() and ENTRIES[name].folder):
        raise UsageError(f'"{source}" is not a file: correct its path.')

    from semisam.generalists.registry import missing
    from semisam.generalists.weights_import import import_weights

    card = import_weights(name, source, arguments.accept_licence)
    still = missing(name)
    state = "imported" if still else "at hand"
    console.say(f"{name} is {state}: {card.architecture}, {card.bytes / 1e6:.0f} MB, imported from {card.source}.")
    console.say(f"Licence: {card.licence}. SHA-256 of the file: {card.source_sha256}")
    if still:
        console.say(still)
    console.result({**card.to_dict(), "remedy": still})
    return 0


def run_verify(arguments: argparse.Namespace, console: Console) -> int:
    from semisam.generalists import weights
    from semisam.generalists.catalogue import ENTRIES

    states: dict[str, str] = {}
    for name, entry in ENTRIES.items():
        try:
            if entry.needs_weights and (weights.weights_file(name).exists() or weights.card_file(name).exists()):
                states[name] = ""
                weights.check(name)
        except OSError as error:
            states[name] = f'"{weights.weights_file(name)}" cannot be read ({error.strerror or error}).'
        except GeneralistError as error:
            states[name] = str(error)
        if name in states:
            console.say(f"{name}: {states[name] or 'whole'}")
    if not states:
        console.say(f'No weights have been imported to "{weights.folder()}" yet.')
    console.result({"verified": {name: not problem for name, problem in states.items()}, "problems": states})
    return 1 if any(states.values()) else 0
