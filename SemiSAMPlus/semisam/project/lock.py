"""Locks between programs that write one project: a file that exists while its owner works.

The file names its owner (process id, machine, start of the process, time), so that a lock whose owner was killed is
recognized and taken over, and so that a person who has to wait is told for whom.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import random
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from semisam.errors import LockError
from semisam.files.atomic import patiently
from semisam.processes import host_name, now_in, process_start

_log = logging.getLogger(__name__)
_UNREADABLE_AGE = 5.0  # seconds after which a lock without an owner's name was left by a process killed while locking
_FOREIGN_AGE = 120.0  # seconds without a heartbeat after which an owner on another machine counts as gone
_HEARTBEAT = 10.0  # seconds


@dataclass(frozen=True)
class Owner:
    """Who holds a lock. ``start`` is opaque (see ``processes``); ``since`` is ISO 8601 in UTC."""

    pid: int
    host: str
    start: str
    since: str
    token: str

    @classmethod
    def myself(cls) -> Owner:
        since = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(os.getpid(), host_name(), _own_start(os.getpid()), since, secrets.token_hex(8))

    def __str__(self) -> str:
        return f'process {self.pid} on "{self.host}" (since {self.since})'


class FileLock:
    """A lock file, created exclusively and removed at release. Not re-entrant; threads of one process wait as well."""

    waiting_for = "is being changed by another program"
    remedy = "Try again when that program has finished"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._mine: Owner | None = None

    def acquire(self, timeout: float = 30.0) -> None:
        """Take the lock, waiting ``timeout`` seconds at most. Raises LockError that names the owner and a remedy."""
        end = time.monotonic() + timeout
        pause = 0.002
        while not self._try(end):
            if self._remove_if_stale():
                continue
            if time.monotonic() >= end:
                raise LockError(self._refusal())
            time.sleep(pause * random.uniform(0.5, 1.0))  # two waiters must not keep step
            pause = min(pause * 1.5, 0.05)

    def release(self) -> None:
        """Give the lock back. A lock that somebody else took over in the meantime is left alone."""
        if self.held():
            with suppress(FileNotFoundError):
                patiently(self.path.unlink)
        self._mine = None

    def held(self) -> bool:
        """Whether this object still owns the lock file (a person may have deleted it)."""
        if self._mine is None:
            return False
        found = _read_owner(self.path)
        return found is not None and found.token == self._mine.token

    def lost(self) -> bool:
        """Whether the lock was taken away after it was acquired. A file that cannot be read just now tells nothing."""
        if self._mine is None:
            return False
        try:
            found = _parse_owner(patiently(self.path.read_bytes))
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return found is None or found.token != self._mine.token

    def owner(self) -> Owner | None:
        """The living owner of the lock, or None when it is free or stale."""
        return None if self._stale_content() is not None else _read_owner(self.path)

    def __enter__(self) -> FileLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _try(self, patience: float) -> bool:
        mine = Owner.myself()
        try:
            descriptor = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            return False
        except OSError as error:
            if os.name == "nt" and isinstance(error, PermissionError) and time.monotonic() < patience:
                return False  # Windows says this of a file that is just being deleted
            raise LockError(_unwritable(self.path, error)) from error
        try:
            os.write(descriptor, json.dumps(asdict(mine)).encode("utf-8"))
        except OSError as error:
            os.close(descriptor)
            self.path.unlink(missing_ok=True)
            raise LockError(_unwritable(self.path, error)) from error
        os.close(descriptor)
        self._mine = mine
        if self.held():  # not so if we slept long between creating and writing, and were taken for dead
            return True
        self._mine = None
        return False

    def _remove_if_stale(self) -> bool:
        """Remove the lock of an owner that is gone; True when the way may be free now."""
        stale = self._stale_content()
        if stale is None:
            return False
        # Without the guard, a second waiter could remove the new lock of a first one that was quicker.
        with _guard(self.path.with_name(f".{self.path.name}.guard")):
            if self._stale_content() != stale:
                return True
            owner = _read_owner(self.path)
            _log.warning("Removed the lock %s that %s left behind.", self.path, owner or "a killed process")
            with suppress(FileNotFoundError):
                patiently(self.path.unlink)
        return True

    def _stale_content(self) -> bytes | None:
        """What the lock file holds if its owner is gone; None for a living owner or no lock."""
        try:
            content = self.path.read_bytes()
            owner = _parse_owner(content)
            if owner is not None and owner.host == host_name():
                return None if _lives(owner) else content
            age = now_in(self.path.parent) - self.path.stat().st_mtime
        except OSError:
            return None
        return content if age > (_UNREADABLE_AGE if owner is None else _FOREIGN_AGE) else None

    def _refusal(self) -> str:
        owner = _read_owner(self.path) or "one that has not yet given its name"
        return (
            f'The project "{self.path.parent}" {self.waiting_for}: {owner}. {self.remedy}; '
            f'if it certainly no longer runs, delete the file "{self.path}".'
        )


class ProjectLock(FileLock):
    """The short lock around one change of project.json."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "project.lock")


