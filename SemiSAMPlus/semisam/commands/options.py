"""Kinds of values that options of several commands take, and what long commands share."""

from __future__ import annotations

import argparse
import getpass
from collections.abc import Callable
from pathlib import Path
from typing import Any

from semisam.worker.stop_signal import StopSignal

INTERRUPTED = 130


def add_parser(
    subparsers: Any, common: argparse.ArgumentParser, name: str, run: Callable[..., int], text: str
) -> argparse.ArgumentParser:
    """A parser for the command ``name``; ``text`` is its help in one sentence."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name, parents=[common], help=text, description=text[0].upper() + text[1:] + "."
    )
    parser.set_defaults(run=run)
    return parser


def add_project(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("project", metavar="PROJECT", type=Path, help="the project folder")


def add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", help="auto (a GPU if there is one), cpu, cuda, cuda:1, mps")


def names(text: str) -> list[str]:
    """Names with commas between them."""
    found = [name.strip() for name in text.split(",") if name.strip()]
    if not found:
        raise argparse.ArgumentTypeError("give at least one name")
    return found


def positive(text: str) -> float:
    """A number above 0."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'"{text}" is not a number') from None
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f'"{text}" is not above 0')
    return value


def not_negative(text: str) -> float:
    """A number from 0."""
    return 0.0 if text.strip() in ("0", "0.0") else positive(text)


def natural(text: str) -> int:
    """A whole number from 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f'"{text}" is not a whole number')
    return int(text)


def count(text: str) -> int:
    """A whole number from 1."""
    value = natural(text)
    if value < 1:
        raise argparse.ArgumentTypeError("it must be at least 1")
    return value


def author() -> str:
    """Who is at the keyboard, for the provenance."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "unknown"


def ending(stop: StopSignal) -> int:
    """The exit code of a long command that came to its end: interrupted by a signal, or done (also on request)."""
    return INTERRUPTED if stop.interrupted else 0
