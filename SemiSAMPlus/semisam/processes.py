"""Which processes live: the question behind every stale lock and every orphan temporary file.

A process is named by its id together with its start, because ids are used again. The start is an opaque text that
differs between two processes that had the same id, also across a restart of the machine.
"""

from __future__ import annotations

import functools
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_FIRST_NAMESPACE = "pid:[4026531836]"  # the process ids of the machine itself, a constant of the Linux kernel


@functools.lru_cache(maxsize=1)
def host_name() -> str:
    """Name of this machine as it is written into locks; two containers that share a name are told apart."""
    name = socket.gethostname() or "unknown"
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        return name
    return name if namespace == _FIRST_NAMESPACE else f"{name} {namespace}"


def process_start(pid: int) -> str | None:
    """When process ``pid`` of this machine started, as an opaque text; None when there is no such running process.

    Empty for a process that runs, but whose start is not told to us.
    """
    if pid <= 0:
        return None
    if sys.platform == "win32":
        return _start_on_windows(pid)
    if sys.platform == "linux":
        return _start_on_linux(pid)
    return _start_from_ps(pid)


def now_in(folder: Path) -> float:
    """The time by the clock that dates the files in ``folder``: on a network drive it is not ours."""
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            return os.fstat(probe.fileno()).st_mtime
    except OSError:
        return time.time()


def _start_on_linux(pid: int) -> str | None:
    try:
        # The command name may hold spaces and brackets, so the fields are counted from the last bracket.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return _start_unknown(pid)  # gone, or hidden from us because it belongs to somebody else
    if len(fields) < 20 or fields[0] in ("Z", "X"):  # killed, but not yet collected by its parent
        return None
    return f"{_boot_id()}:{fields[19]}"


@functools.lru_cache(maxsize=1)
def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _start_from_ps(pid: int) -> str | None:
    """macOS and the BSDs: there is no /proc, and os.kill(pid, 0) does not tell two owners of one id apart."""
    environment = {**os.environ, "LC_ALL": "C", "TZ": "UTC"}
    try:
        answer = subprocess.run(
            ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, env=environment, check=False
        )
    except OSError:
        return _start_unknown(pid)
    state, _, started = answer.stdout.strip().partition(" ")
    return None if not started or state.startswith("Z") else started.strip()


def _start_unknown(pid: int) -> str | None:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass  # it lives and belongs to somebody else
    return ""


def _start_on_windows(pid: int) -> str | None:
    """Through the Windows API: os.kill would end the process that it is asked about."""
    if sys.platform != "win32":
        return None
    import ctypes
    from ctypes import wintypes

    query_limited_information, access_denied, still_active = 0x1000, 5, 259
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel.OpenProcess.argtypes = (wintypes.DWORD, wintypes.BOOL, wintypes.DWORD)
    kernel.OpenProcess.restype = wintypes.HANDLE
    kernel.GetExitCodeProcess.argtypes = (wintypes.HANDLE, ctypes.POINTER(wintypes.DWORD))
    kernel.GetProcessTimes.argtypes = (wintypes.HANDLE, *[ctypes.POINTER(wintypes.FILETIME)] * 4)
    kernel.CloseHandle.argtypes = (wintypes.HANDLE,)
    handle = kernel.OpenProcess(query_limited_information, False, pid)
    if not handle:
        return "" if ctypes.get_last_error() == access_denied else None
    try:
        code = wintypes.DWORD()
        created, ended, in_kernel, in_user = (wintypes.FILETIME() for _ in range(4))
        if kernel.GetExitCodeProcess(handle, ctypes.byref(code)) and code.value != still_active:
            return None
        if not kernel.GetProcessTimes(handle, created, ended, in_kernel, in_user):
            return ""
        return str((created.dwHighDateTime << 32) + created.dwLowDateTime)
    finally:
        kernel.CloseHandle(handle)
