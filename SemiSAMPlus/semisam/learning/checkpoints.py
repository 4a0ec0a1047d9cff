"""Checkpoints: weights as safetensors, everything else as JSON beside them. Nothing is ever unpickled.

    models/specialist.safetensors + .json   the teacher, which predicts; changes when proposals are made
    models/training.safetensors + .json     student, teacher, optimizer and what the framework has of its own: what a
                                            run needs to go on after a stop

The JSON names the weights file it belongs to and is written last, so that a kill between the two leaves the older,
complete pair in force. A process that has lost the training lock of the project writes nothing (LockError).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from semisam.errors import TrainingError
from semisam.files.atomic import write_bytes, write_json
from semisam.project.files import discard
from semisam.project.lock import check_training
from semisam.specialists.plan import Plan

SCHEMA = 1
_PATIENCE = 3  # training may write another pair while one is being read


def save_specialist(folder: Path, network: torch.nn.Module, plan: Plan, facts: dict[str, Any]) -> str:
    """Write the network that predicts; returns its name, such as "specialist-0007", for provenance."""
    return _save_pair(folder, "specialist", dict(network.state_dict()), {"plan": plan.to_dict(), **facts})


def save_fact(folder: Path, name: str, value: Any) -> None:
    """Write one more fact beside the network that was saved last."""
    check_training(folder.parent)
    path = folder / "specialist.json"
    write_json(path, {**json.loads(path.read_text("utf-8")), name: value})


def load_specialist(folder: Path) -> tuple[dict[str, Tensor], Plan, dict[str, Any]]:
    """Weights, plan and facts. Raises TrainingError when there is no trained model or it is damaged."""
    pair = _load_pair(folder, "specialist")
    if pair is None:
        raise TrainingError(f"{folder.parent} has no trained model yet: run `semisam train` first.")
    weights, facts = pair
    try:
        plan = Plan.from_dict(facts["plan"])
    except (KeyError, TypeError, ValueError) as error:
        raise TrainingError(f"The model in {folder} cannot be read ({error}): train again with --fresh.") from error
    return weights, plan, facts


def save_training(
    folder: Path,
    student: torch.nn.Module,
    teacher: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    state: dict[str, Any],
    own: dict[str, Tensor] | None = None,
) -> None:
    """``own``: tensors of the frameworks, by names that mean something to them only."""
    tensors = {f"own.{name}": value for name, value in (own or {}).items()}
    for prefix, module in (("student", student), ("teacher", teacher)):
        tensors |= {f"{prefix}.{name}": value for name, value in module.state_dict().items()}
    tensors |= {f"optimizer.{name}": value for name, value in optimizer_tensors(optimizer).items()}
    _save_pair(folder, "training", tensors, state)


def load_training(
    folder: Path, student: torch.nn.Module, teacher: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[dict[str, Any] | None, dict[str, Tensor]]:
    """Fill the three; returns the state and the tensors of the frameworks.

    The state is None when there is nothing to resume or it does not fit the networks.
    """
    pair = _load_pair(folder, "training")
    if pair is None:
        return None, {}
    tensors, state = pair
    parts = by_prefix(tensors)
    try:
        student.load_state_dict(parts["student"])
        teacher.load_state_dict(parts["teacher"])
    except RuntimeError:
        return None, {}  # the plan has changed since: the run starts anew
    fill_optimizer(optimizer, parts.get("optimizer", {}))
    return state, parts.get("own", {})


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The moments of an optimizer as "index of the parameter.name"; its settings are not among them."""
    return {
        f"{index}.{name}": torch.as_tensor(value)
        for index, entries in optimizer.state_dict()["state"].items()
        for name, value in entries.items()
    }


def fill_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """What ``optimizer_tensors`` gave, back into an optimizer of the same parameters."""
    document = optimizer.state_dict()
    document["state"] = {int(index): entries for index, entries in by_prefix(tensors).items()}
    optimizer.load_state_dict(document)


def by_prefix(tensors: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """{"a.b.c": x} -> {"a": {"b.c": x}}"""
    parts: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        prefix, _, name = key.partition(".")
        parts.setdefault(prefix, {})[name] = value
    return parts


def _save_pair(folder: Path, name: str, tensors: dict[str, Tensor], facts: dict[str, Any]) -> str:
    check_training(folder.parent)
    folder.mkdir(parents=True, exist_ok=True)
    serial = 1 + max((int(path.stem.rpartition("-")[2]) for path in _weights(folder, name)), default=0)
    weights = folder / f"{name}-{serial:04d}.safetensors"
    # safetensors wants plain contiguous storage; channels_last weights are copied.
    write_bytes(weights, save({key: value.detach().cpu().contiguous() for key, value in tensors.items()}))
    write_json(folder / f"{name}.json", {"schema": SCHEMA, "weights": weights.name, **facts})
    for path in _weights(folder, name):
        if path != weights:
            discard(path)  # one that somebody is reading goes next time
    return weights.stem


def _load_pair(folder: Path, name: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    path = folder / f"{name}.json"
    problem: Exception | None = None
    for _ in range(_PATIENCE):
        if not path.exists():
            return None
        try:
            facts = json.loads(path.read_text("utf-8"))
            # Not mapped from the file: what is kept of it, as the moments of an optimizer are, must not hold it open.
            return load((folder / facts["weights"]).read_bytes()), facts
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            problem = error
    raise TrainingError(f"{path} is damaged ({problem}): train again with --fresh.") from problem


def _weights(folder: Path, name: str) -> list[Path]:
    return [path for path in folder.glob(f"{name}-*.safetensors") if path.stem.rpartition("-")[2].isdigit()]
