"""Copies of images inside a project: one folder for each case, made whole or not at all."""

from __future__ import annotations

import re
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from semisam.errors import ProjectError
from semisam.files.atomic import move, sync_file, sync_folder, temporary_beside

# Headers whose voxels lie in a second file, and the line that names it.
_DATA_FILE = {
    ".mhd": re.compile(rb"^\s*ElementDataFile\s*=\s*(.+?)\s*$", re.MULTILINE | re.IGNORECASE),
    ".nhdr": re.compile(rb"^\s*data ?file\s*:\s*(.+?)\s*$", re.MULTILINE | re.IGNORECASE),
}


@dataclass(frozen=True)
class ImageCopy:
    """A finished copy, in a folder that still has a temporary name.

    ``inner`` leads from the folder to the image; it is "" for a DICOM series, which is the folder itself.
    """

    name: str
    temporary: Path
    inner: str

    def place(self) -> Path:
        """Give the folder its lasting name, one that is free, and return the path of the image. Raises OSError."""
        target, number = self.temporary.with_name(self.name), 2
        while target.exists():
            target, number = self.temporary.with_name(f"{self.name}-{number}"), number + 1
        move(self.temporary, target)
        return target / self.inner


@contextmanager
def copied_images(images: Mapping[str, Path], folder: Path) -> Iterator[dict[str, ImageCopy]]:
    """Copy image files (with the files of their voxels) and DICOM folders below ``folder``, one folder for each name.

    What has not been placed by the end of the block is removed. Raises ProjectError and OSError.
    """
    temporaries = {name: temporary_beside(folder / name) for name in images}
    try:
        yield {
            name: ImageCopy(name, temporary, _copy(images[name], temporary)) for name, temporary in temporaries.items()
        }
    finally:
        for temporary in temporaries.values():
            shutil.rmtree(temporary, ignore_errors=True)


def _copy(image: Path, folder: Path) -> str:
    if image.is_dir():
        shutil.copytree(image, folder, copy_function=shutil.copyfile)
    else:
        files = [image, *_data_files(image)]
        folder.mkdir()
        for file in files:
            shutil.copyfile(file, folder / file.name)
    for path in folder.rglob("*"):
        if path.is_dir():
            _make_writable(path)
            sync_folder(path)
        else:
            sync_file(path)
    _make_writable(folder)
    sync_folder(folder)
    return "" if image.is_dir() else image.name


def _make_writable(folder: Path) -> None:
    """Folders come with the permissions of their originals, which may lie on a CD or in an archive."""
    folder.chmod(folder.stat().st_mode | stat.S_IRWXU)


def _data_files(image: Path) -> list[Path]:
    pattern = _DATA_FILE.get(image.suffix.lower())
    if pattern is None:
        return []
    found = pattern.search(image.read_bytes())
    name = found.group(1).decode("utf-8", errors="replace") if found else ""
    if name.upper() == "LOCAL":
        return []
    if not name or name != Path(name).name or not (image.parent / name).is_file():
        raise ProjectError(
            f'The image "{image}" cannot be copied, because its voxels are not in one file beside it: '
            "convert it to NRRD, NIfTI or MHA first, or add it without copying."
        )
    return [image.parent / name]
