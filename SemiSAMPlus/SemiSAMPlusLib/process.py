"""Child processes and timers as the rest of this package sees them; ``qprocess.py`` has the real ones.

Nothing here waits: all methods return at once, and all callbacks come from the event loop of the calling thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Launch:
    """How to start a program: ``environment`` holds all variables of the child, not only those that differ."""

    program: str
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


class ProcessListener(Protocol):
    """Hears what happens to a process. After ``on_finished`` or ``on_start_failed`` comes nothing more."""

    def on_output(self, data: bytes) -> None:
        """A piece of standard output, of any length."""

    def on_error_output(self, data: bytes) -> None:
        """A piece of standard error, of any length."""

    def on_finished(self, exit_code: int, crashed: bool) -> None:
        """The process has ended, and all that it wrote has been passed on. ``crashed``: a signal or an exception."""

    def on_start_failed(self, reason: str) -> None:
        """The process could not be started."""


class Process(Protocol):
    """One child process, to be started once."""

    def start(self, launch: Launch, listener: ProcessListener) -> None:
        """Start it; the outcome comes to ``listener``."""

    def write(self, data: bytes) -> None:
        """Put bytes in the queue for its standard input; nothing happens once it has ended."""

    def close_input(self) -> None:
        """Close its standard input when the queue has been written."""

    def kill(self) -> None:
        """End it at once, without asking; not the processes that it started (see ``process_tree.py``)."""

    @property
    def pid(self) -> int | None:
        """The process id, or None before and after its life."""


class Timer(Protocol):
    """A call that is still to come."""

    def cancel(self) -> None:
        """Do not call any more; nothing happens when it has been called already."""


class Scheduler(Protocol):
    """Calls functions later, from the event loop."""

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call ``callback`` once after ``seconds``; 0 means as soon as the waiting events are served."""


ProcessFactory = Callable[[], Process]
