"""The plan: every number of a training run, made from the data fingerprint and the hardware, kept as readable JSON.

A person can open ``models/plan.json``, see why things are as they are, and change them; training reads it back.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from semisam.errors import PlanError, UsageError
from semisam.files.atomic import write_json
from semisam.specialists.fingerprint import Fingerprint
from semisam.specialists.hardware import Hardware
from semisam.specialists.sides import are_sided
from semisam.specialists.sizes import DEFAULT_NETWORK, NETWORKS, check_network

SCHEMA = 1

# Voxels of one patch whose first level is halved along all axes (see _load). On a CPU about 0.1 s a training step; a
# GPU takes what its memory holds.
_CPU_PATCH_VOXELS = 131_072
_GPU_PATCH_VOXELS = 1_500_000
# The whole volume may be this many patches, which bounds the time of a proposal.
_PATCHES_PER_VOLUME = 16
# A structure is at least so many voxels across at the spacing that a person chooses.
_FEWEST_VOXELS = 5
# A ball as large as a segment is at least so many voxels across at the spacing that is chosen from the data: at 8 the
# best possible mask has a Dice of 0.95 or more, at 5 one of 0.74 to 0.89 (few_labels.md, "Many segments"). A quarter of
# the segments may be smaller, for time's sake.
_VOXELS_ACROSS, _SMALLER = 8, 0.25


@dataclass(frozen=True)
class Plan:
    """See the module. Triples are (k, j, i) in canonical axes; spacing in mm; times are fractions of the budget."""

    segments: tuple[str, ...]
    modality: str
    working_spacing: tuple[float, float, float]
    patch: tuple[int, int, int]
    channels: tuple[int, ...]
    strides: tuple[tuple[int, int, int], ...]
    intensity: dict[str, float]
    device: str
    bfloat16: bool
    threads: int
    memory_mb: int
    network: str = DEFAULT_NETWORK
    chosen_spacing: float = 0.0
    labelled_batch: int = 2
    unlabelled_batch: int = 2
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    ema_decay: float = 0.99
    warm_up: float = 0.2
    warm_up_seconds: float = 90.0
    anneal_from: float = 0.5
    mirror: bool = False
    consistency_weight: float = 1.0
    generalist_weight: float = 10.0
    uncertainty_temperature: float = 0.1
    refresh_every: int = 8
    perturbed_prompts: int = 4
    clean_up: bool = True
    schema: int = SCHEMA

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def save(self, path: Path) -> None:
        path.parent.mkdir(exist_ok=True)  # somebody may have removed the models, to begin anew
        write_json(path, self.to_dict())

    @classmethod
    def load(cls, path: Path) -> Plan:
        """Raises PlanError when the file is damaged, newer than this program, or holds unknown or missing entries."""
        try:
            data = json.loads(path.read_text("utf-8"))
            if data.get("schema", 0) > SCHEMA:
                raise PlanError(
                    f"{path} was written by a newer version of this program: update it to open the project."
                )
            return cls.from_dict(data)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise PlanError(f"{path} is not a valid plan ({error}): delete it and a new plan is made.") from error

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Plan:
        known = {field.name for field in fields(cls)}
        unknown = set(data) - known
        if unknown:
            raise ValueError(f"unknown entry {', '.join(sorted(unknown))}")
        if data.get("network", DEFAULT_NETWORK) not in NETWORKS:
            raise ValueError(f'unknown network "{data["network"]}", not one of {", ".join(NETWORKS)}')
        values = dict(data)
        for key in ("segments", "working_spacing", "patch", "channels"):
            values[key] = tuple(values[key])
        values["strides"] = tuple(tuple(stride) for stride in values["strides"])
        if are_sided(values["segments"]):  # not all names of sides were known when older plans were made
            values["mirror"] = False
        return cls(**values)

    @property
    def total_stride(self) -> tuple[int, int, int]:
        """Patches are multiples of this."""
        k, j, i = np.prod(np.array(self.strides), axis=0)
        return int(k), int(j), int(i)

    def is_for(self, hardware: Hardware) -> bool:
        """Whether it was made for this kind of device: with a GPU, or without."""
        return (self.device == "cpu") == (hardware.device == "cpu")

    def on(self, hardware: Hardware) -> Plan:
        """The plan on this machine. Network and working spacing stay, because what was learned depends on them; on
        another kind of device the patch is made to fit."""
        patch = self.patch
        if not self.is_for(hardware):
            budget = _patch_budget(hardware, self.network, self.channels) / _load(np.array(self.working_spacing))
            patch = _patch(np.array(patch, float), np.array(self.total_stride), budget)
        return replace(
            self,
            patch=patch,
            device=hardware.device,
            bfloat16=self.bfloat16 and hardware.bfloat16 and bfloat16_is_sound(patch, self.strides),
            threads=hardware.cores,
        )

    def in_words(self) -> str:
        spacing = " x ".join(f"{value:.2f}" for value in self.working_spacing)
        patch = " x ".join(str(size) for size in self.patch)
        precision = "bfloat16" if self.bfloat16 else "float32"
        return (
            f"{self.modality}, working spacing {spacing} mm, patch {patch} voxels, {self.network} of "
            f"{self.channels[0]} to {self.channels[-1]} channels, {precision}, {self.threads} threads"
        )


def make_plan(
    fingerprint: Fingerprint,
    hardware: Hardware,
    segments: tuple[str, ...],
    network: str = DEFAULT_NETWORK,
    chosen_spacing: float = 0.0,
) -> Plan:
    """Choose working spacing, patch and size of the network so that one patch sees the structure whole and memory is
    kept.

    chosen_spacing  mm, what a person wants to work at (never finer than the images); 0 leaves it to the data

    Raises UsageError for an unknown network, and for a spacing at which the structures vanish; PlanError when not even
    the smallest patch fits into the memory.
    """
    check_network(network)
    gpu = hardware.device != "cpu"
    size = NETWORKS[network]
    channels = size.gpu if gpu else size.cpu
    budget = _patch_budget(hardware, network, channels)
    if budget < 16**3:
        raise PlanError(f"{hardware.in_words()} has too little memory to train: at least 1 GB is needed.")

    extent = np.array(fingerprint.shape) * np.array(fingerprint.spacing)
    foreground = np.array(fingerprint.foreground_mm)
    if chosen_spacing:
        limit = float(foreground.min()) / _FEWEST_VOXELS
        if chosen_spacing > max(limit, max(fingerprint.spacing)):
            raise UsageError(
                f"At a working spacing of {chosen_spacing:g} mm the structures are only a few voxels across: choose "
                f"at most {max(limit, max(fingerprint.spacing)):.2g} mm, or 0 to leave it to the data."
            )
        spacing = np.maximum(fingerprint.spacing, chosen_spacing)
    else:
        coarsest = _coarsest(fingerprint.foreground_ml)
        spacing = _working_spacing(np.array(fingerprint.spacing, float), extent, foreground, coarsest, budget)
    strides = _strides(spacing, len(channels) - 1)
    patch = _patch(extent / spacing, np.prod(np.array(strides), axis=0), budget / _load(spacing))
    return Plan(
        segments=segments,
        modality=fingerprint.modality,
        working_spacing=(float(spacing[0]), float(spacing[1]), float(spacing[2])),
        patch=patch,
        channels=channels,
        strides=strides,
        intensity=fingerprint.intensity,
        device=hardware.device,
        bfloat16=hardware.bfloat16 and bfloat16_is_sound(patch, strides),
        threads=hardware.cores,
        memory_mb=_usable_memory(hardware),
        network=network,
        chosen_spacing=chosen_spacing,
        mirror=not are_sided(segments),
    )


def _usable_memory(hardware: Hardware) -> int:
    return int(hardware.memory_mb * (0.4 if hardware.device == "cpu" else 0.8))


def _patch_budget(hardware: Hardware, network: str, channels: tuple[int, ...]) -> int:
    """Voxels of one patch that the machine can take."""
    budget = _CPU_PATCH_VOXELS if hardware.device == "cpu" else _GPU_PATCH_VOXELS
    items = 6  # two labelled and two unlabelled patches of the student, two of the teacher
    bytes_per_voxel = NETWORKS[network].bytes_per_voxel_and_channel * channels[0] * items
    return min(budget, _usable_memory(hardware) * 2**20 // bytes_per_voxel)


def bfloat16_is_sound(patch: tuple[int, int, int], strides: tuple[tuple[int, int, int], ...]) -> bool:
    """Whether the smallest level of the network is at least three voxels long on every axis.

    On shorter axes the CPU kernels of torch 2.13 leave parts of a weight gradient unset in bfloat16 (seen: infinite
    and changing gradients of 3x3x3 convolutions on 2x3x3 voxels); float32 and larger grids are right.
    """
    return bool(np.all(np.array(patch) // np.prod(np.array(strides), axis=0) >= 3))


def _coarsest(foreground_ml: dict[str, float]) -> float:
    """The spacing in mm at which most segments are still ``_VOXELS_ACROSS``; infinite where no volume is known."""
    volumes = [volume for volume in foreground_ml.values() if volume > 0]
    if not volumes:
        return np.inf
    return float((6000 / np.pi * np.quantile(volumes, _SMALLER)) ** (1 / 3)) / _VOXELS_ACROSS


def _working_spacing(
    spacing: np.ndarray, extent: np.ndarray, foreground: np.ndarray, coarsest: float, budget: int
) -> np.ndarray:
    """Coarsen the finest axis step by step until all structures with their surroundings are one patch, but not beyond
    ``coarsest`` as long as proposals stay affordable: small organs all over the trunk do not fit into one patch.

    Thick slices are thus kept as they are while the plane is coarsened first.
    """
    surroundings = np.minimum(extent, foreground * 1.6)
    spacing = spacing.copy()
    while True:
        seen = np.prod(surroundings / spacing) * _load(spacing) <= budget
        affordable = np.prod(extent / spacing) * _load(spacing) <= _PATCHES_PER_VOLUME * budget
        if affordable and (seen or spacing.min() * 1.02 > coarsest):
            return np.round(spacing, 4)
        finest = spacing <= spacing.min() * 1.01
        spacing[finest] *= 1.02


def _load(spacing: np.ndarray) -> float:
    """Time and memory of a voxel against one of the same patch halved along all axes: 2 where slices are too thick to
    halve across. What that brings: few_labels.md, "Thick slices".
    """
    return 8.0 / float(np.prod(_strides(spacing, 1)[0]))


def _strides(spacing: np.ndarray, count: int) -> tuple[tuple[int, int, int], ...]:
    """Halve an axis only where its voxels are not already far longer than the others."""
    levels, current = [], spacing.copy()
    for _ in range(count):
        halve = current < 2.0 * current.min()
        levels.append(tuple(2 if flag else 1 for flag in halve))
        current = current * np.where(halve, 2, 1)
    return tuple((k, j, i) for k, j, i in levels)


def _patch(size: np.ndarray, multiple: np.ndarray, budget: float) -> tuple[int, int, int]:
    """The typical volume if it fits, else a part of it, shortened along its longest axes."""
    wanted = size.copy()
    while True:
        patch = np.maximum(np.ceil(wanted / multiple - 0.05), 1) * multiple
        if np.prod(patch) <= budget * 1.25 or np.all(patch <= multiple * 2):
            return int(patch[0]), int(patch[1]), int(patch[2])
        wanted[np.argmax(wanted / multiple)] *= 0.95
