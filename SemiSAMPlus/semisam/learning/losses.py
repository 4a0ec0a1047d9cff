"""Losses. Tensors are (batch, channel, k, j, i); channel 0 of logits and probabilities is background."""

from __future__ import annotations

import torch
from torch import Tensor


def segmentation_loss(logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Cross-entropy plus soft Dice over the segments.

    target is one-hot or soft, shaped like logits, and sums to 0 where nothing is known, which then counts for nothing;
    weight (batch, 1, k, j, i) is how much each voxel counts.
    Dice is taken over the whole batch, so a patch without a segment does not punish a single stray voxel.
    """
    log_probability = torch.log_softmax(logits.float(), 1)
    probability = log_probability.exp()
    known = target.sum(1, keepdim=True)
    weight = known if weight is None else weight * known
    cross_entropy = -(target * log_probability).sum(1, keepdim=True)
    cross_entropy = (cross_entropy * weight).sum() / weight.sum().clamp_min(1.0)
    voxels = (0, 2, 3, 4)
    overlap = (2 * (probability * target * weight)[:, 1:].sum(voxels) + 1.0) / (
        ((probability + target) * weight)[:, 1:].sum(voxels) + 1.0
    )
    return cross_entropy + 1.0 - overlap.mean()


def consistency_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of the probabilities (Tarvainen and Valpola 2017), the teacher without gradient."""
    return ((student - teacher.detach()) ** 2).mean()


def generalist_loss(
    student: Tensor, pseudo_label: Tensor, uncertainty: Tensor, valid: Tensor, trust: Tensor, temperature: float
) -> Tensor:
    """The confidence-aware loss of SemiSAM+, per segment:

        w = exp(-U / tau),   L = trust * sum(w * (p_S - stopgrad(p_F))^2) / (sum(w) + eps)

    student, pseudo_label and uncertainty are (batch, segments, k, j, i), without the background channel; valid
    (batch, segments, k, j, i) is 1 where the generalists said something; trust is (batch, segments). The trust stands
    outside the quotient: inside it would cancel.
    """
    weight = torch.exp(-uncertainty / temperature) * valid
    difference = weight * (student - pseudo_label.detach()) ** 2
    voxels = (2, 3, 4)
    per_segment = difference.sum(voxels) / (weight.sum(voxels) + 1e-6)
    return (trust * per_segment).mean()
