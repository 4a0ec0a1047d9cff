"""Ending processes with everything that they started, without waiting for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress


def kill_processes(pids: Iterable[int], *, children: bool = True) -> None:
    """End the processes ``pids`` and what they started; those that are gone already are passed over.

    Without ``children``, jobs that they started are left alone, to notice it and to save what they have.

    The engine starts each job as the leader of a process group, so on Linux and macOS a group that has the id of the
    process belongs to it. On Windows ``taskkill`` follows the tree. Returns at once.
    """
    for pid in pids:
        if pid <= 1 or pid == os.getpid():
            continue
        if sys.platform == "win32":
            with suppress(OSError):
                subprocess.Popen(
                    ["taskkill", "/F", *(["/T"] if children else []), "/PID", str(pid)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    creationflags=subprocess.CREATE_NO_WINDOW,
                )
            continue
        with suppress(ProcessLookupError, PermissionError):
            if os.getpgid(pid) == pid:
                os.killpg(pid, signal.SIGKILL)
            else:
                os.kill(pid, signal.SIGKILL)
