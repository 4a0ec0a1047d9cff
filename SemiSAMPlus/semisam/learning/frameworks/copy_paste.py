"""BCP, bidirectional copy-paste: a box of the annotated case in the unannotated one and the other way round.

Bai et al., CVPR 2023 (arXiv:2305.00673). With an annotated X_l, Y_l, an unannotated X_u whose mask Y~_u the teacher
guesses, and M, which is 1 in a box of 2/3 of the patch's sides,

    X_in  = X_l * M + X_u * (1 - M),   Y_in  = Y_l * M + Y~_u * (1 - M)                              (Eq. 1)
    X_out = X_u * M + X_l * (1 - M),   Y_out = Y~_u * M + Y_l * (1 - M)                              (Eq. 2)
    L = L_seg on annotated voxels + alpha L_seg on the others,   alpha = 0.5

so that annotated and unannotated cases cannot drift apart; the teacher is the moving average of the student. What is
different here: each pair is mixed both ways, both mixtures are normalized together, the teacher sees a weakly changed
image, and its guess is not cut down to the largest component, for a structure may be in several pieces.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from semisam.learning.frameworks.base import Framework, Network, StepResult
from semisam.learning.losses import segmentation_loss
from semisam.learning.sampling import LabelledPatch, UnlabelledPatch

# Side of the box as a part of the patch's side (beta of the paper).
_BOX = 2 / 3
# How much a voxel of the teacher's counts against an annotated one (alpha of the paper).
ALPHA = 0.5


class CopyPaste(Framework):
    images_per_pair = 2

    def step(
        self, student: Network, teacher: Network, labelled: LabelledPatch, unlabelled: UnlabelledPatch, progress: float
    ) -> StepResult:
        mixture = mix(teacher, labelled, unlabelled, self.setting.rng)
        logits = student(mixture.image)
        return StepResult(
            segmentation_loss(logits, mixture.target, mixture.annotated),
            ALPHA * segmentation_loss(logits, mixture.target, 1 - mixture.annotated),
            mixture.unlabelled_part(logits.softmax(1)),
        )


@dataclass(frozen=True)
class Mixture:
    """Both mixtures of each pair, first all X_in, then all X_out.

    image      (2 * batch, 1, k, j, i)
    target     (2 * batch, 1 + segments, k, j, i), one-hot or soft
    annotated  (2 * batch, 1, k, j, i), 1 where image and target are of the annotated case
    """

    image: Tensor
    target: Tensor
    annotated: Tensor

    def unlabelled_part(self, values: Tensor) -> Tensor:
        """(2 * batch, channels, k, j, i) on the mixtures -> (batch, channels, k, j, i) on the unannotated patches."""
        taken = values * (1 - self.annotated)
        count = len(values) // 2
        return taken[:count] + taken[count:]


def mix(teacher: Network, labelled: LabelledPatch, unlabelled: UnlabelledPatch, rng: np.random.Generator) -> Mixture:
    """Eqs. 1 and 2 with one box at a random place, and the teacher's hard guess."""
    image, target, other = labelled.image, labelled.target, unlabelled.strong
    with torch.no_grad():
        prediction = teacher(unlabelled.weak)
    guess = torch.nn.functional.one_hot(prediction.argmax(1), prediction.shape[1]).movedim(-1, 1).float()
    box = _box(image, rng)
    rest = 1 - box
    return Mixture(
        torch.cat([image * box + other * rest, other * box + image * rest]),
        torch.cat([target * box + guess * rest, guess * box + target * rest]),
        torch.cat([box.expand_as(image), rest.expand_as(image)]),
    )


def _box(image: Tensor, rng: np.random.Generator) -> Tensor:
    """(1, 1, k, j, i), 1 inside a box at a random place."""
    box = torch.zeros_like(image[:1])
    region = []
    for size in image.shape[2:]:
        length = round(size * _BOX)
        start = int(rng.integers(0, size - length + 1))
        region.append(slice(start, start + length))
    box[(slice(None), slice(None), *region)] = 1
    return box
