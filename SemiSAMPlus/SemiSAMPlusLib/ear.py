"""Listens to the worker's process: lines out of pieces, served a few milliseconds at a time."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from .lines import Line, LineReader
from .process import Scheduler

_TURN_SECONDS = 0.015  # of serving lines, before the event loop gets its turn


class Client(Protocol):
    """Who is told what the process says."""

    def on_line(self, line: Line) -> None: ...

    def on_log_line(self, line: Line) -> None: ...

    def on_finished(self, exit_code: int, crashed: bool) -> None: ...

    def on_start_failed(self, reason: str) -> None: ...


class Ear:
    """Listens to one process; the lines of an earlier one are never taken for those of its successor.

    Lines are served for a few milliseconds at a time, so that a flood of them does not freeze the window.
    """

    def __init__(self, client: Client, scheduler: Scheduler) -> None:
        self._client = client
        self._scheduler = scheduler
        self._output = LineReader()
        self._errors = LineReader(limit=1 << 16)
        self._waiting: deque[Callable[[], None]] = deque()
        self._scheduled = False
        self.deaf = False

    def on_output(self, data: bytes) -> None:
        self._waiting.extend([_bound(self._client.on_line, line) for line in self._output.feed(data)])
        self._serve()

    def on_error_output(self, data: bytes) -> None:
        self._waiting.extend([_bound(self._client.on_log_line, line) for line in self._errors.feed(data)])
        self._serve()

    def on_finished(self, exit_code: int, crashed: bool) -> None:
        for reader, serve in ((self._output, self._client.on_line), (self._errors, self._client.on_log_line)):
            rest = reader.rest()
            if rest is not None:
                self._waiting.append(_bound(serve, rest))
        self._waiting.append(lambda: self._client.on_finished(exit_code, crashed))
        self._serve()

    def on_start_failed(self, reason: str) -> None:
        self._waiting.append(lambda: self._client.on_start_failed(reason))
        self._serve_later()

    def _serve(self) -> None:
        if self._scheduled:
            return
        end = time.monotonic() + _TURN_SECONDS
        while self._waiting and not self.deaf:
            if time.monotonic() > end:
                self._serve_later()
                return
            # A slot that pumps the event loop may come back here and empty the queue.
            with suppress(IndexError):
                self._waiting.popleft()()
        if self.deaf:
            self._waiting.clear()

    def _serve_later(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._scheduler.call_later(0, self._go_on)

    def _go_on(self) -> None:
        self._scheduled = False
        self._serve()


def _bound(serve: Callable[[Line], None], line: Line) -> Callable[[], None]:
    return lambda: serve(line)
