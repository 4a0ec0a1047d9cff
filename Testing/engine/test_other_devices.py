"""That every tensor of a step is made on the device of the plan.

There is no GPU where the tests run. torch's device "meta" stands in for one: it computes shapes only, and like a GPU it
refuses to take tensors of the processor's memory into a sum.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch

from frameworks_kit import SEGMENTS, SIZE, labelled, make, tiny_plan, unlabelled
from semisam.learning import sampling
from semisam.learning.augmentation import Augmentation
from semisam.learning.frameworks import base, dtc
from semisam.learning.frameworks.registry import FRAMEWORKS
from semisam.learning.losses import generalist_loss
from semisam.learning.sampling import PseudoLabel, Sampler, Shape
from semisam.learning.working import WorkingCase
from semisam.volumes import Geometry

OTHER = "meta"


def on_other_device(patch: Any) -> Any:
    return type(patch)(*(getattr(patch, item.name).to(OTHER) for item in fields(patch)))


def test_the_device_that_stands_in_for_a_gpu_refuses_other_tensors() -> None:
    with pytest.raises(RuntimeError, match="expected device"):
        torch.zeros(3) + torch.zeros(3, device=OTHER)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_step_of_every_framework_stays_on_the_device(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "autocast", lambda plan: nullcontext())  # there is none for this device
    # Distances are computed by scipy, from values that this device does not have.
    monkeypatch.setattr(dtc, "signed_distance", lambda mask, spacing: torch.zeros_like(mask))
    framework, student, teacher = make(name, tiny_plan(device=OTHER))
    for module in (student.module, teacher.module, framework.own):
        module.to(OTHER)
    annotated, unannotated = on_other_device(labelled()), on_other_device(unlabelled())
    result = framework.step(student, teacher, annotated, unannotated, 0.5)
    loss = result.supervised + result.consistency + (0 if result.own is None else result.own)
    if result.student_probability is not None:
        maps = unannotated.probability, unannotated.uncertainty, unannotated.valid
        loss = loss + generalist_loss(result.student_probability[:, 1:], *maps, unannotated.trust, 0.1)
    (loss + framework.supervised(student, annotated).supervised).backward()
    assert {parameter.grad.device.type for parameter in student.module.parameters()} == {OTHER}


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (5.0, 1.0, 1.0)])
def test_patches_are_made_on_the_device(spacing: tuple[float, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    # Which part of a volume a patch needs depends on values that this device does not have.
    whole = (slice(0, SIZE[0]),) * 3
    monkeypatch.setattr(sampling, "_around", lambda places, shape: (whole, places))
    plan, rng = tiny_plan(device=OTHER, working_spacing=spacing), np.random.default_rng(0)
    sampler = Sampler(plan, Augmentation(plan.patch, spacing, rng, True, OTHER), rng, OTHER)
    geometry = Geometry.simple(SIZE, spacing)
    image = np.zeros(SIZE, np.float16)
    labels = np.zeros(SIZE, np.uint8)
    labels[4:8], labels[8:12], labels[12:] = 1, 2, sampling.UNKNOWN
    maps = np.zeros((len(SEGMENTS), *SIZE), np.float16)
    said = PseudoLabel(maps, maps, maps.astype(bool), np.ones(len(SEGMENTS), np.float32))
    shapes = [Shape("a", torch.zeros(3, *SIZE), np.zeros((1, 3), int))]
    for known in (labels, labels.clip(max=2)):
        annotated = WorkingCase("a", image, geometry, geometry, known)
        other = WorkingCase("b", image, geometry, geometry, None)
        patches = [
            sampler.labelled([annotated], 8, shapes),
            *(sampler.unlabelled([other, other], told) for told in ({}, {"b": said})),
        ]
        for patch in patches:
            assert {getattr(patch, item.name).device.type for item in fields(patch)} == {OTHER}
