"""The baseline: the annotated cases alone. Every other framework begins like this, during its warm-up."""

from __future__ import annotations

import numpy as np

from semisam.learning.frameworks.base import Network, StepResult
from semisam.learning.losses import segmentation_loss
from semisam.learning.sampling import LabelledPatch, UnlabelledPatch


class Supervised:
    uses_unlabelled = False

    def __init__(self, rng: np.random.Generator) -> None:
        pass

    def step(
        self, student: Network, teacher: Network, labelled: LabelledPatch, unlabelled: UnlabelledPatch | None
    ) -> StepResult:
        loss = segmentation_loss(student(labelled.image), labelled.target)
        return StepResult(loss, loss.new_zeros(()), None)
