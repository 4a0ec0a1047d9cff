"""SDCL: two different students learn from copy-pasted mixtures, and correct themselves where they disagree.

Song and Wang, "SDCL: students discrepancy-informed correction learning for semi-supervised medical image segmentation",
MICCAI 2024 (arXiv:2409.16728). On the mixtures of BCP with targets y and weights w (1 on annotated voxels, alpha on
those that the teacher guessed), and on D, the voxels where the two students' masks differ, each student p minimizes

    L = L_BCP + gamma L_mse + mu L_kl,   gamma = 0.5, mu = 0.05 (left atrium there)
    L_mse = sum_D w (p - y)^2 / |D|                         recall what is right
    L_kl  = sum_{D, p wrong} w KL(uniform || p) / |D, p wrong|      doubt what is wrong

The teacher is the moving average of the first student, and alone predicts. The second student is of the same size with
another structure (there V-Net and ResV-Net), and learns from the annotated cases during the warm-up, too.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from semisam.learning.frameworks.base import Framework, Network, Setting, StepResult
from semisam.learning.frameworks.copy_paste import ALPHA, Mixture, mix
from semisam.learning.losses import segmentation_loss
from semisam.learning.sampling import LabelledPatch, UnlabelledPatch
from semisam.specialists.network import make_sibling

_GAMMA, _MU = 0.5, 0.05


class DiscrepancyCorrection(Framework):
    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        module = make_sibling(setting.plan)
        self.own["second"] = module
        self._second = Network(module, setting.plan)

    def step(
        self, student: Network, teacher: Network, labelled: LabelledPatch, unlabelled: UnlabelledPatch, progress: float
    ) -> StepResult:
        mixture = mix(teacher, labelled, unlabelled, self.setting.rng)
        both = student(mixture.image), self._second(mixture.image)
        differ = discrepancy(*both)
        supervised = torch.stack([segmentation_loss(logits, mixture.target, mixture.annotated) for logits in both])
        consistency = torch.stack([_unsupervised(logits, mixture, differ) for logits in both])
        return StepResult(supervised.sum(), consistency.sum(), mixture.unlabelled_part(both[0].softmax(1)))

    def supervised(self, student: Network, labelled: LabelledPatch) -> StepResult:
        first = super().supervised(student, labelled)
        second = super().supervised(self._second, labelled)
        return StepResult(first.supervised + second.supervised, first.consistency, None)


def discrepancy(first: Tensor, second: Tensor) -> Tensor:
    """D, (batch, 1, k, j, i): 1 where the masks of two (batch, classes, k, j, i) logits differ."""
    return (first.argmax(1, keepdim=True) != second.argmax(1, keepdim=True)).float()


def correction_losses(logits: Tensor, target: Tensor, weight: Tensor, differ: Tensor) -> tuple[Tensor, Tensor]:
    """L_mse and L_kl of one student, each item of the batch for itself, then their mean.

    logits and target are (batch, classes, k, j, i), weight and differ (batch, 1, k, j, i). The square is the mean over
    the classes; KL(uniform || p) = - mean_c log p_c - log C. Where there is nothing to correct, the loss is 0.
    """
    log_probability = logits.log_softmax(1)
    square = ((log_probability.exp() - target) ** 2).mean(1, keepdim=True)
    divergence = -log_probability.mean(1, keepdim=True) - math.log(logits.shape[1])
    wrong = differ * (logits.argmax(1, keepdim=True) != target.argmax(1, keepdim=True))
    return _mean_over(square * weight, differ), _mean_over(divergence * weight, wrong)


def _mean_over(values: Tensor, voxels: Tensor) -> Tensor:
    axes = (1, 2, 3, 4)
    return ((values * voxels).sum(axes) / voxels.sum(axes).clamp_min(1.0)).mean()


def _unsupervised(logits: Tensor, mixture: Mixture, differ: Tensor) -> Tensor:
    weight = mixture.annotated + ALPHA * (1 - mixture.annotated)
    square, divergence = correction_losses(logits, mixture.target, weight, differ)
    guessed = ALPHA * segmentation_loss(logits, mixture.target, 1 - mixture.annotated)
    return guessed + _GAMMA * square + _MU * divergence
