"""The losses teach what they say they teach."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from semisam.learning.frameworks.registry import resolve_framework
from semisam.learning.losses import consistency_loss, generalist_loss, segmentation_loss

SHAPE = (8, 8, 8)


def one_hot(seed: int, classes: int = 3) -> torch.Tensor:
    labels = torch.from_numpy(np.random.default_rng(seed).integers(0, classes, (2, *SHAPE)))
    return torch.nn.functional.one_hot(labels, classes).movedim(-1, 1).float()


def test_the_generalist_loss_has_a_gradient_that_moves_the_student_to_the_pseudo_label() -> None:
    logits = torch.zeros(1, 3, *SHAPE, requires_grad=True)
    target = one_hot(0)[:1, 1:]
    certain, everywhere, trust = torch.zeros_like(target), torch.ones_like(target), torch.ones(1, 2)
    losses = []
    for _ in range(5):
        loss = generalist_loss(logits.softmax(1)[:, 1:], target, certain, everywhere, trust, 0.1)
        (gradient,) = torch.autograd.grad(loss, logits)
        assert gradient.abs().sum() > 0
        with torch.no_grad():
            logits -= 200 * gradient
        losses.append(float(loss.detach()))
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.8 * losses[0]


def test_the_generalist_loss_is_the_formula_of_the_paper() -> None:
    student, target, doubt = (torch.rand(2, 2, *SHAPE) for _ in range(3))
    valid = (torch.rand(2, 2, *SHAPE) > 0.3).float()
    trust = torch.tensor([[1.0, 0.5], [0.0, 0.25]])
    expected = 0.0
    for item in range(2):
        for segment in range(2):
            weight = torch.exp(-doubt[item, segment] / 0.2) * valid[item, segment]
            squared = (student[item, segment] - target[item, segment]) ** 2
            expected += float(trust[item, segment] * (weight * squared).sum() / (weight.sum() + 1e-6)) / 4
    assert float(generalist_loss(student, target, doubt, valid, trust, 0.2)) == pytest.approx(expected, rel=1e-5)


def test_uncertain_voxels_count_less_and_untrusted_or_silent_generalists_nothing() -> None:
    student = torch.full((1, 1, *SHAPE), 0.5)
    target = torch.zeros_like(student)
    target[..., :4] = 0.5  # right in one half, wrong in the other
    valid, trust = torch.ones_like(student), torch.ones(1, 1)
    doubt = torch.zeros_like(student)
    certain = generalist_loss(student, target, doubt, valid, trust, 0.1)
    doubt[..., 4:] = 0.3  # unsure where it is wrong
    assert generalist_loss(student, target, doubt, valid, trust, 0.1) < 0.2 * certain
    assert generalist_loss(student, target, doubt, valid, 0 * trust, 0.1) == 0
    assert generalist_loss(student, target, doubt, 0 * valid, trust, 0.1) == 0


def test_the_pseudo_label_and_the_teacher_receive_no_gradient() -> None:
    student = torch.rand(1, 1, *SHAPE, requires_grad=True)
    other = torch.rand(1, 1, *SHAPE, requires_grad=True)
    weight = torch.ones(1, 1, *SHAPE)
    (
        generalist_loss(student, other, 0 * weight, weight, torch.ones(1, 1), 0.1) + consistency_loss(student, other)
    ).backward()
    assert student.grad is not None and student.grad.abs().sum() > 0
    assert other.grad is None


def test_segmentation_loss_ignores_voxels_of_weight_zero() -> None:
    logits, target = torch.randn(2, 3, *SHAPE), one_hot(1)
    weight = torch.ones(2, 1, *SHAPE)
    weight[..., 4:] = 0
    changed = target.clone()
    changed[..., 4:] = one_hot(2)[..., 4:]
    assert torch.equal(segmentation_loss(logits, target, weight), segmentation_loss(logits, changed, weight))
    assert segmentation_loss(20 * target, target) < 0.01


@pytest.mark.parametrize(
    ("name", "chosen", "meant"),
    [
        ("auto", None, "supervised"),
        ("auto", "copy-paste", "copy-paste"),
        ("mean-teacher", None, "mean-teacher"),
        ("supervised", "copy-paste", "supervised"),
    ],
)
def test_auto_learns_from_annotated_cases_at_first(name: str, chosen: str | None, meant: str) -> None:
    assert resolve_framework(name, chosen) == meant
