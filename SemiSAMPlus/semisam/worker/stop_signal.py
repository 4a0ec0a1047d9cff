"""How a long command is asked to stop, and how it notices that the program that started it is gone.

``install()`` gives a callable that turns true once the command should come to an end:

* on SIGINT (Ctrl+C) and SIGTERM, which is told at once; a second one ends the process at once, as usual;
* in a process that the worker started (environment variable ``SEMISAM_CHILD=1``, standard input a pipe) also when the
  line ``stop`` arrives on standard input, and when standard input ends. The latter means that the worker is gone,
  however it went: then nobody is left to kill a command that does not listen, so it ends itself, with the processes
  it started, after ``PARENT_GONE_SECONDS``.

Use, at the start of a command and before slow imports::

    should_stop = stop_signal.install()
    while not should_stop():
        ...
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

CHILD_VARIABLE = "SEMISAM_CHILD"
PARENT_GONE_SECONDS = 10.0
SAVING = "Stopping, and saving what was learned (once more to give that up)."
ENDING = "Stopping (once more to end at once)."


class StopSignal:
    """Call it to ask whether to stop. ``reason`` says why in words, and is empty before; ``interrupted`` is whether a
    signal was the reason."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.reason = ""
        self.interrupted = False

    def __call__(self) -> bool:
        return self._event.is_set()

    def request(self, reason: str) -> None:
        """Ask to stop; the first reason is the one that is kept."""
        if not self._event.is_set():
            self.reason = reason
            self._event.set()


def install(parent_gone_seconds: float = PARENT_GONE_SECONDS, notice: str = SAVING) -> StopSignal:
    """Listen for the wish to stop; to be called once, in the main thread of the process.

    ``notice`` is told on standard error as soon as a signal has been heard: the end may be seconds away.
    """
    stop = StopSignal()

    def on_signal(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        stop.interrupted = not stop()
        stop.request("Stopped." if number == signal.SIGINT else f"Stopped by {signal.Signals(number).name}.")
        # Not through sys.stderr: the signal may have come in the middle of a write to it.
        with suppress(OSError):
            os.write(2, f"\n{notice}\n".encode())

    signal.signal(signal.SIGINT, on_signal)
    signal.signal(signal.SIGTERM, on_signal)
    if _is_child():

        def on_gone() -> None:
            stop.request("Stopped because the program that started it is gone.")
            timer = threading.Timer(parent_gone_seconds, _end_tree)
            timer.daemon = True
            timer.start()

        _start_watching(lambda: stop.request("Stopped on request."), on_gone)
    return stop


def exit_when_asked() -> None:
    """For a command that has nothing to save: as a child of the worker it ends at once when ``install`` would stop it.

    In a terminal nothing changes: Ctrl+C interrupts it as usual.
    """
    if _is_child():
        _start_watching(lambda: os._exit(0), _end_tree)


def take_stdin() -> int:
    """Move standard input to a descriptor of our own and leave the null device in its place.

    No library and no further process can then eat what is meant for us. On Windows it also avoids a dead lock: while
    one thread waits in a read of the pipe, others hang when they merely ask what kind of file standard input is, as
    some libraries do when they are loaded.
    """
    descriptor = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    if sys.platform == "win32":
        import msvcrt

        msvcrt.setmode(descriptor, os.O_BINARY)
    return descriptor


def _is_child() -> bool:
    # The variable is taken away so that processes which this one starts do not think that they are children of the
    # worker.
    return os.environ.pop(CHILD_VARIABLE, "") == "1"


def _start_watching(on_stop: Callable[[], None], on_gone: Callable[[], None]) -> None:
    arguments = (take_stdin(), on_stop, on_gone)
    threading.Thread(target=_watch, args=arguments, name="stop-signal", daemon=True).start()


def _watch(descriptor: int, on_stop: Callable[[], None], on_gone: Callable[[], None]) -> None:
    pending = b""
    while True:
        try:
            piece = os.read(descriptor, 4096)
        except OSError:
            piece = b""
        if not piece:
            on_gone()
            return
        lines = (pending + piece).split(b"\n")
        pending = lines.pop()[-64:]
        if any(line.strip() == b"stop" for line in lines):
            on_stop()


def _end_tree() -> None:
    # The worker starts each child as the leader of a process group; what the child started belongs to it.
    if sys.platform != "win32" and os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)
