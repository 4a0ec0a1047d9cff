"""Long work of the worker as child processes: ``python -m semisam train PROJECT --json`` and the like.

A child runs at low priority, so that a click does not wait for it; its crash is the end of one request and of nothing
else. Its JSON lines on standard output become events of the request, whatever it writes elsewhere becomes ``log``
events. It is stopped by the line ``stop`` on its standard input (see ``stop_signal.py``), and ended with everything it
started if it does not come to an end in time.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from semisam.worker.protocol import ERROR_KINDS, LineSplitter
from semisam.worker.stop_signal import CHILD_VARIABLE

_log = logging.getLogger(__name__)

STOP_SECONDS = 20.0
NICENESS = 10
LINE_BYTES = 4 << 20
_KEPT_LINES = 20

Emit = Callable[[str, dict[str, Any]], None]


class ChildJob:
    """One command of the engine in a process of its own.

    arguments   what follows ``python -m semisam``
    emit        called with the name and the fields of each event but the last, from threads of this object
    on_end      called once with the last event, ``("done", fields)`` or ``("error", fields)``, after the process and
                all that it started are gone
    """

    def __init__(self, arguments: Sequence[str], emit: Emit, on_end: Emit) -> None:
        self.arguments = list(arguments)
        self._emit = emit
        self._on_end = on_end
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._last_words: deque[str] = deque(maxlen=_KEPT_LINES)
        self._answer: dict[str, Any] = {}
        self._problem: dict[str, Any] | None = None
        self._stopping = False
        self._stop_wanted: float | None = None  # seconds; asked for before there was a process
        self._killed = False
        self.ended = threading.Event()
        self.started = time.monotonic()
        self.latest: dict[str, Any] = {}

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def stopping(self) -> bool:
        return self._stopping

    @property
    def seconds(self) -> float:
        """How long the job has run."""
        return time.monotonic() - self.started

    def start(self) -> None:
        """Start the process. A process that cannot be started ends the job at once."""
        self.started = time.monotonic()
        try:
            process = _spawn(self.arguments)
        except Exception as error:  # whatever it is, a job that never ends would keep all others waiting
            _log.exception("cannot start %s", self.arguments)
            reason = getattr(error, "strerror", None) or error
            text = f"Cannot start the engine's process ({reason}): is the memory full?"
            self.ended.set()
            self._on_end("error", {"kind": "crashed", "text": text})
            return
        with self._lock:
            self._process = process
        self._emit("started", {"pid": self.pid})
        threading.Thread(target=self._run, args=(process,), name=f"job-{self.pid}", daemon=True).start()
        if self._stop_wanted is not None:
            self.stop(self._stop_wanted)

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Ask the process to end; after ``seconds`` it is killed with everything it started. Returns at once.

        Before the process is there, the wish is kept until it is.
        """
        with self._lock:
            if self._process is None or self.ended.is_set():
                self._stop_wanted = seconds
                return
            if not self._stopping:
                self._stopping = True
                with suppress(OSError, ValueError):
                    stdin = self._process.stdin
                    if stdin is not None:
                        stdin.write(b"stop\n")
                        stdin.flush()
        timer = threading.Timer(seconds, self._kill)
        timer.daemon = True
        timer.start()

    def _kill(self) -> None:
        with self._lock:
            if self._process is not None and not self.ended.is_set() and self._process.returncode is None:
                self._killed = True
                _kill_tree(self._process)

    def _run(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None and process.stderr is not None
        readers = [
            threading.Thread(target=self._read, args=(process.stdout, self._take_line), daemon=True),
            threading.Thread(target=self._read, args=(process.stderr, self._take_log), daemon=True),
        ]
        for reader in readers:
            reader.start()
        _wait_unreaped(process)
        with self._lock:
            # What the command started and left behind would keep the pipes open, and run on.
            _kill_tree(process)
            process.wait()
        for reader in readers:
            reader.join(timeout=10)
        self.ended.set()
        with suppress(OSError):
            if process.stdin is not None:
                process.stdin.close()
        name, fields = self._last_event(process.returncode)
        self._on_end(name, fields)

    def _read(self, pipe: IO[bytes], take: Callable[[str], None]) -> None:
        splitter = LineSplitter(LINE_BYTES)
        while True:
            try:
                piece = os.read(pipe.fileno(), 1 << 16)
            except (OSError, ValueError):
                piece = b""
            for line in splitter.feed(piece) if piece else [splitter.rest()]:
                text = "(a line that is too long was left out)" if line is None else line.decode("utf-8", "replace")
                if text.strip():
                    take(text.rstrip("\r"))
            if not piece:
                return

    def _take_line(self, line: str) -> None:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            event = None
        if not isinstance(event, dict) or not isinstance(event.get("event"), str):
            self._emit("log", {"source": "stdout", "text": line})
            return
        name = event.pop("event")
        event.pop("id", None)
        if name == "done":
            self._answer = event
        elif name == "error":
            self._problem = event
        else:
            if name == "progress":
                self.latest = event
            self._emit(name, event)

    def _take_log(self, line: str) -> None:
        self._last_words.append(line)
        self._emit("log", {"source": "stderr", "text": line})

    def _last_event(self, code: int) -> tuple[str, dict[str, Any]]:
        stopped = self._stopping and not self._killed and code >= 0
        if self._problem is None and (code == 0 or stopped):
            return "done", {**self._answer, "stopped": self._stopping, "seconds": round(self.seconds, 3)}
        if self._killed:
            text = "The process did not stop in time and was ended; what it had saved before is kept."
            return "error", {"kind": "cancelled", "text": text}
        if self._problem is not None:
            kind = self._problem.get("kind")
            text = str(self._problem.get("text") or "The process ended with an error.")
            return "error", {**self._problem, "kind": kind if kind in ERROR_KINDS else "crashed", "text": text}
        return "error", {"kind": "crashed", "text": _epitaph(code), "last_lines": list(self._last_words)}


def _epitaph(code: int) -> str:
    if code == -getattr(signal, "SIGKILL", 9):
        return (
            "The process was killed by the system, most often because the memory was full: close other programs, or "
            "work with smaller images. What it had saved before is kept."
        )
    if code < 0:
        try:
            cause = signal.Signals(-code).name
        except ValueError:
            cause = f"signal {-code}"
        return f"The process crashed ({cause}); what it had saved before is kept. Its last lines say more."
    return f"The process ended without an answer (exit code {code}). Its last lines say more."


def _spawn(arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        CHILD_VARIABLE: "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8",
        # The child runs the same engine as we do, also where we were not found through an installation.
        "PYTHONPATH": os.pathsep.join(
            part for part in (str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")) if part
        ),
    }
    # -P: a file torch.py in the folder that we happen to be in is not torch.
    command = [sys.executable, "-P", "-m", "semisam", *arguments]
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    if sys.platform == "win32":
        flags = subprocess.BELOW_NORMAL_PRIORITY_CLASS | subprocess.CREATE_NEW_PROCESS_GROUP
        return subprocess.Popen(command, env=environment, bufsize=0, creationflags=flags, **pipes)
    # A process group of its own, so that the whole tree can be killed. Not a session of its own: Linux shares the
    # processor evenly among sessions (autogroups), and within one only, niceness counts.
    process = subprocess.Popen(command, env=environment, bufsize=0, process_group=0, **pipes)
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, process.pid, min(19, os.getpriority(os.PRIO_PROCESS, 0) + NICENESS))
    return process


def _wait_unreaped(process: subprocess.Popen[bytes]) -> None:
    """Wait for the end, but leave the process id taken where the system can, so that its group is still ours."""
    if hasattr(os, "waitid"):
        with suppress(ChildProcessError):
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    else:
        process.wait()


def _kill_tree(process: subprocess.Popen[bytes]) -> None:
    if sys.platform == "win32":
        if process.poll() is None:
            command = ["taskkill", "/F", "/T", "/PID", str(process.pid)]
            subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        return
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
