"""The module in the test host, for the benchmarks ``module_*.py``: one widget in a visible window."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
for folder in (ROOT, ROOT / "SemiSAMPlus", ROOT / "Testing" / "module"):
    sys.path.insert(0, str(folder))
os.environ.setdefault("SEMISAMPLUS_PYTHON", sys.executable)


def start_host() -> Any:
    """The host with its window shown; the module is loaded, but not opened."""
    from Testing.host.session import start

    host = start()
    host.application.window.show()
    host.load_module(ROOT / "SemiSAMPlus" / "SemiSAMPlus.py")
    host.process_events()
    return host


def wait(host: Any, condition: Callable[[], Any], seconds: float = 120.0) -> None:
    """Let Qt work until ``condition`` holds; ends the benchmark when it does not."""
    if not host.process_events(until=lambda: bool(condition()), timeout=seconds):
        raise SystemExit("What was waited for did not happen.")


class Stopwatch:
    """Seconds that a block took, on the clock and of this thread's processor time.

    ``with Stopwatch() as watch: ...``, then ``watch.seconds`` and ``watch.processor``.
    """

    def __enter__(self) -> Stopwatch:
        self._start, self._processor_start = time.perf_counter(), time.thread_time()
        self.seconds = self.processor = 0.0
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._start
        self.processor = time.thread_time() - self._processor_start
