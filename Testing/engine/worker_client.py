"""A small client of the worker's protocol for tests and benchmarks: a real child process, one reader thread."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

PACKAGE_FOLDER = Path(__file__).resolve().parents[2] / "SemiSAMPlus"
LAST = ("done", "error")


def environment() -> dict[str, str]:
    """Where the child finds the engine, and one thread only: tests share their machine."""
    search = os.pathsep.join(part for part in (str(PACKAGE_FOLDER), os.environ.get("PYTHONPATH")) if part)
    return {**os.environ, "PYTHONPATH": search, "OMP_NUM_THREADS": "1"}


class WorkerClient:
    """``python -m semisam worker PROJECT`` and what it says. ``lines`` are all raw lines of its standard output."""

    def __init__(self, project: Path, *, reading: bool = True, threads: int | None = 1) -> None:
        variables = environment()
        if threads is None:
            del variables["OMP_NUM_THREADS"]
        self.begun = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "semisam", "worker", str(project)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=variables,
            bufsize=0,
        )
        self.lines: list[bytes] = []
        self.stderr = bytearray()
        self._events: queue.Queue[dict[str, Any]] = queue.Queue()
        self._kept: list[dict[str, Any]] = []
        self._next = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._errors = threading.Thread(target=self._read_errors, daemon=True)
        self._errors.start()
        if reading:
            self.read()

    def read(self) -> None:
        """Begin to read standard output."""
        self._reader.start()

    def send(self, request: str, request_id: Any = None, **fields: Any) -> Any:
        """Send a request; its id."""
        if request_id is None:
            self._next += 1
            request_id = self._next
        values = {name.replace("_", "-"): str(v) if isinstance(v, Path) else v for name, v in fields.items()}
        self.raw(json.dumps({"id": request_id, "request": request, **values}).encode() + b"\n")
        return request_id

    def raw(self, data: bytes) -> None:
        assert self.process.stdin is not None
        while data:
            data = data[self.process.stdin.write(data) or 0 :]

    def event(self, request_id: Any, *names: str, seconds: float = 30.0) -> dict[str, Any]:
        """The next event of a request (by default its last one) with one of ``names``; others are kept for later."""
        wanted = names or LAST
        end = time.monotonic() + seconds
        while True:
            found = next((e for e in self._kept if e["id"] == request_id and e["event"] in wanted), None)
            if found is not None:
                self._kept.remove(found)
                return found
            try:
                event = self._events.get(timeout=max(0.01, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError(
                    f"no {wanted} of request {request_id!r} within {seconds} s; others: {self._kept[-5:]}; "
                    f"stderr: {bytes(self.stderr[-2000:]).decode(errors='replace')}"
                ) from None
            self._kept.append(event)

    def ask(self, request: str, *, seconds: float = 30.0, **fields: Any) -> dict[str, Any]:
        """Send a request and wait for its last event."""
        return self.event(self.send(request, **fields), seconds=seconds)

    def end(self, seconds: float = 15.0) -> int:
        """Close standard input and wait for the end; the exit code."""
        if self.process.stdin is not None and not self.process.stdin.closed:
            self.process.stdin.close()
        code = self.process.wait(timeout=seconds)
        if self._reader.is_alive():
            self._reader.join(timeout=5)
        return code

    def kill(self) -> None:
        """For the end of a test, whatever has happened."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def __enter__(self) -> WorkerClient:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self.process.poll() is None:
                self.end()
        finally:
            self.kill()

    def _read(self) -> None:
        assert self.process.stdout is not None
        pending = b""
        while piece := self.process.stdout.read(1 << 16):
            *lines, pending = (pending + piece).split(b"\n")
            for line in lines:
                self.lines.append(line)
                self._events.put(json.loads(line))
        if pending:
            self.lines.append(pending)

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        while piece := self.process.stderr.read(1 << 16):
            self.stderr += piece
