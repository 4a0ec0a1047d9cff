"""Files that are either wholly there or not there at all.

Every file of a project is written to a temporary file in the same folder, flushed to the disk, and renamed into place.
A reader, and whoever comes after a crash, sees the old content or the new one, never a part.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from semisam.processes import host_name, now_in, process_start

_PREFIX = ".tmp-"
_FOREIGN_AGE = 24 * 3600.0  # seconds after which a temporary of another machine, whose processes we cannot see, is dead
_SHARING_PATIENCE = 3.0  # seconds; on Windows a reader or a virus scanner holds files for moments
_Result = TypeVar("_Result")


def temporary_beside(path: Path) -> Path:
    """A new name in the folder of ``path`` with the same ending, telling which process will write it."""
    return path.with_name(f"{_PREFIX}{_host_tag()}-{os.getpid()}-{secrets.token_hex(4)}-{path.name}")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to; at the end of the block it becomes ``path``, or vanishes after an error.

    For writers that want a file name (SimpleITK, safetensors). The ending of the name is kept.
    """
    temporary = temporary_beside(path)
    try:
        yield temporary
        sync_file(temporary)
        move(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` atomically. Raises OSError."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8 with plain line feeds to ``path`` atomically. Raises OSError."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as readable JSON to ``path`` atomically. Raises OSError, and ValueError for NaN or infinity."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    try:
        content = text.encode("utf-8")
    except UnicodeEncodeError:  # a file name that is no text, as Linux allows; escaped, it comes back as it was
        content = json.dumps(value, indent=1, allow_nan=False).encode("ascii")
    write_bytes(path, content + b"\n")


def copy_file(source: Path, path: Path) -> None:
    """Copy one file to ``path`` atomically. Raises OSError."""
    with replacing(path) as temporary:
        shutil.copyfile(source, temporary)


def move(source: Path, path: Path) -> None:
    """Rename ``source`` to ``path`` in place of what is there, and make the rename last. Raises OSError."""
    rename(source, path)
    sync_folder(path.parent)


def rename(source: Path, path: Path) -> None:
    """Rename ``source`` to ``path`` where both names are as good after a power failure. Raises OSError."""
    patiently(lambda: os.replace(source, path))


def sync_file(path: Path) -> None:
    """Have the content of a closed file on the disk."""
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, where the operating system offers it (Windows does not)."""
    if os.name == "nt":
        return
    with suppress(OSError):  # some network file systems refuse it
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def patiently(action: Callable[[], _Result]) -> _Result:
    """Run a file operation again for a few seconds while Windows says that somebody else has the file open."""
    end = time.monotonic() + _SHARING_PATIENCE
    while True:
        try:
            return action()
        except PermissionError:
            if os.name != "nt" or time.monotonic() > end:
                raise
            time.sleep(0.02)


def remove_orphans(folder: Path) -> list[Path]:
    """Remove the temporaries that writers left in ``folder`` when they were killed; those of living ones stay."""
    removed: list[Path] = []
    for path in _listing(folder):
        if _is_orphan(path):
            with suppress(OSError):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
                removed.append(path)
    return removed


def _listing(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _is_orphan(path: Path) -> bool:
    parts = path.name.removeprefix(_PREFIX).split("-", 3)
    if not path.name.startswith(_PREFIX) or len(parts) < 4 or not parts[1].isdigit():
        return False
    if parts[0] == _host_tag():
        return process_start(int(parts[1])) is None
    try:
        return now_in(path.parent) - path.stat().st_mtime > _FOREIGN_AGE
    except OSError:
        return False


def _host_tag() -> str:
    return f"{zlib.crc32(host_name().encode('utf-8')):08x}"
