"""Where log records go: warnings to standard error, everything of a long command to a file in the project.

Libraries that warn through ``warnings`` speak to programmers, so those warnings go to the file only.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import traceback
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

_FILE_BYTES = 2 << 20
_NAME, _CRASH_NAME = "semisam.log", "errors.log"


def set_up(debug: bool = False) -> None:
    """Send warnings (with ``debug`` everything) of the engine to standard error."""
    logger = logging.getLogger("semisam")
    logger.setLevel(logging.DEBUG if debug else logging.INFO)
    logger.propagate = False
    logger.handlers.clear()
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.DEBUG if debug else logging.WARNING)
    handler.setFormatter(logging.Formatter("semisam: %(levelname)s: %(message)s" if debug else "semisam: %(message)s"))
    logger.addHandler(handler)
    # Without a handler of its own, this logger's records would reach standard error after all.
    captured = logging.getLogger("py.warnings")
    captured.handlers = [logging.StreamHandler(sys.stderr) if debug else logging.NullHandler()]
    captured.propagate = False
    logging.captureWarnings(True)


def keep_in(folder: Path) -> None:
    """Keep the records in ``folder``/semisam.log, too; a folder that cannot be written is no obstacle."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handler = RotatingFileHandler(folder / _NAME, maxBytes=_FILE_BYTES, backupCount=1, encoding="utf-8")
    except OSError:
        return
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for name in ("semisam", "py.warnings"):
        logging.getLogger(name).addHandler(handler)


def record_crash(error: BaseException, folder: Path | None) -> Path | None:
    """Write the traceback of a defect to a file in ``folder``, or in the system's temporary folder; where it is."""
    text = "".join(traceback.format_exception(error))
    for place in (folder, Path(tempfile.gettempdir())):
        if place is None or not place.is_dir():
            continue
        path = place / (_CRASH_NAME if place is folder else "semisam-errors.log")
        try:
            with open(path, "a", encoding="utf-8") as file:
                file.write(f"{datetime.now(UTC).isoformat(timespec='seconds')} {sys.argv}\n{text}\n")
        except OSError:
            continue
        return path
    return None
