"""The framework protocol: how one step learns from a labelled and an unlabelled patch.

The loop does the rest (schedules, teacher, generalist supervision, checkpoints), so a framework is one short file.
To add one, write that file and add one line to ``registry.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from semisam.learning.sampling import LabelledPatch, UnlabelledPatch

# (batch, 1, k, j, i) image -> (batch, 1 + segments, k, j, i) float32 logits
Network = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class StepResult:
    """Losses of one step.

    supervised            on annotated voxels
    consistency           on unannotated voxels, from the specialist itself, at its full strength; the loop ramps it
    student_probability   (batch, 1 + segments, k, j, i) of the student on the unlabelled patch, with gradient: what
                          the generalists' pseudo-labels are compared with
    """

    supervised: Tensor
    consistency: Tensor
    student_probability: Tensor | None


class Framework(Protocol):
    """Made by the registry with ``(rng)``. The teacher is the moving average of the student and has no gradient."""

    uses_unlabelled: bool

    def __init__(self, rng: np.random.Generator) -> None: ...

    def step(
        self, student: Network, teacher: Network, labelled: LabelledPatch, unlabelled: UnlabelledPatch | None
    ) -> StepResult: ...
