"""The command of other programs: worker."""

from __future__ import annotations

import argparse
from typing import Any

from semisam.commands.options import add_parser, add_project
from semisam.console import Console


def add_parsers(subparsers: Any, common: argparse.ArgumentParser) -> None:
    worker = add_parser(subparsers, common, "worker", run_worker, "serve another program, JSON lines in and out")
    add_project(worker)


def run_worker(arguments: argparse.Namespace, console: Console) -> int:
    from semisam.worker.worker import serve

    return int(serve(arguments.project) or 0)
