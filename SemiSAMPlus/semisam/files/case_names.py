"""Names of cases: they become file names, on every operating system that a project may be carried to."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from semisam.errors import ProjectError

_LONGEST = 120  # bytes; leaves room for endings and for the names of temporaries within the usual 255
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')
_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)


def check_case_name(name: str) -> None:
    """Raise ProjectError, with the reason, for a name that cannot be a file name everywhere."""
    problem = _problem(name)
    if problem:
        raise ProjectError(f'"{name}" cannot be the name of a case, because {problem}: choose another name.')


def same_name(name: str, names: Iterable[str]) -> str | None:
    """The one of ``names`` that some file system cannot tell from ``name`` (capitals, composed accents), or None."""
    wanted = _folded(name)
    return next((other for other in names if _folded(other) == wanted), None)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _problem(name: str) -> str:
    if not name:
        return "it is empty"
    found = _FORBIDDEN.search(name)
    if found:
        character = found.group()
        return f'it contains "{character}"' if character.isprintable() else "it contains a control character"
    if name != name.strip() or name.endswith("."):
        return "it begins or ends with a space or ends with a dot"
    if name.startswith((".", "-")):
        return "it begins with a dot or a dash"
    if _DEVICES.fullmatch(name):
        return "Windows reserves it for a device"
    try:
        length = len(name.encode("utf-8"))
    except UnicodeEncodeError:
        return "it contains a character that is no text"
    return f"it is longer than {_LONGEST} bytes" if length > _LONGEST else ""
