"""What the tests of frameworks need: a plan of tiny networks, patches, and networks made for them."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch

from semisam.learning.frameworks.base import Framework, Network, Setting
from semisam.learning.frameworks.registry import make_framework
from semisam.learning.sampling import LabelledPatch, UnlabelledPatch
from semisam.specialists.network import make_network
from semisam.specialists.plan import Plan

SIZE = (16, 16, 16)
SEGMENTS = ("head", "tail")


def tiny_plan(**changes: Any) -> Plan:
    values: dict[str, Any] = {
        "segments": SEGMENTS,
        "modality": "MR or other",
        "working_spacing": (1.0, 1.0, 1.0),
        "patch": SIZE,
        "channels": (4, 8, 8),
        "strides": ((2, 2, 2),) * 2,
        "intensity": {},
        "device": "cpu",
        "bfloat16": False,
        "threads": 1,
        "memory_mb": 1000,
    }
    return Plan(**(values | changes))


def make(name: str, plan: Plan | None = None) -> tuple[Framework, Network, Network]:
    """The framework, a student, and a teacher that is its copy."""
    torch.manual_seed(0)
    plan = plan or tiny_plan()
    student = make_network(plan)
    teacher = copy.deepcopy(student).requires_grad_(False)
    framework = make_framework(name, Setting(plan, np.random.default_rng(0)))
    return framework, Network(student, plan), Network(teacher, plan)


def one_hot(seed: int, batch: int = 2, classes: int = 1 + len(SEGMENTS)) -> torch.Tensor:
    """Random labels in blocks of 4 voxels, (batch, classes, *SIZE)."""
    labels = torch.from_numpy(np.random.default_rng(seed).integers(0, classes, (batch, 4, 4, 4)))
    for axis in (1, 2, 3):
        labels = labels.repeat_interleave(4, axis)
    return torch.nn.functional.one_hot(labels, classes).movedim(-1, 1).float()


def labelled(seed: int = 1, batch: int = 2) -> LabelledPatch:
    target = one_hot(seed, batch)
    noise = torch.randn(target[:, :1].shape, generator=torch.Generator().manual_seed(seed))
    return LabelledPatch(target.argmax(1, keepdim=True) - 1.0 + 0.1 * noise, target)


def unlabelled(seed: int = 2, batch: int = 2) -> UnlabelledPatch:
    image = labelled(seed, batch).image
    zeros = torch.zeros(batch, len(SEGMENTS), *SIZE)
    return UnlabelledPatch(image, 1.2 * image + 0.1, zeros, zeros, zeros, zeros[:, :, 0, 0, 0])


def logits_of(probability: list[list[float]]) -> torch.Tensor:
    """Voxels with the probabilities of their classes -> (1, classes, 1, 1, voxels) logits."""
    return torch.tensor(probability).log().T[None, :, None, None]


def voxels(values: list[float]) -> torch.Tensor:
    """(1, 1, 1, 1, voxels)"""
    return torch.tensor(values)[None, None, None, None]
