"""The framework protocol: how one step learns from a labelled and an unlabelled patch.

The loop does the rest (schedules, teacher, generalist supervision, optimizers, checkpoints), so a framework is one
short file. To add one, write that file and add one line to ``registry.py`` (Documentation/extending.md shows it).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from semisam.learning.losses import segmentation_loss
from semisam.learning.sampling import LabelledPatch, UnlabelledPatch
from semisam.predict import autocast
from semisam.specialists.encoder_decoder import SpecialistNetwork
from semisam.specialists.plan import Plan


class Network:
    """A network at the precision of the plan, as a function.

    (batch, 1, k, j, i) image -> (batch, 1 + segments, k, j, i) float32 logits
    """

    def __init__(self, module: SpecialistNetwork, plan: Plan) -> None:
        self.module = module
        self._plan = plan

    def __call__(self, image: Tensor) -> Tensor:
        with autocast(self._plan):
            logits: Tensor = self.module(image.contiguous(memory_format=torch.channels_last_3d))
        return logits.float()

    def with_head(self, image: Tensor, head: nn.Module) -> tuple[Tensor, Tensor]:
        """The logits, and what ``head`` (see ``network.make_head``) makes of the same features, float32."""
        features: list[Tensor] = []
        hook = self.module.output_layer.register_forward_pre_hook(lambda layer, inputs: features.append(inputs[0]))
        try:
            logits = self(image)
        finally:
            hook.remove()
        with autocast(self._plan):
            beside: Tensor = head(features[0])
        return logits, beside.float()


@dataclass(frozen=True)
class Setting:
    """What a framework is made with: the plan of the run, and its random numbers (torch is seeded, too)."""

    plan: Plan
    rng: np.random.Generator


@dataclass(frozen=True)
class StepResult:
    """Losses of one step.

    supervised            on annotated voxels
    consistency           on unannotated voxels, from the specialist itself, at its full strength; the loop ramps it
    student_probability   (batch, 1 + segments, k, j, i) of the student on the unlabelled patch, with gradient: what
                          the generalists' pseudo-labels are compared with
    own                   of the framework's own networks alone; the student gets no gradient from it
    """

    supervised: Tensor
    consistency: Tensor
    student_probability: Tensor | None
    own: Tensor | None = None


class Framework(ABC):
    """Made by the registry. The teacher is the moving average of the student, has no gradient, and predicts.

    own       networks that only the framework has: trained along with the student by an optimizer of their own, kept
              in the checkpoints of a run, and unknown to the specialist that predicts
    own_rate  their learning rate as a part of the student's
    images_per_pair  images of a step that one labelled and one unlabelled patch are made into; of those that are made
                     into two, half as many are drawn, so that a step costs what one of supervised learning does
    """

    uses_unlabelled = True
    own_rate = 1.0
    images_per_pair = 1

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.own = nn.ModuleDict()

    @abstractmethod
    def step(
        self, student: Network, teacher: Network, labelled: LabelledPatch, unlabelled: UnlabelledPatch, progress: float
    ) -> StepResult:
        """Learn from both patches. ``progress`` rises from 0 at the end of the warm-up to 1 at the end of the round."""

    def supervised(self, student: Network, labelled: LabelledPatch) -> StepResult:
        """Learn from the annotated cases alone: during the warm-up, and when there is no unannotated case."""
        loss = segmentation_loss(student(labelled.image), labelled.target)
        return StepResult(loss, loss.new_zeros(()), None)
