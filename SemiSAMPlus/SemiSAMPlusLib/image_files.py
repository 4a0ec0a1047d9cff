"""Which files and folders may be images of cases, and what a case is called after its image. No image is read here."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

ENDINGS = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
_LONGEST = 100
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]+')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def is_image_file(path: Path) -> bool:
    """Whether a file has the ending of an image. Segmentations (.seg.nrrd) and hidden files are none."""
    name = path.name.lower()
    return name.endswith(ENDINGS) and not name.startswith(".") and not name.endswith(".seg.nrrd")


def images_in(folder: Path) -> list[Path]:
    """The image files directly in a folder and its subfolders with a DICOM series, by name; or the folder itself.

    Raises OSError when the folder cannot be read.
    """
    entries = sorted(folder.iterdir())
    found = [
        path for path in entries if (path.is_file() and is_image_file(path)) or (path.is_dir() and holds_dicom(path))
    ]
    return found or ([folder] if holds_dicom(folder) else [])


def holds_dicom(folder: Path) -> bool:
    """Whether the first files of a folder are DICOM files."""
    try:
        # A series may have a thousand files, on a disk that is far away: no more of them are looked at than it takes.
        names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
        files = (path for path in (folder / name for name in names) if path.is_file())
        return any(_is_dicom(path) for path in islice(files, 3))
    except OSError:
        return False


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def case_name(path: Path) -> str:
    """The name of an image file without its ending; of a folder, its own name."""
    name = path.name
    ending = next((ending for ending in ENDINGS if name.lower().endswith(ending) and len(name) > len(ending)), "")
    return clean_name(name[: len(name) - len(ending)])


def clean_name(text: str) -> str:
    """A text as the name of a case, which is a file name on every system: what cannot be in one becomes "_"."""
    name = _FORBIDDEN.sub("_", unicodedata.normalize("NFC", text)).strip().strip(".").lstrip("-").strip()
    while len(name.encode("utf-8")) > _LONGEST:
        name = name[:-1]
    return f"{name}_" if _RESERVED.fullmatch(name) else name.rstrip(" .") or "case"


def free_name(name: str, taken: Iterable[str], parent: str = "") -> str:
    """``name``, or where it is taken, with the name of the folder before it, or with a number behind it."""
    known = {_folded(other) for other in taken}
    choices = [name, *([clean_name(f"{parent}_{name}")] if parent else [])]
    number = 2
    while True:
        found = next((choice for choice in choices if _folded(choice) not in known), None)
        if found is not None:
            return found
        choices = [f"{name}_{number}"]
        number += 1


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name.casefold())
