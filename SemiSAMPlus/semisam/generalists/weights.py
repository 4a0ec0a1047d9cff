"""The weights of generalists that were imported on this computer: a folder of the user, outside of any project.

Each generalist has ``NAME.safetensors`` and beside it ``NAME.json``, its card: where the file came from, its hash, its
licence. The folder is SEMISAMPLUS_WEIGHTS if that environment variable is set, else ``semisam/weights`` in the place
that the operating system has for data of programs. Nothing heavy is imported here.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from semisam.errors import GeneralistError
from semisam.files.atomic import write_json
from semisam.generalists.catalogue import ENTRIES, add_command, remedy

if TYPE_CHECKING:
    from torch import Tensor

Network = TypeVar("Network")

VARIABLE = "SEMISAMPLUS_WEIGHTS"
SCHEMA = 1


@dataclass(frozen=True)
class Card:
    """What is known about imported weights.

    generalist     the name under which they serve
    architecture   in words
    licence        of the weights, as far as known
    source         name of the file they were imported from, and its hash (SHA-256)
    sha256, bytes  of the safetensors file
    imported       date, ISO 8601
    accepted       whether the user said that they accept the licence; some demand it (see ``catalogue.Entry.accept``)
    """

    generalist: str
    architecture: str
    licence: str
    source: str
    source_sha256: str
    sha256: str
    bytes: int
    imported: str
    schema: int = SCHEMA
    accepted: bool = False

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def folder() -> Path:
    """Where imported weights are; it need not exist."""
    chosen = os.environ.get(VARIABLE, "").strip()
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / "semisam" / "weights"


def weights_file(name: str) -> Path:
    return folder() / f"{name}.safetensors"


def find(name: str) -> Card | None:
    """The card of the weights of ``name``; None if there are none. Raises GeneralistError when they are not whole."""
    path, beside = weights_file(name), card_file(name)
    if not beside.exists() and not path.exists():
        return None
    try:
        data = json.loads(beside.read_text("utf-8"))
        if data["schema"] > SCHEMA:
            raise GeneralistError(
                f'The weights in "{path}" are from a newer SemiSAM+: install that, or {_again(name)}.'
            )
        card = Card(**{field.name: data[field.name] for field in fields(Card) if field.name in data})
        size = path.stat().st_size
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise GeneralistError(
            f'The weights in "{path}" or their card are damaged ({error}): {_again(name)}.'
        ) from error
    if size != card.bytes:
        raise GeneralistError(f'"{path}" has {size} bytes instead of {card.bytes}: {_again(name)}.')
    return card


def require(name: str) -> tuple[Path, Card]:
    """The weights of ``name`` and their card. Raises GeneralistError, with the remedy, when they are not here."""
    card = find(name)
    if card is None:
        raise GeneralistError(f'The weights of "{name}" are not on this computer: {remedy(name)}.')
    if ENTRIES[name].accept and not card.accepted:
        raise GeneralistError(f'The licence of "{name}" has not been accepted: {_again(name)}.')
    return weights_file(name), card


def chosen(name: str, file: Path | None = None) -> tuple[Path, str]:
    """The weights to work with, those that were imported unless ``file`` is named, and their SHA-256.

    Raises GeneralistError as ``require`` does.
    """
    if file is not None:
        return file, sha256_of(file)
    path, card = require(name)
    return path, card.sha256


def load(file: Path, name: str, build: Callable[[dict[str, Tensor]], Network]) -> Network:
    """What ``build`` makes of the tensors in ``file``. Raises GeneralistError for weights that are damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "pt") as opened:
            tensors = unmapped(opened)
        return build(tensors)
    except (OSError, SafetensorError, KeyError, IndexError, ValueError, RuntimeError, ZeroDivisionError) as error:
        raise GeneralistError(
            f'The weights of {name} in "{file}" are damaged ({error}): import them again with semisam generalists add '
            f"{name} FILE."
        ) from error


def unmapped(opened: Any) -> dict[str, Tensor]:
    """Copies of the tensors of an opened safetensors file.

    Its own lie in the file as long as they live, and on Windows nobody can replace a file that somebody has mapped.
    """
    return {key: opened.get_tensor(key).clone() for key in opened.keys()}  # noqa: SIM118 (not a dict)


def check(name: str) -> None:
    """Read the weights of ``name`` and compare their hash. Raises GeneralistError when they are missing or changed."""
    path, card = require(name)
    if sha256_of(path) != card.sha256:
        raise GeneralistError(f'"{path}" has changed since it was imported: {_again(name)}.')


def write_card(card: Card) -> None:
    """Raises OSError."""
    write_json(card_file(card.generalist), card.to_dict())


def card_file(name: str) -> Path:
    return folder() / f"{name}.json"


def imported_at(name: str) -> int | None:
    """When the card of ``name`` was written (ns), to notice that weights have been imported anew; None without one."""
    try:
        return card_file(name).stat().st_mtime_ns
    except OSError:
        return None


def sha256_of(path: Path) -> str:
    """Raises OSError."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _again(name: str) -> str:
    return f"import it again with {add_command(name)}"
