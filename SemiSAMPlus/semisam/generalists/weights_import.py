"""Imports a published checkpoint once: read safely, checked against the architecture, kept as safetensors."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import torch

from semisam.errors import GeneralistError
from semisam.files.atomic import replacing
from semisam.generalists import weights
from semisam.generalists.catalogue import ENTRIES, install_command
from semisam.generalists.checkpoint import Checkpoint
from semisam.generalists.weights import Card


@dataclass(frozen=True)
class Published:
    """What a publisher offers, read and checked.

    file          the one that holds the weights, and what to call it on the card
    architecture  in words
    notes         texts that the network cannot be made without; they go into the header of the safetensors file
    """

    file: Path
    title: str
    tensors: dict[str, torch.Tensor]
    architecture: str
    notes: Mapping[str, str] = field(default_factory=dict)


def import_weights(name: str, source: Path, accepted: bool = False) -> Card:
    """Make the weights in ``source`` those of the generalist ``name``: .pth, .pt, .safetensors, or a folder of models.

    ``accepted`` tells that the user has accepted their licence. Earlier weights are replaced. Raises GeneralistError
    when the licence must be accepted and is not, or when the file is not what the generalist needs.
    """
    entry = ENTRIES[name]
    if entry.accept and not accepted:
        raise GeneralistError(
            f'The weights of "{name}" have the licence {entry.licence}. Read it at {entry.accept}; if you accept it, '
            "import them with --accept-licence."
        )
    published = _function(entry.folder)(source) if entry.folder else _read(name, source)
    tensors = published.tensors
    if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
        raise GeneralistError(f'"{source}" holds numbers that are not finite: get the file again from its publisher.')
    path = weights.weights_file(name)
    try:
        from_hash = weights.sha256_of(published.file)
        path.parent.mkdir(parents=True, exist_ok=True)
        about = {"generalist": name, "licence": entry.licence, "source_sha256": from_hash}
        _write(path, tensors, {**published.notes, **about})
        card = Card(
            generalist=name,
            architecture=published.architecture,
            licence=entry.licence,
            source=published.title,
            source_sha256=from_hash,
            sha256=weights.sha256_of(path),
            bytes=path.stat().st_size,
            imported=date.today().isoformat(),
            accepted=accepted,
        )
        weights.write_card(card)
    except OSError as error:
        raise GeneralistError(
            f'The weights cannot be written to "{path.parent}" ({error.strerror or error}): make room there, or set '
            f"{weights.VARIABLE} to another folder."
        ) from error
    return card


def _read(name: str, source: Path) -> Published:
    """A file of weights."""
    if source.suffix.lower() == ".safetensors":
        tensors = _read_safetensors(source)
        architecture = _check(name, source, {key: tuple(tensor.shape) for key, tensor in tensors.items()})
    else:
        checkpoint = Checkpoint(source)
        architecture = _check(name, source, {key: stored.shape for key, stored in checkpoint.tensors.items()})
        tensors = checkpoint.read()
    return Published(source, source.name, tensors, architecture)


def _function(path: str) -> Any:
    module, _, function = path.partition(":")
    return getattr(importlib.import_module(module), function)


def _check(name: str, source: Path, shapes: dict[str, tuple[int, ...]]) -> str:
    try:
        architecture: str = _function(ENTRIES[name].layout)(shapes)
    except ImportError as error:
        raise GeneralistError(
            f'The generalist "{name}" needs the Python package "{error.name}": {install_command(name)}'
        ) from error
    except ValueError as error:
        raise GeneralistError(f'"{source}" is not a file for "{name}": {error}.') from error
    return architecture


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError) as error:
        raise GeneralistError(f'"{path}" cannot be read ({error}): get the file again from its publisher.') from error
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def _write(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with replacing(path) as temporary:
        try:
            save_file(tensors, str(temporary), metadata)
        except SafetensorError as error:
            raise OSError(str(error)) from error
