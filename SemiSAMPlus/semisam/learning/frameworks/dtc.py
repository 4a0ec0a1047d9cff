"""DTC: dual-task consistency. A second head regresses signed distances, and both heads have to mean the same mask.

Luo et al., "Semi-supervised medical image segmentation through dual-task consistency", AAAI 2021 (arXiv:2009.04448).
With the border dS of a mask S, the level set function of a voxel x is

    T(x) = - inf_{y in dS} |x - y| inside S,  0 on dS,  + inf_{y in dS} |x - y| outside               (Eq. 1)

divided by its largest value on either side. The head f_2 (tanh) learns it on annotated cases, and a smooth inverse
turns it back into a mask, on all cases (k = 1500, beta = 0.3; z is negative inside, hence the sign):

    T^-1(z) = 1 / (1 + exp(k z))
    L = L_seg + beta ||f_2(x) - T(y)||^2 + lambda(t) ||f_1(x) - T^-1(f_2(x))||^2

Here each segment has its own level set function.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from semisam.learning.frameworks.base import Framework, Network, Setting, StepResult
from semisam.learning.losses import segmentation_loss
from semisam.learning.sampling import LabelledPatch, UnlabelledPatch
from semisam.specialists.network import make_head

_STEEPNESS = 1500.0
_BETA = 0.3


class DualTaskConsistency(Framework):
    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.own["distance"] = make_head(setting.plan, len(setting.plan.segments))

    def step(
        self, student: Network, teacher: Network, labelled: LabelledPatch, unlabelled: UnlabelledPatch, progress: float
    ) -> StepResult:
        count = len(labelled.image)
        logits, distance = self._both(student, torch.cat([labelled.image, unlabelled.strong]))
        probability = logits.softmax(1)
        return StepResult(
            self._supervised(logits[:count], distance[:count], labelled),
            dual_task_loss(probability[:, 1:], distance),
            probability[count:],
        )

    def supervised(self, student: Network, labelled: LabelledPatch) -> StepResult:
        logits, distance = self._both(student, labelled.image)
        loss = self._supervised(logits, distance, labelled)
        return StepResult(loss, loss.new_zeros(()), None)

    def _both(self, student: Network, image: Tensor) -> tuple[Tensor, Tensor]:
        logits, distance = student.with_head(image, self.own["distance"])
        return logits, distance.tanh()

    def _supervised(self, logits: Tensor, distance: Tensor, labelled: LabelledPatch) -> Tensor:
        truth = signed_distance(labelled.target[:, 1:], self.setting.plan.working_spacing)
        # How far the border is, only an annotation of every voxel tells.
        known = (labelled.target.sum(1, keepdim=True) > 0.5).flatten(1).all(1).view(-1, 1, 1, 1, 1)
        return segmentation_loss(logits, labelled.target) + _BETA * ((distance - truth) ** 2 * known).mean()


def dual_task_loss(probability: Tensor, distance: Tensor) -> Tensor:
    """Mean of (f_1 - T^-1(f_2))^2; both are (batch, segments, k, j, i), without the background."""
    return ((probability - torch.sigmoid(-_STEEPNESS * distance)) ** 2).mean()


def signed_distance(mask: Tensor, spacing: tuple[float, float, float]) -> Tensor:
    """T of each mask (batch, segments, k, j, i), as float32 from -1 in its depth to 1 farthest outside (Eq. 1).

    The border are the voxels of the mask that touch its outside; the edge of a patch is none. An empty mask is 1
    everywhere, a full one -1.
    """
    masks = mask.detach().cpu().numpy() > 0.5
    levels = np.stack([[_level_set(segment, spacing) for segment in item] for item in masks])
    return torch.from_numpy(levels).to(mask.device)


def _level_set(mask: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    from scipy import ndimage

    border = mask & ~ndimage.binary_erosion(mask, border_value=1)
    if not border.any():
        return np.where(mask, -1, 1).astype(np.float32)
    distance = ndimage.distance_transform_edt(~border, sampling=spacing)
    inside, outside = distance[mask].max(), distance[~mask].max()
    return np.where(mask, -distance / max(inside, 1e-6), distance / outside).astype(np.float32)
