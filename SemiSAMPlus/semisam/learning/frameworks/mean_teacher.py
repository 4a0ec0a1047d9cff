"""Mean Teacher: the student, seeing a strongly changed image, agrees with the teacher, seeing the original.

Tarvainen and Valpola, NeurIPS 2017 (arXiv:1703.01780), section 2; in 3D segmentation Yu et al., MICCAI 2019:

    L_cons = E || f(x; theta_student) - f(x'; theta_teacher) ||^2,  theta_teacher the moving average of theta_student
"""

from __future__ import annotations

import torch

from semisam.learning.frameworks.base import Framework, Network, StepResult
from semisam.learning.losses import consistency_loss, segmentation_loss
from semisam.learning.sampling import LabelledPatch, UnlabelledPatch

# The mean square over mostly empty voxels is small: this brings it to the scale of the supervised loss.
SCALE = 10.0


class MeanTeacher(Framework):
    def step(
        self, student: Network, teacher: Network, labelled: LabelledPatch, unlabelled: UnlabelledPatch, progress: float
    ) -> StepResult:
        with torch.no_grad():
            target = teacher(unlabelled.weak).softmax(1)
        logits = student(torch.cat([labelled.image, unlabelled.strong]))
        count = len(labelled.image)
        probability = logits[count:].softmax(1)
        return StepResult(
            segmentation_loss(logits[:count], labelled.target),
            SCALE * consistency_loss(probability, target),
            probability,
        )
