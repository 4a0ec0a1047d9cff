"""The command ``semisam``: options, exit codes, and errors in one sentence.

Exit codes: 0 it worked, 1 an error that was told in words, 2 options that make no sense, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from semisam import __version__, logs
from semisam.commands import demonstration, generalists, learning, measuring, models, projects, prompting, serving
from semisam.commands.options import INTERRUPTED
from semisam.console import Console
from semisam.errors import UsageError
from semisam.worker.protocol import known_trouble

ERROR, USAGE = 1, 2

_DESCRIPTION = "Segment 3D medical images from a few annotated cases."
_EPILOG = """\
a first session:
  semisam init    study --images images --annotations labels --cases case1,case2 --segments "1=liver,2=tumor"
  semisam train   study --minutes 10
  semisam status  study
  semisam report  study
  semisam segment study new_image.nii.gz -o masks

"semisam demo" shows all of it on volumes made on the spot; "semisam COMMAND --help" tells the options of a command.
"""


class _Parser(argparse.ArgumentParser):
    """Wrong options are told in one sentence, too."""

    def error(self, message: str) -> NoReturn:
        message = message[:1].upper() + message[1:]
        self.exit(USAGE, f'semisam: {message.rstrip(".")}; "{self.prog} --help" tells the options.\n')


def make_parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    parser = _Parser(
        prog="semisam",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"semisam {__version__}")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="JSON lines for machines, the result in the last one")
    common.add_argument("--debug", action="store_true", help="tell everything, with tracebacks")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)
    for group in (projects, learning, models, measuring, prompting, generalists, serving, demonstration):
        group.add_parsers(subparsers, common)
    # For the command that runs other commands.
    parser.set_defaults(parser=parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a name of a file that the terminal cannot show is no reason to fail
            stream.reconfigure(errors="replace")
    try:
        arguments = make_parser().parse_args(argv)
    except SystemExit as ending:
        return int(ending.code or 0)
    logs.set_up(arguments.debug)
    console = Console(arguments.json)
    try:
        return int(arguments.run(arguments, console))
    except KeyboardInterrupt:
        console.error("cancelled", "Interrupted.")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output is gone; the interpreter must not fail on flushing at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ERROR
    except Exception as error:
        if arguments.debug:
            raise
        trouble = known_trouble(error) or ("internal", _defect(error, getattr(arguments, "project", None)))
        console.error(*trouble)
        return USAGE if isinstance(error, UsageError) else ERROR


def _defect(error: Exception, project: Path | None) -> str:
    path = logs.record_crash(error, None if project is None else project / "log")
    where = f'the details are in "{path}"' if path else "--debug shows the details"
    return f"This is a defect of the program ({type(error).__name__}: {error}); {where}."
