"""UA-MT: a Mean Teacher that is listened to only where it is sure.

Yu et al., "Uncertainty-aware self-ensembling model for semi-supervised 3D left atrium segmentation", MICCAI 2019
(arXiv:1907.07034). T = 8 passes of the teacher with dropout and noise give its uncertainty,

    mu_c = (1/T) sum_t p_t^c,   u = - sum_c mu_c log mu_c                                            (Eq. 2)
    L_c  = sum_v 1(u_v < H) ||f'_v - f_v||^2 / sum_v 1(u_v < H)                                      (Eq. 3)

and H rises from 3/4 of the largest possible u to that (ln 2 there; ln of the number of classes here). Student and
teacher have dropout of 0.5 after the coarsest block and on the last features; none is left in prediction.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor

from semisam.learning.frameworks.base import Framework, Network, StepResult
from semisam.learning.frameworks.mean_teacher import SCALE
from semisam.learning.losses import segmentation_loss
from semisam.learning.sampling import LabelledPatch, UnlabelledPatch

_PASSES = 8
_DROPOUT = 0.5
# Standard deviation and limit of the noise on the teacher's image, which has a variance of 1.
_NOISE, _LIMIT = 0.1, 0.2


class UncertaintyAwareMeanTeacher(Framework):
    def step(
        self, student: Network, teacher: Network, labelled: LabelledPatch, unlabelled: UnlabelledPatch, progress: float
    ) -> StepResult:
        with torch.no_grad():
            target = teacher(unlabelled.weak).softmax(1)
            with dropout(teacher):
                doubt = uncertainty([teacher(_noisy(unlabelled.weak)).softmax(1) for _ in range(_PASSES)])
        with dropout(student):
            logits = student(torch.cat([labelled.image, unlabelled.strong]))
        count = len(labelled.image)
        probability = logits[count:].softmax(1)
        return StepResult(
            segmentation_loss(logits[:count], labelled.target),
            SCALE * certain_consistency(probability, target, doubt, threshold(progress, target.shape[1])),
            probability,
        )

    def supervised(self, student: Network, labelled: LabelledPatch) -> StepResult:
        with dropout(student):
            return super().supervised(student, labelled)


def uncertainty(passes: list[Tensor]) -> Tensor:
    """Entropy of the mean of probabilities (batch, classes, k, j, i) -> (batch, 1, k, j, i) (Eq. 2)."""
    mean = torch.stack(passes).mean(0)
    return -(mean * mean.clamp_min(1e-6).log()).sum(1, keepdim=True)


def threshold(progress: float, classes: int) -> float:
    """H, between 3/4 of the largest entropy and that entropy, by the ramp exp(-5 (1 - t)^2)."""
    return (0.75 + 0.25 * math.exp(-5 * (1 - progress) ** 2)) * math.log(classes)


def certain_consistency(student: Tensor, teacher: Tensor, doubt: Tensor, limit: float) -> Tensor:
    """Eq. 3 for each item of the batch, then their mean; the square is the mean over the classes, as in Mean Teacher.

    student and teacher are probabilities (batch, classes, k, j, i), doubt (batch, 1, k, j, i). An item without a
    certain voxel counts 0.
    """
    certain = (doubt < limit).float()
    square = ((student - teacher.detach()) ** 2).mean(1, keepdim=True)
    voxels = (1, 2, 3, 4)
    return ((certain * square).sum(voxels) / certain.sum(voxels).clamp_min(1.0)).mean()


@contextmanager
def dropout(network: Network) -> Iterator[None]:
    """Drop half of the channels of the coarsest block and of the last features, for each item anew.

    From outside, for the time of a step: the network that is saved knows nothing of it.
    """
    deepest, output = network.module.deepest_layer, network.module.output_layer
    hooks = [
        deepest.register_forward_hook(lambda layer, inputs, found: F.dropout3d(found, _DROPOUT)),
        output.register_forward_pre_hook(lambda layer, inputs: (F.dropout3d(inputs[0], _DROPOUT),)),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _noisy(image: Tensor) -> Tensor:
    return image + (torch.randn_like(image) * _NOISE).clamp(-_LIMIT, _LIMIT)
