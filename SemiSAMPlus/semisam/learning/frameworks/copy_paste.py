"""Bidirectional copy-paste: a box of the annotated case in the unannotated one and the other way round.

Bai et al., CVPR 2023. The student is taught both halves of each mixture, the annotation in one and the teacher's
prediction in the other, so that annotated and unannotated cases cannot drift apart.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from semisam.learning.frameworks.base import Network, StepResult
from semisam.learning.losses import segmentation_loss
from semisam.learning.sampling import LabelledPatch, UnlabelledPatch

# Side of the box as a part of the patch's side.
_BOX = 2 / 3
# How much a voxel of the teacher's counts against an annotated one (alpha of the paper).
_SCALE = 0.5


class CopyPaste:
    uses_unlabelled = True

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def step(
        self, student: Network, teacher: Network, labelled: LabelledPatch, unlabelled: UnlabelledPatch | None
    ) -> StepResult:
        assert unlabelled is not None
        image, target = labelled.image, labelled.target
        with torch.no_grad():
            prediction = teacher(unlabelled.weak)
            guess = torch.nn.functional.one_hot(prediction.argmax(1), prediction.shape[1]).movedim(-1, 1).float()
        box = self._box(image)
        rest = 1 - box
        other = unlabelled.strong
        logits = student(torch.cat([image * box + other * rest, other * box + image * rest]))
        truth = torch.cat([target * box + guess * rest, guess * box + target * rest])
        annotated = torch.cat([box.expand_as(image), rest.expand_as(image)])
        probability = logits.softmax(1)
        count = len(image)
        return StepResult(
            segmentation_loss(logits, truth, annotated),
            _SCALE * segmentation_loss(logits, truth, 1 - annotated),
            probability[:count] * rest + probability[count:] * box,
        )

    def _box(self, image: Tensor) -> Tensor:
        """(1, 1, k, j, i), 1 inside a box at a random place."""
        box = torch.zeros_like(image[:1])
        region = []
        for size in image.shape[2:]:
            length = round(size * _BOX)
            start = int(self._rng.integers(0, size - length + 1))
            region.append(slice(start, start + length))
        box[(slice(None), slice(None), *region)] = 1
        return box
