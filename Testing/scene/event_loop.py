"""An event loop and child processes for tests outside of Slicer; they keep the Protocols of ``process.py``."""

from __future__ import annotations

import heapq
import os
import queue
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from SemiSAMPlusLib.process import Launch, ProcessListener


class Call:
    """A call that is still to come."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class EventLoop:
    """Serves timers and what reader threads bring, in the calling thread."""

    def __init__(self) -> None:
        self._timers: list[tuple[float, int, Call]] = []
        self._arrivals: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._count = 0

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Call:
        call = Call(callback)
        self._count += 1
        heapq.heappush(self._timers, (time.monotonic() + seconds, self._count, call))
        return call

    def bring(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called by the loop; may be used from any thread."""
        self._arrivals.put(callback)

    def run_until(self, condition: Callable[[], object], seconds: float = 20.0) -> None:
        """Serve until ``condition`` holds; fails when it does not within ``seconds``."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "what was waited for did not happen"
            self._serve()

    def settle(self) -> None:
        """Serve whatever is due now, and what comes of it."""
        while self._timers and self._timers[0][0] <= time.monotonic():
            self._serve()

    def run(self, seconds: float = 0.05) -> None:
        """Serve for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._serve()

    def _serve(self) -> None:
        callback: Callable[[], None] | None = None
        if self._timers and self._timers[0][0] <= time.monotonic():
            callback = heapq.heappop(self._timers)[2].callback
        else:
            with suppress(queue.Empty):
                callback = self._arrivals.get(timeout=0.005)
        if callback is not None:
            callback()


class ChildProcess:
    """A real child process with three pipes."""

    def __init__(self, loop: EventLoop) -> None:
        self._loop = loop
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, launch: Launch, listener: ProcessListener) -> None:
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        try:
            self.process = subprocess.Popen(
                [launch.program, *launch.arguments], env=dict(launch.environment), bufsize=0, **pipes
            )
        except OSError as error:
            reason = str(error.strerror)
            self._loop.bring(lambda: listener.on_start_failed(reason))
            return
        threading.Thread(target=self._watch, args=(self.process, listener), daemon=True).start()

    def write(self, data: bytes) -> None:
        if self.process is not None and self.process.stdin is not None:
            with suppress(OSError, ValueError):
                self.process.stdin.write(data)

    def close_input(self) -> None:
        if self.process is not None and self.process.stdin is not None:
            with suppress(OSError):
                self.process.stdin.close()

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()

    @property
    def pid(self) -> int | None:
        return None if self.process is None else self.process.pid

    def _watch(self, process: subprocess.Popen[bytes], listener: ProcessListener) -> None:
        def read(pipe, take) -> None:
            while piece := os.read(pipe.fileno(), 1 << 16):
                self._loop.bring(lambda piece=piece: take(piece))

        errors = threading.Thread(target=read, args=(process.stderr, listener.on_error_output), daemon=True)
        errors.start()
        read(process.stdout, listener.on_output)
        errors.join()
        code = process.wait()
        self._loop.bring(lambda: listener.on_finished(abs(code), code < 0))


class ScriptedProcess:
    """A process that does what the test says; ``written`` is what it was sent."""

    def __init__(self) -> None:
        self.listener: ProcessListener | None = None
        self.launch: Launch | None = None
        self.written = b""
        self.killed = False
        self.input_closed = False
        self.pid: int | None = 4711

    def start(self, launch: Launch, listener: ProcessListener) -> None:
        self.launch, self.listener = launch, listener

    def write(self, data: bytes) -> None:
        self.written += data

    def close_input(self) -> None:
        self.input_closed = True

    def kill(self) -> None:
        self.killed = True
