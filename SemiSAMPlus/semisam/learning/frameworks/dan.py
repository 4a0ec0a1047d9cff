"""DAN: a deep adversarial network. A second network E judges how well an image is segmented.

Zhang et al., "Deep adversarial networks for biomedical image segmentation utilizing unannotated images", MICCAI 2017.
With the segmentation network S, annotated images X with masks Y, and unannotated images U, section 2 there plays

    min_S max_E  l_ce(S(X), Y) - lambda [ l_bce(E(S(X), X), 1) + l_bce(E(S(U), U), 0) ]

E learns to tell the segmentations of annotated cases (1) from those of unannotated ones (0). For S, the last term is
replaced, as there, by + lambda l_bce(E(S(U), U), 1), whose gradient does not fade when E is right.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semisam.learning.frameworks.base import Framework, Network, Setting, StepResult
from semisam.learning.losses import segmentation_loss
from semisam.learning.sampling import LabelledPatch, UnlabelledPatch

# lambda
_SCALE = 0.1
_CHANNELS = (16, 32, 64, 64)


class DeepAdversarialNetwork(Framework):
    # E has an easy task and would otherwise win before S has moved.
    own_rate = 0.05

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.own["evaluator"] = Evaluator(2 + len(setting.plan.segments), setting.plan.strides)

    def step(
        self, student: Network, teacher: Network, labelled: LabelledPatch, unlabelled: UnlabelledPatch, progress: float
    ) -> StepResult:
        evaluator = self.own["evaluator"]
        logits = student(torch.cat([labelled.image, unlabelled.strong]))
        count = len(labelled.image)
        probability = logits.softmax(1)
        annotated, unannotated = probability[:count], probability[count:]
        evaluator.requires_grad_(False)  # the student is judged by it and does not change it
        fooled = adversarial_loss(evaluator(unannotated, unlabelled.strong))
        evaluator.requires_grad_(True)
        own = evaluation_loss(
            evaluator(annotated.detach(), labelled.image), evaluator(unannotated.detach(), unlabelled.strong)
        )
        return StepResult(segmentation_loss(logits[:count], labelled.target), _SCALE * fooled, unannotated, own)


class Evaluator(nn.Module):
    """Probabilities (batch, 1 + segments, k, j, i) and their image (batch, 1, k, j, i) -> (batch,) logits: the higher,
    the more this looks like a segmentation of an annotated case."""

    def __init__(self, inputs: int, strides: tuple[tuple[int, int, int], ...]) -> None:
        super().__init__()
        self.features = nn.Sequential()
        for width, stride in zip(_CHANNELS, ((1, 1, 1), *strides), strict=False):
            self.features.extend([nn.Conv3d(inputs, width, 3, stride, 1), nn.LeakyReLU(0.2)])
            inputs = width
        self.judge = nn.Linear(inputs, 1)

    def forward(self, probability: Tensor, image: Tensor) -> Tensor:
        features = self.features(torch.cat([probability, image], 1))
        score: Tensor = self.judge(features.mean((2, 3, 4)))[:, 0]
        return score


def evaluation_loss(annotated: Tensor, unannotated: Tensor) -> Tensor:
    """l_bce(E(S(X), X), 1) + l_bce(E(S(U), U), 0) of logits (batch,): what E minimizes."""
    return adversarial_loss(annotated) + F.binary_cross_entropy_with_logits(unannotated, torch.zeros_like(unannotated))


def adversarial_loss(unannotated: Tensor) -> Tensor:
    """l_bce(E(S(U), U), 1) of logits (batch,): what S minimizes."""
    return F.binary_cross_entropy_with_logits(unannotated, torch.ones_like(unannotated))