class TrainingLock(FileLock):
    """The long lock of the one program that trains in a project, kept fresh by a heartbeat.

    Usage::

        with TrainingLock(project.path):
            ...
    """

    waiting_for = "is already being trained"
    remedy = "Stop that training, or wait for its end"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "training.lock")
        self._ended = threading.Event()
        self._heart: threading.Thread | None = None

    def acquire(self, timeout: float = 0.0) -> None:
        super().acquire(timeout)
        _training[self.path.parent] = self
        self._ended = threading.Event()
        self._heart = threading.Thread(target=self._beat, args=(self._ended,), name="training-lock", daemon=True)
        self._heart.start()

    def release(self) -> None:
        self._ended.set()
        if self._heart is not None:
            self._heart.join()
            self._heart = None
            _training.pop(self.path.parent, None)
        super().release()

    def _beat(self, ended: threading.Event) -> None:
        while not ended.wait(_HEARTBEAT):
            if self.lost():
                return  # it would keep the lock of another alive
            # Written to, not only dated: then the clock of the folder tells when, as to those who ask how old it is.
            with suppress(OSError), open(self.path, "r+b") as file:
                file.write(b"{")


_training: dict[Path, TrainingLock] = {}  # what this process holds, by the folder of the project


def check_training(folder: Path) -> None:
    """Raise LockError when this process trains the project in ``folder``, but has lost the lock on it since."""
    lock = _training.get(folder)
    if lock is not None and lock.lost():
        raise LockError(
            f'The lock "{lock.path}" was taken away while this program was training the project: nothing more is '
            "written, so that no other training is spoiled; train again when no other program does."
        )


def training_owner(folder: Path) -> Owner | None:
    """Who is training the project in ``folder`` now; None when nobody is."""
    return TrainingLock(folder).owner()


@functools.lru_cache(maxsize=4)
def _own_start(pid: int) -> str:
    return process_start(pid) or ""


def _lives(owner: Owner) -> bool:
    """Whether a process of this machine still runs; one whose start is not told is taken for the one that is meant."""
    start = process_start(owner.pid)
    return start is not None and (start == owner.start or "" in (start, owner.start))


def _read_owner(path: Path) -> Owner | None:
    try:
        return _parse_owner(patiently(path.read_bytes))
    except OSError:
        return None


def _parse_owner(content: bytes) -> Owner | None:
    try:
        data: dict[str, Any] = json.loads(content)
        return Owner(int(data["pid"]), *(str(data[key]) for key in ("host", "start", "since", "token")))
    except (ValueError, KeyError, TypeError):
        return None


def _unwritable(path: Path, error: OSError) -> str:
    reason = error.strerror or str(error)
    return f'Cannot write in the project "{path.parent}" ({reason}): check that the folder exists and may be written.'


@contextmanager
def _guard(path: Path) -> Iterator[None]:
    """Exclusion by the operating system, which ends with the process; without effect where it is not offered."""
    try:
        file = open(path, "a+b")
    except OSError:
        yield
        return
    with file:
        _system_lock(file)
        yield  # closing the file releases it


def _system_lock(file: IO[bytes]) -> None:
    with suppress(OSError):
        if os.name == "nt":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)  # type: ignore[attr-defined,unused-ignore]
        else:
            import fcntl

            fcntl.flock(file.fileno(), fcntl.LOCK_EX)
