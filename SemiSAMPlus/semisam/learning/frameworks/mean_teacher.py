"""Mean Teacher: the student, seeing a strongly changed image, agrees with the teacher, seeing the original.

Tarvainen and Valpola, NeurIPS 2017; in 3D segmentation Yu et al., MICCAI 2019.
"""

from __future__ import annotations

import numpy as np
import torch

from semisam.learning.frameworks.base import Network, StepResult
from semisam.learning.losses import consistency_loss, segmentation_loss
from semisam.learning.sampling import LabelledPatch, UnlabelledPatch

# The mean square over mostly empty voxels is small: this brings it to the scale of the supervised loss.
_SCALE = 10.0


class MeanTeacher:
    uses_unlabelled = True

    def __init__(self, rng: np.random.Generator) -> None:
        pass

    def step(
        self, student: Network, teacher: Network, labelled: LabelledPatch, unlabelled: UnlabelledPatch | None
    ) -> StepResult:
        assert unlabelled is not None
        with torch.no_grad():
            target = teacher(unlabelled.weak).softmax(1)
        logits = student(torch.cat([labelled.image, unlabelled.strong]))
        count = len(labelled.image)
        probability = logits[count:].softmax(1)
        return StepResult(
            segmentation_loss(logits[:count], labelled.target),
            _SCALE * consistency_loss(probability, target),
            probability,
        )
