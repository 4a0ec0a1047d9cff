"""Child processes and timers of Qt, as 3D Slicer's Python has them (PythonQt). Only for use inside of Slicer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt

from .process import Launch, ProcessListener
from .signals import call_safely

_FAILED_TO_START = 0  # QProcess::ProcessError; its other values end in ``finished``, or are no end
_CRASH_EXIT = 1  # QProcess::ExitStatus

_END_MILLISECONDS = 2000  # a killed process is gone in a few, unless the system is very busy

# Processes and timers that are at work: without a reference from Python, PythonQt deletes their Qt objects.
_at_work: set[Any] = set()


def end_all() -> None:
    """Stop all timers and processes of this module, and wait until the processes are gone.

    For the end of the application or a reload, when nobody listens any more: Qt complains about a process that is
    still running when its object goes. Listeners are not told.
    """
    for item in list(_at_work):
        item.end()


class QtProcess:
    """A ``QProcess`` behind the ``Process`` protocol."""

    def __init__(self) -> None:
        self._listener: ProcessListener | None = None
        self._process = qt.QProcess()
        self._ended = False
        self._process.connect("readyReadStandardOutput()", self._on_output)
        self._process.connect("readyReadStandardError()", self._on_error_output)
        self._process.connect("finished(int,QProcess::ExitStatus)", self._on_finished)
        self._process.connect("errorOccurred(QProcess::ProcessError)", self._on_error)

    def start(self, launch: Launch, listener: ProcessListener) -> None:
        """See ``Process.start``."""
        self._listener = listener
        environment = qt.QProcessEnvironment()
        for name, value in launch.environment.items():
            environment.insert(name, value)
        self._process.setProcessEnvironment(environment)
        _at_work.add(self)
        self._process.start(launch.program, list(launch.arguments))

    def write(self, data: bytes) -> None:
        """See ``Process.write``. Qt keeps what the pipe cannot take yet."""
        if not self._ended:
            self._process.write(data)

    def close_input(self) -> None:
        """See ``Process.close_input``."""
        if not self._ended:
            self._process.closeWriteChannel()

    def kill(self) -> None:
        """See ``Process.kill``."""
        if not self._ended:
            self._process.kill()

    @property
    def pid(self) -> int | None:
        """See ``Process.pid``."""
        return int(self._process.processId()) or None

    def end(self) -> None:
        """End it at once, and wait for that; the listener hears no more."""
        self._ended, self._listener = True, None
        self._process.kill()
        self._process.waitForFinished(_END_MILLISECONDS)
        _at_work.discard(self)

    def _on_output(self) -> None:
        self._pass_on(self._process.readAllStandardOutput(), "on_output")

    def _on_error_output(self) -> None:
        self._pass_on(self._process.readAllStandardError(), "on_error_output")

    def _pass_on(self, array: Any, method: str) -> None:
        data = array.data()
        if data and self._listener is not None:
            # An exception that reaches PythonQt is printed and lost.
            call_safely(getattr(self._listener, method), bytes(data))

    def _on_finished(self, exit_code: int, exit_status: int) -> None:
        if self._ended:
            return
        self._on_output()
        self._on_error_output()
        self._ended = True
        listener, self._listener = self._listener, None
        if listener is not None:
            call_safely(listener.on_finished, int(exit_code), exit_status == _CRASH_EXIT)
        _at_work.discard(self)

    def _on_error(self, error: int) -> None:
        if error != _FAILED_TO_START or self._ended:
            return
        self._ended = True
        listener, self._listener = self._listener, None
        if listener is not None:
            call_safely(listener.on_start_failed, str(self._process.errorString()))
        _at_work.discard(self)


class QtTimer:
    """A single shot of a ``QTimer``."""

    def __init__(self, seconds: float, callback: Callable[[], None]) -> None:
        self._callback: Callable[[], None] | None = callback
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.connect("timeout()", self._on_timeout)
        _at_work.add(self)
        self._timer.start(round(seconds * 1000))

    def cancel(self) -> None:
        """See ``Timer.cancel``."""
        self._callback = None
        self._timer.stop()
        _at_work.discard(self)

    def end(self) -> None:
        """As ``cancel``."""
        self.cancel()

    def _on_timeout(self) -> None:
        callback, self._callback = self._callback, None
        _at_work.discard(self)
        call_safely(callback)


class QtScheduler:
    """Calls functions later, from Qt's event loop."""

    def call_later(self, seconds: float, callback: Callable[[], None]) -> QtTimer:
        """See ``Scheduler.call_later``."""
        return QtTimer(seconds, callback)
