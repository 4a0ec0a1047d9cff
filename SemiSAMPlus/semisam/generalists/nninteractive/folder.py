"""The model folder of nnInteractive: plans.json, dataset.json, what its session must know, fold_0/checkpoint_final.pth.

The texts name Python classes that the package would look up and call, so only the usual networks and their parts are
let through. They are kept in the header of the safetensors file, where the hash of the card covers them.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from semisam.errors import GeneralistError
from semisam.generalists.checkpoint import Checkpoint, StoredTensor
from semisam.generalists.weights_import import Published

# What the session must know, in newer folders and in older ones.
SESSION_FILES = ("inference_info.json", "inference_session_class.json")
_PLANS, _DATASET, _CHECKPOINT = "plans.json", "dataset.json", "checkpoint_final.pth"
# The package looks closer at parts of an object with patches that overlap by this much on each side.
_OVERLAP = 24
_LARGEST_TEXT = 16 << 20
_NETWORKS = re.compile(r"dynamic_network_architectures\.architectures\.(unet|residual_unet)\.[A-Z]\w*UNet")
_PARTS = re.compile(r"torch\.nn\.(modules\.[a-z]+\.)?[A-Z]\w+")


def read(source: Path) -> Published:
    """The model in the folder ``source``, or in the folder of the checkpoint ``source``.

    Its ``notes`` are "plans" and "session" (JSON), "session_file" (one of SESSION_FILES) and "configuration" (its name
    in the plans). Raises GeneralistError when the folder is not whole or not a model of nnInteractive.
    """
    file = _checkpoint(source)
    folder = file.parent.parent
    plans, dataset = _json(folder / _PLANS), _json(folder / _DATASET)
    session_file = next((name for name in SESSION_FILES if (folder / name).is_file()), SESSION_FILES[0])
    session = _json(folder / session_file)
    checkpoint = Checkpoint(file)
    try:
        configuration = checkpoint.beside["init_args"]["configuration"]
        patch = plans["configurations"][configuration]["patch_size"]
        if len(patch) != 3 or min(patch) <= 2 * _OVERLAP:
            raise ValueError("its patches are too small")
        _check_names(plans["configurations"])
        _check_channels(dataset, session, checkpoint.tensors)
    except (KeyError, TypeError, AttributeError) as error:
        raise GeneralistError(f'"{folder}" is not a model of nnInteractive: it lacks {error}.') from error
    except ValueError as error:
        raise GeneralistError(f'"{folder}" is not a model of nnInteractive: {error}.') from error
    # Parts of the network have several names in the file; each is kept once.
    once: dict[StoredTensor, str] = {}
    for name, stored in checkpoint.tensors.items():
        once.setdefault(stored, name)
    return Published(
        file,
        "/".join(file.parts[-3:]),
        checkpoint.read(list(once.values())),
        f"nnInteractive with patches of {'x'.join(map(str, patch))} voxels",
        {
            "plans": json.dumps({"configurations": plans["configurations"]}),
            "configuration": configuration,
            "session": json.dumps(session),
            "session_file": session_file,
        },
    )


def _checkpoint(source: Path) -> Path:
    found = [source] if source.is_file() else sorted(source.glob(f"fold_*/{_CHECKPOINT}"))
    if len(found) != 1:
        raise GeneralistError(
            f'"{source}" has {len(found) or "no"} files fold_*/{_CHECKPOINT}: choose the model folder, which has '
            f"{_PLANS} in it, or the checkpoint that is meant."
        )
    # Links are not followed: those in the cache of Hugging Face lead out of the folder of the model.
    return Path(os.path.abspath(found[0]))


def _json(path: Path) -> Any:
    try:
        if path.stat().st_size > _LARGEST_TEXT:
            raise ValueError("it is too long")
        return json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise GeneralistError(
            f'"{path}" cannot be read ({error.strerror or error}): choose the whole model folder of its publisher.'
        ) from error
    except (ValueError, RecursionError) as error:
        raise GeneralistError(f'"{path}" is damaged ({error}): get it again from its publisher.') from error


def _check_names(configurations: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises ValueError for a network, or a part of one, that could be anything else."""
    for configuration in configurations.values():
        architecture = configuration.get("architecture")
        if architecture is None:
            continue
        names = [(_NETWORKS, architecture["network_class_name"])]
        names += [(_PARTS, architecture["arch_kwargs"][part]) for part in architecture["_kw_requires_import"]]
        for allowed, name in names:
            if name is not None and not (isinstance(name, str) and allowed.fullmatch(name)):
                raise ValueError(f'its {_PLANS} asks for "{name}", which such networks do not need')


def _check_channels(dataset: Any, session: Any, tensors: Mapping[str, StoredTensor]) -> None:
    """Whether the network takes one image and the interactions, and tells an object from the rest."""
    images = len(dataset["channel_names"] if "channel_names" in dataset else dataset["modality"])
    # Beside the interactions, six of them unless told, the segmentation so far.
    interactions = int(session.get("interaction_channels", 6)) + 1 if isinstance(session, dict) else 7
    convolutions = {name: tensor.shape for name, tensor in tensors.items() if len(tensor.shape) == 5}
    inputs = [shape[1] for name, shape in convolutions.items() if name.startswith("encoder.")][:1]
    outputs = {shape[0] for name, shape in convolutions.items() if name.startswith("decoder.seg_layers.")}
    if images != 1:
        raise ValueError(f"it is for images with {images} channels")
    if inputs != [1 + interactions] or outputs != {2}:
        raise ValueError(f"its checkpoint has not {1 + interactions} inputs and 2 outputs in 3D")
