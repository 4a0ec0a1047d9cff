"""Exceptions that a real Slicer prints and forgets.

An exception in a slot, in a virtual method that Qt calls or in an observer of VTK goes no further than the console:
the caller goes on. The host keeps that, and remembers the exception so that a test can fail on it.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any


@dataclass
class Failure:
    """One exception that was swallowed: where, what, and the traceback as text."""

    place: str
    exception: BaseException
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


swallowed: list[Failure] = []


def swallow(place: str, exception: BaseException) -> None:
    """Prints and remembers an exception, as the end of a slot does."""
    text = "".join(traceback.format_exception(exception))
    swallowed.append(Failure(place, exception, text))
    print(text, file=sys.stderr, end="")


def guarded(place: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Result of the function; None if it raised, which is then printed and remembered."""
    try:
        return function(*arguments)
    except Exception as exception:
        swallow(place, exception)
        return None


def _excepthook(kind: type[BaseException], value: BaseException, trace: TracebackType | None) -> None:
    swallowed.append(Failure("an observer or callback", value, "".join(traceback.format_exception(kind, value, trace))))
    sys.__excepthook__(kind, value, trace)


def watch() -> None:
    """From now on exceptions that VTK's observers or PySide's own callbacks print are remembered too."""
    sys.excepthook = _excepthook
